"""Oversight as tools: a hypothesis criticised, two debated, a protocol measured where its skill is known."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from pydantic import Field

from aar.agent.llm.evidence import PROMPTS, data
from aar.agent.llm.tools import Args, Desk, Tool
from aar.oversight import (
    ABSTAINED,
    Comparison,
    Debating,
    Judging,
    Sampling,
    Skill,
    consultancy,
    critique,
    debate,
    decisions,
    direct,
    double_consultancy,
    known,
)
from aar.oversight.constitution import load_constitution, revise
from aar.oversight.transcript import Cast
from aar.scoring import by_question, mean_share, scores

PLAYED = {p.__name__: p for p in (direct, debate, consultancy, double_consultancy, critique)}


class Critique(Args):
    """Have a draft of a hypothesis criticised and revised by principles of research conduct, in up to 3 rounds."""

    hypothesis: str = Field(min_length=20, max_length=2_000)
    rounds: int = Field(default=2, ge=1, le=3)


def criticised(desk: Desk, args: Critique) -> str:
    """See `Critique`."""
    principles = load_constitution("research")
    how = Sampling(max_tokens=500)
    (row,) = revise(
        desk.speaker(),
        [PROMPTS["criticised"]],
        principles,
        args.rounds,
        how,
        drafts=[args.hypothesis],
        seed=desk.now.number,
    )
    told = [f"{r.principle}: {r.critique}" + (f" ({r.failed})" if r.failed else "") for r in row.rounds]
    return f"{data('criticism', chr(10).join(told))}\n{data('revised', row.final)}"


class Debate(Args):
    """Two hypotheses debated, a judge asked in both orders: which deserves the next trial. Costs a dozen calls."""

    a: str = Field(min_length=20, max_length=2_000)
    b: str = Field(min_length=20, max_length=2_000)
    rounds: int = Field(default=1, ge=1, le=3)


def debated(desk: Desk, args: Debate) -> str:
    """See `Debate`."""
    speaker = desk.speaker()
    case = Comparison(id=f"t{desk.now.number}", prompt=PROMPTS["debated"], answers=(args.a, args.b))
    how = Debating(rounds=args.rounds, judging=Judging(asks=PROMPTS["debated"]))
    outcome = debate(Cast(speaker, speaker), [case], how)
    said = "\n".join(f"for {'ab'[t.side or 0]}: {t.shown}" for t in outcome.transcripts[0].turns)
    belief = outcome.verdicts.belief[0]
    won = decisions(outcome.verdicts.p)[0]
    verdict = (
        f"no verdict ({outcome.verdicts.why[0] or 'the two orders cancel out'})"
        if won == ABSTAINED or np.isnan(belief)
        else f"hypothesis {'ab'[won]}, with {max(belief, 1 - belief):.2f} over both orders"
    )
    return f"{data('debate', said)}\nverdict: {verdict}. It is an opinion; a trial is evidence."


class Oversight(Args):
    """Measure how well an oversight protocol works before you rely on it as supervision: a judge who is right with
    probability `judge` alone, helped by speakers who find a true flaw with probability `finds` and get away with a
    false one with probability `fools`. Answers with the accuracy over 400 scripted questions and its interval."""

    protocol: Literal["direct", "debate", "consultancy", "double_consultancy", "critique"]
    judge: float = Field(default=0.6, ge=0.5, le=1)
    finds: float = Field(default=0.7, ge=0, le=1)
    fools: float = Field(default=0.2, ge=0, le=1)


def measured(desk: Desk, args: Oversight) -> str:
    """See `Oversight`."""
    return _measured(args.protocol, args.judge, args.finds, args.fools)


@lru_cache(maxsize=64)
def _measured(protocol: str, judge: float, finds: float, fools: float) -> str:
    comparisons, better, cast = known(400, Skill(judge=judge, finds=finds, fools=fools))
    outcome = PLAYED[protocol](cast, comparisons, Debating())
    right = mean_share(by_question(scores(outcome.verdicts.p, better[list(outcome.of)]), outcome.of))
    return f"{protocol}: right in {right.value:.3f} [{right.low:.3f}, {right.high:.3f}]; the judge alone {judge:.2f}"


class Ask(Args):
    """Ask the person who runs this search something that no tool can tell you. Do not wait: the answer, if one comes,
    stands in what later researchers are shown."""

    question: str = Field(min_length=10, max_length=500)


def asked(desk: Desk, args: Ask) -> str:
    """See `Ask`."""
    desk.lease.ask(args.question, desk.now.number)
    return "asked; go on meanwhile"


PROTOCOLS: dict[str, Tool] = {
    "critique": Tool(Critique, criticised), "debate": Tool(Debate, debated), "oversight": Tool(Oversight, measured),
    "ask": Tool(Ask, asked),
}  # fmt: skip
