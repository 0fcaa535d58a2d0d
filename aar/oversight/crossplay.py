"""Cross-play: several debaters, each against each, on the same questions before one judge (Khan et al. 2024).

Each ordered pair plays: both argue for either answer once, so that no rating rests on who had the right one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from aar.oversight.debate import Debating, debate
from aar.oversight.judge import Comparison
from aar.oversight.speaker import Speaker
from aar.oversight.transcript import Cast, Outcome


class Bout(NamedTuple):
    """Debater number `first` argued for answer 0 of every question, number `second` for answer 1."""

    first: int
    second: int
    outcome: Outcome


def cross_play(
    judge: Speaker, debaters: Sequence[Speaker], comparisons: Sequence[Comparison], how: Debating
) -> list[Bout]:
    """Every ordered pair of two different debaters.

    Raises:
        SpeakerStopped: a speaker's server keeps failing.
    """
    return [
        Bout(
            i, j, debate(Cast(judge, one, two), comparisons, how)._replace(protocol=f"debate, {i + 1} against {j + 1}")
        )
        for i, one in enumerate(debaters)
        for j, two in enumerate(debaters)
        if i != j
    ]
