"""Proposals out of rows: in the space, legal, repeatable, better than chance; what the sampler is told; predictions."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import optuna
import pytest

from aar import scoring, search
from aar.ledger import TrialRow
from aar.methods import PARTS, Able, Choice, fill, illegal
from aar.types import SLOTS, Part, Recipe, TaskSpec, TrialStatus
from tests.rows import BASE, PROVIDED, TASK, recipe, row

How = Literal["optuna", "random"]
BOTH: tuple[How, ...] = ("optuna", "random")
STATES = optuna.trial.TrialState


def truth(made: Recipe) -> float:
    """A made-up world: logconf at .75, two epochs or more, a learning rate near the task's own."""
    value = 0.7 + (0.1 if made.loss.name == "logconf" else 0.03 if made.loss.name == "product" else 0.0)
    if made.loss.name == "logconf":
        value -= 0.1 * abs(float(made.loss.params["a"]) - 0.75)
    value -= 0.08 if made.student.name == "linear_probe" else 0.0
    value -= 0.02 * math.log(float(made.schedule.params["lr"]) / BASE.lr) ** 2
    return value - (0.03 if made.schedule.params["epochs"] == 1 else 0.0)


def searched(how: How, seed: int, n: int, task: TaskSpec = TASK) -> list[TrialRow]:
    """Naive and `n` trials, each proposed out of those before it."""
    rows = [row(0, recipe(), truth(recipe()))]
    for number in range(1, n + 1):
        made = search.propose(task, rows, seed, number, how).recipe
        rows.append(row(number, made, truth(made)))
    return rows


