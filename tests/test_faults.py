"""Loops that are killed, jobs that go wrong, budgets that end: nothing is lost, nothing is done or counted twice.

Jobs are `fast_job.py`; everything else is the product, in real processes through the real process sandbox.
"""

from __future__ import annotations

import json
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aar.agent.run import opened
from aar.executor import Executor
from aar.ledger import Ledger
from aar.runner import units
from aar.runner.trial import Runner
from aar.runner.units import ensure
from aar.sandbox.process import ProcessSandbox
from aar.sandbox.protocol import SandboxError
from aar.settings import Settings
from aar.types import AarError, Exit, Launch, Part, Recipe, TrialStatus
from aar.vault import SEALED, Vault
from tests.loops import (
    NO_TRACKING,
    VICTIM,
    Child,
    begun,
    launches,
    ledger_of,
    outcome,
    searching,
    until,
    write_task,
)

TRIALS, SEED = 3, 2
"""With this seed the victim goes all the way and two trials are confirmed, so that there is something to choose."""
Killed = dict[tuple[str, str], "Future[Place]"]
POINTS = ("submit", "job", "result", "record", "fresh", "seal")


class Place:
    """A workspace and the children that run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.workspace = folder, folder / "ws"
        self.task = write_task(folder)
        self.options = ["--workspace", str(self.workspace), "--sandbox", "process"]
        self.children: list[Child] = []

    def run(self, *more: str, fault: str | None = None, **env: str) -> Child:
        words = ("--trials", str(TRIALS), "--seed", str(SEED))
        return self._start("run", str(self.task), *words, *more, fault=fault, **env)

    def resume(self, *more: str, fault: str | None = None, **env: str) -> Child:
        return self._start("resume", *more, fault=fault, **env)

    def _start(self, *argv: str, fault: str | None, **env: str) -> Child:
        child = Child(self.folder / f"out{len(self.children)}", [*argv, *self.options], fault, **env)
        self.children.append(child)
        return child

    def held(self) -> Path:
        """The folder of the job that waits for its `hold` to go."""
        found: list[Path] = []

        def look() -> bool:
            found[:] = [p.parent for p in (self.workspace / "jobs").glob("*/hold") if begun(p.parent)]
            return bool(found)

        until(look)
        return found[0]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The search that nothing happens to."""
    place = Place(tmp_path_factory.mktemp("undisturbed"))
    child = place.run()
    assert child.end() == 0, child.text
    found = outcome(place.workspace)
    assert len(found["confirmed"]) == 2 and found["trials"][VICTIM]["status"] == "complete", "choose another SEED"
    return place


def shape(workspace: Path) -> list[tuple[str, list[int], list[str]]]:
    """What was started, in any order: kind, seeds and inputs of each launch."""
    return sorted((j["kind"], j["seeds"], j["inputs"]) for j in launches(workspace))


def assert_whole(workspace: Path) -> None:
    """Nothing is under way, nothing was computed or paid for twice, nothing lies about."""
    with ledger_of(workspace) as ledger:
        (row,) = ledger.searches()
        assert row["status"] == "complete"
        trials = ledger.trials(row["id"])
        assert [t.number for t in trials] == list(range(TRIALS + 1))
        assert all(t.finished is not None and t.reason != "" for t in trials)
        assert {t.status for t in trials} <= {TrialStatus.COMPLETE, TrialStatus.PRUNED}
        assert sum(1 for c in ledger.confirmations(row["id"]) if "sealed" in c["views"]) == 1
        unsealed = {s["arm"] for s in ledger.scores(row["id"], "test") if s["arm"].startswith("fresh:t")}
        assert len(unsealed) == 1, "only the winner is scored behind the seal"
        attempts = ledger.attempts(row["id"])
        good = Counter(key for a in attempts if a["status"] == "ok" for key in json.loads(a["keys"]))
        assert set(good.values()) == {1}, "a unit was computed twice"
        assert not [a for a in attempts if a["status"] == "running"]
        spent = sum(json.loads(a["exit"])["seconds"] for a in attempts)
        assert ledger.spent(row["id"])["job_seconds"] == pytest.approx(spent), "a job was paid for twice, or not"
    assert list((workspace / "jobs").iterdir()) == [], "job folders hold labels and go with the job"


# ---------------------------------------------------------------- the loop is killed


