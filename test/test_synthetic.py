import numpy as np
import pytest

pytest.importorskip('anny')
pytest.importorskip('torch')

from hand_imitation.human import synthetic_motion as motion  # noqa: E402
from hand_imitation.human.angles import FINGERS, HAND_JOINTS, JOINTS, finger_angles  # noqa: E402
from hand_imitation.human.synthetic import (  # noqa: E402
    Person,
    Pose,
    View,
    rotation_xyz,
    true_angles,
)
from hand_imitation.human.synthetic_mesh import load_body, reshape  # noqa: E402
from hand_imitation.human.synthetic_raster import Camera, vertex_normals  # noqa: E402
from hand_imitation.human.synthetic_render import DAYLIGHT, render  # noqa: E402
from hand_imitation.human.synthetic_skin import LIGHT_SKIN, skin_colours  # noqa: E402

VIEW = View(np.array([0.0, 0.3, 0.8]))
STRAIGHT = Pose()
BENT = Pose(dict.fromkeys(HAND_JOINTS, 1.2) | {'wrist': 0.3, 'elbow': -0.4},
            {'index': 0.1, 'little': -0.2}, thumb_across=0.5)
POSES = {'straight': STRAIGHT, 'bent': BENT, 'rest': motion.rest(), 'fist': motion.fist(),
         'digit 2': motion.digit(2), 'pinch': motion.pinch(),
         'leaning': motion.lean(motion.spread(), wrist=-0.35, elbow=0.5)}


@pytest.fixture(scope='module')
def body():
    return load_body(subdivisions=1)


@pytest.mark.parametrize('name', POSES)
@pytest.mark.parametrize('side', ['left', 'right'])
def test_the_formulas_give_the_angles_asked_for(body, name, side):
    joints = Person(body, side).pose(POSES[name], VIEW).joints
    wanted = [POSES[name].angles.get(joint, 0.0) for joint in JOINTS]
    np.testing.assert_allclose(true_angles(joints, side), wanted, atol=np.radians(0.5))


def test_finger_angles_do_not_depend_on_the_view(body):
    person = Person(body)
    turned = View(np.array([0.1, 0.2, 0.7]), rotation_xyz(np.array([0.4, -0.6, 0.0])))
    np.testing.assert_allclose(finger_angles(person.pose(BENT, turned).joints[:21], 'right'),
                               finger_angles(person.pose(BENT, VIEW).joints[:21], 'right'),
                               atol=1e-6)


def test_the_left_hand_mirrors_the_right(body):
    elbow = np.array([0.0, 0.3, 0.8])
    right = Person(body, 'right').pose(BENT, View(elbow))
    left = Person(body, 'left').pose(BENT, View(elbow))
    np.testing.assert_allclose(left.vertices * [-1.0, 1.0, 1.0], right.vertices)
    # Faces are turned too, else the mirrored skin would face inwards.
    outward = vertex_normals(left.vertices, Person(body, 'left').faces)
    np.testing.assert_allclose(outward * [-1.0, 1.0, 1.0],
                               vertex_normals(right.vertices, body.faces), atol=1e-6)


def test_the_right_palm_faces_the_camera_with_its_thumb_to_the_picture_s_right(body):
    joints = Person(body).pose(motion.rest(), VIEW).joints
    assert joints[4, 0] > joints[20, 0]
    assert joints[12, 1] < joints[0, 1]
    bent = Person(body).pose(motion.fist(), VIEW).joints
    assert all(bent[chain[1], 2] < joints[chain[1], 2] - 0.01 for chain in FINGERS.values())


def test_bones_keep_their_length_in_every_pose(body):
    person = Person(body)
    for pose in POSES.values():
        joints = person.pose(pose, VIEW).joints
        for chain in FINGERS.values():
            np.testing.assert_allclose(
                np.linalg.norm(np.diff(joints[list(chain)], axis=0), axis=1),
                np.linalg.norm(np.diff(body.joints[list(chain)], axis=0), axis=1))


def test_joints_of_a_fist_stay_inside_the_skin(body):
    posed = Person(body).pose(motion.fist(), VIEW)
    outward = vertex_normals(posed.vertices, body.faces)
    for landmark, joint in enumerate(posed.joints[:21]):
        distance = np.linalg.norm(posed.vertices - joint, axis=1)
        at_rest = np.linalg.norm(body.vertices - body.joints[landmark], axis=1)
        assert 0.3 * at_rest.min() < distance.min() < 1.5 * at_rest.min()
        own = np.argsort(at_rest)[:6]
        outside = np.einsum('vi,vi->v', joint - posed.vertices[own], outward[own])
        assert outside.mean() < 0.0


def test_proportions_change_bone_by_bone(body):
    longer = reshape(body, {'index2': 1.2}, {'index2': 0.8})
    pip, dip = FINGERS['index'][1:3]
    before = np.linalg.norm(body.joints[dip] - body.joints[pip])
    assert np.linalg.norm(longer.joints[dip] - longer.joints[pip]) == pytest.approx(1.2 * before)
    np.testing.assert_allclose(longer.joints[9:13], body.joints[9:13])
    wanted = [motion.fist().angles.get(joint, 0.0) for joint in JOINTS]
    posed = Person(longer).pose(motion.fist(), VIEW)
    np.testing.assert_allclose(true_angles(posed.joints, 'right'), wanted, atol=np.radians(0.5))


def test_the_picture_shows_the_hand_where_its_joints_are(body):
    camera = Camera(320, 180, 375.0)
    background = np.zeros((180, 320, 3), dtype=np.float32)
    posed = Person(body).pose(motion.rest(), View(np.array([0.0, 0.31, 0.74])))
    colours, gloss = skin_colours(body, LIGHT_SKIN)
    picture = render(posed.vertices, body.faces, colours, gloss, camera, DAYLIGHT, background)
    assert picture.shape == (180, 320, 3) and picture.dtype == np.uint8
    for x, y in camera.project(posed.joints[:21]).astype(int):
        assert picture[y, x].max() > 60
    assert picture[:, :40].max() == 0
    # Skin: more red than green than blue.
    skin = picture[picture.max(axis=2) > 100].mean(axis=0)
    assert skin[0] > skin[1] > skin[2]


def test_movement_is_smooth_and_ends_where_it_should():
    keyframes = [motion.Keyframe('rest', motion.rest(), 0.0, 0.2),
                 motion.Keyframe('fist', motion.fist(), 0.5, 0.2)]
    poses = motion.play(keyframes, 30.0)
    assert len(poses) == 6 + 15 + 6
    assert poses[-1][1].angles == pytest.approx(dict(motion.fist().angles))
    path = np.array([pose.angles['index_distal'] for _, pose in poses])
    assert np.all(np.diff(path) >= 0.0)
    # A straight line would start at 1/15 of the way per frame.
    assert np.diff(path)[5] < 0.02 * np.ptp(path)
