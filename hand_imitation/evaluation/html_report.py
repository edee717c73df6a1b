"""Writes `report.html`: one file that opens offline, with everything in it."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hand_imitation.evaluation.film_strip import ArmPainter, Pictures, film, worst_moments
from hand_imitation.evaluation.metrics import score_all
from hand_imitation.evaluation.recording import PolicyRun, Recording
from hand_imitation.evaluation.report_contents import contents
from hand_imitation.evaluation.scoring import COMMANDED, Score
from hand_imitation.evaluation.thresholds import Check
from hand_imitation.human.skeleton import BONES

_DATA = Path(__file__).resolve().parents[1] / 'data'


def write_report(
    path: Path, document: Mapping[str, Any], recordings: Sequence[Recording],
    runs: Sequence[Sequence[PolicyRun]], timing: Mapping[str, Any],
    checks: Sequence[Check] = (), reference: str | None = None,
    scores: Sequence[Sequence[Score]] | None = None,
) -> None:
    """Write the report.

    Args:
        path: The .html file to write.
        document: From `metrics_document` of the same recordings and runs.
        recordings: The bags; pictures are read from them for the worst moments only.
        runs: For each of them what the policies made of it.
        timing: As in `timing.json`; may be empty.
        checks: Outcomes of the limits that were set.
        reference: As given to `metrics_document`.
        scores: What the document was summed up from, where it is at hand; else it is found anew.
    """
    if scores is None:
        scores = score_all(recordings, runs, reference)
    painter = ArmPainter()
    try:
        data = {
            **contents(document, scores, timing, checks),
            **_films(scores, list(document['policies']), painter)}
    finally:
        painter.close()
    path.write_text(page(data), encoding='utf-8')


def page(data: Mapping[str, Any]) -> str:
    """Put data into the page.

    Args:
        data: What the page's script draws.

    Returns:
        The page. Nothing in the data can end its script element or become markup: the script
        makes text nodes of it, and here what could is written as escapes of JSON.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(',', ':'))
    for mark in ('<', '>', '&', '\u2028', '\u2029'):
        text = text.replace(mark, f'\\u{ord(mark):04x}')
    parts = {
        '@TITLE@': html.escape(f'Replay report: {data["title"]}'),
        '@STYLE@': _read('report.css'), '@DATA@': text, '@SCRIPT@': _read('report.js')}
    # In one pass over the template, in its order, so that a bag called @DATA@ stays a name.
    pieces = [_read('report.html')]
    for mark, content in parts.items():
        before, _, after = pieces[-1].partition(mark)
        pieces[-1:] = [before, content, after]
    return ''.join(pieces)


def _films(
    scores: Sequence[Sequence[Score]], policies: Sequence[str], painter: ArmPainter,
) -> dict[str, Any]:
    """Films of the worst moments, and what is said of them."""
    pictures = Pictures()
    films = [film(moment, scores[moment.bag], policies, pictures, painter)
             for moment in worst_moments(scores)]
    signals = {score.signal for of_bag in scores for score in of_bag}
    references = {s.reference.name for of_bag in scores for s in of_bag if s.reference}
    mirrored = any(of_bag[0].recording.mirror for of_bag in scores if of_bag)
    lead = (
        'Where an arm was furthest from where it should have been. Drag the slider, or choose a '
        'picture below it.' if films else 'There are no errors to show.')
    return {
        'moments': films, 'moments_lead': lead, 'pictures': pictures.addresses,
        'bones': [list(bone) for bone in BONES],
        'captions': {
            'camera': 'Person, mirrored' if mirrored else 'Person',
            'lost': 'no hand seen',
            'arm': 'arm as commanded' if signals == {COMMANDED} else 'arm as it was',
            'wanted': 'True pose' if references <= {'truth'} else 'Pose of the reference',
            'no_arm': 'no pose yet' if painter.available else 'PyBullet, which draws the arm, '
                                                              'is not installed',
            'no_wanted': 'the pose is not known' if painter.available else ''}}


def _read(name: str) -> str:
    return (_DATA / name).read_text(encoding='utf-8')
