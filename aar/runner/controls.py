"""Controls: what a result would have been without the thing it claims to come from.

Every confirmed recipe and naive training run again with other answers in place of the weak ones, on fresh seeds and the
same inputs: `shuffled` (the weak answers, permuted over transfer rows) and `matched_noise` (permuted within each true
class: the same confusion matrix and confidences, errors at random); a recipe that shows the strong model weak labels
before it answers shows it these. Where the strong model has answers of its own before any supervision, `zero_shot`
scores them as they are, and `self_training` is the confirmed recipe on them, without shots. `renumbered` is the
winner's recipe on one seed with the classes called by other numbers. `length_only` never sees a word. Each is scored on
dev: the sealed split stays the winner's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from aar import scoring
from aar.data import rows_of
from aar.ledger import TrialRow
from aar.methods import short
from aar.methods.able import zero_shot
from aar.runner.bench import Bench
from aar.runner.length import length_only
from aar.runner.needs import needs, unshown
from aar.runner.other_answers import matched_noise, renumbered, self_training, shuffled
from aar.runner.plan import Planned
from aar.runner.trial import Runner
from aar.runner.units import JobFailed
from aar.scoring import Arm, Difference
from aar.types import ControlView, Recipe

SHUFFLES = 4
"""At least so many: one shuffle of a method that lands at either end says nothing (logconf, upside up or down)."""
SHUFFLED, NOISE, SELF, ZERO, LENGTH = "shuffled", "matched_noise", "self_training", "zero_shot", "length_only"
RENUMBERED = "renumbered"
CLASS = "the most frequent class"
CONTROL = "fresh:ctl:"
SHIFT = 0.05
"""By how much a class's share of the predictions may move with its number, however little seeds differ."""


class Arms(NamedTuple):
    """A recipe under control: its name in views, the trial that pays, the arm it is compared to ("" for naive)."""

    name: str
    recipe: Recipe
    trial: int
    arm: str

    def control(self, name: str) -> str:
        """The arm of its control `name`."""
        return f"{CONTROL}{self.name}:{name}"


def controls(
    bench: Bench, runner: Runner, chosen: Sequence[TrialRow], seeds: list[int]
) -> dict[int, list[ControlView]]:
    """Train and score controls; the views of each confirmed trial by its number, as a claim card lists them.

    Shuffled labels, matched noise and self-training are every confirmed recipe's own, other class numbers the winner's,
    the first of `chosen`. Naive's, zero-shot and length are the task's: they stand with the winner. A control that
    cannot be trained (targets that keep no row, say) is no score: its view says why. Jobs are cached.
    """
    count = bench.problem.task.seeds.controls
    if count == 0:
        return {t.number: [] for t in chosen}
    winner = chosen[0].number
    own = [Arms(f"t{t.number}", t.recipe, t.number, f"fresh:t{t.number}") for t in chosen]
    naive = Arms("naive", Recipe(), winner, "")
    # Shuffles take all seeds that confirmation gave weak models; more shuffles than seeds shuffle some again.
    make: dict[str, tuple[list[int], Callable[[Planned], Planned]]] = {
        SHUFFLED: (seeds, lambda p: shuffled(bench, p, max(SHUFFLES, count))),
        NOISE: (seeds[:count], lambda p: matched_noise(bench, p)),
        SELF: (seeds[:count], lambda p: self_training(bench, p, runner.zero_shot(trial=winner).outputs)),
    }

    def run(arms: Arms, name: str) -> str | None:
        seeds, change = make[name]
        if name == SELF and "calibration" in needs(arms.recipe):
            return "its targets are fitted to the supervisor on labelled rows"
        if name == NOISE and arms.recipe.written:
            return "code written by a hypothesis is given nothing that was made from true labels"
        recipe = unshown(arms.recipe) if name == SELF else arms.recipe
        try:
            units = runner.students(recipe, seeds, sealed=True, trial=arms.trial, change=change)
        except JobFailed as error:
            return str(error)
        runner.evidence.record(arms.control(name), "dev", units)
        return None

    written, can_ask = bench.problem.task.kind == "generation", zero_shot(bench.problem.task) is not None
    asked = _zero_shot(runner, winner) if can_ask else "nobody asked"
    works = [(arms, name) for arms in (*own, naive) for name in ((SHUFFLED,) if written else (SHUFFLED, NOISE))]
    works += [(arms, SELF) for arms in own if asked is None]
    failed = bench.executor.each([lambda a=a, n=n: run(a, n) for a, n in works])  # type: ignore[misc]
    show = {SHUFFLED: _shuffled, NOISE: _noise, SELF: _unsupervised}
    views: dict[str, list[ControlView]] = {arms.name: [] for arms in (*own, naive)}
    for (arms, name), why in zip(works, failed, strict=True):
        views[arms.name].append(show[name](runner, arms) if why is None else _not_run(name, arms.name, why))
    if can_ask:
        for arms in own:
            views[arms.name].append(_unsupervised(runner, arms, ZERO) if asked is None else _not_run(ZERO, "", asked))
    if (why := _renumber(bench, runner, own[0], seeds[0])) is None:
        views[own[0].name].append(_renumbered(runner, own[0]))
    else:
        views[own[0].name].append(_not_run(RENUMBERED, own[0].name, why))
    views[own[0].name] += views.pop(naive.name)
    if written:
        why = "not run: answers are no classes, within which errors could be moved or which a length could tell"
        views[own[0].name] += [ControlView(name=name, recipe="", words=why) for name in (NOISE, LENGTH)]
    else:
        _length(bench, runner, seeds)
        views[own[0].name].append(_length_view(runner))
    return {t.number: views[arms.name] for t, arms in zip(chosen, own, strict=True)}


