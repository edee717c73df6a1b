#!/usr/bin/env bash
# Make a virtual environment with the package and all it needs: scripts/setup.sh VENV EXTRA...
# The extras are those of setup.py. PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$1
shift
extras=$(IFS=,; echo "$*")

say() { echo "setup: $*" >&2; }
stop() { say "$@"; exit 1; }

fits() {
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

# Install Debian packages as root; otherwise say which, and stop.
install_packages() {
    local command="apt-get install -y --no-install-recommends $*"
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        stop "please run this, then make again:  sudo $command"
    fi
    say "$command"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $command
}

choose_python() {
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" || stop "PYTHON=$PYTHON is not Python 3.10, 3.11 or 3.12"
        python=$PYTHON
        return
    fi
    for python in python3 python3.11 python3.12 python3.10; do
        fits "$python" && return
    done
    stop 'no Python 3.10, 3.11 or 3.12 found: install one, or name it with PYTHON=/path/to/python'
}

# Prints the package of each library that cannot be loaded: MediaPipe and OpenCV need them.
missing_libraries() {
    "$python" - <<'PYTHON'
import ctypes

PACKAGES = {
    'libEGL.so.1': 'libegl1',
    'libGLESv2.so.2': 'libgles2',
    'libGL.so.1': 'libgl1',
    'libgthread-2.0.so.0': 'libglib2.0-0',  # apt takes this name for libglib2.0-0t64, too
    'libxcb.so.1': 'libxcb1',
}
for library, package in PACKAGES.items():
    try:
        ctypes.CDLL(library)
    except OSError:
        print(package)
PYTHON
}

# Prints what it lacks to build PyBullet.
missing_compiler() {
    command -v g++ >/dev/null || echo g++
    "$python" - <<'PYTHON'
import os
import sys
import sysconfig

if not os.path.exists(os.path.join(sysconfig.get_path('include'), 'Python.h')):
    print(f'python{sys.version_info[0]}.{sys.version_info[1]}-dev')
PYTHON
}

pybullet_has_wheel() {
    "$python" -m pip download -q --no-deps --only-binary :all: -d "$downloads" "$pybullet"
} 2>/dev/null

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

choose_python
downloads=$(mktemp -d)
trap 'rm -rf "$downloads"' EXIT
pybullet=$(grep -o 'pybullet==[0-9.]*' setup.py)

packages=$(missing_libraries)
"$python" -c 'import ensurepip, venv' 2>/dev/null || packages="$packages python3-venv"
build_pybullet=
if ! pip show -q pybullet 2>/dev/null && ! pybullet_has_wheel; then
    build_pybullet=yes
    packages="$packages $(missing_compiler)"
fi
[ -z "${packages// /}" ] || install_packages $packages

[ -x "$venv/bin/python" ] && fits "$venv/bin/python" || "$python" -m venv --clear "$venv"
say "installing into $venv with $("$venv/bin/python" --version): a few minutes the first time"
pip install -q --upgrade pip 'setuptools<80' wheel
if [ -n "$build_pybullet" ]; then
    say "building $pybullet, which has no wheel for this Python: 5 to 15 minutes"
    # Built without numpy at hand, its camera would be slower by a factor of four.
    pip install -q 'numpy>=1.26,<2.3'
    pip install -q --no-build-isolation --no-binary pybullet "$pybullet"
fi
# setuptools warns of every editable installation.
PYTHONWARNINGS=ignore pip install -q --no-build-isolation -e ".[$extras]"
