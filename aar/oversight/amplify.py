"""Amplification: decompose a question, answer the parts, compose, to a depth (Christiano, Shlegeris and Amodei 2018).

The judge decomposes and composes, the helper answers what is not decomposed any further. With one speaker in both roles
it is amplified by copies of itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import Field

from aar.oversight import prompts
from aar.oversight.judge import Comparison, Judging, judge
from aar.oversight.quotes import check
from aar.oversight.speaker import Reply, Sampling, Speaker
from aar.oversight.transcript import NOTE, Cast, Outcome, Transcript, Turn, told
from aar.types import Word, digest_of

ITEM = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+(\S.*)$", re.M)


class Amplifying(Word):
    """How far questions are taken apart: into at most `branches` parts, `depth` times."""

    depth: int = Field(default=1, ge=1)
    branches: int = Field(default=3, ge=1)
    words: int = Field(default=60, ge=1)
    sampling: Sampling = Sampling(max_tokens=200)
    judging: Judging = Judging()


def amplify(cast: Cast, comparisons: Sequence[Comparison], how: Amplifying) -> Outcome:
    """Verdicts of a judge that reads the answers to its own sub-questions as notes.

    Sub-questions are asked for without letters, the answers in alphabetical order: one set serves both orders.
    """
    watched, helper = cast.metered()
    heads = []
    for c in comparisons:
        one, two = (prompts.foreign(a) for a in sorted(c.answers))
        task = prompts.TASK.format(question=prompts.foreign(c.prompt))
        heads.append(task + prompts.CANDIDATES.format(one=one, two=two))
    parts = _decomposed(watched, heads, how)
    replies = iter(answers(watched, helper, [p for some in parts for p in some], how, how.depth - 1))
    turns = [tuple(_note(part, next(replies)) for part in some) for some in parts]
    verdicts = judge(watched, comparisons, how.judging, [(told(t, 0), told(t, 1)) for t in turns])
    transcripts = tuple(Transcript(comparison=c.id, turns=t) for c, t in zip(comparisons, turns, strict=True))
    return Outcome(
        "amplification", transcripts, tuple(range(len(comparisons))), verdicts,
        {"judge": watched.cost, "debater": helper.cost}, {"judge": watched.name, "debater": helper.name},
        digest_of(how)[:16],
    )  # fmt: skip


def answers(
    composer: Speaker, helper: Speaker, questions: Sequence[str], how: Amplifying, depth: int | None = None
) -> list[Reply]:
    """An answer to each open question. What cannot be taken apart is answered by `helper` as it stands.

    `depth` 0 takes nothing apart; None stands for `how.depth`. These answers are what distillation would train on.
    """
    depth = how.depth if depth is None else depth
    heads = [prompts.TASK.format(question=prompts.foreign(q)) for q in questions]
    end = prompts.ANSWER.format(words=how.words)
    parts = _decomposed(composer, heads, how) if depth and heads else [[] for _ in heads]
    found = iter(answers(composer, helper, [p for some in parts for p in some], how, depth - 1) if any(parts) else [])
    notes = [told([_note(part, next(found)) for part in some], 0) for some in parts]
    asked = [head + note + end for head, note in zip(heads, notes, strict=True)]
    out: list[Reply] = [Reply("")] * len(asked)
    for speaker, wanted in ((composer, True), (helper, False)):
        rows = [i for i, some in enumerate(parts) if bool(some) == wanted]
        if rows:
            for i, reply in zip(rows, speaker.generate([asked[i] for i in rows], how.sampling), strict=True):
                out[i] = reply
    return out


def _decomposed(speaker: Speaker, heads: Sequence[str], how: Amplifying) -> list[list[str]]:
    """The sub-questions of each, none where the reply has no list."""
    end = prompts.DECOMPOSE.format(branches=how.branches)
    replies = speaker.generate([head + end for head in heads], how.sampling)
    return [items(reply, how.branches) for reply in replies]


def items(reply: Reply, most: int) -> list[str]:
    """The items of the list in a reply, at most so many; none where there is no list, or no answer."""
    return [] if reply.invalid else [item.strip() for item in ITEM.findall(reply.text)][:most]


def _note(part: str, reply: Reply) -> Turn:
    answer = prompts.NOTHING if reply.invalid else check(reply.text, "")[0]
    return Turn(
        round=1, kind=NOTE, side=None, text=reply.text, shown=f"{part} {answer}", invalid=reply.invalid, cut=reply.cut
    )  # fmt: skip
