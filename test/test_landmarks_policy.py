"""The landmarks policy: features, networks, estimate, and what leads the joints."""

from dataclasses import replace

import numpy as np
import pytest

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.errors import UserError
from hand_imitation.human.angles import HAND_JOINTS, JOINTS
from hand_imitation.human.observation import HandObservation
from hand_imitation.policy.base import JointTargets
from hand_imitation.policy.checkpoint import Checkpoint
from hand_imitation.policy.landmarks import LandmarksParameters, LandmarksPolicy
from hand_imitation.policy.landmarks_controller import (
    CONTROLLER_INPUTS,
    CONTROLLER_VERSION,
    HISTORY,
    Past,
    controller_inputs,
)
from hand_imitation.policy.landmarks_network import (
    ESTIMATE_VERSION,
    ESTIMATES,
    FEATURES,
    LOG_LENGTHS,
    Network,
    landmark_features,
)
from hand_imitation.policy.landmarks_observation import observation_sizes

TABLE = JointTable.from_urdf(load_description())
RAW = LandmarksParameters(smooth=False)
ESTIMATE = {'version': ESTIMATE_VERSION, 'inputs': FEATURES, 'hidden': [16],
            'outputs': len(ESTIMATES), 'max_deviation': 5.0}
PREDICTOR = {'version': CONTROLLER_VERSION, 'inputs': CONTROLLER_INPUTS, 'hidden': [16],
             'outputs': 1, 'residual_rad': 0.5}
CONTROLLER = {**PREDICTOR, 'inputs': CONTROLLER_INPUTS + 1, 'residual_rad': 0.25,
              'sees': 'joints'}


def tensors_of(name, layout, seed=0, size=1.0):
    """Random tensors for a network."""
    random = np.random.default_rng(seed)
    sizes = [layout['inputs'], *layout['hidden'], layout['outputs']]
    found = {f'{name}.mean': random.normal(0.0, 0.1, sizes[0]),
             f'{name}.scale': random.uniform(0.5, 1.5, sizes[0])}
    for place, (inputs, outputs) in enumerate(zip(sizes, sizes[1:], strict=False)):
        found[f'{name}.{place}.weight'] = random.normal(0.0, size / inputs ** 0.5,
                                                        (outputs, inputs))
        found[f'{name}.{place}.bias'] = random.normal(0.0, 0.1, outputs)
    return {key: values.astype(np.float32) for key, values in found.items()}


def checkpoint_of(**layouts):
    """A checkpoint with random networks."""
    tensors = {}
    for seed, (name, layout) in enumerate(layouts.items()):
        tensors.update(tensors_of(name, layout, seed, size=3.0))
    return Checkpoint('landmarks', tensors, layouts, {}, {}, '', 'made_up')


def hand(random=None, **changes):
    """An observed hand."""
    random = random or np.random.default_rng(0)
    x = np.linspace(-0.04, 0.04, 21)
    world = np.column_stack([x, -np.abs(x) - 0.02 * np.arange(21) / 21, 0.3 * x])
    world = world + random.normal(0.0, 0.01, (21, 3))
    return replace(HandObservation(
        valid=True, stamp_s=0.0, image_points=world[:, :2] * 1000.0 + 300.0, world_points=world,
        side='right', score=0.9, forearm_direction=np.array([0.1, -0.995]),
        forearm_source='skin'), **changes)


def features_of(observation):
    return landmark_features(
        observation.world_points[np.newaxis], observation.image_points[np.newaxis],
        np.array([observation.side == 'right']), np.array([observation.score]),
        observation.forearm_direction[np.newaxis],
        np.array([observation.forearm_source == 'skin']))[0]


def run(policy, frames, joints=None, start=0.0):
    """Let a policy act on one hand after another at 30 Hz."""
    random = np.random.default_rng(3)
    told = []
    for frame in range(frames):
        stamp_s = start + frame / 30.0
        told.append(policy.act(hand(random, stamp_s=stamp_s), joints, stamp_s))
    return told


def test_features_do_not_depend_on_place_size_and_side():
    plain = hand()
    moved = replace(plain, world_points=1.3 * plain.world_points + [0.1, 0.2, 0.3],
                    image_points=0.5 * plain.image_points + 77.0)
    mirror = np.array([-1.0, 1.0, 1.0])
    left = replace(plain, world_points=plain.world_points * mirror,
                   image_points=plain.image_points * mirror[:2], side='left',
                   forearm_direction=plain.forearm_direction * mirror[:2])
    expected = features_of(plain)
    changed = features_of(moved)
    # The logarithms of lengths are in lengths of the palm, too.
    np.testing.assert_allclose(changed, expected, atol=1e-5)
    np.testing.assert_allclose(features_of(left), expected, atol=1e-5)
    assert np.exp(expected[LOG_LENGTHS]).min() > 0.0


