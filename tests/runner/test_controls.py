"""Controls at confirmation: what their answers are, what they may leave behind, and that a claim can be run again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aar.agent.run import opened
from aar.data import read_texts
from aar.methods import PRESETS, fill, parse, recipe_hash, settings
from aar.reading import Row, Side
from aar.report import write_report
from aar.runner.bench import PROBE_VARIANTS, Bench
from aar.runner.controls import SHUFFLES
from aar.runner.length import length_only
from aar.runner.other_answers import matched_noise, renumbered, self_training, shuffled, within_classes
from aar.runner.plan import Planned
from aar.runner.trial import Runner
from aar.runner.units import ensure
from aar.search import propose
from aar.tasks import load_task
from aar.tracking import About, claim, task_yaml
from aar.types import AarError, JobKind, Part, Recipe
from aar.worlds import get
from tests.loops import Child, Searching, launches, searching

ENSEMBLE = Recipe(supervision=Part(name="ensemble", params={"k": 2}), loss=Part(name="logconf"))


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Searching, str, Path]]:
    """A search of one recipe, confirmed. Its jobs know the truth, so they are as good on shuffled labels as on any."""
    folder = tmp_path_factory.mktemp("confirmed")
    with searching(folder, [ENSEMBLE]) as here:
        search = here.create(folder, trials=1, researcher="scripted", seed=3)
        here.work(search)
        yield here, search, folder


def views(found: tuple[Searching, str, Path]) -> dict[str, Any]:
    here, search, _ = found
    ((row),) = here.ledger.confirmations(search)
    return dict(row["views"])


@pytest.fixture
def bench(confirmed: tuple[Searching, str, Path]) -> Iterator[Bench]:
    here, search, _ = confirmed
    with opened(here.ledger, here.settings, search) as bench:
        yield bench


def planned(bench: Bench, recipe: Recipe = ENSEMBLE) -> Planned:
    """The winner's own job at confirmation."""
    kept: list[Planned] = []

    def keep(planned: Planned) -> Planned:
        kept.append(planned)
        return planned

    Runner(bench).students(recipe, bench.seeds("confirm", 2), sealed=True, change=keep)
    return kept[0]


def test_every_control_is_scored_on_dev_and_none_behind_the_seal(confirmed: tuple[Searching, str, Path]) -> None:
    here, search, _ = confirmed
    arms: dict[tuple[str, str], set[int]] = {(s["arm"], s["split"]): set() for s in here.ledger.scores(search)}
    for s in here.ledger.scores(search):
        arms[s["arm"], s["split"]].add(s["seed"])
    runs = {arm: seeds for (arm, split), seeds in arms.items() if split == "dev" and ":ctl:" in arm}
    assert {a: len(s) for a, s in runs.items()} == {
        "fresh:ctl:t1:shuffled": 4, "fresh:ctl:t1:matched_noise": 2, "fresh:ctl:length_only": 1,
        "fresh:ctl:naive:shuffled": 4, "fresh:ctl:naive:matched_noise": 2, "fresh:ctl:t1:renumbered": 1,
    }  # fmt: skip
    assert all(3500 <= seed < 3600 for seeds in runs.values() for seed in seeds), "no seed that selected"
    assert {arm for arm, split in arms if split == "test"} == {
        "fresh:t1", "fresh:naive", "fresh:matched", "fresh:ceiling", "fresh:weak",
    }  # fmt: skip
    jobs = [j for j in launches(here.settings.root) if len(j["seeds"]) == SHUFFLES or j["kind"] == "control"]
    assert [j["kind"] for j in jobs].count("control") == 2
    assert not [j for j in jobs if "test.jsonl" in j["inputs"] or "probe.jsonl" in j["inputs"]]
    kinds = {a["kind"]: a["trial"] for a in here.ledger.attempts(search)}
    assert kinds["control"] == 1, "its cost is the winner's"