@pytest.fixture(scope="module")
def killed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    """Each (fault, slots) of the selected tests: killed, resumed, ended. Three at a time, for they mostly wait."""
    wanted = [
        (str(i.callspec.params["fault"]), str(i.callspec.params["slots"]))
        for i in request.session.items
        if isinstance(i, pytest.Function) and "killed" in i.fixturenames
    ]
    with ThreadPoolExecutor(3) as pool:
        places = {key: Place(tmp_path_factory.mktemp("-".join(key))) for key in wanted}
        yield {key: pool.submit(_killed_and_resumed, place, *key) for key, place in places.items()}


def _killed_and_resumed(place: Place, fault: str, slots: str) -> Place:
    child = place.run(fault=fault, AAR_SLOTS=slots)
    assert child.end() == -signal.SIGKILL, child.text
    orphan = place.held() if fault == "job" else None
    again = place.resume(AAR_SLOTS=slots)
    if orphan is not None:
        until(lambda: _fence(place.workspace, orphan.name) == 2)
        assert ProcessSandbox().alive(orphan.name, str(orphan)), "the job was to outlive its loop"
        (orphan / "hold").unlink()
    assert again.end() == 0, again.text
    return place


@pytest.mark.parametrize("slots", ["1", "2"])
@pytest.mark.parametrize("fault", POINTS)
def test_a_killed_search_ends_as_an_undisturbed_one(fault: str, slots: str, undisturbed: Place, killed: Killed) -> None:
    workspace = killed[fault, slots].result().workspace
    assert_whole(workspace)
    starts = Counter(j["attempt"] for j in launches(workspace))
    assert set(starts.values()) == {1}, "a job was started twice"
    if slots == "1":
        assert outcome(workspace) == outcome(undisturbed.workspace)
        assert shape(workspace) == shape(undisturbed.workspace)


def _fence(workspace: Path, attempt: str) -> int:
    """The lease under which an attempt is waited for."""
    with ledger_of(workspace) as ledger:
        (row,) = ledger.searches()
        return next(int(a["fence"]) for a in ledger.attempts(row["id"]) if a["id"] == attempt)


def test_a_search_killed_before_mlflow_heard_of_it_is_mirrored_once(place: Place) -> None:
    assert place.run(fault="record").end() == -signal.SIGKILL
    with ledger_of(place.workspace) as ledger:
        assert VICTIM in [e["trial"] for e in ledger.unsent()]
    store = f"sqlite:///{place.workspace / 'mlflow.db'}"
    again = place.resume(AAR_TRACKING_URI=store)
    assert again.end() == 0, again.text
    assert "did not answer" not in again.text
    with ledger_of(place.workspace) as ledger:
        assert ledger.unsent() == []
    from mlflow.tracking import MlflowClient

    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("aar/tiny")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(r.data.tags.get("aar.trial", "search") for r in runs) == [*map(str, range(TRIALS + 1)), "search"]


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(place: Place, undisturbed: Place) -> None:
    child = place.run(fault="hold")
    job = place.held()
    child.signal(signal.SIGINT)
    assert child.end() == 130, child.text
    with ledger_of(place.workspace) as ledger:
        (row,) = ledger.searches()
        assert (row["status"], row["finished"]) == ("stopped", None)
        assert [a["status"] for a in ledger.attempts(row["id"]) if a["id"] == job.name] == ["stopped"]
        spent = ledger.spent(row["id"])
        assert spent["job_seconds"] > 0
    assert re.search(rf"Go on with:\s+aar resume {row['id']} --workspace {re.escape(str(place.workspace))}", child.text)
    assert "Traceback" not in child.text
    assert not job.exists()
    again = place.resume(row["id"])
    assert again.end() == 0, again.text
    assert_whole(place.workspace)
    assert outcome(place.workspace) == outcome(undisturbed.workspace)
    assert len(launches(place.workspace)) == len(launches(undisturbed.workspace)) + 1, "only the stopped job ran again"
    with ledger_of(place.workspace) as ledger:
        after = ledger.spent(row["id"])
    assert after["job_seconds"] > spent["job_seconds"] and after["wall_seconds"] > spent["wall_seconds"]


def test_of_two_resumes_the_second_is_refused(place: Place, undisturbed: Place) -> None:
    assert place.run(fault="submit").end() == -signal.SIGKILL
    first = place.resume(fault="hold")
    job = place.held()
    second = place.resume()
    assert second.end() == 2, second.text
    assert re.search(rf"is being written by \S+:{first.process.pid}:\d+ .*stop it first", second.text), second.text
    assert "Traceback" not in second.text
    (job / "hold").unlink()
    assert first.end() == 0, first.text
    assert outcome(place.workspace) == outcome(undisturbed.workspace)
    assert shape(place.workspace) == shape(undisturbed.workspace)