def _renumber(bench: Bench, runner: Runner, arms: Arms, seed: int) -> str | None:
    """Train and record the recipe on renumbered classes, its predictions numbered back; why not, or None."""
    problem = bench.problem
    if problem.task.kind != "classification":
        return f"{problem.task.kind} has no numbered classes"
    if {"calibration", "zero_shot"} & set(needs(arms.recipe)):
        return "its targets hold answers besides the weak ones, which have the old numbers"
    try:
        unit = runner.students(
            arms.recipe, [seed], sealed=True, trial=arms.trial, change=lambda p: renumbered(bench, p)
        )
    except JobFailed as error:
        return str(error)
    logits = problem.store.array(unit[seed].outputs["dev"], problem.classes)
    back = problem.store.put(np.roll(logits, -1, axis=1).tobytes())
    runner.evidence.record_arrays(arms.control(RENUMBERED), "dev", {seed: back})
    return None


def _not_run(name: str, recipe: str, reason: str) -> ControlView:
    return ControlView(name=name, recipe=recipe, words=f"could not be run: {reason}")


# ---------------------------------------------------------------- what they show


def _shuffled(runner: Runner, arms: Arms) -> ControlView:
    """Flagged when the mean over shuffles is above what needs no supervision: zero-shot, or always one class."""
    arm, base, against = _arm(runner, arms.control(SHUFFLED)), runner.evidence.constant("dev"), CLASS
    asked = runner.evidence.arm(CONTROL + ZERO, "dev")
    if asked is not None and asked.accuracy.mean() > base.accuracy.mean():
        base, against = asked, "zero-shot"
    view = _view(
        runner, arms.name, SHUFFLED, arms.control(SHUFFLED), arm, found := scoring.unpaired(arm, base), against
    )
    words = f"mean of {view.n_runs} shuffles {_say(view)}, single ones {_range(view)}"
    words += f"; {_floor(runner)}" if against == CLASS else "; held against zero-shot"
    flag = f"{arms.name} reaches {_say(view)} on shuffled weak labels: what it learns does not come from them"
    return view.model_copy(update={"words": words, "flag": flag if scoring.above(found) else None})


def _noise(runner: Runner, arms: Arms) -> ControlView:
    """Never flagged: says what the structure of the supervisor's errors costs or brings."""
    look = arms.control(NOISE)
    arm = _arm(runner, look)
    if not arms.arm:
        view = _view(runner, arms.name, NOISE, look, arm, None, "")
        return view.model_copy(update={"words": f"{_say(view)} with errors at random in the same confusion matrix"})
    pooled = runner.evidence.pooled_difference(arms.name)
    found = scoring.difference(arm, _arm(runner, arms.arm), *pooled)
    view = _view(runner, arms.name, NOISE, look, arm, found, arms.name)
    assert view.difference is not None
    mean, low, high = view.difference
    effect = "costs" if low > 0 else "brings" if high < 0 else "makes no clear difference:"
    gap = f"{short(abs(mean))}" if low > 0 or high < 0 else f"{short(mean)}"
    words = f"{_say(view)} with errors at random in the same confusion matrix; their structure {effect} {gap}"
    return view.model_copy(update={"words": f"{words} [{short(low)}, {short(high)}]"})


def _unsupervised(runner: Runner, arms: Arms, name: str = SELF) -> ControlView:
    """Flagged when the winner is not clearly above it: what wins without supervision has not generalised from it."""
    look = CONTROL + ZERO if name == ZERO else arms.control(name)
    arm, own = _arm(runner, look), _arm(runner, arms.arm)
    whose = "" if name == ZERO else arms.name
    view = _view(runner, whose, name, look, arm, scoring.unpaired(arm, own), arms.name)
    what = "the strong model's own answers" + ("" if name == ZERO else f", learnt by {arms.name}'s recipe")
    flag = f"{what}, without supervision, reach {_say(view)}, and {arms.name} is not clearly above that"
    clear = scoring.above(scoring.unpaired(own, arm))
    return view.model_copy(update={"words": f"{what}: {_say(view)}", "flag": None if clear else flag})


