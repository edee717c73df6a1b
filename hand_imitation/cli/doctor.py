"""`hand-imitation doctor`: what is installed, what is wrong, and how to mend it."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hand_imitation.errors import UserError
from hand_imitation.policy import POLICIES, load_policy

_LIBRARIES = {
    'libEGL.so.1': 'libegl1', 'libGLESv2.so.2': 'libgles2', 'libGL.so.1': 'libgl1',
    'libglib-2.0.so.0': 'libglib2.0-0', 'libxcb.so.1': 'libxcb1',
}
"""Shared libraries that MediaPipe and OpenCV need, and Debian's packages for them."""
_MODULES = {
    'numpy': 'numpy', 'cv2': 'opencv-python', 'mediapipe': 'mediapipe', 'pybullet': 'pybullet',
    'rclpy': 'ros-jazzy-rclpy', 'cv_bridge': 'cv-bridge', 'rosbags': 'rosbags', 'av': 'av',
    'xacro': 'xacro', 'yaml': 'pyyaml',
    'serial': 'pyserial', 'mcap': 'mcap', 'safetensors': 'safetensors',
}
Check = tuple[str, bool, str, str]
"""What was checked, whether it is good, what was found, how to mend it."""


def doctor(
    as_json: Annotated[
        bool, typer.Option('--json', help='Print one JSON document instead of a table.')] = False,
) -> None:
    """Check the installation and say how to mend what is wrong; exit code 1 if anything is.

    Example: hand-imitation doctor
    """
    checks = [
        _python(), *(_library(*item) for item in _LIBRARIES.items()),
        *(_module(*item) for item in _MODULES.items()), _versions_fit(), _pybullet_numpy(),
        _hand_model(), _arm(), *_policies(), _ros_environment(),
    ]
    if as_json:
        print(json.dumps([
            {'check': name, 'ok': good, 'found': found, 'remedy': remedy}
            for name, good, found, remedy in checks]))
    else:
        table = Table('', 'check', 'found', 'what to do')
        for name, good, found, remedy in checks:
            mark = Text('ok', 'green') if good else Text('bad', 'red')
            table.add_row(mark, name, found, remedy)
        # Without markup, or the brackets of pip's extras would be taken for styles and vanish.
        Console(markup=False).print(table)
    sys.exit(0 if all(good for _, good, _, _ in checks) else 1)


def _python() -> Check:
    found = '.'.join(str(n) for n in sys.version_info[:3])
    good = (3, 10) <= sys.version_info[:2] <= (3, 12)
    return 'Python', good, found, '' if good else 'use Python 3.10, 3.11 or 3.12'


def _library(library: str, package: str) -> Check:
    try:
        ctypes.CDLL(library)
    except OSError:
        return library, False, 'missing', f'sudo apt-get install {package}'
    return library, True, 'present', ''


def _module(module: str, package: str) -> Check:
    try:
        _import(module)
    except Exception as error:  # a broken package may raise anything when imported
        remedy = f"pip install 'hand_imitation[all]' (or '{package}' alone)"
        return module, False, ' '.join(str(error).split())[:80], remedy
    try:
        return module, True, version(package), ''
    except PackageNotFoundError:
        return module, True, 'present (not from pip)', ''


def _import(module: str) -> None:
    if module == 'pybullet':
        # Its own import prints to standard output.
        importlib.import_module('hand_imitation.arm.bullet')
    else:
        importlib.import_module(module)


def _versions_fit() -> Check:
    return _guarded('numpy and OpenCV fit cv_bridge', _versions)


def _versions() -> tuple[bool, str, str]:
    import cv2
    import numpy as np

    found = f'numpy {np.__version__}, OpenCV {cv2.__version__}'
    numpy_good = tuple(int(n) for n in np.__version__.split('.')[:2]) < (2, 3)
    good = numpy_good and int(cv2.__version__.split('.')[0]) < 5
    return good, found, '' if good else "pip install 'numpy<2.3' 'opencv-python<5'"


def _pybullet_numpy() -> Check:
    return _guarded('PyBullet built with numpy', _pybullet)


def _pybullet() -> tuple[bool, str, str]:
    from hand_imitation.arm.bullet import pybullet

    good = bool(pybullet.isNumpyEnabled())
    remedy = ('rendering is several times slower; with numpy installed, build it again: pip '
              'install --force-reinstall --no-deps --no-binary pybullet --no-build-isolation '
              'pybullet')
    return good, 'yes' if good else 'no', '' if good else remedy


def _hand_model() -> Check:
    def find() -> tuple[bool, str, str]:
        from hand_imitation.human.hand_model import find_hand_model

        return True, find_hand_model().name, ''

    return _guarded('hand landmarker model', find)


def _arm() -> Check:
    def load() -> tuple[bool, str, str]:
        from hand_imitation.arm.description import load_description
        from hand_imitation.arm.joint_table import JointTable

        return True, f'{len(JointTable.from_urdf(load_description()))} joints', ''

    return _guarded('arm description', load)


def _policies() -> Iterator[Check]:
    """Load every policy; that PyTorch is missing is no fault, since one policy alone needs it."""
    for name in POLICIES:
        def load(name: str = name) -> tuple[bool, str, str]:
            from hand_imitation.arm.description import load_description
            from hand_imitation.arm.joint_table import JointTable

            load_policy(name, JointTable.from_urdf(load_description()))
            return True, 'loads', ''

        if name == 'pixels' and importlib.util.find_spec('torch') is None:
            yield (f'policy {name}', True, 'not to be used: it needs PyTorch',
                   "for it: pip install 'hand_imitation[pixels]'")
        else:
            yield _guarded(f'policy {name}', load)


def _ros_environment() -> Check:
    domain = os.environ.get('ROS_DOMAIN_ID', '0')
    reach = os.environ.get('ROS_AUTOMATIC_DISCOVERY_RANGE', 'default')
    distribution = os.environ.get('ROS_DISTRO', 'none (wheels)')
    return 'ROS environment', True, f'{distribution}, domain {domain}, discovery {reach}', ''


def _guarded(name: str, check: Callable[[], tuple[bool, str, str]]) -> Check:
    """Run a check that needs a package; without the package it is bad too."""
    try:
        return (name, *check())
    except UserError as error:
        return name, False, 'not usable', str(error)
    except Exception as error:  # a missing or broken package, named by its own check
        return name, False, ' '.join(str(error).split())[:80], 'mend the packages above first'
