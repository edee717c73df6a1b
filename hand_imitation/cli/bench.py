"""`hand-imitation bench`: figures, ours beside those of others."""

from __future__ import annotations

import typer

from hand_imitation.cli.bench_env import env
from hand_imitation.cli.bench_policy import policy
from hand_imitation.cli.bench_safety import safety
from hand_imitation.cli.bench_train import train

app = typer.Typer(help='Measure, beside others where they can be installed.',
                  no_args_is_help=True, pretty_exceptions_enable=False)
app.command('env')(env)
app.command('policy')(policy)
app.command('safety')(safety)
app.command('train')(train)
