"""The command line, `hand-imitation`."""

from __future__ import annotations

import sys

import typer

from hand_imitation.cli import doctor, predict, sim
from hand_imitation.errors import UserError

EXIT_NEGATIVE = 1
EXIT_BAD_INPUT = 2
EXIT_FAILED = 3
EXIT_INTERRUPTED = 130

app = typer.Typer(
    help='A robotic arm with a five-fingered hand that imitates a human hand seen by a camera.',
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    context_settings={'help_option_names': ['-h', '--help']})
app.command('sim')(sim.sim)
app.command('predict')(predict.predict)
app.command('doctor')(doctor.doctor)


def main() -> None:
    """Run the command line; a mistake of the user's is one line and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    except BrokenPipeError:
        # The reader of our output went away, as `head` does.
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