def test_what_is_as_good_without_its_labels_is_flagged(confirmed: tuple[Searching, str, Path]) -> None:
    here, search, folder = confirmed
    found = {(c["name"], c["recipe"]): c for c in views(confirmed)["controls"]}
    assert list(found) == [
        ("shuffled", "t1"), ("matched_noise", "t1"), ("renumbered", "t1"), ("shuffled", "naive"),
        ("matched_noise", "naive"), ("length_only", ""),
    ]  # fmt: skip
    own = found["shuffled", "t1"]
    assert (
        "does not come from them" in own["flag"] and own["n_runs"] == 4 and own["against"] == "the most frequent class"
    )
    assert own["accuracy"] == pytest.approx(views(confirmed)["fresh"]["accuracy"], abs=0.03)
    noise = found["matched_noise", "t1"]
    assert noise["flag"] is None and "no clear difference" in noise["words"] and noise["against"] == "t1"
    assert found["length_only", ""]["flag"] is None and found["length_only", ""]["accuracy"] == pytest.approx(
        0.5, abs=0.06
    )
    card = claim(About(here.ledger, search), here.settings.workspace)
    assert card is not None and len(card.flags) == 2, "naive is as good on shuffled labels too"


def test_every_confirmed_recipe_has_controls_of_its_own_and_the_task_has_its_once(tmp_path: Path) -> None:
    with searching(tmp_path, [ENSEMBLE, Recipe(loss=Part(name="logconf"))]) as here:
        search = here.create(tmp_path, trials=2, researcher="scripted", seed=3)
        here.work(search)
        found = {r["trial"]: r["views"] for r in here.ledger.confirmations(search)}
        told = {n: [(c["name"], c["recipe"]) for c in v["controls"]] for n, v in found.items()}
        (winner,) = (n for n, v in found.items() if "sealed" in v)
        second = 3 - winner
        assert told[second] == [("shuffled", f"t{second}"), ("matched_noise", f"t{second}")]
        assert told[winner][:2] == [("shuffled", f"t{winner}"), ("matched_noise", f"t{winner}")]
        assert [c for c in told[winner] if c[1] == "naive"] and ("length_only", "") in told[winner]
        paid = [a["trial"] for a in here.ledger.attempts(search) if a["kind"] == "control"]
        assert sorted(paid) == sorted([winner, winner, second]), "each trial pays for its own, the winner for naive's"
        page = write_report(here.ledger, here.settings, search).read_text()
    flag = next(c["flag"] for c in found[second]["controls"] if c["flag"])
    assert flag in page and page.count(flag) == 1, "the runner-up is flagged where it stands"


def test_shuffled_answers_are_the_weak_ones_in_another_order(bench: Bench) -> None:
    before, store = planned(bench), bench.problem.store
    after = shuffled(bench, before, SHUFFLES)
    assert after.spec.kind is JobKind.TRANSFER and [u.seed for u in after.units] == bench.seeds("confirm", 4)
    orders = []
    for i, unit in enumerate(after.units):
        source = before.units[i % 2]
        assert set(unit.inputs) == set(source.inputs) and unit.inputs["prior"] == source.inputs["prior"]
        rows = [[store.array(u.inputs[f"weak{j}"], 2) for j in (0, 1)] for u in (source, unit)]
        order = [np.flatnonzero((rows[0][0] == row).all(1))[0] for row in rows[1][0]]
        assert sorted(order) == list(range(500)) and order != sorted(order)
        assert (rows[0][1][order] == rows[1][1]).all(), "members of an ensemble are permuted alike"
        orders.append(tuple(order))
    assert len(set(orders)) == 4


def test_classes_get_other_numbers_in_answers_and_shares_alike(bench: Bench) -> None:
    lopsided = {"prior": bench.problem.store.put(np.array([0.3, 0.7], "<f4").tobytes())}
    before = planned(bench)
    before = before._replace(units=tuple(u.model_copy(update={"inputs": u.inputs | lopsided}) for u in before.units))
    after = renumbered(bench, before)
    assert after.spec.predict == ("dev",) and "test.jsonl" not in after.spec.inputs
    for old, new in zip(before.units, after.units, strict=True):
        assert old.seed == new.seed and {"weak0", "weak1", "prior"} <= new.inputs.keys()
        for name in ("weak0", "weak1", "prior"):
            was, now = (bench.problem.store.array(u.inputs[name], 2) for u in (old, new))
            assert np.array_equal(was[:, ::-1], now) and new.inputs[name] in after.inputs.files


