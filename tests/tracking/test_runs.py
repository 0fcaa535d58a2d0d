"""What a run says of a trial or a search, and what it must not say."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing

import pytest
import yaml

from aar.ledger import Ledger, TrialRow
from aar.settings import Settings
from aar.tracking import Mirror
from aar.types import Finding, canonical_json
from tests import ledgers
from tests.ledgers import LEAK, begin, failure, propose, score, score_trial, searched, written
from tests.tracking.store import SEARCH, artifact, client, one_trial, run_of, runs


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


def test_trial_rows_hold_no_exact_value() -> None:
    """Guards the guard: a field added to TrialRow must be thought about before it is mirrored."""
    assert set(TrialRow.model_fields) == {
        "search", "number", "status", "author", "preset", "parent", "recipe", "hash", "label", "rationale",
        "predicted_accuracy", "predicted_pgr", "predicted_low", "predicted_high", "refute", "shares", "reason", "view",
        "n_seeds", "seconds", "created", "finished",
    }  # fmt: skip


def test_a_winner_carries_its_claim_card_its_controls_and_their_flags(settings: Settings, ledger: Ledger) -> None:
    one_trial(ledger)
    with written(ledger, SEARCH) as lease:
        ledgers.confirmation(lease, 1, score(0.71), 0.66, 0.64, flagged=True)
        lease.set_search(status="complete")
    Mirror(ledger, settings).drain()
    run = run_of(settings, 1)
    flag = "t1 reaches .742 ± .03 on shuffled weak labels"
    assert flag in run.data.tags["flagged"] and "**Flagged**" in run.data.tags["mlflow.note.content"]
    assert "matched noise (t1) .930" in run.data.tags["mlflow.note.content"].replace("\\", "")
    wanted = {"control_shuffled": 0.742, "control_matched_noise": 0.93, "control_length_only": 0.505,
              "probe_attack_success": 0.015, "misfit": 0.21, "effective_sample": 1.0}  # fmt: skip
    assert wanted.items() <= run.data.metrics.items() and "naive_control_shuffled" not in run.data.metrics
    card = artifact(settings, run, "claim_card.md")
    for words in (f"**Flagged:** {flag}", "| sealed |", "‹b›killed", "attack success .015", "    aar trial polarity"):
        assert words in card, words
    assert "claim_card.md" not in json.dumps(run_of(settings, 0).data.tags)
    told = runs(settings)[SEARCH].data.tags["mlflow.note.content"]
    assert "Flagged:" in told and "shuffled weak labels" in told
