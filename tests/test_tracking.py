"""Mirroring to MLflow: real sqlite stores, and one real server that is down at first."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import update

from aar.ledger import Ledger, TrialRow
from aar.ledger import tables as t
from aar.report import write_report
from aar.settings import Settings
from aar.tracking import Mirror, TrackingError, ensure_store, reachable, serve_command, table_urls
from aar.tracking._store import locked
from aar.types import AarError, Finding, Part, Recipe, canonical_json
from tests import ledgers
from tests.ledgers import LEAK, begin, failure, propose, score, score_trial, searched, written

HERE = Path(__file__).parent.parent
SEARCH = "polarity-k3f9"


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables and nothing in them: making one takes seconds."""
    settings = Settings(workspace=tmp_path_factory.mktemp("empty"))
    ensure_store(settings)
    return settings.root / "mlflow.db"


@pytest.fixture
def settings(tmp_path: Path, empty_store: Path) -> Settings:
    with closing(sqlite3.connect(empty_store)) as old, closing(sqlite3.connect(tmp_path / "mlflow.db")) as new:
        old.backup(new)
    return Settings(workspace=tmp_path)


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    ledger = Ledger(settings.ledger_url)
    yield ledger
    ledger.close()


def client(settings: Settings) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=settings.mlflow_uri)


def runs(settings: Settings, where: str = "") -> dict[str, Any]:
    """Runs by name."""
    mlflow = client(settings)
    experiment = mlflow.get_experiment_by_name("aar/polarity")
    return {r.info.run_name: r for r in mlflow.search_runs([experiment.experiment_id], where)} if experiment else {}


def run_of(settings: Settings, number: int) -> Any:
    (run,) = runs(settings, f"tags.`aar.trial` = '{number}'").values()
    return run


def artifact(settings: Settings, run: Any, name: str) -> str:
    return Path(client(settings).download_artifacts(run.info.run_id, name)).read_text()


def one_trial(ledger: Ledger, number: int = 1, **fields: Any) -> None:
    """A search with naive and one more complete trial."""
    begin(ledger, SEARCH)
    with written(ledger, SEARCH) as lease:
        propose(lease, 0, author="preset", preset="naive-soft")
        score_trial(lease, 0, score(0.25))
        propose(lease, number, Recipe(loss=Part(name="logconf", params={"a": 0.75})), **fields)
        ledgers.job(lease, number, [0, 1, 2, 3, 4])
        score_trial(lease, number, score(0.71))


def all_again(ledger: Ledger) -> None:
    """As after a crash between sending and noting that it was sent."""
    with ledger.engine.begin() as c:
        c.execute(update(t.outbox).values(sent=None))


# ---------------------------------------------------------------- what a run says


def test_every_trial_and_the_search_have_one_run(settings: Settings, ledger: Ledger) -> None:
    searched(ledger, trials=12)
    waiting = len(ledger.unsent())
    assert Mirror(ledger, settings).drain() == waiting > 13
    found = runs(settings)
    trials = {f"t{x.number} {x.label}": x for x in ledger.trials(SEARCH)}
    assert set(found) == {*trials, SEARCH}
    statuses = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", "duplicate": "KILLED"}
    for name, trial in trials.items():
        tags = found[name].data.tags
        assert found[name].info.status == statuses[str(trial.status)]
        assert (tags["kind"], tags["status"], tags["author"]) == ("trial", str(trial.status), trial.author)
        assert (tags["aar.search"], tags["aar.trial"]) == (SEARCH, str(trial.number))
        assert tags["recipe_hash"] == trial.hash and tags["n_seeds"] == str(trial.n_seeds)
        assert tags.get("reason", "") == (trial.reason or "")
    assert found[SEARCH].data.tags["kind"] == "search" and found[SEARCH].info.status == "FINISHED"
    assert not ledger.unsent()


