"""What the hand does: families of poses with the correlations of real hands.

Angles are drawn, never copied from pictures: how far joints go, how fingers take their
neighbours along, and where the thumb can rest, are anatomy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from hand_imitation.human.angles import FINGERS
from hand_imitation.human.synthetic import Pose
from hand_imitation.learning import contacts
from hand_imitation.learning.people import Model

_FINGERS = tuple(FINGERS)
_WIDE_RAD = {'index': 0.26, 'middle': 0.04, 'ring': -0.20, 'little': -0.44}
_NEIGHBOURS = {'index': ('middle',), 'middle': ('index', 'ring'), 'ring': ('middle', 'little'),
               'little': ('ring',)}
_MAX_OVERLAP_M = 0.005
_TRIES = 5

Random = np.random.Generator
Bends = dict[str, tuple[float, float]]
"""Proximal and distal angle of each finger [rad]."""


def draw_pose(
    random: Random, model: Model, held_out: bool = False, free: float = 0.0,
) -> tuple[str, Pose]:
    """Draw a pose in which the thumb goes through no finger.

    Args:
        random: Where to draw from.
        model: Whose hand; contacts fit its proportions.
        held_out: True for the families kept for the test, False for the others.
        free: Without `held_out`, share of the poses from the free families, 0 to 1.

    Returns:
        The family's name and the pose.
    """
    families = HELD_OUT_FAMILIES if held_out else FAMILIES
    if free and not held_out and random.random() < free:
        families = FREE_FAMILIES
    weights = np.array([weight for _, weight in families.values()])
    name = str(random.choice(list(families), p=weights / weights.sum()))
    make = families[name][0]
    for _ in range(_TRIES):
        pose = make(random, model)
        if contacts.overlap_m(model.rough(pose)[0]) < _MAX_OVERLAP_M:
            return name, pose
    # Rarely reached: the fingers as drawn, the thumb out of their way.
    return name, replace(
        pose, angles={**pose.angles, 'thumb_proximal': 0.0, 'thumb_distal': 0.1},
        thumb_across=-0.1, thumb_lift=0.0)


def _independent(random: Random, model: Model) -> Pose:
    """Each finger bends as it likes, more often all or nothing."""
    bends = {}
    for finger in _FINGERS:
        closure = random.beta(0.7, 0.8)
        bends[finger] = _between(random, closure)
    return _with_any_thumb(random, model, _pose(random, bends))


def _subset(random: Random, model: Model) -> Pose:
    """Some fingers stretched, the others closed, in all combinations."""
    shown = [finger for finger in _FINGERS if random.random() < 0.5]
    bends = _show(random, shown)
    pose = _pose(random, bends)
    return _with_any_thumb(random, model, pose)


def _count(random: Random, model: Model) -> Pose:
    """Count on the fingers: from the index or from the thumb, the thumb over the closed ones."""
    number = int(random.integers(1, 6))
    if random.random() < 0.6:
        shown: Sequence[str] = _FINGERS[:min(number, 4)]
        thumb_out = number == 5
    else:
        shown, thumb_out = _FINGERS[:number - 1], True
    pose = _pose(random, _show(random, shown))
    if thumb_out:
        return _thumb_out(random, pose)
    if len(shown) == 4:
        return contacts.cross_palm(model, pose, random.uniform(0.3, 1.0),
                                   random.uniform(0.6, 0.95))
    closed = [finger for finger in _FINGERS if finger not in shown]
    return _thumb_on_closed(random, model, pose, closed)


def _sign(random: Random, model: Model) -> Pose:
    """The thumb touches one finger's tip, the other fingers are stretched, as in number signs."""
    finger = str(random.choice(_FINGERS))
    bends = _show(random, [other for other in _FINGERS if other != finger])
    bends[finger] = random.uniform(0.5, 1.3), random.uniform(0.5, 1.3)
    pose = _pose(random, bends, spread=random.uniform(0.2, 1.1))
    pose = _thumb(pose, random.uniform(0.4, 0.9), random.uniform(0.2, 0.7),
                  random.uniform(0.3, 0.6) + 0.15 * _FINGERS.index(finger), 0.0)
    touching = contacts.touch_tip(model, pose, finger)
    if random.random() < 0.25:
        # Closed further: the nail under the thumb.
        touching = _bend_more(random, touching, finger, 0.35)
    return touching


