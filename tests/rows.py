"""Trials as rows of a ledger that is not there, for tests of what only reads them."""

from __future__ import annotations

from aar.ledger import TrialRow
from aar.methods import fill, label, recipe_hash
from aar.tasks import load_task
from aar.types import Author, ModelSpec, Part, ProvidedLabels, PublicScore, Recipe, TaskSpec, TrialStatus, Value

TASK: TaskSpec = load_task("polarity")[0]
BASE = TASK.training.strong
WEAK, CEILING = 0.7, 0.9
LABELS = ModelSpec(labels=ProvidedLabels(column="old"))
PROVIDED = TASK.model_copy(update={"models": TASK.models.model_copy(update={"weak": LABELS})})
"""The same task with weak labels that somebody gave."""


def recipe(**slots: str | tuple[str, dict[str, Value]]) -> Recipe:
    """A filled recipe: `recipe(loss="logconf", targets=("confident", {"q": 0.3}))`."""
    parts = {slot: Part(name=p) if isinstance(p, str) else Part(name=p[0], params=p[1]) for slot, p in slots.items()}
    return fill(Recipe(**parts), BASE)


def view(accuracy: float, se: float = 0.01, n_seeds: int = 5) -> PublicScore:
    """What the gate lets out for this accuracy."""
    pgr = round((accuracy - WEAK) / (CEILING - WEAK), 3)
    return PublicScore(
        split="dev", accuracy=accuracy, accuracy_se=se, weak=WEAK, ceiling=CEILING, pgr=pgr, ci_low=pgr - 0.1,
        ci_high=pgr + 0.1, n_seeds=n_seeds,
    )  # fmt: skip


def row(
    number: int, made: Recipe | None = None, accuracy: float | None = None, se: float = 0.01,
    status: TrialStatus = TrialStatus.COMPLETE, author: Author = "optuna", preset: str | None = None,
    said: float | None = None,
) -> TrialRow:  # fmt: skip
    """One trial; without an accuracy it has no view."""
    made = made or recipe()
    return TrialRow(
        search="s", number=number, status=status, author=author, preset=preset, parent=None, recipe=made,
        hash=recipe_hash(made), label=label(made, BASE), rationale="because", predicted_accuracy=said,
        predicted_pgr=None, reason=None, view=None if accuracy is None else view(accuracy, se),
        n_seeds=5, seconds=1.0, created=0.0, finished=1.0,
    )  # fmt: skip
