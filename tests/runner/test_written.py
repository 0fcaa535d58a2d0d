"""Trials with code of their own: which jobs they are, what each may see, what is recorded, and what a kill costs.

Jobs are `fast_job.py`, which runs no code; tests/sandbox/test_written.py has the real ones.
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aar.agent.run import opened
from aar.cli.parts import export_part
from aar.ledger import Ledger
from aar.methods import fill, read_part, short
from aar.report import write_report
from aar.runner.bench import Bench
from aar.runner.other_answers import matched_noise
from aar.runner.plan import Planned
from aar.runner.store import Store
from aar.runner.trial import Runner
from aar.runner.units import ensure
from aar.runner.written import SMOKE_ROWS, _blind, _few, _predicting, students
from aar.sandbox.process import ProcessSandbox
from aar.tracking._about import About
from aar.tracking._claim import claim
from aar.tracking._words import trial_words
from aar.types import AarError, Hypothesis, JobKind, Part, Recipe, TrialStatus
from tests.loops import FAST, Child, Searching, launches, ledger_of, searching, write_task
from tests.rows import BASE
from tests.written import MINE, TWICE, mine

CHILD = mine("a * cross", "2 * a * cross").model_copy(update={"parent": mine().digest})


def hypothesis(code: Any, **params: float) -> Hypothesis:
    recipe = Recipe(loss=Part(name=code.name, params=dict(params))) if code.slot == "loss" else Recipe()
    return Hypothesis(recipe=recipe, code=code, rationale="scripted", author="llm")


PROPOSED: list[Recipe | Hypothesis] = [
    hypothesis(mine(), a=1.5), hypothesis(CHILD).model_copy(update={"review": "keeps within its bounds"}),
    hypothesis(mine("import torch", "import os")),
    hypothesis(mine().model_copy(update={"name": "Xent"})), Recipe().carrying(mine()),
]  # fmt: skip


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Searching, str]]:
    """A search whose researcher writes losses: one, its child, two that cannot be tried, and the first again."""
    folder = tmp_path_factory.mktemp("written")
    with searching(folder, PROPOSED) as here:
        search = here.create(folder, trials=len(PROPOSED), researcher="scripted", confirm_top=2)
        here.work(search)
        yield here, search


def of(here: Searching, search: str, trial: int, kind: str) -> list[dict[str, Any]]:
    """A trial's launches of one kind."""
    names = {a["id"] for a in here.ledger.attempts(search, trial=trial) if a["kind"] == kind}
    return [line for line in launches(here.settings.root) if line["attempt"] in names]


def test_code_is_tried_trained_seed_by_seed_and_applied_by_another_job(searched: tuple[Searching, str]) -> None:
    here, search = searched
    (smoke,) = of(here, search, 1, "smoke")
    assert smoke["inputs"] == ["transfer.jsonl", "u0/prior", "u0/weak0", "vocab.txt"]
    every = of(here, search, 1, "transfer")
    trained = [j for j in every if len(j["seeds"]) == 1]
    assert [j["seeds"] for j in every if j not in trained] in ([], [[500, 501, 502, 503]]), "naive's shuffled labels"
    fresh = [j for j in trained if j["seeds"][0] >= 500 and len(j["inputs"]) == 4]
    assert [j["seeds"] for j in trained[:2]] == [[0], [1]] and [j["seeds"] for j in fresh[:2]] == [[500], [501]]
    for line in trained:
        seed = line["seeds"][0]
        assert line["inputs"] == ["transfer.jsonl", f"u{seed}/prior", f"u{seed}/weak0", "vocab.txt"]
    applied = of(here, search, 1, "predict")
    assert applied[0]["inputs"] == ["dev.jsonl", "u0/student", "vocab.txt"]
    sealed = [j for j in applied if "test.jsonl" in j["inputs"]]
    assert sealed and all(s >= 500 for j in sealed for s in j["seeds"]), "test is for confirmation only"
    assert not any("weak" in name or "transfer" in name or "label" in name for j in applied for name in j["inputs"])
    attempts = [a for a in here.ledger.attempts(search, trial=1) if a["id"] in {j["attempt"] for j in trained}]
    winner = next(c["trial"] for c in here.ledger.confirmations(search) if "sealed" in c["views"])
    runs = 8 + (winner == 1)
    assert len(attempts) == len({a["keys"] for a in attempts}) == runs, "2 search, 2 fresh, 4 shuffled; none again"
    store = Store(here.settings.folder("store"))
    kept = [unit for a in attempts for k in json.loads(a["keys"]) if (unit := here.ledger.unit(k)) is not None]
    assert len(kept) == runs and not [u for u in kept if store.has(u.outputs["weights"])], "models are not kept"
    done = here.ledger.trial(search, 1)
    assert done.status is TrialStatus.COMPLETE and done.view is not None and done.view.accuracy > 0.8


