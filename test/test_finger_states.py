"""The score of finger states, on made-up hands and on the real photographs."""

import pytest
from shared_data import real_hands

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import JointTable
from hand_imitation.cli.predict import predict_file
from hand_imitation.errors import UserError
from hand_imitation.evaluation.finger_states import (
    FOUR_FINGERS,
    LabelledImage,
    extended_fingers,
    read_labels,
    score,
)
from hand_imitation.evaluation.photographs import look, score_photographs
from hand_imitation.human.perception import StillPerception
from hand_imitation.policy.geometric import GeometricPolicy

HEADER = 'file,digit,thumb,index,middle,ring,little\n'


def joints(curled=(), **angles):
    """Angles of a hand whose named fingers are curled."""
    values = {}
    for finger in ('thumb', *FOUR_FINGERS):
        bend = 0.8 if finger in curled else 0.1
        values |= {f'{finger}_proximal': bend, f'{finger}_distal': bend}
    return values | angles


def image(digit, person, extended='', thumb=None):
    """A labelled image whose named fingers, by initial, are extended."""
    labels = {finger: finger[0] in extended for finger in FOUR_FINGERS}
    if thumb is not None:
        labels['thumb'] = thumb
    return LabelledImage(f'{digit}_{person:03d}.jpg', digit, person, labels)


def test_curled_is_more_than_one_radian_in_both_joints_together():
    found = extended_fingers(joints(
        index_proximal=0.5, index_distal=0.5, middle_proximal=0.5, middle_distal=0.501,
        ring_proximal=1.5, ring_distal=0.0, little_proximal=0.0, little_distal=0.99))
    assert found == {
        'thumb': True, 'index': True, 'middle': False, 'ring': False, 'little': True}


def test_shares_of_fingers_and_hands():
    images = [image(5, 0, 'imrl'), image(5, 29, 'imrl'), image(0, 30), image(0, 59)]
    figures = score(images, [
        joints(), joints(curled=('ring',)), joints(curled=FOUR_FINGERS), joints()])
    assert figures['people'] == {
        '000-029': {'images': 2, 'undetected': 0, 'fingers_right': 7 / 8, 'hands_right': 0.5},
        '030-059': {'images': 2, 'undetected': 0, 'fingers_right': 0.5, 'hands_right': 0.5},
        'all': {'images': 4, 'undetected': 0, 'fingers_right': 11 / 16, 'hands_right': 0.5},
    }
    assert figures['digits'] == {
        '0': dict.fromkeys(FOUR_FINGERS, 0.5),
        '5': {'index': 1.0, 'middle': 1.0, 'ring': 0.5, 'little': 1.0}}


def test_undetected_counts_as_four_wrong():
    figures = score([image(0, 1), image(0, 2)], [None, joints(curled=FOUR_FINGERS)])
    assert figures['people']['all'] == {
        'images': 2, 'undetected': 1, 'fingers_right': 0.5, 'hands_right': 0.5}
    assert figures['confusion']['index']['undetected'] == 1


def test_confusion_tells_the_two_mistakes_apart():
    images = [image(1, 0, 'i'), image(1, 1, 'i'), image(1, 2, 'i')]
    figures = score(images, [
        joints(curled=('middle', 'ring', 'little')), joints(curled=FOUR_FINGERS), joints()])
    assert figures['confusion']['index'] == {
        'right': 2, 'extended_taken_for_curled': 1, 'curled_taken_for_extended': 0,
        'undetected': 0}
    assert figures['confusion']['little'] == {
        'right': 2, 'extended_taken_for_curled': 0, 'curled_taken_for_extended': 1,
        'undetected': 0}


def test_thumb_is_scored_apart_and_only_where_it_is_labelled():
    images = [image(5, 0, 'imrl', thumb=True), image(4, 0, 'imrl', thumb=False), image(0, 0)]
    figures = score(images, [joints(), joints(), joints(curled=FOUR_FINGERS)])
    assert figures['people']['all']['hands_right'] == 1.0
    assert figures['thumb']['right'] == 0.5
    assert figures['thumb']['digits'] == {'4': 0.0, '5': 1.0}
    assert figures['thumb']['confusion'] == {
        'right': 1, 'extended_taken_for_curled': 0, 'curled_taken_for_extended': 1,
        'undetected': 0}


def test_share_of_nothing_is_none():
    figures = score([image(0, 0)], [joints(curled=FOUR_FINGERS)])
    assert figures['people']['030-059']['fingers_right'] is None
    assert figures['thumb']['right'] is None


def test_every_image_needs_an_answer():
    with pytest.raises(ValueError):
        score([image(0, 0), image(0, 1)], [joints()])


def test_labels_are_read(tmp_path):
    path = tmp_path / 'labels.csv'
    path.write_text(f'{HEADER}0_007.jpg,0,,0,0,0,0\n1_059.jpg,1,0,1,0,0,0\n')
    assert read_labels(path) == [image(0, 7), image(1, 59, 'i', thumb=False)]


@pytest.mark.parametrize('content', [
    None,
    'other,columns\n1,2\n',
    f'{HEADER}0_000.jpg,0,,x,0,0,0\n',
    f'{HEADER}0_000.jpg,0,,0,0,0,\n',
    f'{HEADER}name.jpg,0,,0,0,0,0\n',
    f'{HEADER}0_000.jpg,zero,,0,0,0,0\n',
])
def test_bad_labels_are_refused_in_one_line(tmp_path, content):
    path = tmp_path / 'labels.csv'
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match='labels.csv') as caught:
        read_labels(path)
    assert '\n' not in str(caught.value)


def test_real_photographs():
    """All 600 of them; what `predict` prints for a photograph is what is scored."""
    folder, table = real_hands('sign_digits'), JointTable.from_urdf(load_description())
    photographs = look(folder)
    policy = GeometricPolicy(table)
    people = score_photographs(photographs, policy)['people']
    assert people['all']['images'] == 600
    assert people['all']['fingers_right'] >= 0.985
    assert people['030-059']['fingers_right'] >= 0.985
    perception = StillPerception()
    for row in (0, 300, 599):
        printed = predict_file(folder / photographs.labels[row].file, perception, policy)
        policy.reset()
        scored = policy.act(photographs.seen[row], None, 0.0).as_dict()
        assert printed['joints'] == {name: round(value, 4) for name, value in scored.items()}
    perception.close()
