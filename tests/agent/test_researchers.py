"""Who proposes what: a function of seed, index and public rows; presets first and few; a reason and a prediction."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from aar.agent.researchers import (
    RESEARCHERS,
    Human,
    Optuna,
    Random,
    Researcher,
    Situation,
    naive,
    next_preset,
    preset_share,
)
from aar.ledger import TrialRow
from aar.methods import NAIVE, PRESETS, Able, distance, fill, illegal, recipe_hash
from aar.types import SLOTS, Hypothesis, Recipe, TaskSpec, TrialStatus
from tests.rows import BASE, CEILING, PROVIDED, TASK, WEAK, recipe, row

NAIVE_ROW = row(0, recipe(), 0.74, author="preset", preset=NAIVE.name)


def now(
    rows: Sequence[TrialRow], number: int | None = None, seed: int = 0, presets: int = 0, task: TaskSpec = TASK
) -> Situation:
    return Situation(task, rows, len(rows) if number is None else number, seed, presets)


def proposed(researcher: Researcher, n: int, presets: int = 0, task: TaskSpec = TASK) -> list[Hypothesis]:
    """`n` proposals, each after the ones before it were scored."""
    rows, out = [NAIVE_ROW], []
    for number in range(1, n + 1):
        made = researcher.propose(now(rows, number, presets=presets, task=task))
        assert isinstance(made, Hypothesis)
        out.append(made)
        rows.append(row(number, made.recipe, 0.7 + 0.001 * number, author=made.author, preset=made.preset))
    return out


@pytest.mark.parametrize("make", [Optuna, Random], ids=["optuna", "random"])
@pytest.mark.parametrize("presets", [0, 4])
def test_the_same_situation_gives_the_same_hypothesis(make: type[Optuna] | type[Random], presets: int) -> None:
    rows = [NAIVE_ROW, row(1, recipe(loss="logconf"), 0.8), row(2, recipe(loss="product"), 0.7)]
    first = make().propose(now(rows, presets=presets))
    assert make().propose(now(list(rows), presets=presets)) == first
    if first.preset is None:
        assert make().propose(now(rows, seed=1, presets=presets)).recipe != first.recipe
        assert make().propose(now(rows, number=9, presets=presets)).recipe != first.recipe


def test_naive_is_the_default_recipe_and_counts_as_no_preset() -> None:
    assert naive().recipe == Recipe() and naive().preset == NAIVE.name and naive().author == "preset"
    first = next_preset(now([NAIVE_ROW], presets=1))
    assert first is not None and first.preset == PRESETS[1].name == "logconf", "all are 1 from naive: the first listed"
    assert next_preset(now([NAIVE_ROW], presets=0)) is None


def test_presets_come_first_each_once_and_then_no_more() -> None:
    assert [h.author for h in proposed(Optuna(), 4, presets=2)] == ["preset", "preset", "optuna", "optuna"]
    every = [h.preset for h in proposed(Optuna(), len(PRESETS) + 2, presets=100)]
    legal = {p.name for p in PRESETS[1:] if illegal(p.recipe, Able.of(TASK)) is None}
    assert set(every[: len(legal)]) == legal, "each once, naive not again"
    assert every[len(legal) :] == [None] * (len(PRESETS) + 2 - len(legal))


def test_presets_take_at_most_half_of_the_trials_and_alternate_where_only_hours_count() -> None:
    assert [preset_share(7, n) for n in (1, 7)] == [3, 3] and preset_share(1, 1) == 0
    rows, authors = [NAIVE_ROW], []
    for number in range(1, 7):
        made = Optuna().propose(now(rows, number, presets=preset_share(None, number)))
        authors.append(made.author)
        rows.append(row(number, made.recipe, 0.7, author=made.author, preset=made.preset))
    assert authors == ["preset", "optuna"] * 3


def changed(made: Recipe) -> set[str]:
    """The slots in which a recipe departs from naive."""
    return {slot for slot in SLOTS if getattr(made, slot) != getattr(recipe(), slot)}


def test_the_most_different_presets_come_first() -> None:
    order = [h for h in proposed(Optuna(), len(PRESETS) - 1, presets=100) if h.preset]
    touched: set[str] = set()
    for n, h in enumerate(order):
        fresh = [o.preset for o in order[n:] if not changed(o.recipe) & touched]
        assert h.preset in fresh or not fresh, "no slot again while a preset changes untouched ones only"
        touched |= changed(h.recipe)
    assert touched == set(SLOTS)
    listed = [p.name for p in PRESETS]
    for n in range(1, len(order)):
        before = [recipe(), *(h.recipe for h in order[:n])]
        gaps = {h.preset: min(distance(h.recipe, b, BASE) for b in before) for h in order[n:]}
        best = [name for name, gap in gaps.items() if gap == max(gaps.values())]
        assert order[n].preset == min(best, key=lambda name: listed.index(str(name))), "the first listed of those"


def test_what_anybody_tried_counts_when_presets_are_ordered() -> None:
    logconf, entropy = (row(1, recipe(loss=name), 0.8, author="human") for name in ("logconf", "entropy"))
    passed_over = next_preset(now([NAIVE_ROW, logconf], presets=5))
    assert passed_over is not None and changed(passed_over.recipe) != {"loss"}, "tried under another name"
    near = next_preset(now([NAIVE_ROW, entropy], presets=5))
    assert near is not None and changed(near.recipe) != {"loss"}, "the loss slot was looked at"


def test_presets_that_cannot_run_on_the_task_are_passed_over() -> None:
    offered = [h for h in proposed(Optuna(), len(PRESETS), presets=100, task=PROVIDED) if h.preset]
    able = Able.of(PROVIDED)
    assert {h.preset for h in offered} == {p.name for p in PRESETS[1:] if illegal(p.recipe, able) is None}
    assert "ensemble" not in [h.preset for h in offered] and "logconf" in [h.preset for h in offered]


def test_the_random_arm_uses_neither_presets_nor_evidence() -> None:
    drawn = proposed(Random(), 5, presets=100)
    assert {(h.author, h.preset, h.parent) for h in drawn} == {("random", None, None)}
    assert {h.rationale for h in drawn} == {"drawn at random: the control arm"}
    blind = [Random().propose(now([NAIVE_ROW], number)).recipe for number in range(1, 6)]
    assert [h.recipe for h in drawn] == blind


def test_every_hypothesis_has_a_reason_and_a_prediction_once_naive_is_known() -> None:
    everyone: list[Researcher] = [Optuna(), Random(), Human(recipe(loss="logconf"))]
    for researcher in everyone:
        for made in proposed(researcher, 12, presets=6):
            assert made.rationale.strip()
            assert made.predicted_accuracy is not None and 0 <= made.predicted_accuracy <= 1
            assert made.predicted_pgr == pytest.approx((made.predicted_accuracy - WEAK) / (CEILING - WEAK), abs=1e-3), (
                researcher.name
            )
    running = row(0, recipe(), None, status=TrialStatus.RUNNING)
    blind = Optuna().propose(now([running]))
    assert (blind.predicted_accuracy, blind.predicted_pgr) == (None, None) and blind.rationale


def test_no_pgr_is_predicted_where_there_is_no_gap() -> None:
    view = NAIVE_ROW.view
    assert view is not None
    flat = NAIVE_ROW.model_copy(update={"view": view.model_copy(update={"ceiling": WEAK})})
    made = Random().propose(now([flat]))
    assert made.predicted_accuracy is not None and made.predicted_pgr is None


def test_what_optuna_proposes_builds_on_the_best_so_far() -> None:
    rows = [NAIVE_ROW, row(1, recipe(loss="logconf"), 0.85), row(2, recipe(loss="product"), 0.7)]
    drawn = [Optuna().propose(now(rows, number)) for number in range(3, 13)]
    assert {made.author for made in drawn} == {"optuna"} and {made.parent for made in drawn} >= {0, 1}
    for made in drawn:
        begun = 0 if made.parent == 0 else 1
        assert f"next: t{begun} with " in made.rationale, "the reason says what is changed, and of which trial"
    assert recipe_hash(fill(made.recipe, BASE)) == recipe_hash(made.recipe)


def test_the_command_line_offers_them_by_name() -> None:
    assert set(RESEARCHERS) == {"optuna", "random", "presets"} == {make().name for make in RESEARCHERS.values()}