def test_what_cannot_be_tried_is_rejected_before_anything_starts(searched: tuple[Searching, str]) -> None:
    here, search = searched
    for number, why in ((3, "line 5: import os: not allowed"), (4, "name 'Xent': want a small letter")):
        row = here.ledger.trial(search, number)
        assert row.status is TrialStatus.REJECTED and why in (row.reason or "")
        assert here.ledger.attempts(search, trial=number) == [] and row.n_seeds == 0


def test_the_ledger_keeps_what_was_written_once_with_its_diff(searched: tuple[Searching, str]) -> None:
    here, search = searched
    rows = here.ledger.parts(search)
    first, child = rows[mine().digest], rows[CHILD.digest]
    assert (first["trial"], first["author"], first["slot"], first["name"]) == (1, "llm", "loss", "mine")
    assert first["source"] == MINE and first["parent"] is None and first["diff"] is None and first["review"] is None
    assert json.loads(first["space"])["a"]["high"] == 2.0
    assert child["parent"] == mine().digest
    assert "-        return weighted_mean(a * cross" in child["diff"]
    assert "+        return weighted_mean(2 * a * cross" in child["diff"]
    assert len(rows) == 4, "what was rejected is kept, what came again is not doubled"
    assert child["review"] == "keeps within its bounds"


def test_mlflow_gets_source_diff_hash_and_review(searched: tuple[Searching, str]) -> None:
    here, search = searched
    files = trial_words(About(here.ledger, search), 2, here.settings.workspace).files
    assert read_part(files["part_loss.py"]).digest == CHILD.digest
    assert files["part_loss.diff"] == here.ledger.parts(search)[CHILD.digest]["diff"]
    told = json.loads(files["part_loss.json"])
    assert told["digest"] == CHILD.digest and told["parent"] == mine().digest and "review" in told
    naive = trial_words(About(here.ledger, search), 0, here.settings.workspace)
    assert not [name for name in naive.files if "part" in name]


def test_a_written_winner_is_confirmed_and_controlled_without_truth(searched: tuple[Searching, str]) -> None:
    here, search = searched
    found = {c["trial"]: c["views"] for c in here.ledger.confirmations(search)}
    (winner,) = (n for n, v in found.items() if "sealed" in v)
    assert here.ledger.trial(search, winner).recipe.written and found[winner]["sealed"]["pgr"] is not None
    controls = {(c["name"], c["recipe"]): c for c in found[winner]["controls"]}
    shuffled, noise = controls["shuffled", f"t{winner}"], controls["matched_noise", f"t{winner}"]
    assert shuffled["accuracy"] is not None and shuffled["n_runs"] == 4
    assert noise["accuracy"] is None and "nothing that was made from true labels" in noise["words"]
    assert controls["matched_noise", "naive"]["accuracy"] is not None, "naive has no code"
    for line in launches(here.settings.root):
        named = json.dumps(line["inputs"])
        assert line["kind"] != "control" or "weak0" in named
    with ledger_of(here.settings.root) as ledger:
        assert {a["kind"] for a in ledger.attempts(search)} == {
            "weak", "ceiling", "transfer", "control", "smoke", "predict"
        }  # fmt: skip