def test_a_dead_tracking_server_costs_nothing(undisturbed: Place) -> None:
    text = Path(undisturbed.folder / "out0").read_text()
    with ledger_of(undisturbed.workspace) as ledger:
        waiting = len(ledger.unsent())
    assert waiting > TRIALS
    assert f"tracking at {NO_TRACKING} did not answer: {waiting} records wait in the ledger" in text
    assert "Traceback" not in text
    assert_whole(undisturbed.workspace)


# ---------------------------------------------------------------- labels


def test_labels_reach_only_the_jobs_that_may_have_them_and_go_with_them(undisturbed: Place) -> None:
    for job in launches(undisturbed.workspace):
        labels = {name.rpartition("/")[2] for name in job["inputs"] if "label" in name}
        expected = {"weak": {"train.labels", "val.labels"}, "ceiling": {"transfer.labels"}}
        assert labels == expected.get(job["kind"], set()), job
        assert job["others"] == [], "an earlier job's folder, which may hold labels, was still there"
        if "test.jsonl" in job["inputs"]:
            assert all(seed % 1000 >= 500 for seed in job["seeds"]), "test inputs are for confirmation only"
    assert {j["kind"] for j in launches(undisturbed.workspace)} == {"weak", "ceiling", "transfer", "control"}
    assert list((undisturbed.workspace / "jobs").iterdir()) == []
    with ledger_of(undisturbed.workspace) as ledger:
        digest = ledger.searches()[0]["data_digest"]
    vault = Vault(undisturbed.workspace / "vault")
    vectors = {split: vault.truth(digest, split).astype("<i4").tobytes() for split in SEALED}
    files = [p for p in (undisturbed.workspace / "store").rglob("*") if p.is_file()]
    assert len(files) > 10
    for file in files:
        data = file.read_bytes()
        assert all(vector[:400] not in data for vector in vectors.values()), f"{file} holds labels"
        assert not _labels_like(data), f"{file} looks like a label vector"


def _labels_like(data: bytes) -> bool:
    if len(data) % 4 or len(data) < 64:
        return False
    return bool(np.isin(np.frombuffer(data, "<i4"), (0, 1)).all())


# ---------------------------------------------------------------- jobs that go wrong


TROUBLES = [
    ("loss", "logconf", "crash", "transfer job failed: exit code 1"),
    ("supervision", "ensemble", "hang", "transfer job timeout: over its deadline of 4.8 s"),
    ("targets", "confident", "short", "transfer job failed: output u0.dev: 4796 bytes; 4800 declared"),
    ("loss", "entropy", "linked", "transfer job failed: output u0.dev: a symbolic link; a regular file is needed"),
    ("student", "linear_probe", "missing", "transfer job failed: output u0.dev: missing; a regular file is needed"),
    ("loss", "product", "memory", "transfer job oom: over its memory limit of 256 MiB"),
    ("loss", "confidence_weighted", "disk", "transfer job failed: exit code 1"),
]
WELL = [("targets", "hard", "killed once"), ("targets", "sharpen", "")]


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ledger, str]]:
    """A search in which seven trials go wrong, each in its own way, and two go well."""
    folder = tmp_path_factory.mktemp("troubled")
    told = [(slot, part, how) for slot, part, how, _ in TROUBLES] + WELL
    recipes = [Recipe(**{slot: Part(name=part)}) for slot, part, _ in told]
    with searching(folder, recipes, slots=2, **{part: how for _, part, how in told if how}) as here:
        plan: dict[str, Any] = {"trials": len(told), "researcher": "scripted", "confirm_top": 1}
        search = here.create(folder, "limits.minutes=0.08", "limits.memory=256m", **plan)
        here.work(search)
        yield here.ledger, search


@pytest.mark.parametrize("number", range(1, len(TROUBLES) + 1), ids=lambda n: TROUBLES[n - 1][2])
def test_a_job_that_goes_wrong_fails_its_trial_with_the_reason(number: int, troubled: tuple[Ledger, str]) -> None:
    ledger, search = troubled
    slot, part, how, reason = TROUBLES[number - 1]
    trial = ledger.trial(search, number)
    assert getattr(trial.recipe, slot).name == part
    assert trial.status is TrialStatus.FAILED and (trial.reason or "").startswith(reason), trial.reason
    assert (trial.view, trial.n_seeds) == (None, 0), "a failed job is not a score"
    (attempt,) = (a for a in ledger.attempts(search, trial=number) if a["kind"] == "transfer")
    log = json.loads(attempt["exit"])["log_tail"]
    if how == "crash":
        assert log == "step 3: about to fail\nValueError: the loss is not a number\n"
    if how == "disk":
        assert "File too large" in log


