"""Prints what `hand-imitation evaluate` found as tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from hand_imitation.evaluation.finger_states import FOUR_FINGERS
from hand_imitation.evaluation.policy_rows import rows_of

_WIDTH = 150
"""The table of everything is wider than a terminal of old, or than nobody's."""
_COLUMNS: tuple[tuple[str, str, Callable[[dict[str, Any]], str]], ...] = (
    ('photographs', 'fingers\nright', lambda row: _percent(row['people']['all']['fingers_right'])),
    ('photographs', 'hands\nright', lambda row: _percent(row['people']['all']['hands_right'])),
    ('photographs', 'thumbs\nright', lambda row: _percent(row['thumb']['right'])),
    ('stills', 'fingers\n[deg]', lambda row: _number(row['error_deg']['fingers'])),
    ('stills', 'thumb\n[deg]', lambda row: _number(row['error_deg']['thumb'])),
    ('stills', 'wrist\n[deg]', lambda row: _number(row['error_deg']['wrist'])),
    ('stills', 'elbow\n[deg]', lambda row: _number(row['error_deg']['elbow'])),
    ('stills', 'seen', lambda row: _percent(row['answered'])),
    ('moving', 'fingers\n[deg]', lambda row: _number(row['error_deg']['fingers'])),
    ('moving', 'all\n[deg]', lambda row: _number(row['error_deg']['all'])),
    ('moving', 'lag\n[ms]', lambda row: _number(row['lag_ms'], 0)),
    ('moving', 'jerk\n[rad/s3]', lambda row: _number(row['jerk_rad_s3'], 0)),
)
_TITLES = {'photographs': 'photo', 'stills': 'still', 'moving': 'moving'}


def print_tables(document: dict[str, Any]) -> None:
    """Print one table of all policies, then each part in detail.

    Args:
        document: From `policy_scores.evaluate`.
    """
    # Without markup, or units in brackets would be taken for styles and vanish.
    console = Console(markup=False, width=_WIDTH)
    console.print(_everything(document))
    for part, tables in (('photographs', _photograph_tables), ('stills', _still_tables),
                         ('moving', _moving_tables)):
        if 'rows' in document.get(part, {}):
            for table in tables(document):
                console.print(table)


def _everything(document: dict[str, Any]) -> Table:
    """One row a policy; a column of a part that is missing holds a dash."""
    table = Table(title='real photographs, pictures of synthetic people, moving people')
    table.add_column('policy', no_wrap=True)
    for part, title, _ in _COLUMNS:
        table.add_column(f'{_TITLES[part]}:\n{title}', justify='right')
    for name in rows_of(document):
        cells = []
        for part, _, cell in _COLUMNS:
            row = document.get(part, {}).get('rows', {}).get(name)
            cells.append('-' if row is None else cell(row))
        table.add_row(name, *cells)
    return table


def _photograph_tables(document: dict[str, Any]) -> list[Table]:
    rows = document['photographs']['rows']
    people = Table(title='photographs: which fingers are extended, share right')
    for column in ('policy', 'people', 'images', 'undetected', 'fingers right', 'hands right'):
        people.add_column(column, justify='left' if column in ('policy', 'people') else 'right')
    for name in document['policies']:
        for group, found in rows[name]['people'].items():
            people.add_row(name, group, str(found['images']), str(found['undetected']),
                           _percent(found['fingers_right']), _percent(found['hands_right']))
    digits = Table(title='photographs: share right, digit by digit')
    for column in ('policy', 'digit', *FOUR_FINGERS, 'thumb'):
        digits.add_column(column, justify='left' if column == 'policy' else 'right')
    for name in document['policies']:
        for digit, shares in rows[name]['digits'].items():
            digits.add_row(name, digit, *(_percent(shares[finger]) for finger in FOUR_FINGERS),
                           _percent(rows[name]['thumb']['digits'].get(digit)))
    confusion = Table(title='photographs: confusion')
    for column in ('policy', 'finger', 'right', 'extended taken\nfor curled',
                   'curled taken\nfor extended', 'undetected'):
        confusion.add_column(column, justify='left' if column in ('policy', 'finger') else 'right')
    for name in document['policies']:
        found = rows[name]
        counted = {**found['confusion'], 'thumb, where labelled': found['thumb']['confusion']}
        for finger, counts in counted.items():
            confusion.add_row(name, finger, *(str(count) for count in counts.values()))
    return [people, digits, confusion]


