"""The command line, `hand-imitation`."""

from __future__ import annotations

import sys

import typer

from hand_imitation.cli.doctor import doctor
from hand_imitation.cli.emulate import emulate
from hand_imitation.errors import EXIT_BAD_INPUT, EXIT_FAILED, EXIT_INTERRUPTED, UserError


def main() -> None:
    """Run the command line; a mistake of the user's is one line and exit code 2."""
    try:
        _app()()
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    except BrokenPipeError:
        # The reader of our output went away, as `head` does.
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        # A full disk, say; what the user gave has been checked before.
        print(f'error: failed midway: {error}', file=sys.stderr)
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


def _app() -> typer.Typer:
    """Make the application; some commands are there even where packages are missing."""
    app = typer.Typer(
        help='A robotic arm with a five-fingered hand that imitates a human hand seen by a '
        'camera.', no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
        context_settings={'help_option_names': ['-h', '--help']})

    @app.callback()
    def commands() -> None:
        """Keep the commands apart even when there is one only."""

    app.command('doctor')(doctor)
    app.command('emulate')(emulate)
    try:
        from hand_imitation.cli.bench import app as bench
        from hand_imitation.cli.calibrate import app as calibrate
        from hand_imitation.cli.dataset import dataset
        from hand_imitation.cli.evaluate import evaluate
        from hand_imitation.cli.hardware import hardware
        from hand_imitation.cli.predict import predict
        from hand_imitation.cli.record import record
        from hand_imitation.cli.replay import replay
        from hand_imitation.cli.sim import sim
        from hand_imitation.cli.train import train
    except ImportError as error:
        if sys.argv[1:2] not in (['doctor'], ['emulate']):
            raise UserError(
                f"{error}: run 'hand-imitation doctor', which says how to mend it") from error
        return app
    app.command('sim')(sim)
    app.command('hardware')(hardware)
    app.command('predict')(predict)
    app.command('record')(record)
    app.command('replay')(replay)
    app.command('dataset')(dataset)
    app.command('evaluate')(evaluate)
    app.command('train')(train)
    app.add_typer(calibrate, name='calibrate')
    app.add_typer(bench, name='bench')
    return app
