"""Who proposes what: a function of seed, index and public rows; presets first and few; a reason and a prediction."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from aar.agent.researchers import RESEARCHERS, Human, Optuna, Random, Researcher, Situation, naive, next_preset
from aar.ledger import TrialRow
from aar.methods import NAIVE, PRESETS, Able, fill, illegal, recipe_hash
from aar.types import Hypothesis, Recipe, TaskSpec, TrialStatus
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
        assert made is not None
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
    assert first is not None and first.preset == PRESETS[1].name
    assert next_preset(now([NAIVE_ROW], presets=0)) is None


def test_presets_come_first_in_their_order_and_then_no_more() -> None:
    names = [h.preset for h in proposed(Optuna(), 6, presets=3)]
    assert names == [PRESETS[1].name, PRESETS[2].name, PRESETS[3].name, None, None, None]
    assert [h.author for h in proposed(Optuna(), 4, presets=2)] == ["preset", "preset", "optuna", "optuna"]
    every = [h.preset for h in proposed(Optuna(), len(PRESETS) + 2, presets=100)]
    legal = [p.name for p in PRESETS[1:] if illegal(p.recipe, Able.of(TASK)) is None]
    assert every == [*legal, *[None] * (len(PRESETS) + 2 - len(legal))], "each once, naive not again"


def test_a_preset_that_was_tried_under_another_name_is_passed_over() -> None:
    tried = row(1, fill(PRESETS[1].recipe, BASE), 0.8, author="human")
    found = next_preset(now([NAIVE_ROW, tried], presets=5))
    assert found is not None and found.preset == PRESETS[2].name


def test_presets_that_cannot_run_on_the_task_are_passed_over() -> None:
    offered = [h for h in proposed(Optuna(), len(PRESETS), presets=100, task=PROVIDED) if h.preset]
    able = Able.of(PROVIDED)
    assert [h.preset for h in offered] == [p.name for p in PRESETS[1:] if illegal(p.recipe, able) is None]
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
            assert made.predicted_pgr == pytest.approx(
                (made.predicted_accuracy - WEAK) / (CEILING - WEAK), abs=1e-3
            ), researcher.name
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
    made = Optuna().propose(now(rows))
    assert made.parent == 1 and made.author == "optuna" and "next: t1 " in made.rationale
    assert recipe_hash(fill(made.recipe, BASE)) == recipe_hash(made.recipe)


def test_the_command_line_offers_them_by_name() -> None:
    assert set(RESEARCHERS) == {"optuna", "random", "presets"} == {make().name for make in RESEARCHERS.values()}
