"""Who proposes. A researcher sees public values only and answers with one hypothesis; it writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from aar import search
from aar.agent.reasons import why
from aar.ledger import TrialRow
from aar.methods import NAIVE, PRESETS, Able, distance, fill, illegal, recipe_hash
from aar.types import Hypothesis, Recipe, TaskSpec


class Steering(NamedTuple):
    """What a person said, and what of the researcher's questions it answers ("" for none)."""

    words: str
    asked: str = ""


class Situation(NamedTuple):
    """What a researcher knows when asked: the task, all trials so far, which trial is next, what is left to spend.

    `steering` are a person's words so far, oldest first; `questions` what was asked and is not answered yet. `free`:
    may a conversation begin? `begun`: is one about this trial recorded already?
    """

    task: TaskSpec
    trials: Sequence[TrialRow]
    number: int
    seed: int
    presets: int
    steering: Sequence[Steering] = ()
    questions: Sequence[str] = ()
    budget: str = ""
    free: bool = True
    begun: bool = False

    @property
    def able(self) -> Able:
        """What the task gives its recipes."""
        return Able.of(self.task)


Thought = Callable[[], Hypothesis]
"""A hypothesis that takes thinking about: to be called in a thread of its own."""


class Later:
    """Who thinks is busy: ask again when a conversation has ended."""


class Researcher(Protocol):
    """Proposes the next hypothesis; a pure function of the situation, so that a resume proposes the same."""

    name: str

    def propose(self, now: Situation) -> Hypothesis | Thought | Later | None:
        """The hypothesis for trial `now.number`; None ends the search: there is nothing left to try."""
        ...


class Optuna:
    """Presets first (at most `presets` of them), then Optuna's proposal with a reason drawn from the evidence."""

    name = "optuna"

    def propose(self, now: Situation) -> Hypothesis:
        """A preset that nobody has tried, or what TPE asks for."""
        preset = next_preset(now)
        if preset is not None:
            return preset
        return sampled(now, "optuna")


class Random:
    """The control arm: recipes drawn at random from the same space, no presets, no evidence used."""

    name = "random"

    def propose(self, now: Situation) -> Hypothesis:
        """A uniformly drawn recipe."""
        return sampled(now, "random")


class Presets:
    """The presets that are legal here (all, or those named), and nothing else: published methods side by side."""

    name = "presets"

    def __init__(self, only: Sequence[str] = ()) -> None:
        self.only = tuple(only)

    def propose(self, now: Situation) -> Hypothesis | None:
        """The next preset."""
        return next_preset(now._replace(presets=len(PRESETS)), self.only)


class Human:
    """One recipe that a person asked for."""

    name = "human"

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def propose(self, now: Situation) -> Hypothesis:
        """That recipe."""
        return predicted(now, Hypothesis(recipe=self.recipe, rationale="asked for by a person", author="human"))


def naive() -> Hypothesis:
    """Trial 0: the baseline, outside the budget."""
    return Hypothesis(recipe=Recipe(), rationale=NAIVE.why, author="preset", preset=NAIVE.name)


def preset_share(trials: int | None, number: int) -> int:
    """How many presets may have been proposed by trial `number`: half of `trials`, or of the trials so far (None)."""
    return trials // 2 if trials is not None else (number + 1) // 2


def next_preset(now: Situation, only: Sequence[str] = ()) -> Hypothesis | None:
    """The untried preset most different from all trials so far, while fewer than `now.presets` were tried.

    Naive is not counted. The least `distance` to a trial decides; ties go to the one listed first. `only`: names to
    choose among; empty for all.
    """
    base = now.task.training.strong
    tried = {t.hash for t in now.trials}
    used = sum(1 for t in now.trials if t.preset and t.number > 0)
    if used >= now.presets:
        return None
    left = [(preset, fill(preset.recipe, base)) for preset in PRESETS if not only or preset.name in only]
    left = [(p, r) for p, r in left if recipe_hash(r) not in tried and illegal(r, now.able) is None]
    if not left:
        return None
    preset, filled = max(left, key=lambda pr: min((distance(pr[1], t.recipe, base) for t in now.trials), default=1.0))
    rationale = f"{preset.why} ({preset.paper})"
    return predicted(now, Hypothesis(recipe=filled, rationale=rationale, author="preset", preset=preset.name))


def sampled(now: Situation, how: Literal["optuna", "random"]) -> Hypothesis:
    """A recipe from Optuna's sampler, with its reason and prediction."""
    recipe, parent = search.propose(now.task, now.trials, now.seed, now.number, how)
    rationale = why(recipe, now.trials, parent) if how == "optuna" else "drawn at random: the control arm"
    return predicted(now, Hypothesis(recipe=recipe, rationale=rationale, author=how, parent=parent))


def predicted(now: Situation, hypothesis: Hypothesis) -> Hypothesis:
    """The hypothesis with the accuracy and PGR the evidence so far predicts for it."""
    accuracy = search.predict(now.trials, hypothesis.recipe)
    view = next((t.view for t in now.trials if t.number == 0), None)
    pgr = None
    if accuracy is not None and view is not None and view.weak is not None and view.ceiling is not None:
        gap = view.ceiling - view.weak
        pgr = round((accuracy - view.weak) / gap, 3) if gap > 0 else None
    rounded = None if accuracy is None else round(accuracy, 4)
    return hypothesis.model_copy(update={"predicted_accuracy": rounded, "predicted_pgr": pgr})


RESEARCHERS: dict[str, Callable[[], Researcher]] = {"optuna": Optuna, "random": Random, "presets": Presets}