def test_only_leans_tell_that_a_hand_is_rolled():
    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    plain = hand()
    world = plain.world_points.copy()
    world[:, :2] = world[:, :2] @ turn.T
    rolled = replace(plain, world_points=world, image_points=plain.image_points @ turn.T,
                     forearm_direction=turn @ plain.forearm_direction)
    difference = np.abs(features_of(rolled) - features_of(plain))
    assert set(np.flatnonzero(difference > 1e-5)) <= set(range(135, 141))
    assert difference.max() > 0.1


@pytest.mark.parametrize('layout', [ESTIMATE, {'inputs': 7, 'hidden': [5, 4], 'outputs': 2}])
def test_the_network_computes_what_torch_computes(layout):
    torch = pytest.importorskip('torch')
    from hand_imitation.policy.landmarks_network import build_mlp, mlp_tensors

    torch.manual_seed(0)
    module = build_mlp(layout).eval()
    module.mean.uniform_(-0.5, 0.5)
    module.scale.uniform_(0.5, 3.0)
    inputs = np.random.default_rng(1).normal(0.0, 4.0, (9, layout['inputs'])).astype(np.float32)
    network = Network(Checkpoint('landmarks', mlp_tensors(module, 'x'), {}, {}, {}, ''), 'x',
                      layout)
    with torch.no_grad():
        expected = module(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(network(inputs), expected, rtol=1e-4, atol=1e-5)
    # One by one, too: inference is on single pictures.
    np.testing.assert_allclose(network(inputs[:1]), expected[:1], rtol=1e-4, atol=1e-5)


def test_a_single_picture_gives_the_estimate_alone():
    alone = LandmarksPolicy(TABLE, checkpoint_of(estimate=ESTIMATE), RAW)
    led = LandmarksPolicy(
        TABLE, checkpoint_of(estimate=ESTIMATE, predictor=PREDICTOR, controller=CONTROLLER))
    assert led.uses_joint_positions and not alone.uses_joint_positions
    for seed in range(3):
        seen = hand(np.random.default_rng(seed))
        led.reset()
        alone.reset()
        first, expected = led.act(seen, None, 0.0), alone.act(seen, None, 0.0)
        np.testing.assert_allclose(first.positions_rad, expected.positions_rad)


@pytest.mark.parametrize('layouts', [
    {'estimate': ESTIMATE, 'predictor': PREDICTOR},
    {'estimate': ESTIMATE, 'predictor': PREDICTOR, 'controller': CONTROLLER},
    {'estimate': ESTIMATE, 'controller': CONTROLLER},
])
def test_controllers_stay_near_the_estimate_and_within_limits(layouts):
    checkpoint = checkpoint_of(**layouts)
    led = LandmarksPolicy(TABLE, checkpoint, RAW)
    raw = LandmarksPolicy(TABLE, checkpoint, LandmarksParameters(
        smooth=False, use_controller=False))
    reach = sum(layout['residual_rad'] for name, layout in layouts.items() if name != 'estimate')
    moved = 0.0
    for ours, plain in zip(run(led, 20, np.full(12, 0.4)), run(raw, 20), strict=True):
        assert ours.names == JOINTS
        order = [TABLE.index(name) for name in JOINTS]
        assert (ours.positions_rad >= TABLE.lower_rad[order] - 1e-9).all()
        assert (ours.positions_rad <= TABLE.upper_rad[order] + 1e-9).all()
        apart = np.abs(ours.positions_rad - plain.positions_rad)
        assert apart[:len(HAND_JOINTS)].max() <= reach + 1e-6
        np.testing.assert_allclose(apart[len(HAND_JOINTS):], 0.0, atol=1e-9)
        moved = max(moved, apart.max())
    assert moved > 0.01


def test_what_is_measured_and_what_is_not_makes_a_difference_and_no_nan():
    led = LandmarksPolicy(TABLE, checkpoint_of(estimate=ESTIMATE, predictor=PREDICTOR))
    told = []
    for joints in (None, np.full(12, np.nan), np.full(12, 0.9)):
        led.reset()
        told.append(np.array([one.positions_rad for one in run(led, 5, joints)]))
    assert np.isfinite(told).all()
    np.testing.assert_array_equal(told[0], told[1])
    assert np.abs(told[2] - told[0]).max() > 1e-3


def test_pictures_that_did_not_come_leave_slots_unseen():
    led = LandmarksPolicy(TABLE, checkpoint_of(estimate=ESTIMATE, predictor=PREDICTOR))
    run(led, 5)
    led.act(hand(stamp_s=7.0 / 30.0), None, 7.0 / 30.0)
    past = led._controller._past
    assert past.seen[0, :6].tolist() == [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    np.testing.assert_array_equal(past.goals[0, 1], past.goals[0, 2])
    # A camera of 60 Hz refreshes its slot.
    run(led, 40, start=1.0)
    led.reset()
    for frame in range(12):
        led.act(hand(stamp_s=frame / 60.0), None, frame / 60.0)
    assert led._controller._past.seen.sum() in (6.0, 7.0)


def test_after_a_long_gap_the_past_is_forgotten():
    checkpoint = checkpoint_of(estimate=ESTIMATE, predictor=PREDICTOR)
    policy, fresh = LandmarksPolicy(TABLE, checkpoint), LandmarksPolicy(TABLE, checkpoint)
    run(policy, 10)
    seen = hand(stamp_s=2.0)
    np.testing.assert_array_equal(policy.act(seen, None, 2.0).positions_rad,
                                  fresh.act(seen, None, 2.0).positions_rad)


@pytest.mark.parametrize('changes', [
    {'valid': False}, {'settled': False},
    {'world_points': np.full((21, 3), np.nan)}, {'image_points': np.full((21, 2), np.inf)},
])
def test_there_is_no_telling_without_a_proper_hand(changes):
    policy = LandmarksPolicy(TABLE, checkpoint_of(estimate=ESTIMATE))
    assert policy.act(hand(**changes), None, 0.0) is None


def test_wrist_and_elbow_are_left_out_where_no_forearm_is_seen():
    policy = LandmarksPolicy(
        TABLE, checkpoint_of(estimate=ESTIMATE, predictor=PREDICTOR))
    for frame in range(3):
        targets = policy.act(hand(forearm_direction=None, forearm_source='none',
                                  stamp_s=frame / 30.0), None, frame / 30.0)
        assert isinstance(targets, JointTargets)
        assert targets.names == HAND_JOINTS and len(targets.positions_rad) == 10


def test_a_skeleton_of_other_bones_is_passed_over():
    policy = LandmarksPolicy(TABLE, checkpoint_of(estimate=ESTIMATE))
    for frame in range(20):
        assert policy.act(hand(stamp_s=frame / 30.0), None, frame / 30.0) is not None
    wild = hand().world_points.copy()
    wild[::2] *= 5.0
    assert policy.act(hand(world_points=wild, stamp_s=0.7), None, 0.7) is None


def test_an_actor_of_the_landmarks_environment_leads_without_an_estimate():
    sizes = observation_sizes(1, 12)
    actor = {'inputs': sum(sizes.values()), 'hidden': [16], 'outputs': 12, 'history': 1,
             'action': 'absolute', 'squash': 'tanh'}
    policy = LandmarksPolicy(TABLE, checkpoint_of(controller=actor))
    told = run(policy, 3, np.zeros(12))
    positions = np.array([one.positions_rad for one in told])
    assert np.isfinite(positions).all() and np.ptp(positions) > 0.1


@pytest.mark.parametrize(('layouts', 'word'), [
    ({'estimate': {**ESTIMATE, 'version': 99}}, 'another version'),
    ({'estimate': ESTIMATE, 'predictor': {**PREDICTOR, 'outputs': 2}}, 'another version'),
    ({'controller': {'inputs': 7, 'hidden': [], 'outputs': 12, 'history': 1,
                     'action': 'absolute'}}, 'another form'),
    ({}, 'holds neither'),
])
def test_checkpoints_that_do_not_fit_are_refused_with_the_reason(layouts, word):
    with pytest.raises(UserError, match=word):
        LandmarksPolicy(TABLE, checkpoint_of(**layouts))


def test_the_controller_sees_each_joint_by_itself():
    past = Past(2)
    past.begin(slice(None), np.tile(np.linspace(0.1, 1.0, 10), (2, 1)))
    estimates = past.estimates[:, 0].copy()
    estimates[1, 4] += 0.2
    past.add(estimates, np.array([True, True]))
    told = controller_inputs(past, np.full((2, 10), np.nan))
    assert told.shape == (2, 10, CONTROLLER_INPUTS) and np.isfinite(told).all()
    changed = np.abs(told[1] - told[0]).max(axis=1)
    assert changed[4] == pytest.approx(0.2, abs=1e-6)
    # The difference to the estimate before is the first of the history.
    assert told[1, 4, 1] == pytest.approx(-0.2, abs=1e-6)
    assert told[0, 4, HISTORY:2 * HISTORY].tolist() == [1.0, 1.0] + [0.0] * (HISTORY - 2)
