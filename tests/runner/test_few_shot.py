"""Few-shot answers: what the strong model is shown, for trials and for controls, and what stays as it was without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aar.runner.plan
import aar.runner.trial
from aar.agent.run import opened
from aar.runner.bench import Bench, Problem
from aar.runner.few_shot import asking
from aar.runner.other_answers import matched_noise, shuffled
from aar.runner.plan import Planned, Planner
from aar.runner.trial import Runner
from aar.runner.units import ensure
from aar.settings import Settings
from aar.tasks import load_task
from aar.types import AarError, JobKind, Part, Recipe
from tests.loops import launches, searching, write_task

PRETRAINED = ("models.strong.pretrain={documents: 50, steps: 1}", "models.strong.max_length=64")


def blend(shots: int, **slots: Part) -> Recipe:
    return Recipe(targets=Part(name="zero_shot_blend", params={"shots": shots}), **slots)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Planned]:
    """Every job that a runner has asked for."""
    seen: list[Planned] = []

    def noted(bench: Bench, planned: Planned, trial: int | None = None) -> Any:
        seen.append(planned)
        return ensure(bench, planned, trial)

    monkeypatch.setattr(aar.runner.trial, "ensure", noted)
    return seen


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A search with the jobs of the tests: what they answer depends on what they are given."""
    with searching(tmp_path) as here, opened(here.ledger, here.settings, here.create(tmp_path, *PRETRAINED)) as bench:
        yield bench


# ---------------------------------------------------------------- without shots


def test_without_shots_the_jobs_are_the_ones_there_were_before_there_were_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aar.runner.plan, "source_digest", lambda: "")
    task = load_task(write_task(tmp_path), [PRETRAINED[0]])[0]
    planner = Planner(Problem.of(task, Settings(workspace=tmp_path / "ws")))
    labels = planner.problem.store.put(b"weak")
    weak = {0: {"transfer": labels, "prior": labels}}
    asked = planner.zero_shot(False, None)
    for recipe in (Recipe(targets=Part(name="zero_shot_blend")), blend(0), blend(2)):
        students = planner.transfer([0], recipe, False, None, weak, {"zero_shot": labels})
        assert [p.units[0].key(p.spec) for p in (asked, students)] == [
            "538935dafb10a01b6902403de7b56f3fc0eda69c98e8b09075030abfcf717362",
            "11ba7eb84786f3c53d004977ca5344cea1c46f52743f533b4b85362faf2cc2a2",
        ], "what the strong model was shown is in its answers, and nowhere else in a student's job"


# ---------------------------------------------------------------- what is shown


def test_controls_are_asked_with_their_own_labels(bench: Bench, plans: list[Planned]) -> None:
    runner, seeds = Runner(bench), bench.seeds("confirm", 2)
    runner.students(blend(2), seeds)
    plain = {unit.seed: unit.inputs for unit in plans[-1].units}
    for kind, change in (
        (JobKind.ZERO_SHOT, lambda p: shuffled(bench, p, 2)),
        (JobKind.CONTROL, lambda p: matched_noise(bench, p)),
    ):
        runner.students(blend(2), seeds, change=change)
        *_, asked, students = plans
        assert asked.spec.kind is kind and asked.spec.zero_shot is not None
        answers = ensure(bench, asked)
        for question, student in zip(asked.units, students.units, strict=True):
            assert question.inputs == {"weak0": student.inputs["weak0"]}, "what it learns is what is shown"
            assert question.inputs["weak0"] != plain[student.seed]["weak0"]
            assert student.inputs["zero_shot"] == answers[student.seed].outputs["transfer"]
            assert student.inputs["zero_shot"] != plain[student.seed]["zero_shot"], "and it is answered anew"
            assert answers[student.seed].tainted is (kind is JobKind.CONTROL)
    disguised = asked._replace(spec=asked.spec.model_copy(update={"kind": JobKind.ZERO_SHOT}))
    with pytest.raises(AarError, match="weak0 .* carries ground truth"):
        ensure(bench, disguised)


def test_several_weak_models_are_combined_as_the_recipe_does(bench: Bench, plans: list[Planned]) -> None:
    Runner(bench).students(blend(2, supervision=Part(name="ensemble", params={"k": 2})), [0])
    *_, asked, students = plans
    assert asked.spec.recipe is not None and students.spec.recipe is not None
    assert asked.spec.recipe.supervision == students.spec.recipe.supervision and asked.spec.members == 2
    assert asked.units[0].inputs == {f"weak{j}": students.units[0].inputs[f"weak{j}"] for j in (0, 1)}


def test_a_task_without_a_way_to_ask_says_so(bench: Bench) -> None:
    models = bench.problem.task.models
    untold = models.model_copy(update={"strong": models.strong.model_copy(update={"pretrain": None})})
    planned = Runner(bench).planner.transfer([0], Recipe(), False, None, {0: {"transfer": "0" * 64}})
    with pytest.raises(AarError, match="its strong model has no zero-shot answers; give the task `zero_shot`"):
        asking(bench.problem.task.model_copy(update={"models": untold}), planned, 2)


def test_a_note_tells_where_examples_do_not_fit(tmp_path: Path) -> None:
    def notes(length: int) -> list[str]:
        sets = [PRETRAINED[0], f"models.strong.max_length={length}"]
        problem = Problem.of(load_task(write_task(tmp_path), sets)[0], Settings(workspace=tmp_path / "ws"))
        return [note for note in problem.notes() if "shots" in note]

    (note,) = notes(71)  # not three texts of 24 words
    assert note.startswith(
        "models.strong: 500 of 500 prompts of transfer have, with two of middling length before them,"
    )
    assert notes(72) == [] and notes(32) == [], "no recipe may show any"


# ---------------------------------------------------------------- a whole search


def test_a_search_confirms_a_few_shot_recipe_and_what_needs_no_supervision_is_shown_none(
    tmp_path: Path, plans: list[Planned]
) -> None:
    with searching(tmp_path, [blend(2, loss=Part(name="logconf"))]) as here:
        search = here.create(tmp_path, *PRETRAINED, trials=1, researcher="scripted")
        here.work(search)
        (row,) = [row for row in here.ledger.confirmations(search) if row["trial"] == 1]
        found = {(c["name"], c["recipe"]): c for c in row["views"]["controls"]}
        asked = [j for j in launches(here.settings.root) if j["kind"] == "zero_shot"]
    assert here.ledger.trial(search, 1).view is not None
    assert [key for key, c in found.items() if c["accuracy"] is None] == [("renumbered", "t1")]
    assert "its targets hold answers besides the weak ones" in found["renumbered", "t1"]["words"]
    assert {n for n, r in found if r == "t1"} == {"shuffled", "matched_noise", "self_training", "renumbered"}
    assert sum("weak0" not in str(j["inputs"]) for j in asked) == 1, "asked without shots once, for the controls"
    learnt = [p for p in plans if p.spec.recipe and p.spec.recipe.targets.name == "zero_shot_blend"]
    students = [p for p in learnt if p.spec.zero_shot is None]
    selfish = [p for p in students if "zero_shot" in p.spec.inputs]
    assert selfish and len(selfish) < len(students)
    for p in students:
        assert all(("zero_shot" in unit.inputs) is (p not in selfish) for unit in p.units)
    for p in selfish:
        assert all(unit.inputs == {"weak0": p.spec.inputs["zero_shot"]} for unit in p.units), "self-training"
