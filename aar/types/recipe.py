"""What is tried: recipes, hypotheses, and what becomes of a trial."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from aar.types._word import Value, Word

SLOTS = ("supervision", "targets", "loss", "student", "schedule")


class Part(Word):
    """A named part of one slot with its parameters. `aar methods` lists them."""

    name: str
    params: dict[str, Value] = {}


class Recipe(Word):
    """One part per slot. The all-default recipe IS naive weak-to-strong training on soft labels."""

    supervision: Part = Part(name="single")
    targets: Part = Part(name="soft")
    loss: Part = Part(name="xent")
    student: Part = Part(name="finetune")
    schedule: Part = Part(name="standard")


Author = Literal["preset", "optuna", "random", "llm", "human"]


class Hypothesis(Word):
    """A recipe, why it is tried, what it should show and what would refute it.

    `parent` is the trial it builds on; `predicted_low` and `predicted_high` end the interval of the predicted PGR;
    `shares` says which source a portfolio asked, with what chance, and what each source was worth.
    """

    recipe: Recipe
    rationale: str
    author: Author
    parent: int | None = None
    predicted_accuracy: float | None = None
    predicted_pgr: float | None = None
    predicted_low: float | None = None
    predicted_high: float | None = None
    refute: str | None = None
    shares: dict[str, Any] | None = None
    preset: str | None = None


class TrialStatus(StrEnum):
    """proposed -> running -> complete | pruned | failed; rejected never runs; a duplicate adds seeds to its parent.

    One that is waiting needs a person's leave: it becomes proposed again, or rejected.
    """

    PROPOSED = "proposed"
    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
