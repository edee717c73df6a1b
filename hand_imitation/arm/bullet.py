"""PyBullet without its chatter: import it as `from hand_imitation.arm.bullet import pybullet`.

Its C++ part writes a banner at import and warnings at run time straight to the process's file
descriptors, where programs that read our `--json` output expect one document and nothing else.
"""

from hand_imitation.quiet import STDERR, STDOUT, quiet

with quiet(STDOUT, STDERR):
    import pybullet

__all__ = ['pybullet']