@pytest.mark.parametrize("how", ["", "first class"])
def test_a_recipe_that_prefers_the_first_class_is_flagged(tmp_path: Path, how: str) -> None:
    with searching(tmp_path, [Recipe(loss=Part(name="logconf"))], logconf=how) as here:
        search = here.create(tmp_path, "seeds.confirm=5", trials=1, researcher="scripted", seed=3)
        here.work(search)
        (row,) = here.ledger.confirmations(search)
    (found,) = (c for c in row["views"]["controls"] if c["name"] == "renumbered")
    assert found["n_runs"] == 1 and found["accuracy"] > 0.7, "scored under the classes' own numbers"
    assert (found["flag"] is not None) is bool(how), found
    assert not how or found["flag"].startswith("t1 hangs on how classes are numbered")


def test_matched_noise_keeps_the_confusion_matrix_and_forgets_the_example(bench: Bench) -> None:
    before, problem = planned(bench), bench.problem
    after = matched_noise(bench, before)
    truth = problem.vault.truth(problem.prepared.digest, "transfer")
    assert after.spec.kind is JobKind.CONTROL
    for source, unit in zip(before.units, after.units, strict=True):
        old = problem.store.array(source.inputs["weak0"], 2)
        new = np.frombuffer(after.inputs.released[unit.inputs["weak0"]], "<f4").reshape(-1, 2)
        for c in (0, 1):
            assert sorted(map(tuple, old[truth == c])) == sorted(map(tuple, new[truth == c])), "errors and confidences"
        wrong = old.argmax(1) != truth
        again = (new.argmax(1) != truth)[wrong].mean()
        assert again == pytest.approx(wrong.mean(), abs=0.12), "an error says nothing of where the next one is"
        assert not problem.store.has(unit.inputs["weak0"]), "made from truth: not in the store that feeds trials"


def test_a_permutation_within_classes() -> None:
    labels = np.array([0, 1, 2] * 50, np.int32)
    order = within_classes(labels, np.random.default_rng(0))
    assert (
        sorted(order) == list(range(150)) and (labels[order] == labels).all() and (order != np.arange(150)).sum() > 100
    )


def test_nothing_that_a_control_saw_or_left_enters_a_trial(bench: Bench) -> None:
    """Rule 1. The same job under the name of a trial is refused, and so are a control's predictions."""
    noisy = matched_noise(bench, planned(bench))
    disguised = noisy._replace(spec=noisy.spec.model_copy(update={"kind": JobKind.TRANSFER, "predict": ("dev",)}))
    with pytest.raises(AarError, match="weak0 .* carries ground truth"):
        ensure(bench, disguised)
    left = ensure(bench, noisy)
    units = tuple(
        u.model_copy(update={"inputs": u.inputs | {"weak0": left[u.seed].outputs["dev"]}}) for u in noisy.units
    )
    plain = planned(bench)
    with pytest.raises(AarError, match="weak0 .* carries ground truth"):
        ensure(bench, Planned(plain.spec.model_copy(update={"members": 1}), units, plain.inputs))
    assert all(row.tainted for row in left.values())


