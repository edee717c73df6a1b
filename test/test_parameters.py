import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hand_imitation.errors import UserError
from hand_imitation.parameters import allowed, check, from_mapping, parameter


@dataclasses.dataclass(frozen=True)
class Example:
    rate_hz: float = parameter(30.0, 'Cycles in a second', lower=1.0, upper=100.0, unit='Hz')
    joints: int = parameter(12, 'How many joints', lower=1)
    mirror: bool = parameter(True, 'Move like a mirror')
    policy: str = parameter('landmarks', 'Which policy', choices=('geometric', 'landmarks'))
    title: str = parameter('', 'Any text')


def message(mapping):
    with pytest.raises(UserError) as caught:
        from_mapping(Example, mapping)
    text = str(caught.value)
    assert '\n' not in text
    return text


def test_empty_mapping_gives_defaults():
    assert from_mapping(Example, {}) == Example()


def test_given_values_are_used():
    given_values = {
        'rate_hz': 60.0, 'joints': 3, 'mirror': False, 'policy': 'geometric', 'title': 'x',
    }
    assert dataclasses.asdict(from_mapping(Example, given_values)) == given_values


def test_whole_number_becomes_float():
    rate = from_mapping(Example, {'rate_hz': 60}).rate_hz
    assert isinstance(rate, float) and rate == 60.0


def test_numpy_numbers_are_numbers():
    built = from_mapping(Example, {'rate_hz': np.float32(60), 'joints': np.int64(3)})
    assert built == Example(rate_hz=60.0, joints=3)
    assert type(built.joints) is int


@pytest.mark.parametrize('bound', [1.0, 100.0])
def test_bounds_are_inclusive(bound):
    assert from_mapping(Example, {'rate_hz': bound}).rate_hz == bound


@pytest.mark.parametrize('value', [
    True, '60', None, [60.0], math.nan, math.inf, -math.inf, 0.999, 100.001, 1j,
    10**400,
])
def test_bad_float_is_refused(value):
    text = message({'rate_hz': value})
    assert 'rate_hz' in text and 'from 1.0 to 100.0' in text and 'Hz' in text


@pytest.mark.parametrize('mapping', [
    {'joints': 3.0}, {'joints': True}, {'joints': '3'}, {'joints': 0},
    {'mirror': 1}, {'mirror': 'true'}, {'mirror': None},
    {'policy': 'pixels'}, {'policy': 3}, {'title': 3}, {'title': b'x'},
])
def test_other_bad_values_are_refused(mapping):
    (key, value), = mapping.items()
    text = message(mapping)
    assert key in text and repr(value) in text


def test_message_lists_choices():
    assert 'one of geometric, landmarks' in message({'policy': 'pixels'})


@pytest.mark.parametrize('key, meant', [
    ('rate', 'rate_hz'), ('rate_Hz', 'rate_hz'), ('miror', 'mirror'), ('polcy', 'policy'),
])
def test_unknown_key_names_the_nearest(key, meant):
    text = message({key: 1})
    assert repr(key) in text and f'did you mean {meant}?' in text


def test_unknown_key_that_is_not_text_is_refused():
    assert 'unknown parameter 3' in message({3: 1})


def test_long_value_is_cut():
    assert len(message({'rate_hz': 'x' * 10_000})) < 200


def test_number_too_long_to_print_is_refused():
    assert 'rate_hz is too long to print: give' in message({'rate_hz': -10**5000})


def test_value_with_line_breaks_stays_on_one_line():
    message({'policy': 'a\nb'})


def test_check_refuses_a_directly_built_instance():
    check(Example())
    with pytest.raises(UserError, match='joints is 0: give a whole number of at least 1'):
        check(Example(joints=0))


def test_metadata_holds_what_a_node_declares():
    field = dataclasses.fields(Example)[0]
    assert field.default == 30.0
    assert dict(field.metadata) == {
        'description': 'Cycles in a second', 'lower': 1.0, 'upper': 100.0, 'choices': None,
        'unit': 'Hz',
    }
    assert allowed(field) == 'a number from 1.0 to 100.0 [Hz]'


def test_upper_bound_alone_is_named():
    @dataclasses.dataclass(frozen=True)
    class Capped:
        size: int = parameter(1, 'Size', upper=4)

    with pytest.raises(UserError, match='a whole number of at most 4'):
        from_mapping(Capped, {'size': 5})


def test_unsupported_default_is_a_programming_error():
    with pytest.raises(TypeError):
        parameter(None, 'Nothing')  # type: ignore[arg-type]


@given(st.dictionaries(
    st.one_of(st.sampled_from([field.name for field in dataclasses.fields(Example)]), st.text()),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
))
def test_anything_gives_a_checked_instance_or_a_user_error(mapping):
    try:
        built = from_mapping(Example, mapping)
    except UserError:
        return
    check(built)