def test_params_are_flattened_by_slot_and_metrics_are_the_public_view(settings: Settings, ledger: Ledger) -> None:
    one_trial(ledger, predicted=0.6)
    Mirror(ledger, settings).drain()
    data = run_of(settings, 1).data
    assert data.params["loss"] == "logconf" and data.params["loss.a"] == "0.75" and data.params["targets"] == "soft"
    view = ledger.trial(SEARCH, 1).view
    assert view is not None
    wanted = {
        "pgr": view.pgr, "pgr_ci_low": view.ci_low, "pgr_ci_high": view.ci_high, "accuracy": view.accuracy,
        "accuracy_se": view.accuracy_se, "n_seeds": 5, "predicted_pgr": 0.6, "prediction_error": 0.11, "seconds": 37.5,
    } | view.diagnostics  # fmt: skip
    assert wanted.items() <= data.metrics.items()
    assert {"confirmed_pgr", "sealed_pgr", "gain"}.isdisjoint(data.metrics)


def test_curves_and_jobs_are_there(settings: Settings, ledger: Ledger) -> None:
    one_trial(ledger)
    Mirror(ledger, settings).drain()
    run = run_of(settings, 1)
    points = client(settings).get_metric_history(run.info.run_id, "train_loss")
    curve = json.loads(artifact(settings, run, "curves.json"))
    assert len(curve) == 5 and len(points) == len(curve["0"]) == 50
    for p in points:
        at = [x["loss"] for seed in curve.values() for x in seed if x["step"] == p.step]
        assert p.value == pytest.approx(sum(at) / 5)
    (job,) = json.loads(artifact(settings, run, "jobs.json"))
    units = [ledger.unit(key) for key in job["keys"]]
    assert [u["outputs"] for u in job["units"]] == [u.outputs for u in units if u]
    recipe = ledger.trial(SEARCH, 1).recipe.model_dump(mode="json")
    assert yaml.safe_load(artifact(settings, run, "recipe.yaml")) == recipe


def test_more_seeds_are_a_later_step_of_pgr(settings: Settings, ledger: Ledger) -> None:
    one_trial(ledger)
    mirror = Mirror(ledger, settings)
    mirror.drain()
    with written(ledger, SEARCH) as lease:
        lease.set_trial(1, mirror=True, view=canonical_json(score(0.66, n_seeds=7)), n_seeds=7)
    mirror.drain()
    run = run_of(settings, 1)
    history = client(settings).get_metric_history(run.info.run_id, "pgr")
    assert [(p.step, p.value) for p in history] == [(5, 0.71), (7, 0.66)]
    assert run.data.metrics["pgr"] == 0.66 and run.data.tags["n_seeds"] == "7"


def test_a_note_is_a_page_of_a_lab_book(settings: Settings, ledger: Ledger) -> None:
    one_trial(ledger, parent=0, rationale="xent copies <b>weak</b> errors", predicted=0.6)
    with written(ledger, SEARCH) as lease:
        lease.find(Finding(text="logconf beat xent by .09", trials=(0, 1)))
        ledgers.confirmation(lease, 1, score(0.71), 0.66, 0.64)
        lease.set_search(status="complete")
    Mirror(ledger, settings).drain()
    note = run_of(settings, 1).data.tags["mlflow.note.content"]
    order = [
        "**Why** xent copies &lt;b&gt;weak", "**Predicted** PGR .60", "**Came out** complete after 5 seeds: PGR .71",
        "off by +0.11", "**Confirmed** PGR .66", "**Sealed split** PGR .64", "**Learnt** logconf beat xent",
        "**Parent** t0 `naive soft labels`",
    ]  # fmt: skip
    places = [note.index(words) for words in order]
    assert places == sorted(places)
    told = runs(settings)[SEARCH].data.tags["mlflow.note.content"]
    assert "**Result** t1" in told and "optimistic" in told and "logconf beat xent" in told


def test_what_is_learnt_later_reaches_the_notes_when_the_search_ends(settings: Settings, ledger: Ledger) -> None:
    one_trial(ledger)
    mirror = Mirror(ledger, settings)
    mirror.drain()
    with written(ledger, SEARCH) as lease:
        lease.find(Finding(text="logconf beat xent", trials=(0, 1)))
        lease.set_search(status="complete")
    mirror.drain()
    assert "logconf beat xent" in run_of(settings, 1).data.tags["mlflow.note.content"]


