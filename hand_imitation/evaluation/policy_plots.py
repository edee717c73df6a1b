"""Draws what `policy_scores.evaluate` found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hand_imitation.evaluation.policy_rows import rows_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOTS = ('error_per_joint.png', 'error_by_palm_angle.png', 'tracking.png')
_COLOURS = ('#4477aa', '#cc6677', '#228833', '#aa4499', '#ccbb44', '#66ccee')
"""Tol's palette for colour-blind readers, one a policy."""
_PLAIN_COLOUR = '#999999'
_DPI = 150


def draw_plots(folder: Path, document: dict[str, Any]) -> list[Path]:
    """Draw the plots for which there are figures.

    Args:
        folder: Where to.
        document: From `policy_scores.evaluate`.

    Returns:
        The files written, of `PLOTS`.
    """
    draw = dict(zip(PLOTS, (_per_joint, _by_palm_angle, _tracking), strict=True))
    parts = dict(zip(PLOTS, ('stills', 'stills', 'moving'), strict=True))
    written = []
    for name in PLOTS:
        if 'rows' in document.get(parts[name], {}):
            draw[name](folder / name, document)
            written.append(folder / name)
    return written


def _per_joint(path: Path, document: dict[str, Any]) -> None:
    """Errors of all joints, policies beside each other."""
    from matplotlib.figure import Figure

    rows = document['stills']['rows']
    names = ['best constant', *document['policies']]
    joints = list(rows['zero']['per_joint'])
    figure = Figure(figsize=(9.0, 3.8), layout='constrained')
    axes = figure.subplots()
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        values = [rows[name]['per_joint'][joint] for joint in joints]
        axes.bar(np.arange(len(joints)) + (place - (len(names) - 1) / 2.0) * width,
                 [np.nan if value is None else value for value in values], width,
                 color=_colour(document, name), label=name)
    axes.set_xticks(np.arange(len(joints)), [joint.replace('_', '\n') for joint in joints],
                    fontsize=8)
    axes.set_ylabel('mean absolute error [deg]')
    axes.set_title(f'{document["stills"]["pictures"]} pictures of people that training never saw',
                   fontsize=10)
    _tidy(axes)
    axes.legend(frameon=False, ncols=len(names), fontsize=8)
    axes.set_ylim(0.0, axes.get_ylim()[1] * 1.12)
    figure.savefig(path, dpi=_DPI)


def _by_palm_angle(path: Path, document: dict[str, Any]) -> None:
    """Errors of the fingers as the palm turns away from the camera."""
    from matplotlib.figure import Figure

    rows = document['stills']['rows']
    figure = Figure(figsize=(7.0, 4.6), layout='constrained')
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    steps = rows['zero']['palm_angle']
    middles = [(step['from_deg'] + step['to_deg']) / 2.0 for step in steps]
    for name in ('best constant', *document['policies']):
        found = rows[name]['palm_angle']
        values = [np.nan if step['fingers_deg'] is None else step['fingers_deg']
                  for step in found]
        plain = name not in document['policies']
        axes.plot(middles, values, '--' if plain else 'o-', color=_colour(document, name),
                  label=name)
        if not plain:
            below.plot(middles, [np.nan if step['answered'] is None else 100.0 * step['answered']
                                 for step in found], 'o-', color=_colour(document, name))
    axes.set_ylabel('mean absolute error of\nthe eight finger joints [deg]')
    axes.set_ylim(bottom=0.0)
    axes.legend(frameon=False, fontsize=8, ncols=4, loc='lower center', bbox_to_anchor=(0.5, 1.0))
    below.set_ylabel('pictures with\nan answer [%]', fontsize=8)
    below.set_ylim(0.0, 105.0)
    below.set_xlabel("angle between the palm's normal and the way to the camera [deg]\n"
                     '0 shows the palm, 90 the edge of the hand, 180 its back')
    below.set_xticks([0, *(step['to_deg'] for step in steps)])
    for each in (axes, below):
        _tidy(each)
    for middle, step in zip(middles, steps, strict=True):
        axes.annotate(f'n = {step["pictures"]}', (middle, 0.0), xytext=(0, 3), ha='center',
                      textcoords='offset points', fontsize=7, color='#666666')
    figure.savefig(path, dpi=_DPI)


def _tracking(path: Path, document: dict[str, Any]) -> None:
    """Error, lag and jerk of an arm that follows moving people."""
    from matplotlib.figure import Figure

    found = document['moving']
    names = rows_of(document)
    rows = [found['rows'][name] for name in names]
    figure = Figure(figsize=(9.0, 1.2 + 0.34 * len(names)), layout='constrained')
    panels = figure.subplots(1, 3, sharey=True, width_ratios=[2, 1, 1])
    places = np.arange(len(names))[::-1]
    colours = [_colour(document, name) for name in names]
    errors = np.array([row['error_deg']['fingers'] for row in rows])
    ends = np.array([[row['ci95'][end] if row['ci95'][end] is not None else np.nan
                      for end in ('low', 'high')] for row in rows])
    panels[0].barh(places, errors, color=colours, height=0.7, xerr=np.abs(ends.T - errors),
                   error_kw={'elinewidth': 1.0, 'capsize': 2.0})
    for place, error, end in zip(places, errors, ends[:, 1], strict=True):
        panels[0].annotate(f'{error:.1f}', (np.nanmax([error, end]), place), xytext=(4, 0),
                           textcoords='offset points', va='center', fontsize=8)
    panels[0].margins(x=0.12)
    panels[0].set_xlabel('tracking error of the eight finger joints [deg],\nno lag removed; bars: '
                         '95% interval over sequences')
    for panel, key, words in ((panels[1], 'lag_ms', 'lag [ms]'),
                              (panels[2], 'jerk_rad_s3', 'jerk [rad/s$^3$]')):
        values = [np.nan if row[key] is None else row[key] for row in rows]
        # Nobody follows chance, and its jerk would dwarf the others.
        values = [np.nan if name == 'random' else value
                  for name, value in zip(names, values, strict=True)]
        panel.barh(places, values, color=colours, height=0.7)
        panel.set_xlabel(words)
    panels[0].set_yticks(places, names)
    for panel in panels:
        _tidy(panel, 'x')
    figure.savefig(path, dpi=_DPI)


def _colour(document: dict[str, Any], name: str) -> str:
    """A policy's colour, which what is derived from it shares."""
    for place, policy in enumerate(document['policies']):
        if name == policy or name.startswith(f'{policy},'):
            return _COLOURS[place % len(_COLOURS)]
    return _PLAIN_COLOUR


def _tidy(axes: Axes, along: str = 'y') -> None:
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(axis=along, linewidth=0.4, color='#cccccc')  # type: ignore[arg-type]
    axes.set_axisbelow(True)
