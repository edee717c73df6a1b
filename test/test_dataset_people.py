import numpy as np
import pytest

pytest.importorskip('anny')
pytest.importorskip('torch')

from hand_imitation.human.angles import FINGERS, HAND_JOINTS, finger_angles  # noqa: E402
from hand_imitation.human.synthetic import Person, Pose, true_angles  # noqa: E402
from hand_imitation.human.synthetic_mesh import BONES  # noqa: E402
from hand_imitation.human.synthetic_raster import rasterise  # noqa: E402
from hand_imitation.learning import contacts, rendering  # noqa: E402
from hand_imitation.learning.people import Arm, Model, draw_traits  # noqa: E402
from hand_imitation.learning.poses import (  # noqa: E402
    FAMILIES,
    FREE_FAMILIES,
    HELD_OUT_FAMILIES,
    draw_pose,
)
from hand_imitation.learning.rendering import Crop, Light, pose_skin  # noqa: E402

BENT = Pose({'index_proximal': 0.8, 'middle_distal': 1.1, 'ring_proximal': 0.3,
             'little_distal': 0.6, 'thumb_proximal': 0.3, 'thumb_distal': 0.2},
            {'index': 0.1, 'little': -0.2}, thumb_across=0.3)
ARM = Arm(np.eye(3), 0.1, 0.2, np.array([0.02, -0.01, 0.5]))
LIGHT = Light(np.array([0.3, -0.5, -0.8]), np.ones(3), np.array([-1.0, 0.0, 0.0]),
              np.zeros(3), 0.3 * np.ones(3), 0.2 * np.ones(3))


@pytest.fixture(scope='module')
def people():
    random = np.random.default_rng(5)
    return [Model(draw_traits(random)) for _ in range(3)]


def in_front(model, pose, side, arm=ARM):
    return model.hold(*model.fingers(pose), arm, side)


@pytest.mark.parametrize('side', ['left', 'right'])
def test_the_asked_angles_are_reached(people, side):
    for model in people:
        joints, _, _ = in_front(model, BENT, side)
        wanted = [BENT.angles.get(name, 0.0) for name in HAND_JOINTS]
        np.testing.assert_allclose(finger_angles(joints[:21], side), wanted,
                                   atol=np.radians(3.0))


def test_the_wrist_leans_to_the_thumb_on_both_sides(people):
    for side in ('left', 'right'):
        angles = [true_angles(in_front(people[0], BENT, side, Arm(
            np.eye(3), lean, 0.0, ARM.centre_m))[0], side)[10] for lean in (0.0, 0.3)]
        assert angles[1] - angles[0] == pytest.approx(0.3, abs=0.05)


def test_the_left_hand_mirrors_the_right(people):
    model = people[0]
    centred = Arm(np.eye(3), 0.1, 0.2, np.array([0.0, 0.0, 0.5]))
    meshes = {side: pose_skin(model, *in_front(model, BENT, side, centred)[1:], side)
              for side in ('left', 'right')}
    mirror = np.array([-1.0, 1.0, 1.0])
    np.testing.assert_allclose(meshes['left'].vertices * mirror, meshes['right'].vertices,
                               atol=1e-6)
    np.testing.assert_allclose(meshes['left'].normals * mirror, meshes['right'].normals,
                               atol=1e-4)


def test_skin_moves_as_the_exact_person_does(people):
    model = people[0]
    joints, rotations, offsets = in_front(model, BENT, 'right')
    ours = pose_skin(model, rotations, offsets, 'right').vertices
    transforms = {bone: (rotations[i], offsets[i])
                  for i, bone in enumerate(BONES)}
    exact = Person._skin(model, transforms)
    # Four bones a vertex instead of all.
    assert np.abs(ours - exact).max() < 0.002


def test_it_sees_what_the_exact_rasteriser_sees(people):
    model = people[0]
    joints, rotations, offsets = in_front(model, BENT, 'right')
    mesh = pose_skin(model, rotations, offsets, 'right')
    crop = Crop(np.zeros(2), 0.5, 96)
    _, face, _ = rendering._visible(
        np.concatenate([crop.project(mesh.vertices), mesh.vertices[:, 2:]], axis=1),
        mesh.faces, 96, both_sides=False)
    exact = rasterise(crop.project(mesh.vertices), mesh.vertices[:, 2], mesh.faces, 96, 96)
    expected = np.full(96 * 96, -1)
    expected[exact.pixel] = exact.face
    assert (expected >= 0).mean() > 0.1
    assert (face == expected).mean() > 0.995


def test_light_from_the_left_lights_the_left(people):
    model = people[0]
    joints, rotations, offsets = in_front(model, Pose(), 'right')
    mesh = pose_skin(model, rotations, offsets, 'right')
    crop = Crop(np.array([0.0, 0.0]), 0.6, 64)
    means = []
    for x in (-1.0, 1.0):
        light = Light(np.array([x, 0.0, -0.3]), np.ones(3), np.array([0.0, 0.0, -1.0]),
                      np.zeros(3), 0.1 * np.ones(3), 0.1 * np.ones(3))
        layer = rendering.draw(mesh, model, crop, light)
        columns = np.nonzero(layer[..., 3] > 0.9)[1]
        brightness = layer[..., 1][layer[..., 3] > 0.9]
        means.append(np.average(columns, weights=brightness))
    assert means[0] < means[1] - 0.5