def test_the_trials_after_it_still_run_and_the_search_ends(troubled: tuple[Ledger, str]) -> None:
    ledger, search = troubled
    row = ledger.search(search)
    assert row is not None and row["status"] == "complete"
    well = range(len(TROUBLES) + 1, len(TROUBLES) + len(WELL) + 1)
    statuses = [ledger.trial(search, n).status for n in well]
    assert set(statuses) <= {TrialStatus.COMPLETE, TrialStatus.PRUNED} and TrialStatus.COMPLETE in statuses
    assert [c["trial"] for c in ledger.confirmations(search)] != []


def test_what_the_machine_did_to_a_job_is_tried_again(troubled: tuple[Ledger, str]) -> None:
    ledger, search = troubled
    number = len(TROUBLES) + 1
    statuses = [a["status"] for a in ledger.attempts(search, trial=number) if a["kind"] == "transfer"]
    assert statuses[:2] == ["infra", "ok"]
    assert all(t.status is not TrialStatus.FAILED for t in ledger.trials(search) if t.number in (0, number))


def test_a_failing_naive_ends_the_search_and_says_so(tmp_path: Path) -> None:
    with searching(tmp_path, transfer="crash") as here:
        search = here.create(tmp_path, trials=2)
        with pytest.raises(AarError, match=rf"{search}: transfer job failed: exit code 1\nstep 3: about to fail"):
            here.work(search)
        row = here.ledger.search(search)
        assert row is not None and row["status"] == "failed" and "the loss is not a number" in row["reason"]
        assert here.ledger.trials(search) == []
    with searching(tmp_path) as mended:
        mended.work(search)
        assert [t.number for t in mended.ledger.trials(search)] == [0, 1, 2]


def test_a_ceiling_that_is_not_above_the_weak_model_is_said_before_any_trial(tmp_path: Path) -> None:
    with searching(tmp_path, ceiling="guess") as here:
        search = here.create(tmp_path, trials=3)
        with pytest.raises(AarError, match="the ceiling is not above the weak model .* use a weaker weak model"):
            here.work(search)
        assert here.ledger.trials(search) == []
        kinds = {j["kind"] for j in launches(here.settings.root)}
        assert kinds == {"weak", "ceiling"}, "a student was trained for nothing"


# ---------------------------------------------------------------- taint


def test_what_was_derived_from_truth_never_enters_a_trial(tmp_path: Path) -> None:
    with searching(tmp_path) as here, opened(here.ledger, here.settings, here.create(tmp_path)) as bench:
        runner = Runner(bench)
        ceiling, weak = runner.ceiling([0])[0], runner.weak([0])[0]
        assert here.ledger.tainted(ceiling.outputs["dev"]) and not here.ledger.tainted(weak.outputs["transfer"])
        before = len(launches(here.settings.root))
        for name in ("transfer", "prior"):
            planned = runner.planner.transfer(
                [0], Recipe(), False, None, {0: weak.outputs | {name: ceiling.outputs["dev"]}}
            )
            with pytest.raises(AarError, match="refused: .* carries ground truth and was about to enter a trial"):
                ensure(bench, planned)
        planned = runner.planner.transfer([0], Recipe(), False, None, {0: weak.outputs})
        spec = planned.spec.model_copy(update={"inputs": planned.spec.inputs | {"transfer.labels": "0" * 64}})
        with pytest.raises(AarError, match="refused: transfer.labels"):
            ensure(bench, planned._replace(spec=spec))
        assert len(launches(here.settings.root)) == before
        ensure(bench, planned)


# ---------------------------------------------------------------- budgets


def test_a_budget_of_hours_that_is_spent_ends_the_search_at_once(tmp_path: Path) -> None:
    with searching(tmp_path) as here:
        search = here.create(tmp_path, trials=None, hours=2.0)
        with here.ledger.hold(search) as lease:
            lease.spend("wall", 2 * 3600.0)  # what an earlier run of this search has spent
        here.work(search)
        assert [t.number for t in here.ledger.trials(search)] == [0], "naive is outside the budget, nothing else is"


def test_a_budget_of_gpu_hours_counts_what_jobs_held(tmp_path: Path) -> None:
    with searching(tmp_path) as here:
        search = here.create(tmp_path, "limits.gpus=2", trials=3, gpu_hours=1e-9)
        here.work(search)
        assert [t.number for t in here.ledger.trials(search)] == [0]
        spent = here.ledger.spent(search)
    assert spent["gpu_seconds"] == pytest.approx(2 * spent["job_seconds"]) and spent["gpu_seconds"] > 0


