"""Camera and policy in one process, for the command line.

They are light on Python, and inside one process a picture reaches the policy without passing
through a transport. The commander is not among them: it must outlive a camera that crashes.
Under `ros2 launch` every node has a process of its own.
"""

from __future__ import annotations

from hand_imitation.nodes.camera import CameraNode
from hand_imitation.nodes.policy import PolicyNode
from hand_imitation.nodes.runtime import main_of


def main() -> None:
    """Run the two nodes."""
    main_of([PolicyNode, CameraNode])


if __name__ == '__main__':
    main()
