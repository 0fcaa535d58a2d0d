"""Recipes, targets and supervision: filling in, checking, naming, parsing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from aar.methods import NAIVE, PARTS, PRESETS, Able, distance, fill, illegal, label, parse, recipe_hash, spaces
from aar.methods.supervision import SUPERVISION
from aar.methods.targets import TARGETS, Context
from aar.types import SLOTS, AarError, Part, Recipe, Training, ZeroShot
from tests.rows import PROVIDED, TASK

BASE = Training(lr=5e-4, epochs=2, batch_size=32)


def test_the_all_default_recipe_is_naive_soft_labels() -> None:
    assert NAIVE.recipe == Recipe()
    assert [getattr(Recipe(), s).name for s in SLOTS] == ["single", "soft", "xent", "finetune", "standard"]
    assert label(Recipe(), BASE) == "naive soft labels"
    filled = fill(Recipe(), BASE)
    assert filled.schedule.params == {"lr": 5e-4, "epochs": 2, "batch_size": 32, "warmup": 0.0, "decay": "linear"}


def test_equal_recipes_hash_alike_however_they_were_written() -> None:
    said = fill(Recipe(loss=Part(name="logconf", params={"a": 0.5})), BASE)
    plain = fill(Recipe(loss=Part(name="logconf")), BASE)
    assert recipe_hash(said) == recipe_hash(plain) != recipe_hash(fill(Recipe(), BASE))
    noisy = fill(Recipe(loss=Part(name="logconf", params={"a": 0.5000001})), BASE)
    assert recipe_hash(noisy) == recipe_hash(plain), "three digits are kept: what a person would call the same"


def test_presets_are_legal_distinct_and_cited() -> None:
    hashes = [recipe_hash(fill(p.recipe, BASE)) for p in PRESETS]
    assert len(set(hashes)) == len(PRESETS)
    assert all(p.paper and p.why for p in PRESETS)
    assert PRESETS[0] is NAIVE


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (Recipe(loss=Part(name="logcnf")), ["logcnf", "did you mean 'logconf'"]),
        (Recipe(loss=Part(name="logconf", params={"alpha": 1})), ["alpha", "parameters: a, w"]),
        (Recipe(loss=Part(name="logconf", params={"a": 1.5})), ["loss.logconf.a", "1.5", "0 to 0.9"]),
        (Recipe(schedule=Part(name="standard", params={"lr": 1.0})), ["schedule.standard.lr", "5e-05 to 0.002"]),
        (Recipe(schedule=Part(name="standard", params={"epochs": 1.5})), ["whole number"]),
        (Recipe(schedule=Part(name="standard", params={"epochs": True})), ["not a number"]),
        (Recipe(schedule=Part(name="standard", params={"decay": "step"})), ["linear, cosine, constant"]),
    ],
)
def test_what_is_wrong_names_value_and_cure(recipe: Recipe, words: list[str]) -> None:
    with pytest.raises(AarError) as error:
        fill(recipe, BASE)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_parse_reads_what_one_says_aloud() -> None:
    recipe = parse("logconf", ["loss.a=.75", "targets=hard", "supervision=ensemble:3", "schedule.lr=1e-4"])
    assert recipe.loss == Part(name="logconf", params={"a": 0.75})
    assert recipe.supervision == Part(name="ensemble", params={"k": 3})
    assert label(recipe, BASE) == "ensemble · hard · logconf a=.75 · lr=.0001"
    assert parse("product").loss.name == "product", "a loss's name is a recipe too"
    for bad, word in [
        ("los.a=1", "did you mean 'loss'"),
        ("loss.a", "want slot=part"),
        ("targets=soft:1", "no parameters"),
    ]:
        with pytest.raises(AarError, match=word):
            parse("logconf", [bad])
    with pytest.raises(AarError, match="did you mean 'logconf'"):
        parse("logcon")


@pytest.mark.parametrize(
    "text",
    ["*x", "@0.5", "%5", "[0.5", "{0.5", "'x", "`x`", "a: b", "!x", "!!python/name:os.system", "\x00", "2020-13-45",
     "~", "9" * 5000, "0x" + "f" * 5000, "1" + "0" * 400, "1e999", ".nan", "nan", "[" * 5000],
)  # fmt: skip
def test_what_is_no_value_is_told_with_its_setting(text: str) -> None:
    for setting in (f"loss.a={text}", f"schedule.epochs={text}", f"supervision=ensemble:{text}"):
        with pytest.raises(AarError, match=setting.partition("=")[0]) as caught:
            parse("logconf", [setting])
        assert "want a number or a word" in str(caught.value) and len(str(caught.value)) < 400


def test_no_number_is_too_odd_to_be_refused() -> None:
    for value in (float("nan"), float("inf"), 10**400):
        for slot, key in (("loss", "a"), ("schedule", "epochs")):
            chosen = getattr(Recipe(loss=Part(name="logconf")), slot)
            wrong = Recipe(loss=Part(name="logconf")).model_copy(
                update={slot: chosen.model_copy(update={"params": {key: value}})}
            )
            with pytest.raises(AarError, match=r"is not a number|is out of range"):
                fill(wrong, BASE)


@pytest.mark.parametrize(
    ("a", "b", "apart"),
    [
        ([], ["loss=gce"], 1.0),
        ([], ["loss=gce", "targets=hard", "schedule.epochs=1"], 1.0),
        ([], ["schedule.epochs=1"], 1.0),
        (["loss=gce"], ["targets=hard"], 1.0),
        (["loss=gce"], ["loss=product"], 0.5),
        (["loss=gce"], ["loss=gce:.5"], 0.25),
        (["loss=gce"], ["loss=gce", "targets=hard"], 0.5),
        (["loss=gce"], ["loss=product", "targets=hard"], 0.75),
        (["loss=gce", "targets=hard"], ["loss=gce:.5", "schedule.epochs=1"], 0.75),
        (["loss=gce", "targets=hard"], ["targets=hard", "loss=gce"], 0.0),
        ([], [], 0.0),
    ],
)
def test_the_distance_between_recipes(a: list[str], b: list[str], apart: float) -> None:
    one, other = fill(parse(None, a), BASE), fill(parse(None, b), BASE)
    assert distance(one, other, BASE) == distance(other, one, BASE) == pytest.approx(apart)


def test_illegal_combinations_are_named() -> None:
    ensemble = Recipe(supervision=Part(name="ensemble"))
    assert illegal(ensemble, Able()) is None
    assert "provides its weak labels" in (illegal(ensemble, Able(provided=True)) or "")
    even = Recipe(targets=Part(name="log_odds"))
    assert illegal(even, Able()) is None
    assert "log_odds is not for generation" in (illegal(even, Able(kind="generation")) or "")


def test_sharpening_gives_nothing_to_what_has_nothing() -> None:
    y = np.array([[0.6, 0.4, 0.0]], np.float32)
    for temperature in (0.5, 5.0):
        target = TARGETS["sharpen"].make(y, {"T": temperature}, Context()).target
        assert target[0, 2] == 0 and target.sum() == pytest.approx(1)


def test_what_a_task_can_give_its_recipes() -> None:
    assert Able.of(TASK) == Able(calibration=True, zero_shot=True, classes=2)
    assert Able.of(PROVIDED) == Able(provided=True, calibration=False, zero_shot=True)
    bare = TASK.model_copy(update={"splits": TASK.splits.model_copy(update={"weak_val": 0})})
    assert not Able.of(bare).calibration
    strong = TASK.models.strong.model_copy(update={"pretrain": None})
    untold = TASK.model_copy(update={"models": TASK.models.model_copy(update={"strong": strong})})
    assert not Able.of(untold).zero_shot, "a model that never read the world's documents knows none of its words"
    asked = untold.model_copy(update={"zero_shot": ZeroShot(answers=("no", "yes"))})
    assert Able.of(asked).zero_shot


@pytest.mark.parametrize(
    ("targets", "able", "why"),
    [
        ("zero_shot_blend", Able(zero_shot=False), "before any supervision, but its strong model has no zero-shot"),
        ("calibrated", Able(provided=True, calibration=False), "this task provides its weak labels"),
        ("em_posterior", Able(calibration=False), "splits.weak_val is 0"),
    ],
)
def test_targets_that_cannot_have_what_they_need_are_illegal(targets: str, able: Able, why: str) -> None:
    asked = Recipe(targets=Part(name=targets))
    assert why in (illegal(asked, able) or "") and f"targets.{targets}" in (illegal(asked, able) or "")
    assert illegal(asked, Able(zero_shot=True)) is None and illegal(Recipe(), able) is None


def test_examples_are_shown_where_there_is_a_prompt_with_room_for_them() -> None:
    wide = TASK.models.strong.model_copy(update={"max_length": 52})
    roomy = TASK.model_copy(update={"models": TASK.models.model_copy(update={"strong": wide})})
    assert Able.of(roomy) == Able(calibration=True, zero_shot=True, shots=True, classes=2)
    narrow = wide.model_copy(update={"max_length": 51})
    assert not Able.of(roomy.model_copy(update={"models": TASK.models.model_copy(update={"strong": narrow})})).shots
    texts = TASK.data.model_copy(update={"world": None})
    for how, shots in (("likelihood", True), ("similarity", False)):
        asked = ZeroShot(how=how, answers=("no", "yes"))
        assert Able.of(TASK.model_copy(update={"data": texts, "zero_shot": asked})).shots is shots
    few = Recipe(targets=Part(name="zero_shot_blend", params={"shots": 2}))
    assert "shots=2 examples before it answers, but" in (illegal(few, Able(zero_shot=True)) or "")
    assert illegal(few, Able(zero_shot=True, shots=True)) is None
    assert "a generation task has none" in (illegal(few, Able(zero_shot=True, shots=True, kind="generation")) or "")


def test_a_calibration_is_of_one_weak_model() -> None:
    both = Recipe(supervision=Part(name="ensemble"), targets=Part(name="calibrated"))
    assert "supervision.ensemble mixes several" in (illegal(both, Able()) or "")
    assert illegal(both.model_copy(update={"targets": Part(name="topofilter")}), Able()) is None


def test_the_host_lists_parts_without_torch() -> None:
    code = "import sys, aar.methods; aar.methods.fill; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_part_says_what_it_is_and_every_default_is_in_its_range() -> None:
    for slot, parts in PARTS.items():
        for name, part in parts.items():
            assert part.summary() and name == part.name
            fill(Recipe(**{slot: Part(name=name)}), BASE)
            assert set(spaces(slot, name, BASE)) == set(part.space)


Y = np.array([[0.9, 0.1], [0.6, 0.4], [0.45, 0.55], [0.2, 0.8]], np.float32)


def test_targets_by_hand() -> None:
    soft = TARGETS["soft"].make(Y, {}, Context())
    assert np.array_equal(soft.target, Y) and soft.keep.all() and (soft.weight == 1).all()
    assert np.array_equal(TARGETS["hard"].make(Y, {}, Context()).target, [[1, 0], [1, 0], [0, 1], [0, 1]])
    sharp = TARGETS["sharpen"].make(Y, {"T": 0.5}, Context()).target
    assert sharp[0, 0] == pytest.approx(0.81 / 0.82, rel=1e-5) and np.allclose(sharp.sum(1), 1)
    assert np.allclose(TARGETS["sharpen"].make(Y, {"T": 1.0}, Context()).target, Y, atol=1e-6)
    certain = TARGETS["sharpen"].make(np.array([[1.0, 0.0]], np.float32), {"T": 0.2}, Context()).target
    assert np.isfinite(certain).all() and certain[0, 0] == pytest.approx(1)


def test_confident_keeps_the_surest_of_each_class_and_lets_no_class_die() -> None:
    assert TARGETS["confident"].make(Y, {"q": 0.5}, Context()).keep.tolist() == [True, False, False, True]
    assert TARGETS["confident"].make(Y, {"q": 0.1}, Context()).keep.tolist() == [True, False, False, True]
    lone = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6]], np.float32)
    assert TARGETS["confident"].make(lone, {"q": 0.3}, Context()).keep[3], "the only row of class 1 stays"
    assert TARGETS["confident"].make(Y, {"q": 1.0}, Context()).keep.all()


def test_ensemble_means_and_votes() -> None:
    other = np.array([[0.3, 0.7], [0.2, 0.8], [0.4, 0.6], [0.1, 0.9]], np.float32)
    mean = SUPERVISION["ensemble"].combine([Y, other], {"how": "mean", "k": 2})
    assert np.allclose(mean, (Y + other) / 2) and mean.dtype == np.float32
    vote = SUPERVISION["ensemble"].combine([Y, other, other], {"how": "vote", "k": 3})
    assert np.allclose(vote[0], [1 / 3, 2 / 3])
    assert SUPERVISION["ensemble"].members({"k": 4}) == 4 and SUPERVISION["single"].members({}) == 1