FEW = {
    "supervision": ("single", "ensemble"), "targets": ("soft", "hard", "sharpen", "confident"),
    "loss": ("xent", "logconf", "product", "confidence_weighted", "entropy"), "student": ("finetune", "linear_probe"),
    "schedule": ("standard",),
}  # fmt: skip


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A space of these parts only: how much thirty trials teach depends on its size, and parts come and go."""
    monkeypatch.setattr(search, "PARTS", {slot: {name: PARTS[slot][name] for name in FEW[slot]} for slot in SLOTS})


# ---------------------------------------------------------------- proposals


def test_a_choice_has_the_options_that_can_run_on_the_task() -> None:
    def shots(length: int) -> tuple[Any, ...]:
        strong = TASK.models.strong.model_copy(update={"max_length": length})
        task = TASK.model_copy(update={"models": TASK.models.model_copy(update={"strong": strong})})
        found = search.space(task)["targets"]["zero_shot_blend"]["shots"]
        assert isinstance(found, Choice)
        return found.options

    assert shots(32) == (0,) and shots(64) == (0, 2, 4, 8)


@pytest.mark.parametrize("how", BOTH)
@pytest.mark.parametrize("task", [TASK, PROVIDED], ids=["trained", "provided"])
def test_proposals_are_canonical_legal_and_inside_the_tasks_space(how: How, task: TaskSpec) -> None:
    provided = task is PROVIDED
    inside = search.space(task)
    seen: dict[str, set[str]] = {slot: set() for slot in SLOTS}
    for made in [t.recipe for t in searched(how, 0, 25 if how == "optuna" else 150, task)][1:]:
        assert made == fill(made, BASE), "every default is written out, every value in range and tidy"
        assert illegal(made, Able.of(task)) is None
        for slot in SLOTS:
            part: Part = getattr(made, slot)
            seen[slot].add(part.name)
            assert part.params.keys() == inside[slot][part.name].keys()
            for key, value in part.params.items():
                space = inside[slot][part.name][key]
                if isinstance(space, Choice):
                    assert value in space.options
                else:
                    assert isinstance(value, int | float) and space.low <= value <= space.high
    if how == "random":
        for n in range(100, 100 + 10 * max(len(parts) for parts in inside.values())):
            made = search.propose(task, [], 0, n, how).recipe
            for slot in SLOTS:
                seen[slot].add(getattr(made, slot).name)
        assert all(seen[slot] == set(inside[slot]) for slot in SLOTS), "every part is drawn some time"
    assert (set(inside["supervision"]) == {"single"}) is provided


@pytest.mark.parametrize("how", BOTH)
def test_a_proposal_is_a_function_of_seed_index_and_evidence(how: How) -> None:
    rows = searched("random", 3, 8)
    first = search.propose(TASK, rows, 1, 9, how).recipe
    assert search.propose(TASK, list(rows), 1, 9, how).recipe == first
    assert search.propose(TASK, rows, 1, 10, how).recipe != first
    assert search.propose(TASK, rows, 2, 9, how).recipe != first
    others = [row(t.number, t.recipe, 1 - truth(t.recipe)) for t in rows]
    assert (search.propose(TASK, others, 1, 9, how).recipe == first) is (how == "random")
    assert (search.propose(TASK, [], 1, 9, how).recipe == first) is (how == "random")


@pytest.mark.usefixtures("few")
def test_the_search_learns_and_chance_does_not() -> None:
    learned = [[truth(t.recipe) for t in searched("optuna", seed, 30)] for seed in range(2)]
    chance = [[truth(t.recipe) for t in searched("random", seed, 30)] for seed in range(2, 7)]
    assert np.mean([max(values) for values in learned]) > np.median([max(values) for values in chance])
    late = [np.mean(values[-10:]) for values in learned]
    assert min(late) > max(np.mean(values) for values in chance) + 0.03


def changed(a: Recipe, b: Recipe) -> list[str]:
    return [slot for slot in SLOTS if getattr(a, slot) != getattr(b, slot)]


def test_most_proposals_change_one_to_three_slots_of_the_best_or_of_naive() -> None:
    rows = [row(0, recipe(), 0.75), row(1, fill(recipe(loss="logconf", student="linear_probe"), BASE), 0.9)]
    rows.append(row(2, recipe(targets="hard"), 0.8, status=TrialStatus.RUNNING))
    drawn = [search.propose(TASK, rows, seed, 3) for seed in range(80)]
    parents = [made.parent for made in drawn]
    assert 25 < parents.count(1) < 55 and 8 < parents.count(0) < 32 and set(parents) == {None, 0, 1}
    sizes = [
        len(changed(made.recipe, fill(rows[made.parent].recipe, BASE))) for made in drawn if made.parent is not None
    ]
    assert set(sizes) == {1, 2, 3}
    assert np.mean([len(changed(made.recipe, fill(recipe(), BASE))) for made in drawn if made.parent is None]) > 3.5


def test_what_was_tried_is_not_proposed_again() -> None:
    rows = [row(0, recipe(), 0.75)]
    for number in range(1, 40):
        rows.append(row(number, search.propose(TASK, rows, 0, number).recipe, 0.75))
    assert len({t.hash for t in rows}) == 40


# ---------------------------------------------------------------- what the sampler is told


def told(rows: list[TrialRow]) -> list[Any]:
    """What the sampler knows of the rows, in their order."""
    return list(search._study(TASK, rows, optuna.samplers.RandomSampler(seed=0)).get_trials())


def test_a_failure_is_not_a_score_and_what_runs_is_said_to_run() -> None:
    rows = [
        row(0, recipe(), 0.75),
        row(1, recipe(loss="logconf"), None, status=TrialStatus.FAILED),
        row(2, recipe(loss="product"), 0.7, status=TrialStatus.PRUNED),
        row(3, recipe(loss="entropy"), None, status=TrialStatus.REJECTED),
        row(4, recipe(), None, status=TrialStatus.DUPLICATE),
        row(5, recipe(targets="hard"), None, status=TrialStatus.RUNNING),
        row(6, recipe(targets="sharpen"), None, status=TrialStatus.PROPOSED),
    ]
    known = [(t.params["loss"], t.params["targets"], t.state, t.value) for t in told(rows)]
    assert known == [
        ("xent", "soft", STATES.COMPLETE, 0.75), ("logconf", "soft", STATES.FAIL, None),
        ("product", "soft", STATES.COMPLETE, 0.7), ("xent", "hard", STATES.RUNNING, None),
        ("xent", "sharpen", STATES.RUNNING, None),
    ]  # fmt: skip
    assert search.objective(rows) == {0: 0.75, 2: 0.7}


def test_the_objective_is_shrunk_by_each_trials_own_noise() -> None:
    accuracies, ses = [0.7, 0.74, 0.8, 0.8], [0.01, 0.01, 0.01, 0.04]
    rows = [row(n, recipe(), a, se) for n, (a, se) in enumerate(zip(accuracies, ses, strict=True))]
    values = search.objective(rows)
    assert list(values.values()) == scoring.shrink(accuracies, ses).tolist()
    assert values[3] < values[2] < 0.8, "two lucky seeds are worth less than five good ones"
    assert [t.value for t in told(rows)] == [values[n] for n in range(4)]


def test_of_many_trials_the_best_and_the_latest_are_told() -> None:
    count = search.MEMORY + 150
    rows = [row(n, recipe(), 0.6 + (0.2 if n in (3, 40) else 0.0) + n * 1e-5) for n in range(count)]
    kept = [t.number for t in search._remembered(rows, search.objective(rows))]
    assert len(kept) <= search.MEMORY
    assert {3, 40} <= set(kept), "the best stay, however old"
    assert set(range(count - (search.MEMORY - search.BEST), count)) <= set(kept)


# ---------------------------------------------------------------- predictions, importances


@pytest.mark.usefixtures("few")
def test_a_prediction_follows_the_evidence_and_stays_sane() -> None:
    assert search.predict([], recipe()) is None
    assert search.predict([row(0, recipe(), None, status=TrialStatus.RUNNING)], recipe()) is None
    assert search.predict([row(0, recipe(), 0.75)], recipe(loss="logconf")) == pytest.approx(0.75)
    rows = searched("random", 0, 40)
    draws = [search.propose(TASK, [], 99, n, "random").recipe for n in range(40)]
    predicted = np.array([search.predict(rows, made) for made in draws], dtype=float)
    actual = np.array([truth(made) for made in draws])
    assert ((predicted >= 0) & (predicted <= 1)).all()
    errors, spread = np.abs(predicted - actual), np.abs(actual - np.mean([truth(t.recipe) for t in rows]))
    assert errors.mean() < 0.6 * spread.mean(), "no better than the mean of what was seen"
    assert float(np.corrcoef(predicted, actual)[0, 1]) > 0.8


def test_a_prediction_trusts_two_trials_less_than_twenty() -> None:
    def gain(copies: int) -> float:
        rows = [row(n, recipe(loss="logconf" if n % 2 else "xent"), 0.8 if n % 2 else 0.7) for n in range(2 * copies)]
        high, low = search.predict(rows, recipe(loss="logconf")), search.predict(rows, recipe())
        assert high is not None and low is not None
        return high - low

    assert 0 < gain(1) < gain(10) <= 0.1 + 1e-9


@pytest.mark.usefixtures("few")
def test_importances_need_evidence_and_find_what_matters(recwarn: pytest.WarningsRecorder) -> None:
    def flat(made: Recipe) -> float:
        return 0.7 + (0.15 if made.loss.name == "logconf" else 0.0)

    rows = [row(n, t.recipe, flat(t.recipe)) for n, t in enumerate(searched("random", 1, 200))]
    assert search.importances(TASK, rows[: search.IMPORTANCE_FROM - 1]) == {}
    found = search.importances(TASK, rows)
    assert sum(found.values()) == pytest.approx(1, abs=1e-6)
    assert max(found, key=lambda name: found[name]) == "loss"
    assert not recwarn.list