def _pinch(random: Random, model: Model) -> Pose:
    """Thumb and index or middle together, the others at any ease."""
    finger = 'index' if random.random() < 0.7 else 'middle'
    ease = random.uniform(0.0, 1.0)
    bends = {other: _between(random, np.clip(ease + random.normal(0.0, 0.12), 0.0, 1.0))
             for other in _FINGERS}
    bends[finger] = random.uniform(0.4, 1.3), random.uniform(0.4, 1.3)
    pose = _thumb(_pose(random, bends), random.uniform(0.4, 0.8), random.uniform(0.2, 0.7),
                  random.uniform(0.3, 0.7), 0.0)
    touching = contacts.touch_tip(model, pose, finger)
    return touching if random.random() < 0.7 else _open_gap(random, touching)


def _round(random: Random, model: Model) -> Pose:
    """All fingers curved alike towards the thumb: an O, a C, a hand round a glass."""
    proximal, distal = random.uniform(0.35, 1.25), random.uniform(0.6, 1.35)
    fan = random.normal(0.0, 0.09)
    bends = {finger: (proximal + fan * (i - 1.5) + random.normal(0.0, 0.06),
                      distal + random.normal(0.0, 0.08))
             for i, finger in enumerate(_FINGERS)}
    pose = _thumb(_pose(random, bends, spread=random.uniform(-0.1, 0.4)),
                  random.uniform(0.3, 0.8), random.uniform(0.1, 0.7),
                  random.uniform(0.3, 0.8), random.uniform(-0.1, 0.2))
    if random.random() < 0.65:
        finger = str(random.choice(['index', 'middle', 'ring'], p=[0.4, 0.45, 0.15]))
        before = pose.angles[f'{finger}_proximal'], pose.angles[f'{finger}_distal']
        pose = contacts.touch_tip(model, pose, finger)
        # The other fingers come along with the one that touches.
        change = (pose.angles[f'{finger}_proximal'] - before[0],
                  pose.angles[f'{finger}_distal'] - before[1])
        angles = dict(pose.angles)
        for other in _FINGERS:
            if other != finger:
                angles[f'{other}_proximal'] += change[0]
                angles[f'{other}_distal'] = max(angles[f'{other}_distal'] + change[1], 0.0)
        pose = replace(pose, angles=angles)
    return pose if random.random() < 0.8 else _open_gap(random, pose)


def _fist(random: Random, model: Model) -> Pose:
    """All fingers closed, tight or loose, the thumb over, beside or away."""
    loose = random.beta(1.0, 2.5) * 0.35
    bends = {finger: _closed(random, loose) for finger in _FINGERS}
    pose = _pose(random, bends)
    choice = random.random()
    if choice < 0.55:
        return _thumb_on_closed(random, model, pose, _FINGERS[:3])
    if choice < 0.8:
        return contacts.beside_index(model, pose, random.uniform(0.2, 1.0))
    return _thumb_out(random, pose)


def _flat(random: Random, model: Model) -> Pose:
    """All fingers stretched, together or spread."""
    pose = _pose(random, _show(random, _FINGERS), spread=random.uniform(-0.15, 1.25))
    choice = random.random()
    if choice < 0.65:
        return _thumb_out(random, pose)
    if choice < 0.85:
        return contacts.cross_palm(model, pose, random.uniform(0.0, 1.0),
                                   random.uniform(0.5, 1.0))
    return contacts.beside_index(model, pose, random.uniform(0.0, 0.8))


def _relaxed(random: Random, model: Model) -> Pose:
    """A hand at ease: little more bent than index, all together."""
    ease = random.uniform(0.05, 0.75)
    bends = {finger: (ease * (0.55 + 0.10 * i) + random.normal(0.0, 0.07),
                      ease * (0.75 + 0.10 * i) + random.normal(0.0, 0.08))
             for i, finger in enumerate(_FINGERS)}
    pose = _pose(random, bends, spread=random.uniform(0.0, 0.7))
    return _thumb(pose, random.normal(0.15, 0.15), abs(random.normal(0.25, 0.2)),
                  random.normal(0.2, 0.2), random.normal(0.0, 0.1))


def _hook(random: Random, model: Model) -> Pose:
    """Knuckles straight, the rest closed, by some or all fingers."""
    some = [finger for finger in _FINGERS if random.random() < 0.75]
    bends = _show(random, _FINGERS)
    for finger in some:
        bends[finger] = random.uniform(0.15, 0.5), random.uniform(1.2, 1.75)
    return _with_any_thumb(random, model, _pose(random, bends, spread=random.uniform(0.0, 0.4)))


def _claw(random: Random, model: Model) -> Pose:
    """Knuckles bent back, fingers spread and half closed."""
    bend = random.uniform(0.7, 1.2)
    bends = {finger: (random.uniform(-0.35, 0.1), bend + random.normal(0.0, 0.1))
             for finger in _FINGERS}
    pose = _pose(random, bends, spread=random.uniform(0.5, 1.3))
    return _thumb(pose, random.uniform(-0.2, 0.3), random.uniform(0.4, 1.0),
                  random.uniform(-0.3, 0.2), 0.0)


