"""Injected faults move the metrics as the committed table says, and nothing else moves."""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from pathlib import Path

import bag_rig
import numpy as np
import pytest
import synthetic_recordings as synthetic
import yaml
from skeletons import hand, seen

from hand_imitation.evaluation.metrics import compute_metrics
from hand_imitation.evaluation.replay import ReplayOptions, replay_bag
from hand_imitation.evaluation.scoring import choose_reference
from hand_imitation.human.angles import thumb_side_sign
from hand_imitation.human.observation import HandObservation
from hand_imitation.policy.base import LEANING_JOINTS, lean_sign

TABLE = yaml.safe_load((Path(__file__).parent / 'expected_effects.yaml').read_text())
FAULTS = {
    'offset': lambda: synthetic.offset('index_proximal', math.radians(10.0)),
    'delay': lambda: synthetic.delay(3),
    'dropped_frames': lambda: synthetic.dropped_frames(0.1),
    'lost_hand': lambda: synthetic.lost_hand(0.1),
    'jitter': lambda: synthetic.jitter(math.radians(0.5)),
    'swapped_fingers': lambda: synthetic.swapped('index', 'ring'),
}


def leaves(metrics: dict, path: str = ''):
    """Every number by its dotted path, null as None."""
    for key, value in metrics.items():
        if isinstance(value, dict):
            yield from leaves(value, f'{path}{key}.')
        elif isinstance(value, int | float) or value is None:
            yield f'{path}{key}', value


def from_arrays(made: synthetic.Synthetic, folder: Path) -> dict[str, float | None]:
    recording, run = synthetic.recording_of(made), synthetic.run_of(made)
    return dict(leaves(compute_metrics(recording, run, choose_reference(recording, [run]))))


def from_bag(made: synthetic.Synthetic, folder: Path) -> dict[str, float | None]:
    """The same through a real bag and the whole of replay."""
    bag = bag_rig.write_bag(folder / 'bag', sorted(messages(made), key=lambda m: m[1]))
    replayed = replay_bag(bag, ReplayOptions(policies=('recorded',), landmarks='recorded'))
    run, = replayed.runs
    reference = choose_reference(replayed.recording, replayed.runs)
    assert reference.kind == 'truth'
    return dict(leaves(compute_metrics(replayed.recording, run, reference)))


def messages(made: synthetic.Synthetic):
    """What a bag of the recording holds: topic, time of recording [ns], message."""
    names, run = synthetic.TABLE.names, synthetic.run_of(made)
    palm = hand()
    # Truth is in the person's terms: positive towards the thumb of the hand seen.
    sign = lean_sign(thumb_side_sign(palm), 'right', mirror=True)
    terms = np.array([sign if name in LEANING_JOINTS else 1.0 for name in names])
    truth = synthetic.recording_of(made).truth.position_rad * terms
    dot = np.full((8, 8, 3), 128, np.uint8)
    for place, time_ns in enumerate(made.frame_ns.tolist()):
        yield '/camera/image_raw/compressed', time_ns, bag_rig.packed_image(dot, time_ns)
        yield '/truth/joint_states', time_ns, bag_rig.joint_state(names, truth[place], time_ns)
        tracked = run.tracked[place]
        observation = seen(palm) if tracked else HandObservation(valid=False, stamp_s=0.0)
        yield '/hand/landmarks', time_ns, bag_rig.landmarks(observation, time_ns)
        if tracked:
            yield '/policy/joint_trajectory', time_ns, bag_rig.trajectory(
                names, run.target.position_rad[place], time_ns)
    arm = run.measured
    for time_ns, position in zip(arm.time_ns.tolist(), arm.position_rad, strict=True):
        yield '/joint_states', time_ns, bag_rig.joint_state(names, position, time_ns)
        yield '/joint_trajectory', time_ns, bag_rig.trajectory(names, position)


def first_match(patterns, path: str):
    return next((pattern for pattern in patterns if fnmatchcase(path, pattern)), None)


@pytest.fixture(scope='module', params=[from_arrays, from_bag], ids=['arrays', 'bag'])
def way(request):
    return request.param


@pytest.fixture(scope='module')
def sound(way, tmp_path_factory):
    return way(synthetic.sound(), tmp_path_factory.mktemp('sound'))


def test_the_table_and_the_faults_are_the_same():
    assert set(TABLE['faults']) == set(FAULTS)


def test_a_sound_arm_has_no_error(sound):
    assert sound['joint_error_deg.mean'] < 0.01
    assert sound['fingertip_error_mm.mean'] < 0.05
    assert sound['finger_states.hands'] == 1.0
    assert sound['silhouette_iou.mean'] > 0.999
    assert sound['lag_ms.all'] == pytest.approx(0.0, abs=0.1)
    assert sound['tracking.dropouts'] == sound['frames.missing'] == 0


@pytest.mark.parametrize('fault', FAULTS)
def test_fault_moves_what_the_table_says_and_nothing_else(fault, way, sound, tmp_path):
    moves, wrong, used = TABLE['faults'][fault]['moves'], [], set()
    found = way(FAULTS[fault](), tmp_path)
    assert set(found) == set(sound)
    for path, before in sound.items():
        after = found[path]
        if first_match(TABLE['follows'], path):
            continue
        pattern = first_match(moves, path)
        if pattern is not None:
            used.add(pattern)
            if moves[pattern] == 'unknown':
                good = before is not None and after is None
            else:
                least, most = moves[pattern]
                good = None not in (before, after) and (
                    least - 1e-9 <= after - before <= most + 1e-9)
        elif before is None or after is None:
            good = before is after
        else:
            tolerance = TABLE['unaffected'][first_match(TABLE['unaffected'], path)]
            good = abs(after - before) <= tolerance
        if not good:
            wrong.append(f'{path}: {before} -> {after}, by {pattern or "unaffected"}')
    assert not wrong, '\n'.join(wrong)
    assert set(moves) == used, f'no such metrics: {set(moves) - used}'
