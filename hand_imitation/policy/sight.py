"""What a policy that looks for hands itself says of a picture, and its form in a message."""

from __future__ import annotations

from dataclasses import dataclass

from hand_imitation.human.angles import Side


@dataclass(frozen=True)
class Sight:
    """What was seen of a hand in a picture, by whoever looked.

    Attributes:
        detected: A hand was detected in this very picture.
        side: Whose hand it is anatomically, None where that is not told.
        score: Confidence, 0 to 1, None where that is not told.
    """

    detected: bool = False
    side: Side | None = None
    score: float | None = None


def sight_text(sight: Sight, thumb_side: float | None) -> str:
    """Write what was seen as words.

    Args:
        sight: What was seen.
        thumb_side: As in `JointTargets`, None without targets.
    """
    words = [f'detected={"yes" if sight.detected else "no"}']
    if sight.side is not None:
        words.append(f'side={sight.side}')
    if sight.score is not None:
        words.append(f'score={sight.score:.3f}')
    if thumb_side is not None:
        words.append(f'thumb={thumb_side:+.0f}')
    return ' '.join(words)


def read_sight(text: str) -> tuple[bool, float | None] | None:
    """Read what `sight_text` wrote.

    Args:
        text: Any text.

    Returns:
        Whether a hand was detected, and its thumb's side where that is told; None where the text
        is something else.
    """
    about = dict(word.split('=', 1) for word in text.split() if '=' in word)
    if about.get('detected') not in ('yes', 'no'):
        return None
    return about['detected'] == 'yes', {'+1': 1.0, '-1': -1.0}.get(about.get('thumb', ''))