def test_the_winners_part_is_exported_with_what_was_confirmed(
    searched: tuple[Searching, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, search = searched
    workspace = here.settings.workspace
    (winner,) = (c["trial"] for c in here.ledger.confirmations(search) if "sealed" in c["views"])
    export_part(search, winner, tmp_path / "mine.py", None, False, workspace)
    assert "its place is aar/methods/losses/" in capsys.readouterr().out
    text = (tmp_path / "mine.py").read_text()
    code = here.ledger.trial(search, winner).recipe.written[0]
    first = here.ledger.parts(search)[code.digest]["trial"]
    assert f"    # Written by llm for trial {first}; sha256 {code.digest}.\n" in text
    fresh, sealed = (About(here.ledger, search).confirmed[winner][k] for k in ("fresh", "sealed"))
    for said, view in (("Confirmed on fresh seeds", fresh), ("Sealed split", sealed)):
        told = f"{said}: PGR {short(view['pgr'])} [{short(view['ci_low'])}, {short(view['ci_high'])}], 2 seeds"
        assert told in text
    assert f'paper = "aar, search {search}, trial {winner}"' in text
    export_part(search, winner, None, "loss", True, workspace)
    assert read_part(capsys.readouterr().out) == code
    for trial, slot, why in ((0, None, "has no written part"), (winner, "student", "has a written loss")):
        with pytest.raises(AarError, match=why):
            export_part(search, trial, None, slot, False, workspace)
    with pytest.raises(AarError, match="has no trial 99"):
        export_part(search, 99, None, None, False, workspace)


def test_the_claim_card_says_how_to_run_it_again(searched: tuple[Searching, str]) -> None:
    here, search = searched
    card = claim(About(here.ledger, search), here.settings.workspace)
    assert card is not None
    fetch, again, confirm = (shlex.split(line) for line in card.replay)
    assert fetch[:5] == ["aar", "export-part", search, str(card.trial.number), "--slot"]
    assert fetch[-3] == again[again.index("--code") + 1] == "part_loss.py" and confirm[:2] == ["aar", "confirm"]
    assert f"loss={card.trial.recipe.loss.name}" in again
    assert ("loss.a=1.5" in again) == (card.trial.number == 1)
    page = write_report(here.ledger, here.settings, search).read_text()
    assert f"What was written: loss {card.trial.recipe.written[0].ref}" in page
    assert "return weighted_mean(" in page and "&#34;slot&#34;: &#34;loss&#34;" in page


def test_a_person_without_docker_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "bad.py").write_text(MINE.replace("import torch", "import os"))
    (tmp_path / "none.py").write_text("x = 1\n")
    command = [sys.executable, "-m", "aar.cli", "trial", str(write_task(tmp_path)), "--sandbox", "process"]
    for file, why in (
        ("mine.py", "code written by a hypothesis runs in the Docker sandbox only; get it with `aar sandbox build`"),
        ("bad.py", "line 5: import os: not allowed"), ("none.py", "no header"), ("gone.py", "No such file"),
    ):  # fmt: skip
        words = [*command, "--workspace", str(tmp_path / "ws"), "--code", str(tmp_path / file)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 2 and why in done.stderr, done.stderr
    assert not (tmp_path / "ws").exists()


def test_a_smoke_run_that_fails_costs_no_seed(tmp_path: Path) -> None:
    with searching(tmp_path, [hypothesis(mine())], smoke="crash") as here:
        search = here.create(tmp_path, trials=1, researcher="scripted", confirm_top=0)
        here.work(search)
        row = here.ledger.trial(search, 1)
        assert row.status is TrialStatus.REJECTED and row.n_seeds == 0
        ref = mine().ref
        assert row.reason == (f"{ref} did not pass its smoke run on 64 rows: smoke job failed: exit code 1: ValueError")
        (attempt,) = here.ledger.attempts(search, trial=1)
        assert attempt["kind"] == "smoke" and "step 3: about to fail" in json.loads(attempt["exit"])["log_tail"]
        words = trial_words(About(here.ledger, search), 1, here.settings.workspace)
        assert "step 3: about to fail" in words.files["log_tail.txt"]


def test_weights_that_do_not_fit_fail_the_trial_with_a_message(tmp_path: Path) -> None:
    with searching(tmp_path, [hypothesis(mine())], predict="crash") as here:
        search = here.create(tmp_path, trials=1, researcher="scripted", confirm_top=0)
        here.work(search)
        row = here.ledger.trial(search, 1)
        assert row.status is TrialStatus.FAILED and row.view is None
        assert row.reason == "predict job failed: exit code 1: ValueError", "not what the log words"


def test_the_process_sandbox_refuses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with searching(tmp_path, [hypothesis(mine())]) as here:
        monkeypatch.setattr("aar.agent.run.choose", lambda settings: (ProcessSandbox(command=FAST), "process"))
        search = here.create(tmp_path, trials=1, researcher="scripted", confirm_top=0)
        here.work(search)
        row = here.ledger.trial(search, 1)
        assert row.status is TrialStatus.REJECTED and "get it with `aar sandbox build`" in (row.reason or "")
        assert here.ledger.attempts(search, trial=1) == []


# ---------------------------------------------------------------- rule 2


@pytest.fixture
def bench(searched: tuple[Searching, str]) -> Iterator[Bench]:
    here, search = searched
    with opened(here.ledger, here.settings, search) as bench:
        yield bench


def planned(bench: Bench, recipe: Recipe) -> Planned:
    """A recipe's own job, dev and all, as it is planned before it is cut in two."""
    kept: list[Planned] = []
    Runner(bench).students(recipe, bench.seeds("search", 2), change=lambda p: kept.append(p) or p)  # type: ignore[func-returns-value]
    return kept[0]


def test_a_job_with_code_that_would_see_more_is_refused(bench: Bench) -> None:
    whole = planned(bench, fill(Recipe().carrying(mine()), bench.problem.task.training.strong))
    one = whole._replace(units=whole.units[:1])
    blind = one._replace(spec=_blind(one.spec))
    dev = {"dev.jsonl": one.spec.inputs["dev.jsonl"]}
    wrong = {
        "dev.jsonl": blind._replace(spec=blind.spec.model_copy(update={"inputs": blind.spec.inputs | dev})),
        "dev": one, "2 seeds": whole._replace(spec=blind.spec),
        "control": blind._replace(spec=blind.spec.model_copy(update={"kind": JobKind.CONTROL})),
    }  # fmt: skip
    for what, job in wrong.items():
        before = len(bench.ledger.attempts(bench.search))
        with pytest.raises(AarError, match=f"refused: .*{what}.*was about to run a hypothesis's code"):
            ensure(bench, job)
        assert len(bench.ledger.attempts(bench.search)) == before
    with pytest.raises(AarError, match="refused"):
        students(bench, matched_noise(bench, whole), None)


def test_a_written_student_never_runs_where_truth_is(bench: Bench) -> None:
    recipe = fill(Recipe().carrying(TWICE), bench.problem.task.training.strong)
    ceiling = Runner(bench).planner.ceiling([0], False, None, recipe)
    assert ceiling.spec.recipe is not None and ceiling.spec.recipe.written == ()
    assert ceiling.spec.recipe.schedule == recipe.schedule and not ceiling.spec.untrusted


def test_what_is_applied_has_the_adapters_that_were_trained(bench: Bench) -> None:
    for student in ("finetune", "lora"):
        recipe = Recipe(student=Part(name=student)).carrying(mine())
        whole = planned(bench, fill(recipe, bench.problem.task.training.strong))
        learnt = {u.seed: SimpleNamespace(outputs={"weights": "0" * 64}) for u in whole.units}
        applied = _predicting(bench, whole, learnt)  # type: ignore[arg-type]
        assert applied.spec.training is not None and (applied.spec.training.lora is not None) == (student == "lora")


def test_a_smoke_run_is_the_code_alone_on_a_few_rows_for_one_epoch(bench: Bench) -> None:
    recipe = Recipe(targets=Part(name="hard"), student=Part(name="lora")).carrying(mine())
    weak = Runner(bench).weak(bench.seeds("search", 1))[0].outputs
    recipe = fill(recipe, bench.problem.task.training.strong)
    made = _few(bench, recipe, None, {name: weak[name] for name in ("transfer", "prior")})
    spec = made.spec
    assert spec.kind is JobKind.SMOKE and spec.rows == {"transfer": SMOKE_ROWS} and spec.predict == ()
    assert spec.recipe is not None and spec.recipe == fill(Recipe().carrying(mine()), spec.training or BASE)
    assert spec.training is not None and spec.training.epochs == 1
    text = bench.problem.store.path(spec.inputs["transfer.jsonl"]).read_text().splitlines()
    assert text == bench.problem.prepared.text_file("transfer").read_text().splitlines()[:SMOKE_ROWS]
    (unit,) = made.units
    labels = bench.problem.store.array(weak["transfer"], bench.problem.classes)[:SMOKE_ROWS]
    assert (bench.problem.store.array(unit.inputs["weak0"], bench.problem.classes) == labels).all()


def test_what_a_job_hands_back_is_bounded_by_its_model(bench: Bench) -> None:
    kept: list[Any] = []
    real = bench.sandbox.run
    bench.sandbox.run = lambda launch, cancel: kept.append(launch) or real(launch, cancel)  # type: ignore
    recipe = fill(Recipe().carrying(mine("a * cross", "3 * a * cross")), bench.problem.task.training.strong)
    (done,) = Runner(bench).students(recipe, bench.seeds("search", 1)).values()
    assert "weights" not in done.outputs, "nobody is to look for what is not kept"
    learning, applying = kept
    (blob,) = (o for o in learning.outputs if o.kind == "blob")
    assert learning.untrusted and not applying.untrusted
    assert 4 << 20 < blob.max_bytes < 8 << 20, "a model of some 30,000 weights"


# ---------------------------------------------------------------- kills

POINTS = ("smoked", "learnt", "applied")


@pytest.mark.parametrize("fault", [*POINTS, "refused"])
def test_a_kill_at_any_point_costs_no_unit_twice(fault: str, tmp_path: Path) -> None:
    workspace, file = tmp_path / "ws", tmp_path / "mine.py"
    file.write_text(MINE)
    options = ["--workspace", str(workspace), "--sandbox", "process"]
    workspace.mkdir()
    if fault == "refused":
        (workspace / "trouble.json").write_text('{"smoke": "crash"}')
    first = Child(tmp_path / "one", ["trial", str(write_task(tmp_path)), "--code", str(file), *options], fault)
    assert first.end() == -signal.SIGKILL, first.text
    again = Child(tmp_path / "two", ["resume", *options])
    assert again.end() == 0, again.text
    starts = Counter(line["attempt"] for line in launches(workspace))
    assert set(starts.values()) == {1}
    with ledger_of(workspace) as ledger:
        (row,) = ledger.searches()
        attempts = ledger.attempts(row["id"])
        done = Counter(key for a in attempts if a["status"] == "ok" for key in json.loads(a["keys"]))
        assert set(done.values()) == {1}, "a unit was computed twice"
        kinds = Counter(a["kind"] for a in attempts if a["trial"] == 1)
        trial = ledger.trial(row["id"], 1)
        if fault == "refused":
            assert trial.status is TrialStatus.REJECTED and kinds == {"smoke": 1}
        else:
            assert kinds == {"smoke": 1, "transfer": 2, "predict": 1} and trial.status is TrialStatus.COMPLETE
        assert list(ledger.parts(row["id"])) == [mine().digest]
    assert list((workspace / "jobs").iterdir()) == []


def test_a_ledger_of_before_there_was_code_is_read(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'l.db'}")
    assert ledger.parts("s") == {}
    assert Recipe.model_validate_json('{"loss":{"name":"logconf","params":{"a":0.5}}}').loss.code is None
    ledger.close()