def test_a_confirmation_reaches_a_run_that_was_sent(settings: Settings, ledger: Ledger) -> None:
    one_trial(ledger)
    mirror = Mirror(ledger, settings)
    mirror.drain()
    assert "confirmed" not in run_of(settings, 1).data.tags
    with written(ledger, SEARCH) as lease:
        ledgers.confirmation(lease, 1, score(0.71), 0.66, 0.64)
    mirror.drain()
    data = run_of(settings, 1).data
    assert (data.metrics["confirmed_pgr"], data.metrics["sealed_pgr"]) == (0.66, 0.64)
    assert data.tags["confirmed"] == "winner"
    # What confirmation trained is no part of the trial's own curve.
    assert set(json.loads(artifact(settings, run_of(settings, 1), "curves.json"))) == {"0", "1", "2", "3", "4"}
    search = runs(settings)[SEARCH].data.metrics
    assert (search["best_pgr"], search["confirmed_pgr"], search["sealed_pgr"]) == (0.71, 0.66, 0.64)


def test_without_a_gap_no_pgr_is_logged_but_its_reason(settings: Settings, ledger: Ledger) -> None:
    begin(ledger, SEARCH)
    with written(ledger, SEARCH) as lease:
        propose(lease, 0)
        score_trial(lease, 0, score(0.25, gap=False))
    Mirror(ledger, settings).drain()
    data = run_of(settings, 0).data
    assert not [k for k in data.metrics if "pgr" in k] and data.metrics["accuracy"] == 0.745
    assert "under the task's floor" in data.tags["reason"]
    with closing(sqlite3.connect(settings.root / "mlflow.db")) as db:
        assert db.execute("select count(*) from metrics where is_nan").fetchone() == (0,)


def test_a_failed_trial_shows_reason_and_log_and_no_score(settings: Settings, ledger: Ledger) -> None:
    begin(ledger, SEARCH)
    log = "Traceback\n\x1b[31mRuntimeError: \u202eboom\x00 \ud800 <script>alert(1)</script>\n"
    with written(ledger, SEARCH) as lease:
        propose(lease, 0, rationale="![x](http://a.example/x.png) `code` **bold**")
        failure(lease, 0, "transfer job failed: exit code 1", log)
    Mirror(ledger, settings).drain()
    run = run_of(settings, 0)
    assert run.info.status == "FAILED" and "accuracy" not in run.data.metrics
    assert run.data.tags["reason"] == "transfer job failed: exit code 1"
    for text in (artifact(settings, run, "log_tail.txt"), run.data.tags["mlflow.note.content"]):
        assert "RuntimeError" in text and not re.search("[\x00\x1b\u202e\ud800]", text)
    note = run.data.tags["mlflow.note.content"]
    assert r"\!\[x\](http" in note and r"\*\*bold\*\*" in note and "    RuntimeError" not in note.split("**Log")[0]


def test_nothing_exact_leaves_the_ledger(settings: Settings, ledger: Ledger) -> None:
    searched(ledger, trials=6)
    Mirror(ledger, settings).drain()
    exact = [r["accuracy"] for r in ledger.scores(SEARCH)]
    assert len(exact) > 20
    with closing(sqlite3.connect(settings.root / "mlflow.db")) as db:
        logged = [v for (v,) in db.execute("select value from metrics union select value from latest_metrics")]
        texts = [v for (v,) in db.execute("select value from tags union select value from params")]
    near = [v for v in logged for e in exact if abs(v - e) < LEAK / 2]
    assert not near, near
    files = [p.read_text() for p in (settings.root / "mlartifacts").rglob("*") if p.is_file()]
    assert len(files) > 20
    for e in exact:
        assert not any(f"{e:.7f}"[1:] in text for text in [*texts, *files])


def test_a_resumed_search_with_another_plan_is_taken(settings: Settings, ledger: Ledger) -> None:
    one_trial(ledger)
    mirror = Mirror(ledger, settings)
    with written(ledger, SEARCH) as lease:
        lease.set_search(status="stopped", reason="stopped by hand")
    mirror.drain()
    assert runs(settings)[SEARCH].info.status == "KILLED"
    with written(ledger, SEARCH) as lease:
        lease.set_search(status="running", reason=None, plan=canonical_json({"trials": 40, "slots": 2}))
    mirror.drain()
    run = runs(settings)[SEARCH]
    assert (run.info.status, run.data.tags["status"], run.data.tags["reason"]) == ("RUNNING", "running", "–")


# ---------------------------------------------------------------- once, whatever happens