def _still_tables(document: dict[str, Any]) -> list[Table]:
    found = document['stills']
    joints = _joint_table(
        f'pictures of {found["people"]} synthetic people: mean absolute error [deg]', document,
        found['rows'], 'per_joint')
    angles = Table(title='the same by palm angle (0 shows the palm, 180 the back): eight finger '
                   'joints [deg]')
    steps = found['rows']['zero']['palm_angle']
    angles.add_column('policy', no_wrap=True)
    for step in steps:
        angles.add_column(f'{step["from_deg"]} to {step["to_deg"]}\n({step["pictures"]})',
                          justify='right')
    marks = found['rows']['zero']['marks']
    for mark, counted in marks.items():
        angles.add_column(f'{mark}\n({counted["pictures"]})', justify='right')
    angles.add_column('pinches: thumb\nand index', justify='right')
    for name in (name for name in rows_of(document) if name in found['rows']):
        row = found['rows'][name]
        angles.add_row(
            name, *(_number(step['fingers_deg']) for step in row['palm_angle']),
            *(_number(row['marks'][mark]['fingers_deg']) for mark in marks),
            _number(row['marks']['pinches']['thumb_and_index_deg']))
    return [joints, angles, _family_table(document)]


def _family_table(document: dict[str, Any]) -> Table:
    """Families of poses, those that the first policy tells best first."""
    rows = document['stills']['rows']
    names = [name for name in rows_of(document) if name in rows]
    table = Table(title='the same by kind of pose: eight finger joints [deg]')
    for column in ('pose', 'pictures', *names):
        table.add_column(column, justify='left' if column == 'pose' else 'right')
    best_known = rows[document['policies'][0]]['families']
    for family in sorted(best_known, key=lambda name: best_known[name]['fingers_deg']):
        table.add_row(family, str(best_known[family]['pictures']), *(
            _number(rows[name]['families'][family]['fingers_deg']) for name in names))
    return table


def _moving_tables(document: dict[str, Any]) -> list[Table]:
    found = document['moving']
    tables = [_joint_table(
        f'{found["sequences"]} moving people: mean absolute tracking error, no lag removed [deg]',
        document, found['rows'], 'per_joint')]
    if found['comparisons']:
        compared = Table(title='moving people: eight finger joints, on the same sequences')
        for column in ('policy', 'against', 'difference [deg]', '95% interval', 'relative',
                       'jerk ratio'):
            compared.add_column(
                column, justify='left' if column in ('policy', 'against') else 'right')
        for pair in found['comparisons']:
            compared.add_row(
                pair['policy'], pair['against'], _number(pair['difference_deg'], 2),
                f'{_number(pair["ci95"]["low"], 2)} to {_number(pair["ci95"]["high"], 2)}',
                f'{100.0 * pair["relative"]:+.1f}%', _number(pair['jerk_ratio'], 2))
        tables.append(compared)
    if any(found['predictors'].values()):
        tables.append(_predictor_table(found['predictors']))
    return tables


def _predictor_table(predictors: dict[str, Any]) -> Table:
    """Classic predictors on the estimates of learned policies, the one chosen first."""
    table = Table(title='moving people: estimates with classic predictors, tuned on others')
    table.add_column('estimate')
    table.add_column('predictor')
    for column in ('horizon [ms]', 'on those tuned on [deg]', 'fingers [deg]', 'lag [ms]',
                   'jerk [rad/s3]'):
        table.add_column(column, justify='right')
    for policy, tried in predictors.items():
        for row in tried:
            table.add_row(
                policy, row['kind'], _number(1e3 * row['horizon_s'], 0),
                _number(row['validation_error_deg'], 2), _number(row['error_deg']['fingers'], 2),
                _number(row['lag_ms'], 0), _number(row['jerk_rad_s3'], 0))
    return table


def _joint_table(title: str, document: dict[str, Any], rows: dict[str, Any],
                 key: str) -> Table:
    """One row a joint, one column a policy."""
    names = [name for name in rows_of(document) if name in rows]
    table = Table(title=title)
    table.add_column('joint')
    for name in names:
        table.add_column(name, justify='right')
    for joint in rows[names[0]][key]:
        table.add_row(joint, *(_number(rows[name][key][joint]) for name in names))
    return table


def _percent(share: float | None) -> str:
    return '-' if share is None else f'{100.0 * share:.1f}%'


def _number(value: float | None, digits: int = 1) -> str:
    return '-' if value is None else f'{value:.{digits}f}'