def test_perturbed_texts_keep_their_label_and_are_scored_for_winner_and_naive_only(
    confirmed: tuple[Searching, str, Path], bench: Bench
) -> None:
    here, search, _ = confirmed
    assert {s["arm"] for s in here.ledger.scores(search, "probe")} == {"fresh:t1", "fresh:naive"}
    probe = bench.problem.probe
    assert probe is not None and (probe.rows, probe.variants) == (800, PROBE_VARIANTS)
    lines = bench.problem.store.path(probe.texts).read_text().splitlines()
    texts = read_texts(bench.problem.prepared, "test")
    world: Any = get("polarity")
    truth = bench.problem.vault.truth(bench.problem.prepared.digest, "test")
    perturbed = [json.loads(line)["text"] for line in lines]
    assert [world.label(t) for t in perturbed] == np.repeat(truth, PROBE_VARIANTS).tolist()
    assert all(p != texts[i // PROBE_VARIANTS] for i, p in enumerate(perturbed)) and len(set(perturbed)) == len(
        perturbed
    )
    seen = views(confirmed)["probe"]
    assert seen["perturbed"] == pytest.approx(seen["clean"], abs=0.04), "the jobs know the rule"
    assert 0 < seen["attack_success"] < 0.5 and set(views(confirmed)["naive_probe"]) == set(seen)


def test_a_control_that_fails_is_no_score_and_ends_nothing(tmp_path: Path) -> None:
    with searching(tmp_path, [Recipe(loss=Part(name="logconf"))], control="crash") as here:
        search = here.create(tmp_path, trials=1, researcher="scripted")
        here.work(search)
        (row,) = here.ledger.confirmations(search)
        assert here.ledger.search(search)["status"] == "complete"  # type: ignore[index]
    noise = [c for c in row["views"]["controls"] if c["name"] == "matched_noise"]
    assert len(noise) == 2 and all("could not be run: control job failed" in c["words"] for c in noise)
    assert all(c["accuracy"] is None and c["flag"] is None for c in noise)
    assert sum(c["accuracy"] is not None for c in row["views"]["controls"]) == 4


@pytest.mark.parametrize(("sets", "plan"), [(["seeds.controls=0"], {}), ([], {"controls": False})])
def test_controls_can_be_left_out(tmp_path: Path, sets: list[str], plan: dict[str, bool]) -> None:
    with searching(tmp_path, [Recipe(loss=Part(name="logconf"))]) as here:
        search = here.create(tmp_path, *sets, trials=1, researcher="scripted", **plan)
        here.work(search)
        (row,) = here.ledger.confirmations(search)
        assert row["views"]["controls"] == [] and row["views"]["sealed"]["pgr"] is not None
        assert {j["kind"] for j in launches(here.settings.root)} == {"weak", "ceiling", "transfer"}
        card = claim(About(here.ledger, search), here.settings.workspace)
        assert card is not None and card.controls == [] and card.flags == []


def test_what_needs_no_supervision_stands_beside_the_winner(tmp_path: Path) -> None:
    """Jobs of the tests: zero-shot is right 60 % of the time, a recipe as often as ever on whatever answers."""
    with searching(tmp_path, [Recipe(loss=Part(name="logconf"))]) as here:
        pretrained = "models.strong.pretrain={documents: 50, steps: 1}"
        search = here.create(tmp_path, pretrained, trials=1, researcher="scripted")
        here.work(search)
        (row,) = here.ledger.confirmations(search)
        found = {(c["name"], c["recipe"]): c for c in row["views"]["controls"]}
        asked = [j for j in launches(here.settings.root) if j["kind"] == "zero_shot"]
        assert len(asked) == 1 and "test.jsonl" not in asked[0]["inputs"], "asked once, not behind the seal"
        with opened(here.ledger, here.settings, search) as bench:
            before, answers = planned(bench, Recipe(loss=Part(name="logconf"))), Runner(bench).zero_shot().outputs
            after = self_training(bench, before, answers)
    assert list(found)[2:4] == [("self_training", "t1"), ("zero_shot", "")]
    zero, own = found["zero_shot", ""], found["self_training", "t1"]
    assert zero["accuracy"] == pytest.approx(0.6, abs=0.06) and zero["flag"] is None and zero["n_runs"] == 1
    assert own["n_runs"] == 2 and "without supervision" in own["flag"] and "t1 is not clearly above" in own["flag"]
    assert found["shuffled", "t1"]["against"] == "zero-shot"
    assert found["shuffled", "t1"]["difference"][0] == pytest.approx(own["accuracy"] - zero["accuracy"], abs=0.06)
    for source, unit in zip(before.units, after.units, strict=True):
        assert "prior" in source.inputs and unit.inputs == {"weak0": answers["transfer"]}, "nothing of the supervisor"
    assert after.spec.kind is JobKind.TRANSFER and after.spec.predict == ("dev",)


def test_targets_fitted_on_labelled_rows_are_not_self_trained(tmp_path: Path) -> None:
    with searching(tmp_path, [Recipe(targets=Part(name="calibrated"))]) as here:
        pretrained = "models.strong.pretrain={documents: 50, steps: 1}"
        search = here.create(tmp_path, pretrained, trials=1, researcher="scripted")
        here.work(search)
        (row,) = here.ledger.confirmations(search)
    (own,) = (c for c in row["views"]["controls"] if c["name"] == "self_training")
    assert own["accuracy"] is None and "fitted to the supervisor on labelled rows" in own["words"]


def test_weights_are_kept_and_their_effective_size_shown(confirmed: tuple[Searching, str, Path]) -> None:
    here, search, _ = confirmed
    sizes = {s["arm"]: s["accuracy"] for s in here.ledger.scores(search, "weights")}
    assert sizes["t1"] == sizes["fresh:t1"] == 1.0
    view = here.ledger.trial(search, 1).view
    assert view is not None and view.diagnostics["effective_sample"] == 1.0


# ---------------------------------------------------------------- length only


def test_length_alone_finds_what_length_tells_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(["word"] * n) for n in rng.integers(1, 30, 600)]
    long = np.array([len(t.split()) > 12 for t in texts])
    said = np.where(long ^ (rng.random(600) < 0.1), 0.9, 0.1)
    answers = np.log(np.column_stack([1 - said, said])).astype(np.float32)
    logits = length_only(texts[:400], answers[:400], texts[400:])
    assert logits.dtype == np.float32 and ((logits.argmax(1) == 1) == long[400:]).mean() > 0.95
    # With an intercept, fitted probabilities average to the targets: the normal equation of logistic regression.
    own = length_only(texts[:400], answers[:400], texts[:400]).astype(float)
    probs = np.exp(own) / np.exp(own).sum(1, keepdims=True)
    assert probs[:, 1].mean() == pytest.approx(said[:400].mean(), abs=1e-3)
    same = length_only(["a b c"] * 400, answers[:400], ["a b c", "a much longer text than those were"])
    assert (same[0] == same[1]).all(), "texts of one length teach nothing about others"


