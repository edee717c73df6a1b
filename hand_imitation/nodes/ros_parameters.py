"""Declares a node's ROS parameters from its dataclasses."""

from __future__ import annotations

import dataclasses
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node

from hand_imitation.errors import UserError
from hand_imitation.node_parameters import NODES, grouped, is_ros_key
from hand_imitation.parameters import allowed


def declare(node: Node, kind: str) -> dict[str, Any]:
    """Declare a node's parameters, described and ranged, and read their values.

    They are read once: change them in the YAML file or on the command line.

    Args:
        node: The node.
        kind: Its key in `NODES`; the node itself may have been renamed.

    Returns:
        An instance of each of the node's dataclasses, by its prefix.

    Raises:
        UserError: An unknown key, a wrong type or a value out of range was given.
    """
    given = {
        key: parameter.value for key, parameter in node._parameter_overrides.items()
        if not is_ros_key(key)
    }
    parts = grouped(kind, given)
    for prefix, cls in NODES[kind].items():
        for field in dataclasses.fields(cls):
            name = f'{prefix}.{field.name}'.lstrip('.')
            try:
                node.declare_parameter(
                    name, getattr(parts[prefix], field.name), _descriptor(field),
                    ignore_override=True)
            except (InvalidParameterTypeException, InvalidParameterValueException) as error:
                raise UserError(f"node '{kind}': {name}: give {allowed(field)}") from error
    return parts


def _descriptor(field: dataclasses.Field[Any]) -> ParameterDescriptor:
    """Describe a parameter as `ros2 param describe` shows it."""
    about = field.metadata
    descriptor = ParameterDescriptor(
        description=about['description'], additional_constraints=allowed(field), read_only=True)
    if about['lower'] is None or about['upper'] is None:
        return descriptor
    if type(field.default) is float:
        descriptor.floating_point_range = [FloatingPointRange(
            from_value=float(about['lower']), to_value=float(about['upper']), step=0.0)]
    elif type(field.default) is int:
        descriptor.integer_range = [IntegerRange(
            from_value=int(about['lower']), to_value=int(about['upper']), step=1)]
    return descriptor
