"""What is tried: recipes, hypotheses, and what becomes of a trial."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer

from aar.types._word import Value, Word
from aar.types.written import Written

SLOTS = ("supervision", "targets", "loss", "student", "schedule")


class Part(Word):
    """A named part of one slot with its parameters. `aar methods` lists them.

    One that a hypothesis wrote carries its `code`, and is named `code.ref`: so whatever holds a recipe holds all of it.
    """

    name: str
    params: dict[str, Value] = {}
    code: Written | None = None

    @model_serializer(mode="wrap")
    def _told(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without code that is not there: recipes and units keep the hashes that they had before there was any."""
        told: dict[str, Any] = plain(self)
        return {name: value for name, value in told.items() if name != "code" or value is not None}


class Recipe(Word):
    """One part per slot. The all-default recipe IS naive weak-to-strong training on soft labels."""

    supervision: Part = Part(name="single")
    targets: Part = Part(name="soft")
    loss: Part = Part(name="xent")
    student: Part = Part(name="finetune")
    schedule: Part = Part(name="standard")

    @property
    def written(self) -> tuple[Written, ...]:
        """The code in it, slot by slot."""
        parts: list[Part] = [getattr(self, slot) for slot in SLOTS]
        return tuple(part.code for part in parts if part.code is not None)

    def carrying(self, code: Written) -> Recipe:
        """This recipe with a written part in its slot; parameters that the slot gives under its name stay."""
        own: Part = getattr(self, code.slot)
        params = own.params if own.name in (code.name, code.ref) else {}
        bare = code.model_copy(update={"parent": None})  # the same code makes the same units, wherever it comes from
        return self.model_copy(update={code.slot: Part(name=code.ref, params=params, code=bare)})


Author = Literal["preset", "optuna", "random", "llm", "human"]


class Hypothesis(Word):
    """A recipe, why it is tried, what it should show and what would refute it.

    `code` is a part written for it, which takes its slot in the recipe (`Recipe.carrying`), and `review` what was said
    of it before it was tried. `parent` is the trial it builds on; `predicted_low` and `predicted_high` end the interval
    of the predicted PGR; `shares` says which source a portfolio asked, with what chance, and what each was worth.
    """

    recipe: Recipe
    rationale: str
    author: Author
    code: Written | None = None
    review: str | None = None
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