def _renumbered(runner: Runner, arms: Arms) -> ControlView:
    """Flagged when a class's share of the predictions, or accuracy, moves by more than fresh seeds differ."""
    look = arms.control(RENUMBERED)
    arm, own = _arm(runner, look), _arm(runner, arms.arm)
    (seed,) = arm.seeds
    found = scoring.difference(own.at([seed]), arm, *runner.evidence.pooled_difference(arms.name))
    view = _view(runner, arms.name, RENUMBERED, look, arm, found, arms.name)
    shares = runner.evidence.class_shares(arms.arm, "dev")
    (other,) = runner.evidence.class_shares(look, "dev").values()
    moved, k, classes = float(np.abs(other - shares[seed]).max()), len(shares), len(other)
    noise = float(np.std(list(shares.values()), axis=0, ddof=1).max()) * 2**0.5 if k > 1 else np.inf
    allowed = max(SHIFT, noise * float(stats.t.ppf(1 - 0.025 / classes, max(1, k - 1))))
    words = (
        f"with other class numbers, one seed: {_say(view)}, a class's share of the predictions moves by "
        f"{short(round(moved, 3))}, seeds alone move it by up to {short(round(min(allowed, 1.0), 3))}"
    )
    flag = (
        f"{arms.name} hangs on how classes are numbered: {words}" if moved > allowed or scoring.above(found) else None
    )
    return view.model_copy(update={"words": words, "flag": flag})


def _zero_shot(runner: Runner, trial: int) -> str | None:
    """Record what the strong model answers before any supervision; why there is nothing to record, or None."""
    try:
        asked = runner.zero_shot(trial=trial)
    except JobFailed as error:
        return str(error)
    runner.evidence.record_arrays(CONTROL + ZERO, "dev", {asked.seed: asked.outputs["dev"]})
    return None


def _length(bench: Bench, runner: Runner, seeds: list[int]) -> None:
    problem = bench.problem
    if problem.provided:
        digest = problem.provided_labels["transfer"]
    else:
        digest = runner.weak(seeds, sealed=True)[seeds[0]].outputs["transfer"]
    texts = {split: rows_of(problem.prepared, split) for split in ("transfer", "dev")}
    logits = length_only(texts["transfer"], problem.store.array(digest, problem.classes), texts["dev"])
    runner.evidence.record_arrays(CONTROL + LENGTH, "dev", {seeds[0]: problem.store.put(logits.tobytes())})


def _length_view(runner: Runner) -> ControlView:
    """Flagged when a student that sees no word beats always answering the same class."""
    arm, base = _arm(runner, CONTROL + LENGTH), runner.evidence.constant("dev")
    found = scoring.unpaired(arm, base)
    view = _view(runner, "", LENGTH, CONTROL + LENGTH, arm, found, CLASS)
    words = f"weak labels learnt from text length alone: {_say(view)}; {_floor(runner)}"
    flag = f"text length alone reaches {_say(view)}: the task can be partly solved without reading"
    return view.model_copy(update={"words": words, "flag": flag if scoring.above(found) else None})


def _floor(runner: Runner) -> str:
    lease = runner.bench.lease
    mean = scoring.public_mean(runner.evidence.constant("dev"), lambda: lease.count_look("constant", "dev"))
    return f"{CLASS} alone {short(mean.accuracy)}"


def _arm(runner: Runner, name: str) -> Arm:
    found = runner.evidence.arm(name, "dev")
    assert found is not None, f"{name} was not scored"
    return found


def _view(
    runner: Runner, whose: str, name: str, look: str, arm: Arm, found: Difference | None, against: str
) -> ControlView:
    lease = runner.bench.lease
    seen = scoring.public_mean(arm, lambda: lease.count_look(look, "dev"))
    gap = None if found is None else scoring.public_difference(found, lambda: lease.count_look(f"{look}-", "dev"))
    return ControlView(
        name=name, recipe=whose, words="", accuracy=seen.accuracy, accuracy_se=seen.se, low=seen.low,
        high=seen.high, n_runs=len(arm.seeds), against=against if found else "", difference=gap,
    )  # fmt: skip


def _say(view: ControlView) -> str:
    assert view.accuracy is not None and view.accuracy_se is not None
    return f"{short(view.accuracy)} ± {short(view.accuracy_se)}"


def _range(view: ControlView) -> str:
    assert view.low is not None and view.high is not None
    return f"{short(view.low)} to {short(view.high)}"