def test_sending_everything_again_changes_nothing(settings: Settings, ledger: Ledger) -> None:
    searched(ledger, trials=6)
    Mirror(ledger, settings).drain()

    def everything() -> list[Any]:
        with closing(sqlite3.connect(settings.root / "mlflow.db")) as db:
            tables = ("metrics", "latest_metrics", "params", "tags")
            return [sorted(map(repr, db.execute(f"select * from {name}"))) for name in tables]

    before, names = everything(), sorted(runs(settings))
    all_again(ledger)
    assert Mirror(ledger, settings).drain() > 0
    assert sorted(runs(settings)) == names and everything() == before


def test_killed_after_creating_a_run_and_before_noting_it(
    settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    one_trial(ledger)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "set_run_id", die)
        with pytest.raises(Killed):
            Mirror(ledger, settings).drain()
    assert len(runs(settings)) == 1
    Mirror(ledger, settings).drain()
    assert len(runs(settings)) == 3
    assert run_of(settings, 0).data.metrics["pgr"] == 0.25 and run_of(settings, 0).info.status == "FINISHED"


def test_many_records_of_a_trial_are_one_update(
    settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_trial(ledger)
    with written(ledger, SEARCH) as lease:
        for _ in range(20):
            lease.set_trial(1, mirror=True, seconds=40.0)
    written_runs: list[str] = []
    plain = Mirror._write

    def counted(self: Mirror, client: Any, run: str, *rest: Any, **named: Any) -> None:
        written_runs.append(run)
        plain(self, client, run, *rest, **named)

    monkeypatch.setattr(Mirror, "_write", counted)
    assert Mirror(ledger, settings).drain() == 22
    assert len(written_runs) == len(set(written_runs)) == 3  # t0, t1 and the search


def test_one_refused_run_does_not_hold_up_the_others(settings: Settings, ledger: Ledger) -> None:
    one_trial(ledger)
    mirror = Mirror(ledger, settings)
    mirror.drain()
    other = Recipe(loss=Part(name="product"))
    with written(ledger, SEARCH) as lease:
        lease.set_trial(0, mirror=True, recipe=canonical_json(other))  # params cannot be changed: MLflow refuses
        lease.set_trial(1, mirror=True, seconds=41.0)
    with pytest.raises(TrackingError, match=r"refused 1 of 2.*t0"):
        mirror.drain()
    assert [e["trial"] for e in ledger.unsent()] == [0]
    assert run_of(settings, 1).data.metrics["seconds"] == 41.0


def test_a_run_that_somebody_deleted_is_left_alone(settings: Settings, ledger: Ledger) -> None:
    one_trial(ledger)
    mirror = Mirror(ledger, settings)
    mirror.drain()
    client(settings).delete_run(run_of(settings, 1).info.run_id)
    with written(ledger, SEARCH) as lease:
        lease.set_trial(1, mirror=True, seconds=41.0)
    mirror.drain()
    assert not ledger.unsent() and not runs(settings, "tags.`aar.trial` = '1'")


def test_a_store_begun_anew_gets_new_runs(settings: Settings, ledger: Ledger, empty_store: Path) -> None:
    one_trial(ledger)
    Mirror(ledger, settings).drain()
    fresh = Settings(workspace=settings.workspace, tracking_uri=f"sqlite:///{settings.root / 'other.db'}")
    with closing(sqlite3.connect(empty_store)) as old, closing(sqlite3.connect(settings.root / "other.db")) as new:
        old.backup(new)
    all_again(ledger)
    Mirror(ledger, fresh).drain()
    assert len(runs(fresh)) == len(runs(settings)) == 3


def test_only_one_process_sends_at_a_time(settings: Settings, ledger: Ledger) -> None:
    one_trial(ledger)
    with locked(settings.root / "mirror.lock", wait=False) as mine:
        assert mine and Mirror(ledger, settings).drain() == 0
    assert Mirror(ledger, settings).drain() > 0


# ---------------------------------------------------------------- in the background


def test_the_thread_sends_all_and_attaches_the_report_that_came_last(settings: Settings, ledger: Ledger) -> None:
    searched(ledger, trials=4)
    mirror = Mirror(ledger, settings)
    mirror.drain()
    assert not client(settings).list_artifacts(runs(settings)[SEARCH].info.run_id)
    mirror.start()
    report = write_report(ledger, settings, SEARCH)
    assert mirror.stop(60) == 0 and mirror.trouble is None
    run = runs(settings)[SEARCH]
    listed = client(settings).list_artifacts(run.info.run_id)
    assert [f.path for f in listed] == ["plots", f"{SEARCH}.html"]
    assert artifact(settings, run, f"{SEARCH}.html") == report.read_text()
    plots = [f.path for f in client(settings).list_artifacts(run.info.run_id, "plots")]
    assert {"plots/gap.svg", "plots/trials.svg"} <= set(plots)


@pytest.mark.parametrize("silent", [False, True], ids=["refuses", "never answers"])
def test_a_thread_that_cannot_send_raises_nothing(
    tmp_path: Path, silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        if silent:
            taken.listen()
        settings = Settings(workspace=tmp_path, tracking_uri=f"http://127.0.0.1:{taken.getsockname()[1]}")
        ledger = Ledger(settings.ledger_url)
        one_trial(ledger)
        mirror = Mirror(ledger, settings)
        mirror.start()
        assert mirror.stop(60) == len(ledger.unsent()) == 2
        assert mirror.trouble is not None and "does not answer" in mirror.trouble
        with pytest.raises(TrackingError, match="does not answer"):
            mirror.drain()
    ledger.close()


def test_a_server_that_answers_errors_is_given_up_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's own patience is seven tries with pauses that double: four minutes for each call."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    asked: list[str] = []

    class Ill(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            if self.path != "/health":
                asked.append(self.path)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Ill) as ill:
        threading.Thread(target=ill.serve_forever, daemon=True).start()
        settings = Settings(workspace=tmp_path, tracking_uri=f"http://127.0.0.1:{ill.server_port}")
        ledger = Ledger(settings.ledger_url)
        searched(ledger, trials=5, confirm=0)
        try:
            with pytest.raises(TrackingError, match="refused 3 of 7"):
                Mirror(ledger, settings).drain()
        finally:
            ill.shutdown()
        assert len(asked) == 3, asked
        ledger.close()


def test_a_real_server_that_was_down_catches_up(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    served = Settings(workspace=tmp_path / "served")
    served.root.mkdir()
    with closing(sqlite3.connect(empty_store)) as old, closing(sqlite3.connect(served.root / "mlflow.db")) as new:
        old.backup(new)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = Settings(workspace=tmp_path / "mine", tracking_uri=f"http://127.0.0.1:{port}")
    ledger = Ledger(settings.ledger_url)
    searched(ledger, trials=4)
    waiting = len(ledger.unsent())
    mirror = Mirror(ledger, settings)
    mirror.start()
    assert mirror.stop(60) == waiting
    with server(served, port):
        assert reachable(settings.mlflow_uri) is None
        assert Mirror(ledger, settings).drain() == waiting and not ledger.unsent()
        assert len(runs(settings)) == 6
        recipe = artifact(settings, run_of(settings, 1), "recipe.yaml")
        assert yaml.safe_load(recipe) == ledger.trial(SEARCH, 1).recipe.model_dump(mode="json")
        with pytest.raises(AarError, match="open http"):
            serve_command(settings, 1)
    assert "does not answer" in (reachable(settings.mlflow_uri) or "")
    ledger.close()


class server:
    """`aar ui`'s own command, up and answering while in the block."""

    def __init__(self, settings: Settings, port: int) -> None:
        self.command = serve_command(settings, port)

    def __enter__(self) -> None:
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        assert self.process.stdout is not None
        heard = []
        for line in self.process.stdout:
            heard.append(line)
            if "Application startup complete" in line:
                break
        else:
            raise AssertionError("".join(heard))
        self.reader = threading.Thread(target=self.process.stdout.read, daemon=True)
        self.reader.start()

    def __exit__(self, *_: object) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(60)
        self.reader.join(60)


# ---------------------------------------------------------------- the store and its surroundings


def test_importing_tracking_imports_no_mlflow_and_sets_nothing(tmp_path: Path) -> None:
    code = (
        "import os, sys; before = dict(os.environ); import aar.tracking, aar.report; "
        "assert dict(os.environ) == before, set(os.environ) - set(before); "
        "assert not {'mlflow', 'matplotlib', 'jinja2', 'torch'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_several_processes_begin_a_store_together(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from aar.settings import Settings; "
        "from aar.tracking import ensure_store; ensure_store(Settings(workspace=Path(sys.argv[1])))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "w")], cwd=tmp_path, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    ends = [(p.communicate()[1], p.returncode) for p in started]
    assert [code for _, code in ends] == [0, 0], ends
    assert [p.name for p in tmp_path.iterdir()] == ["w"], "nothing is written beside the workspace"


def test_mlflow_is_the_package_and_not_this_repositorys_folder() -> None:
    import mlflow

    assert HERE not in Path(str(mlflow.__file__)).parents or ".venv" in str(mlflow.__file__)
    assert not list((HERE / "mlflow").rglob("*.py"))


def test_the_readmes_filters_and_columns_work(settings: Settings, ledger: Ledger) -> None:
    searched(ledger, trials=12)
    Mirror(ledger, settings).drain()
    text = (HERE / "mlflow" / "README.md").read_text()
    block = text.split("## Filters")[1].split("Statuses:")[0]
    filters = [re.split(r"\s{2,}", row.strip())[0] for row in block.strip().splitlines()]
    assert len(filters) == 7
    found = {where: set(runs(settings, where)) for where in filters}
    trials = ledger.trials(SEARCH)

    def names(*status: str) -> set[str]:
        return {f"t{x.number} {x.label}" for x in trials if x.status in status}

    assert found["tags.kind = 'trial' and tags.status = 'complete'"] == names("complete")
    assert found["tags.status = 'failed'"] == names("failed")
    assert len(found["tags.confirmed = 'winner'"]) == 1
    assert len(found["tags.kind = 'trial' and tags.confirmed != ''"]) == 3
    assert len(found["tags.`aar.search` = 'polarity-k3f9'"]) == 14
    assert found["params.loss = 'logconf' and metrics.pgr > 0.4"]
    metrics = {k for r in runs(settings).values() for k in r.data.metrics}
    for name in re.findall(r"^\| (`[^|]+`)", text, re.M):
        assert {n.strip("`") for n in name.split(", ")} <= metrics, name


def test_the_saved_views_name_columns_that_exist(settings: Settings, ledger: Ledger) -> None:
    searched(ledger, trials=6)
    Mirror(ledger, settings).drain()
    experiment = client(settings).get_experiment_by_name("aar/polarity")
    assert table_urls(settings, 5001)["polarity"] == (
        f"http://127.0.0.1:5001/#/experiments/{experiment.experiment_id}/runs"
        "?viewStateShareKey=trials&workflowType=machine_learning"
    )
    for kind, key in (("trial", "trials"), ("search", "searches")):
        assert f"viewStateShareKey={key}" in experiment.tags["mlflow.note.content"]
        view = json.loads(experiment.tags[f"mlflow.sharedViewState.{key}"])
        shown = runs(settings, view["searchFilter"]).values()
        assert shown and all(r.data.tags["kind"] == kind for r in shown)
        known = {f"metrics.`{k}`" for r in shown for k in r.data.metrics}
        known |= {f"tags.`{k}`" for r in shown for k in r.data.tags}
        assert set(view["selectedColumns"]) <= known and view["orderByKey"] in view["selectedColumns"]


def test_compose_pins_its_images_and_holds_no_password() -> None:
    compose = yaml.safe_load((HERE / "mlflow" / "compose.yaml").read_text())
    for service in compose["services"].values():
        assert re.search(r":v?\d+\.\d+", service["image"]) and service["healthcheck"]["test"]
    assert "${POSTGRES_PASSWORD:?" in compose["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"]
    assert "AAR_TRACKING_URI" in (HERE / "mlflow" / "README.md").read_text()


def test_trial_rows_hold_no_exact_value() -> None:
    """Guards the guard: a field added to TrialRow must be thought about before it is mirrored."""
    assert set(TrialRow.model_fields) == {
        "search", "number", "status", "author", "preset", "parent", "recipe", "hash", "label", "rationale",
        "predicted_accuracy", "predicted_pgr", "reason", "view", "n_seeds", "seconds", "created", "finished",
    }  # fmt: skip
