import numpy as np
import pytest

from hand_imitation.arm.description import load_description
from hand_imitation.arm.joint_table import MAX_DESCRIPTION_BYTES, JointTable
from hand_imitation.errors import UserError

ORDER = (
    'thumb_proximal', 'thumb_distal', 'index_proximal', 'index_distal', 'middle_proximal',
    'middle_distal', 'ring_proximal', 'ring_distal', 'little_proximal', 'little_distal',
    'wrist', 'elbow')


def urdf(limit='<limit lower="-1" upper="1" velocity="2" effort="3"/>', kind='revolute',
         name='a'):
    return f'<robot name="r"><joint name="{name}" type="{kind}">{limit}</joint></robot>'


@pytest.fixture(scope='module')
def table():
    return JointTable.from_urdf(load_description())


def test_order_and_limits_are_those_of_the_design(table):
    assert table.names == ORDER
    assert len(table) == 12
    np.testing.assert_allclose(table.lower_rad, [0.0] * 10 + [-0.52, -1.04])
    np.testing.assert_allclose(table.upper_rad, [1.55] * 10 + [0.52, 1.04])
    assert (table.max_velocity_rad_s > 0).all()
    assert (table.max_effort_nm > 0).all()


def test_names_carry_no_prefix(table):
    prefixed = JointTable.from_urdf(load_description(prefix='arm1_'), prefix='arm1_')
    assert prefixed.names == table.names
    with pytest.raises(UserError, match='prefix'):
        JointTable.from_urdf(load_description(prefix='arm1_'), prefix='arm2_')


def test_arrays_are_read_only_and_copies(table):
    with pytest.raises(ValueError):
        table.lower_rad[0] = 1
    source = np.zeros(1)
    JointTable(('a',), source, source, source, source)
    source[0] = 5  # the caller's own array stays writable


def test_reorder_goes_by_name(table):
    values = np.arange(12.0)
    shuffled = np.random.default_rng(0).permutation(12)
    names = [ORDER[number] for number in shuffled]
    np.testing.assert_array_equal(table.reorder(names, values[shuffled]), values)


def test_reorder_fills_what_is_missing(table):
    some = table.reorder(['elbow', 'thumb_distal'], [0.5, 0.25])
    assert some[table.index('elbow')] == 0.5
    assert some[table.index('thumb_distal')] == 0.25
    assert np.isnan(some).sum() == 10
    # An integer must not turn the fractions into whole numbers.
    np.testing.assert_array_equal(table.reorder(['wrist'], [0.5], missing=0), [0] * 10 + [0.5, 0])


@pytest.mark.parametrize(('names', 'values'), [
    (['elbow', 'tail'], [0, 0]), (['elbow', 'elbow'], [0, 0]), (['elbow'], [0, 0]),
    (['elbow'], [[0]])])
def test_reorder_refuses(table, names, values):
    with pytest.raises(ValueError):
        table.reorder(names, values)


def test_index_of_unknown_name(table):
    with pytest.raises(ValueError):
        table.index('tail')


def test_clip(table):
    np.testing.assert_array_equal(table.clip(np.full(12, 9.0)), table.upper_rad)
    np.testing.assert_array_equal(table.clip(np.full((2, 12), -9.0)), [table.lower_rad] * 2)
    assert np.isnan(table.clip(np.full(12, np.nan))).all()


def test_mimic_and_fixed_joints_are_left_out():
    text = urdf().replace('</robot>', '<joint name="b" type="fixed"/><joint name="c" '
                          'type="revolute"><mimic joint="a"/></joint></robot>')
    assert JointTable.from_urdf(text).names == ('a',)


@pytest.mark.parametrize(('text', 'reason'), [
    ('', 'not XML'),
    ('not xml', 'not XML'),
    (urdf()[:-9], 'not XML'),
    ('<sdf/>', 'starts with <sdf>'),
    ('<robot name="r"/>', 'no movable joints'),
    (urdf(limit=''), 'no limits'),
    (urdf(kind='continuous'), 'type continuous'),
    (urdf(name=''), 'without a name'),
    (urdf(limit='<limit lower="1" upper="-1" velocity="2" effort="3"/>'), 'above its upper'),
    (urdf(limit='<limit lower="-1" upper="inf" velocity="2" effort="3"/>'), 'upper='),
    (urdf(limit='<limit lower="nan" upper="1" velocity="2" effort="3"/>'), 'lower='),
    (urdf(limit='<limit lower="x" upper="1" velocity="2" effort="3"/>'), 'lower='),
    (urdf(limit='<limit lower="-1" upper="1" effort="3"/>'), 'velocity='),
    (urdf(limit='<limit lower="-1" upper="1" velocity="0" effort="3"/>'), 'above zero'),
    (urdf().replace('</robot>', urdf()[16:]), 'two joints named a'),
    ('<!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/passwd">]><robot name="&e;"/>', 'DOCTYPE'),
    (urdf() + ' ' * MAX_DESCRIPTION_BYTES, 'larger than'),
])
def test_broken_descriptions_are_refused_in_one_line(text, reason):
    with pytest.raises(UserError, match=reason) as caught:
        JointTable.from_urdf(text)
    assert '\n' not in str(caught.value)