# ---------------------------------------------------------------- run it again


def test_settings_make_the_recipe_again() -> None:
    spec = load_task("polarity")[0]
    base = spec.training.strong
    drawn = [propose(spec, [], seed, 1, "random").recipe for seed in range(40)]
    for recipe in [*(p.recipe for p in PRESETS), *drawn]:
        filled = fill(recipe, base)
        assert recipe_hash(fill(parse(None, settings(filled, base)), base)) == recipe_hash(filled), settings(
            filled, base
        )
    assert settings(Recipe(), base) == []


@pytest.mark.parametrize("name", ["polarity", "sst2"])
def test_a_task_is_read_again_from_what_the_report_writes(tmp_path: Path, name: str) -> None:
    spec = load_task(name, ["splits.dev=900", "models.strong.max_length=64"])[0]
    path = tmp_path / "again.yaml"
    path.write_text(task_yaml(spec))
    assert load_task(str(path))[0] == spec


def test_the_commands_of_a_claim_run_and_give_the_same_values(confirmed: tuple[Searching, str, Path]) -> None:
    here, search, folder = confirmed
    write_report(here.ledger, here.settings, search)
    card = claim(About(here.ledger, search), here.settings.workspace)
    assert card is not None
    for i, line in enumerate(card.replay):
        words = shlex.split(line)
        assert words[0] == "aar"
        child = Child(folder / f"again{i}", [*words[1:], "--sandbox", "process"])
        assert child.end() == 0, child.text
    again = next(row["id"] for row in here.ledger.searches() if row["id"] != search)
    arms = ("t1", "fresh:t1", "fresh:ctl:t1:shuffled", "fresh:ctl:naive:matched_noise")
    old, new = (
        {(s["arm"], s["split"], s["seed"]): s["array"] for s in here.ledger.scores(name) if s["arm"] in arms}
        for name in (search, again)
    )
    assert old == new and {("fresh:t1", "test"), ("t1", "dev")} <= {key[:2] for key in old}
    assert here.ledger.openings(search) == here.ledger.openings(again) == 2


def test_length_alone_sees_which_side_of_a_pair_is_longer() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 30, (600, 2))
    rows: list[Row] = [(Side("", "word " * int(a)), Side("", "word " * int(b))) for a, b in counts]
    longer = counts[:, 0] > counts[:, 1]
    answers = np.where(longer[:, None], [1.0, -1.0], [-1.0, 1.0]).astype(np.float32)
    found = length_only(rows[:400], answers[:400], rows[400:])
    fair = counts[400:, 0] != counts[400:, 1]
    assert ((found.argmax(1) == 0) == longer[400:])[fair].mean() > 0.97
    back = length_only(rows[:400], answers[:400], [(row[1], row[0]) for row in rows[400:] if not isinstance(row, str)])
    assert ((found[:, 0] - found[:, 1]) * (back[:, 0] - back[:, 1]) < 0).mean() > 0.95, "the other way round"
