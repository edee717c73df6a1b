"""Learning: synthetic people, environments, training.

Importing it registers the environments with Gymnasium, where that is installed.
"""

import contextlib

with contextlib.suppress(ImportError):
    from hand_imitation.learning import registration  # noqa: F401  (imported for its effect)