@pytest.mark.filterwarnings('error')
def test_a_forearm_that_ends_in_the_cameras_plane_is_drawn_without_its_end(people):
    model = people[0]
    joints, rotations, offsets = in_front(model, Pose(), 'right')
    mesh = pose_skin(model, rotations, offsets, 'right')
    light = Light(np.array([0.0, 0.0, -1.0]), np.ones(3), np.array([0.0, 0.0, -1.0]),
                  np.zeros(3), 0.1 * np.ones(3), 0.1 * np.ones(3))
    lowest = mesh.vertices[:, 1].argmax()
    layers = []
    for depth_m in (0.0, -0.05):
        mesh.vertices[lowest, 2] = depth_m
        layers.append(rendering.draw(mesh, model, Crop(np.zeros(2), 0.6, 64), light))
    assert np.isfinite(layers[0]).all() and (layers[0][..., 3] > 0.9).sum() > 100
    assert np.abs(layers[0] - layers[1]).max() < 0.02


def test_the_thumb_shades_the_palm(people):
    model = people[0]
    crossed = Pose({'thumb_proximal': 0.9, 'thumb_distal': 0.5}, thumb_across=0.7)
    joints, rotations, offsets = in_front(model, crossed, 'right')
    mesh = pose_skin(model, rotations, offsets, 'right')
    shadow, nearest = rendering._shadow_map(mesh, np.array([0.0, 0.0, -1.0]), 0.002)
    # Seen from a lamp at the camera, the thumb's tip is nearer than the palm behind it.
    tip = joints[4]
    column = int((tip @ np.array(shadow.right) - shadow.low_right) * shadow.scale)
    row = int((tip @ np.array(shadow.down) - shadow.low_down) * shadow.scale)
    assert nearest[row * shadow.size + column] < joints[[0, 5, 9]][:, 2].mean() - 0.015


@pytest.mark.parametrize('finger', FINGERS)
def test_thumb_and_finger_touch(people, finger):
    for model in people:
        start = Pose({**{f'{name}_proximal': 0.1 for name in FINGERS},
                      **{f'{name}_distal': 0.1 for name in FINGERS},
                      f'{finger}_proximal': 0.9, f'{finger}_distal': 0.9,
                      'thumb_proximal': 0.6, 'thumb_distal': 0.4},
                     thumb_across=0.4 + 0.15 * list(FINGERS).index(finger))
        joints, _ = model.rough(contacts.touch_tip(model, start, finger))
        gap = np.linalg.norm(joints[4] - joints[FINGERS[finger][3]])
        assert 0.008 < gap < 0.027 if finger == 'little' else 0.010 < gap < 0.017


def test_overlap_is_seen(people):
    joints, _ = people[0].rough(Pose())
    assert contacts.overlap_m(joints) < 0.0
    through = joints.copy()
    through[4] = joints[6]
    assert contacts.overlap_m(through) > 0.01


@pytest.mark.parametrize('family', [*FAMILIES, *FREE_FAMILIES, *HELD_OUT_FAMILIES])
def test_every_family_is_what_a_hand_can_do(people, family, monkeypatch):
    held_out, free = family in HELD_OUT_FAMILIES, float(family in FREE_FAMILIES)
    for table in (FAMILIES, FREE_FAMILIES, HELD_OUT_FAMILIES):
        if family in table:
            for other in set(table) - {family}:
                monkeypatch.delitem(table, other)
    random = np.random.default_rng(2)
    clear = 0
    for i in range(12):
        model = people[i % 3]
        name, pose = draw_pose(random, model, held_out, free)
        assert name == family
        joints, _ = model.fingers(pose)
        angles = finger_angles(joints[:21], 'right')
        assert (angles[2::2] > -0.65).all() and (angles[2::2] < 1.75).all()
        assert (angles[3::2] > -0.25).all() and (angles[3::2] < 2.0).all()
        clear += contacts.overlap_m(joints) < 0.010
    assert clear >= 10


def test_free_poses_cover_what_fingers_can_do_but_for_the_families_of_the_test(people):
    random = np.random.default_rng(3)
    poses = [draw_pose(random, people[0], free=1.0)[1] for _ in range(400)]
    bends = np.array([[[pose.angles[f'{finger}_{joint}'] for joint in ('proximal', 'distal')]
                       for finger in ('index', 'middle', 'ring', 'little')] for pose in poses])
    proximal, distal = bends[..., 0], bends[..., 1]
    assert np.abs(np.corrcoef(proximal.ravel(), distal.ravel())[0, 1]) < 0.15
    assert not ((proximal < 0.1) & (distal > 0.6) & (distal < 1.3)).all(axis=1).any()
    assert not ((proximal > 1.0) & (distal < 0.3)).all(axis=1).any()
