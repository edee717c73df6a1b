"""Parameters as frozen dataclasses: one place for default, range, unit and description.

A node declares its ROS parameters from the same fields, so YAML, command line and plain
Python agree. `from_mapping` is the way in for anything a user wrote; `check` is for the
`__post_init__` of a dataclass that must also be safe when built directly.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar

from hand_imitation.errors import UserError

T = TypeVar('T')

_KINDS = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'text'}


def parameter(
    default: bool | int | float | str,
    description: str,
    lower: float | None = None,
    upper: float | None = None,
    choices: Sequence[str] | None = None,
    unit: str = '',
) -> Any:
    """Declare one parameter as a field of a dataclass.

    The default's type is the parameter's type: write `30.0` where a float is meant.

    Args:
        default: Value used when the user says nothing.
        description: One line on what it does, for `ros2 param describe` and the docs.
        lower: Smallest value allowed, inclusive; None for no bound.
        upper: Largest value allowed, inclusive; None for no bound.
        choices: The only texts allowed; None for any.
        unit: Unit for the docs, such as 's' or 'rad/s'.

    Returns:
        A dataclass field whose metadata holds everything above but the default.
    """
    if type(default) not in _KINDS:
        raise TypeError(f'a parameter is bool, int, float or str, not {default!r}')
    metadata = {
        'description': description,
        'lower': lower,
        'upper': upper,
        'choices': None if choices is None else tuple(choices),
        'unit': unit,
    }
    return dataclasses.field(default=default, metadata=metadata)


def from_mapping(cls: type[T], mapping: Mapping[str, Any]) -> T:
    """Build a dataclass of parameters from what a user wrote.

    Args:
        cls: A dataclass whose fields come from `parameter`.
        mapping: Values by field name; fields left out keep their default.

    Returns:
        An instance of `cls`, whole numbers turned into floats where floats are meant.

    Raises:
        UserError: An unknown key, a wrong type, a value out of range or not finite.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            raise UserError(_unknown_key(key, list(fields)))
    return cls(**{key: _checked(fields[key], value) for key, value in mapping.items()})


def check(instance: Any) -> None:
    """Check every field of a dataclass of parameters.

    Args:
        instance: An instance of a dataclass whose fields come from `parameter`.

    Raises:
        UserError: A wrong type, a value out of range or not finite.
    """
    for field in dataclasses.fields(instance):
        _checked(field, getattr(instance, field.name))


def allowed(field: dataclasses.Field[Any]) -> str:
    """Say in words what values a parameter takes.

    Args:
        field: A field made by `parameter`.

    Returns:
        Text such as 'a number from 0.01 to 1.0 [s]'.
    """
    about = field.metadata
    if about['choices'] is not None:
        return 'one of ' + ', '.join(about['choices'])
    words = _KINDS[type(field.default)]
    lower, upper = about['lower'], about['upper']
    if lower is not None and upper is not None:
        words += f' from {lower} to {upper}'
    elif lower is not None:
        words += f' of at least {lower}'
    elif upper is not None:
        words += f' of at most {upper}'
    return words + (f' [{about["unit"]}]' if about['unit'] else '')


def _checked(field: dataclasses.Field[Any], value: Any) -> Any:
    """Return the value in the field's type, or refuse it."""
    about = field.metadata
    converted = _converted(type(field.default), value)
    good = converted is not None
    if good and about['choices'] is not None:
        good = converted in about['choices']
    if good and about['lower'] is not None:
        good = converted >= about['lower']
    if good and about['upper'] is not None:
        good = converted <= about['upper']
    if not good:
        raise UserError(f'{field.name} is {_short(value)}: give {allowed(field)}')
    return converted


def _converted(kind: type, value: Any) -> Any:
    """Return the value as `kind`, or None where that would be a guess."""
    if kind is bool or kind is str:
        return value if isinstance(value, kind) else None
    # bool is a kind of int to Python, but `rate_hz: true` is a mistake.
    if isinstance(value, bool):
        return None
    if kind is int:
        return int(value) if isinstance(value, Integral) else None
    if not isinstance(value, Real):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _unknown_key(key: Any, known: list[str]) -> str:
    """Say that there is no such parameter and which one was probably meant."""
    near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)
    hint = f': did you mean {near[0]}?' if near else ''
    return f'unknown parameter {_short(key)}{hint}'


def _short(value: Any) -> str:
    """Return a one-line form of anything, cut to a readable length."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print whole numbers of thousands of digits.
        text = 'too long to print'
    return text if len(text) <= 60 else text[:57] + '...'