def test_jobs_are_spread_over_the_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two jobs at once on two of three cards each get one of their own, and the third card after its first two jobs."""
    given: list[tuple[str, ...]] = []
    real = ProcessSandbox.run

    def run(self: ProcessSandbox, launch: Launch, cancel: threading.Event) -> Exit:
        given.append(launch.cards)
        assert json.loads((Path(launch.folder) / "cards.json").read_text()) == list(launch.cards)
        return real(self, launch, cancel)

    monkeypatch.setattr(ProcessSandbox, "run", run)
    monkeypatch.setenv("AAR_GPUS", "0, GPU-7")
    with searching(tmp_path) as here:
        search = here.create(tmp_path, "limits.gpus=1", trials=2, confirm_top=0)
        here.work(search)
        fewer = here._replace(settings=here.settings.model_copy(update={"gpus": "0"}))
        two = fewer.create(tmp_path, "limits.gpus=2", trials=1, confirm_top=0)
        with pytest.raises(AarError, match="limits.gpus: 2, and there are 1: 0"):
            fewer.work(two)
    assert given and set(given) == {("0",)}, "one slot: the first card is free each time"
    with Executor(4, ("a", "b", "c")) as executor:
        with executor.cards(2) as first, executor.cards(1) as second, executor.cards(2) as third:
            assert (first, second, third) == (("a", "b"), ("c",), ("a", "b"))
            with executor.cards(1) as fourth, executor.cards(1, ("b",)) as taken_over:
                assert (fourth, taken_over) == (("c",), ("b",))
        with executor.cards(1, ("gone",)) as elsewhere, executor.cards(0) as none:
            assert (elsewhere, none) == (("a",), ())
    with Executor(1) as executor, executor.cards(2) as unknown:
        assert unknown == ()


@pytest.mark.parametrize(
    ("gpus", "visible", "slots", "cards", "jobs"),
    [
        ("0,1,2,3", None, 0, ("0", "1", "2", "3"), 2), (None, "2,5", 0, ("2", "5"), 1), ("1", "2,5", 0, ("1",), 1),
        ("", "2,5", 0, (), 1), ("0,1", None, 5, ("0", "1"), 5),
    ],
)  # fmt: skip
def test_as_many_jobs_run_as_the_cards_suffice_for(
    gpus: str | None, visible: str | None, slots: int, cards: tuple[str, ...], jobs: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr("os.cpu_count", lambda: 20)
    settings = Settings(gpus=gpus, slots=slots)
    assert settings.cards == cards and settings.slots_for(2) == jobs
    assert settings.threads_for(2) == 20 // jobs, "cores are shared by the jobs of this task, not of a task without GPU"


def test_trials_are_counted_over_a_resume(tmp_path: Path) -> None:
    with searching(tmp_path) as here:
        search = here.create(tmp_path, trials=1, confirm_top=1)
        here.work(search)
        before, started = here.ledger.spent(search), len(launches(here.settings.root))
        here.work(search)
        assert [t.number for t in here.ledger.trials(search)] == [0, 1]
        assert here.ledger.spent(search)["job_seconds"] == pytest.approx(before["job_seconds"])
        assert len(launches(here.settings.root)) == started


# ---------------------------------------------------------------- the sandbox is gone


def test_a_sandbox_that_is_gone_stops_the_search_and_fails_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "WAITS", (0.0, 0.0))
    real, tries = ProcessSandbox.run, []

    def run(self: ProcessSandbox, launch: Launch, cancel: threading.Event) -> Exit:
        if [o.name for o in launch.outputs if not o.optional] == ["u1.dev"]:  # what is left of trial 1 after its screen
            tries.append(launch.attempt)
            raise SandboxError("the engine does not answer")
        return real(self, launch, cancel)

    with searching(tmp_path, [Recipe(loss=Part(name="logconf"))]) as here:
        search = here.create(tmp_path, trials=1, confirm_top=1, researcher="scripted")
        with monkeypatch.context() as gone:
            gone.setattr(ProcessSandbox, "run", run)
            with pytest.raises(SandboxError, match="does not answer"):
                here.work(search)
        assert len(tries) == 3 and len(set(tries)) == 1
        row = here.ledger.search(search)
        assert row is not None and row["status"] == "stopped" and "does not answer" in row["reason"]
        assert TrialStatus.FAILED not in [t.status for t in here.ledger.trials(search)]
        here.work(search)
        assert [t.status for t in here.ledger.trials(search)] == [TrialStatus.COMPLETE] * 2
        assert not here.ledger.attempts(search, "running")
