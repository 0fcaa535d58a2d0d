"""Recursive reward modelling: a judge helped by evaluations of the level below it (Leike et al. 2018, 1811.07871).

At level 0 a judge decides alone. At level k it names simpler questions about the two answers, assistants of level k - 1
evaluate each, and it decides with their evaluations in view. In the paper each level is also trained on the verdicts of
the one below; here the levels are asked, and nothing is trained.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from aar.oversight import prompts
from aar.oversight.amplify import items
from aar.oversight.debate import Debating, direct
from aar.oversight.judge import ABSTAINED, Comparison, Judging, Verdicts, judge
from aar.oversight.quotes import check
from aar.oversight.speaker import Sampling, Speaker
from aar.oversight.transcript import EVALUATION, Cast, Outcome, Transcript, Turn, told
from aar.types import Word, digest_of

CALLS_A_DRAW = 4
"""A thought and a choice, in both orders."""


class Recursing(Word):
    """How far evaluations help evaluations: `level` times, each by at most `branches` assistants."""

    level: int = Field(default=1, ge=0, le=5)
    branches: int = Field(default=3, ge=1)
    sampling: Sampling = Sampling(max_tokens=200)
    judging: Judging = Judging()


def recursive(cast: Cast, comparisons: Sequence[Comparison], how: Recursing) -> Outcome:
    """Verdicts of `cast.judge` at `how.level`; `cast.debater` is every assistant, at every level below.

    Transcripts hold the evaluations that this judge saw, not those that its assistants saw. Simpler questions are asked
    for without letters: one set serves both orders. Where a judge names none it decides alone.

    Raises:
        SpeakerStopped: a speaker's server keeps failing.
    """
    watched, assistants = cast.metered()
    asks = [how.judging.asks] * len(comparisons)
    verdicts, turns = _evaluated(watched, assistants, comparisons, asks, how, how.level)
    transcripts = tuple(Transcript(comparison=c.id, turns=t) for c, t in zip(comparisons, turns, strict=True))
    return Outcome(
        f"level {how.level}", transcripts, tuple(range(len(comparisons))), verdicts,
        {"judge": watched.cost, "debater": assistants.cost}, {"judge": watched.name, "debater": assistants.name},
        digest_of(how)[:16],
    )  # fmt: skip


def majority(cast: Cast, comparisons: Sequence[Comparison], how: Debating, calls: int) -> Outcome:
    """The vote of as many judgements of level 0 as `calls` buy, each with thoughts of its own.

    Their number is odd, the next one up if need be: the vote that a level is held against is never the cheaper one.
    """
    draws = round(calls / (CALLS_A_DRAW * max(1, len(comparisons))))
    sampling = how.judging.sampling
    warm = sampling.model_copy(update={"temperature": sampling.temperature or how.sampling.temperature or 1.0})
    votes = {"thinks": True, "samples": draws + (draws + 1) % 2, "vote": "majority", "sampling": warm}
    return direct(cast, comparisons, how.model_copy(update={"judging": how.judging.model_copy(update=votes)}))


def _evaluated(
    speaker: Speaker, assistants: Speaker, comparisons: Sequence[Comparison], asks: Sequence[str], how: Recursing,
    level: int,
) -> tuple[Verdicts, list[tuple[Turn, ...]]]:  # fmt: skip
    """Verdicts on each comparison as to what is asked of it, and the evaluations that they rest on."""
    if not level or not comparisons:
        return judge(speaker, comparisons, how.judging, asks=asks), [()] * len(comparisons)
    parts = _simpler(speaker, comparisons, asks, how)
    of = [c for c, own in zip(comparisons, parts, strict=True) for _ in own]
    verdicts, _ = _evaluated(assistants, assistants, of, [part for own in parts for part in own], how, level - 1)
    sides = zip(verdicts.decided(how.judging.bound), verdicts.why, strict=True)
    turns = [tuple(_turn(level, part, *next(sides)) for part in own) for own in parts]
    shown = [(told(t, 0), told(t, 1)) for t in turns]
    return judge(speaker, comparisons, how.judging, shown, asks), turns


def _simpler(
    speaker: Speaker, comparisons: Sequence[Comparison], asks: Sequence[str], how: Recursing
) -> list[list[str]]:
    """What each judge wants evaluated."""
    wanted = []
    for c, ask in zip(comparisons, asks, strict=True):
        one, two = (prompts.foreign(a) for a in sorted(c.answers))
        source = prompts.SOURCE.format(source=prompts.foreign(c.source)) if how.judging.shows_source else ""
        head = prompts.TASK.format(question=prompts.foreign(c.prompt)) + prompts.CANDIDATES.format(one=one, two=two)
        wanted.append(source + head + prompts.ASPECTS.format(asks=ask, branches=how.branches))
    return [items(reply, how.branches) for reply in speaker.generate(wanted, how.sampling)]


def _turn(level: int, part: str, side: int, why: str) -> Turn:
    asked = check(part, "")[0]
    return Turn(
        round=level, kind=EVALUATION, side=None if side == ABSTAINED else int(side), text=part,
        shown=f"{asked} {prompts.NOTHING}" if why else asked, invalid=why,
    )  # fmt: skip