def _table_top(random: Random, model: Model) -> Pose:
    """Knuckles at a right angle, the rest straight."""
    bend = random.uniform(1.0, 1.5)
    bends = {finger: (bend + random.normal(0.0, 0.08), abs(random.normal(0.1, 0.1)))
             for finger in _FINGERS}
    return _with_any_thumb(random, model, _pose(random, bends, spread=random.uniform(0.0, 0.4)))


def _wave(random: Random, model: Model) -> Pose:
    """Fingers that close one after the other, caught midway."""
    order = list(_FINGERS) if random.random() < 0.5 else list(_FINGERS)[::-1]
    progress = random.uniform(0.0, 1.6)
    bends = {finger: _between(random, float(np.clip(progress - 0.25 * i, 0.0, 1.0)))
             for i, finger in enumerate(order)}
    return _with_any_thumb(random, model, _pose(random, bends))


def _alike(random: Random, model: Model) -> Pose:
    """All fingers bend alike, at knuckles and middle joints by any amount."""
    while True:
        proximal, distal = _anyhow(random)
        fan = random.normal(0.0, 0.06, 2)
        bends = {finger: (proximal + fan[0] * (i - 1.5) + random.normal(0.0, 0.08),
                          distal + fan[1] * (i - 1.5) + random.normal(0.0, 0.08))
                 for i, finger in enumerate(_FINGERS)}
        if not _kept_for_test(bends):
            return _free_pose(random, model, bends)


def _grouped(random: Random, model: Model) -> Pose:
    """Two groups of fingers, each bending in its own way."""
    while True:
        ways = _anyhow(random), _anyhow(random)
        bends = {}
        for finger in _FINGERS:
            way = ways[int(random.random() < 0.5)]
            bends[finger] = (way[0] + random.normal(0.0, 0.10), way[1] + random.normal(0.0, 0.10))
        if not _kept_for_test(bends):
            return _free_pose(random, model, bends)


def _apart(random: Random, model: Model) -> Pose:
    """Every joint of every finger by any amount."""
    while True:
        bends = {finger: _anyhow(random) for finger in _FINGERS}
        if not _kept_for_test(bends):
            return _free_pose(random, model, bends)


FAMILIES: dict[str, tuple[Callable[[Random, Model], Pose], float]] = {
    'independent': (_independent, 0.14), 'subset': (_subset, 0.16), 'count': (_count, 0.17),
    'sign': (_sign, 0.16), 'pinch': (_pinch, 0.06), 'round': (_round, 0.12),
    'fist': (_fist, 0.09), 'flat': (_flat, 0.04), 'relaxed': (_relaxed, 0.03),
    'hook': (_hook, 0.03),
}
"""How to draw each family, and its share."""
FREE_FAMILIES: dict[str, tuple[Callable[[Random, Model], Pose], float]] = {
    'alike': (_alike, 0.45), 'grouped': (_grouped, 0.30), 'apart': (_apart, 0.25),
}
"""Families that nobody's habits limit, for training: knuckles and middle joints know nothing of
each other, so that a network cannot guess one from the other. Claws and table tops are left
out, since the test keeps them."""
HELD_OUT_FAMILIES: dict[str, tuple[Callable[[Random, Model], Pose], float]] = {
    'claw': (_claw, 1.0), 'table top': (_table_top, 1.0), 'wave': (_wave, 1.0),
}
"""Families that only the test split shows."""


def _anyhow(random: Random) -> tuple[float, float]:
    """Bends of a finger, anything that a finger can do."""
    return random.uniform(-0.4, 1.6), random.uniform(-0.05, 1.8)


def _kept_for_test(bends: Bends) -> bool:
    """Whether all fingers make a claw or a table top together."""
    return (all(proximal < 0.15 and 0.5 < distal < 1.4 for proximal, distal in bends.values())
            or all(proximal > 0.9 and distal < 0.4 for proximal, distal in bends.values()))


def _free_pose(random: Random, model: Model, bends: Bends) -> Pose:
    return _with_any_thumb(random, model, _pose(random, bends, random.uniform(-0.1, 1.3)))


def _pose(random: Random, bends: Bends, spread: float | None = None) -> Pose:
    """Make a pose of bends and of a spread: 0 is parallel, 1 is wide."""
    if spread is None:
        spread = random.uniform(-0.05, 1.0)
    angles = {}
    for finger in _FINGERS:
        proximal, distal = bends[finger]
        angles[f'{finger}_proximal'] = float(np.clip(proximal, -0.4, 1.6))
        angles[f'{finger}_distal'] = float(np.clip(distal, -0.1, 1.85))
    leans = {finger: spread * wide + random.normal(0.0, 0.04)
             for finger, wide in _WIDE_RAD.items()}
    return Pose(angles, leans)


