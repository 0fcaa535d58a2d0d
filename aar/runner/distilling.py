"""Distilling amplified answers back into the model that gave them (Christiano, Shlegeris and Amodei 2018).

A small model that has read sums of two numbers is asked for sums of several digits: alone, and amplified, where a rule
takes questions apart and copies of the model answer the parts and compose. What it answers so to training questions
becomes rows for its own supervised fine-tuning; then it is asked alone again, about questions it never saw. No truth is
in any row. Beside it stands the same model fine-tuned on what it answers alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from aar.oversight import Amplifying, Metered, Reply, Sampling, Speaker, answers
from aar.oversight.sums import Adding, documents, question, questions, truth, vocabulary
from aar.runner.aligning import Aligner
from aar.runner.grounds import END, policy
from aar.runner.launcher import Launcher
from aar.runner.speaking import Local
from aar.scoring.crossed import Rate, gain, rate
from aar.types import Align, Word

ASKING = Sampling(max_tokens=1)
"""An answer is one token, the likeliest."""
ALONE, AMPLIFIED, DISTILLED, OWN = "alone", "amplified", "distilled", "trained on its own answers"


class DistilPlan(Word):
    """What is measured. `terms` digits a sum, taken apart `depth` times; `rows` questions learnt from, `held` asked."""

    terms: int = Field(default=4, ge=4, le=8)
    depth: int = Field(default=1, ge=1, le=3)
    rows: int = Field(default=4000, ge=2)
    held: int = Field(default=500, ge=2)
    documents: int = Field(default=20_000, ge=2)
    pretrain_steps: int = Field(default=1500, ge=1)
    steps: int = Field(default=1500, ge=1)
    lr: float = Field(default=1e-3, gt=0, le=1)
    seeds: int = Field(default=3, ge=1, le=50)


class Asked(NamedTuple):
    """Who was asked, whether each of k seeds was right on n held questions (k, n), their answers, and calls a question.

    `over_alone`: the paired gain over the model alone.
    """

    who: str
    right: Rate
    over_alone: Rate
    replies: tuple[tuple[str, ...], ...]
    calls: float


class Distilled(NamedTuple):
    """A run: held questions, how each asked did, and how many amplified answers to training questions are right.

    `kept` of the `given` amplified answers are answers at all; the others are not learnt from.
    """

    held: tuple[str, ...]
    asked: tuple[Asked, ...]
    taught: float
    given: int
    kept: int


def distil(at: Launcher, plan: DistilPlan, say: Callable[[str], None]) -> Distilled:
    """Amplify, train, ask.

    Raises:
        AarError: a job that asks failed.
        JobFailed: a job that trains failed.
    """
    drawn = questions(plan.terms, plan.rows + plan.held, 0)
    learnt, held = drawn[: plan.rows], drawn[plan.rows :]
    say(f"pre-training on {plan.documents} sums of two numbers")
    taught = documents(plan.terms, plan.documents, 0)
    length = len(question([0] * plan.terms).split()) + 4
    model = policy(at, vocabulary(plan.terms, END), taught, plan.pretrain_steps, length, answers=2)
    plain = _speaker(model, None)
    say(f"{len(drawn)} questions, alone and amplified")
    alone, calls = plain.generate(drawn, ASKING), 1.0
    amplified, dear = _amplified(plain, drawn, plan)
    align = Align(method="sft", steps=plan.steps, lr=plan.lr, looks=(), length=1)
    told: dict[str, list[list[Reply]]] = {ALONE: [alone[plan.rows :]], AMPLIFIED: [amplified[plan.rows :]]}
    for who, source in ((DISTILLED, amplified), (OWN, alone)):
        say(f"{plan.seeds} models, {who}")
        rows = [
            {"prompt": q, "text": f" {r.text}"} for q, r in zip(learnt, source[: plan.rows], strict=True)
            if not r.invalid
        ]  # fmt: skip
        seeds = list(range(plan.seeds))
        units = model.run(align, seeds, rows=dict.fromkeys(seeds, rows))
        told[who] = [_speaker(model, unit.outputs["weights"]).generate(held, ASKING) for unit in units.values()]
    base = _right(told[ALONE], held)
    asked = []
    for who, said in told.items():
        right = _right(said, held)
        cost = dear if who == AMPLIFIED else calls
        texts = tuple(tuple(r.text for r in own) for own in said)
        asked.append(Asked(who, rate(right), gain(right, np.broadcast_to(base, right.shape)), texts, cost))
    good = _right([amplified[: plan.rows]], learnt)
    kept = sum(not r.invalid for r in amplified[: plan.rows])
    return Distilled(tuple(held), tuple(asked), float(good.mean()), plan.rows, kept)


def _amplified(model: Speaker, asked: Sequence[str], plan: DistilPlan) -> tuple[list[Reply], float]:
    """Answers to questions that a rule takes apart, and the model's calls for each."""
    metered = Metered(model)
    adding = Adding(metered)
    how = Amplifying(depth=plan.depth, branches=2, sampling=ASKING)
    said = answers(adding, adding, asked, how)
    return said, metered.cost.calls / len(asked)


def _speaker(model: Aligner, start: str | None) -> Local:
    resolved = model.model.model_copy(update={"ref": model.model.ref.model_copy(update={"weights": True})})
    return Local(model.at, resolved, "sums", model.weights, model.vocabulary, start=start)


def _right(said: Sequence[Sequence[Reply]], asked: Sequence[str]) -> NDArray[np.bool_]:
    """(k, n): is each answer the sum?"""
    return np.array([[r.text == truth(q) for r, q in zip(own, asked, strict=True)] for own in said], np.bool_)


def rows(found: Distilled) -> list[dict[str, Any]]:
    """JSON rows: a question, the truth, and what everybody answered."""
    return [
        {"question": q, "truth": truth(q), **{a.who: [own[i] for own in a.replies] for a in found.asked}}
        for i, q in enumerate(found.held)
    ]  # fmt: skip
