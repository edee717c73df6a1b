"""Plots learning curves: the mean of the seeds, and their spread."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_COLOURS = {'ppo': 'tab:blue', 'sac': 'tab:orange', 'a2c': 'tab:green', 'supervised': '0.4'}
_NAMES = {'ppo': 'PPO', 'sac': 'SAC', 'a2c': 'A2C', 'supervised': 'the same network, supervised'}
_WANTED = 0.7
_Points = dict[str, dict[str, list[tuple[float, float]]]]
"""By algorithm and seed: minutes and G."""


def plot_curves(files: Sequence[Path], path: Path) -> None:
    """Plot them.

    Args:
        files: CSV, one environment each, as `bench_training.write_curves` writes them.
        path: Of the PNG.
    """
    figure = Figure(figsize=(5.2 * len(files), 4.2))
    axes = figure.subplots(1, len(files), squeeze=False)[0]
    for axis, file in zip(axes, files, strict=True):
        name, points = _read(file)
        for algo, seeds in points.items():
            _draw(axis, algo, seeds)
        told = points.get('supervised')
        share = float(np.mean([curve[-1][1] for curve in told.values()])) if told else 1.0
        axis.axhline(_WANTED * share, color='k', lw=0.8, ls=':',
                     label=f'wanted: {_WANTED}{" of supervised" if told else ""}')
        axis.set_title(f'{name}: {max(len(seeds) for seeds in points.values())} seeds')
        axis.set_xlabel('minutes of one core, judging included')
        axis.set_xlim(left=0.0)
        # From the constant up, so that small gains do not look large.
        axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
        axis.grid(alpha=0.3)
        axis.legend(loc='lower right', fontsize=8)
    axes[0].set_ylabel('G on 2,000 held-out targets\n0: best constant pose, 1: ceiling')
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _read(file: Path) -> tuple[str, _Points]:
    """Read one environment's curves."""
    points: _Points = {}
    name = ''
    with file.open(newline='') as text:
        for row in csv.DictReader(text):
            name = row['environment']
            points.setdefault(row['algo'], {}).setdefault(row['seed'], []).append(
                (float(row['minutes']), float(row['g'])))
    return name, points


def _draw(axis: Axes, algo: str, seeds: dict[str, list[tuple[float, float]]]) -> None:
    """Draw one algorithm: the mean of its seeds, and a band from the worst to the best."""
    colour = _COLOURS.get(algo, 'tab:red')
    curves = [np.array(curve) for curve in seeds.values()]
    minutes = np.linspace(max(curve[0, 0] for curve in curves),
                          min(curve[-1, 0] for curve in curves), 100)
    each = np.array([np.interp(minutes, curve[:, 0], curve[:, 1]) for curve in curves])
    axis.fill_between(minutes, each.min(axis=0), each.max(axis=0), color=colour, alpha=0.2, lw=0)
    axis.plot(minutes, each.mean(axis=0), color=colour, lw=2.0, label=_NAMES.get(algo, algo))