def _straight(random: Random) -> tuple[float, float]:
    """Bends of a stretched finger: some bend back, few are quite straight."""
    return random.normal(0.05, 0.14), abs(random.normal(0.08, 0.12))


def _closed(random: Random, loose: float = 0.0) -> tuple[float, float]:
    """Bends of a closed finger."""
    return (random.uniform(1.15, 1.58) * (1.0 - loose),
            random.uniform(1.45, 1.82) * (1.0 - 0.6 * loose))


def _between(random: Random, closure: float) -> tuple[float, float]:
    """Bends of a finger by its closure; the knuckle or the middle joint may lead."""
    open_, closed = _straight(random), _closed(random)
    lead = random.normal(0.0, 0.25)
    shares = np.clip([closure * (1.0 + lead * (1.0 - closure)),
                      closure * (1.0 - lead * (1.0 - closure))], 0.0, 1.0)
    return (open_[0] + shares[0] * (closed[0] - open_[0]),
            open_[1] + shares[1] * (closed[1] - open_[1]))


def _show(random: Random, shown: Sequence[str]) -> Bends:
    """Stretch some fingers and close the others, neighbours pulling at each other."""
    loose = random.beta(1.0, 3.0) * 0.5
    bends = {}
    for finger in _FINGERS:
        if finger not in shown:
            bends[finger] = _closed(random, float(np.clip(loose + random.normal(0, .05), 0, .5)))
            continue
        proximal, distal = _straight(random)
        pulled = sum(other not in shown for other in _NEIGHBOURS[finger])
        pull = pulled * abs(random.normal(0.0, 0.10)) * (0.4 if finger == 'index' else 1.0)
        bends[finger] = proximal + pull, distal + pull
    return bends


def _thumb(pose: Pose, proximal: float, distal: float, across: float, lift: float) -> Pose:
    angles = {**pose.angles, 'thumb_proximal': float(np.clip(proximal, -0.4, 1.4)),
              'thumb_distal': float(np.clip(distal, -0.25, 1.4))}
    return replace(pose, angles=angles, thumb_across=float(np.clip(across, -0.45, 1.2)),
                   thumb_lift=float(np.clip(lift, -0.4, 0.4)))


def _thumb_out(random: Random, pose: Pose) -> Pose:
    """Stretch the thumb away from the palm."""
    return _thumb(pose, random.normal(-0.02, 0.16), random.normal(0.08, 0.16),
                  random.normal(-0.12, 0.18), random.normal(0.0, 0.12))


def _thumb_on_closed(
    random: Random, model: Model, pose: Pose, closed: Sequence[str],
) -> Pose:
    """Lay the thumb on one of the closed fingers, the nearer the likelier."""
    reachable = [finger for finger in closed if finger != 'little'] or list(closed)
    finger = reachable[min(int(random.geometric(0.6)) - 1, len(reachable) - 1)]
    start = _thumb(pose, random.uniform(0.6, 1.0), random.uniform(0.5, 1.1),
                   0.25 + 0.2 * _FINGERS.index(finger), random.uniform(0.0, 0.2))
    return contacts.lie_on(model, start, finger, random.uniform(0.1, 0.95))


def _with_any_thumb(random: Random, model: Model, pose: Pose) -> Pose:
    """Put the thumb anywhere it can go."""
    choice = random.random()
    closed = [finger for finger in _FINGERS
              if pose.angles[f'{finger}_proximal'] + pose.angles[f'{finger}_distal'] > 2.0]
    if choice < 0.30 and closed:
        return _thumb_on_closed(random, model, pose, closed)
    if choice < 0.40:
        return contacts.cross_palm(model, pose, random.uniform(0.0, 1.0),
                                   random.uniform(0.5, 1.0))
    if choice < 0.50:
        return contacts.beside_index(model, pose, random.uniform(0.0, 1.0))
    if choice < 0.75:
        return _thumb_out(random, pose)
    return _thumb(pose, random.uniform(-0.2, 0.9), random.uniform(-0.1, 1.1),
                  random.uniform(-0.3, 0.8), random.normal(0.0, 0.15))


def _bend_more(random: Random, pose: Pose, finger: str, most_rad: float) -> Pose:
    """Close a finger a little further."""
    key = f'{finger}_distal'
    return replace(pose, angles={
        **pose.angles, key: min(pose.angles[key] + random.uniform(0.0, most_rad), 1.8)})


def _open_gap(random: Random, pose: Pose) -> Pose:
    """Draw the thumb back from what it touches."""
    return replace(pose, thumb_across=pose.thumb_across - random.uniform(0.1, 0.4))
