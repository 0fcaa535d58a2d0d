"""The ledger: one writer, fences, transactions, and what survives a dead process."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from aar.ledger import Lease, LeaseHeld, LeaseLost, Ledger, tables
from aar.types import Finding, PublicScore, Recipe, TrialStatus, canonical_json
from tests.loops import searching

SERVER = os.environ.get("AAR_TEST_DATABASE_URL")
SERVERLESS = "no database server; AAR_TEST_DATABASE_URL=postgresql+psycopg2://... names one that may be emptied"


@pytest.fixture(params=["sqlite", pytest.param("server", marks=pytest.mark.skipif(not SERVER, reason=SERVERLESS))])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(SERVER if SERVER and request.param == "server" else f"sqlite:///{tmp_path / 'ledger.db'}")
    made.create_search(id="s-1", task="t", data_digest="d", spec="{}", plan="{}")
    yield made
    tables.meta.drop_all(made.engine)
    made.close()


def fields(number: int = 0) -> dict[str, Any]:
    return {
        "status": TrialStatus.PROPOSED, "author": "preset", "preset": None, "parent": None,
        "recipe": canonical_json(Recipe()), "hash": f"h{number}", "label": "naive", "rationale": "why",
        "predicted_accuracy": None, "predicted_pgr": None,
    }  # fmt: skip


def test_sqlite_is_durable_by_setting(ledger: Ledger) -> None:
    if ledger.engine.dialect.name != "sqlite":
        pytest.skip("about sqlite's pragmas")
    with ledger.engine.connect() as c:
        assert c.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert c.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_a_second_writer_is_refused_and_told_who_holds_it(ledger: Ledger) -> None:
    with ledger.hold("s-1"):
        with pytest.raises(LeaseHeld, match=rf"written by .*:{os.getpid()}:"):
            Ledger(ledger.url).hold("s-1")
    with ledger.hold("s-1") as again:
        assert again.fence == 2


def test_a_killed_holder_is_replaced_at_once(ledger: Ledger) -> None:
    code = (
        "import os, signal, sys\nfrom aar.ledger import Ledger\n"
        f"Ledger({ledger.url!r}).hold('s-1')\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    with ledger.hold("s-1") as lease:
        assert lease.fence == 2


def test_a_heartbeat_outlives_an_error_of_the_database(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    beats, real, again = itertools.count(), Lease.writing, threading.Event()

    def writing(self: Lease) -> Any:
        if next(beats) == 0:
            raise OperationalError("UPDATE leases", {}, Exception("server closed the connection"))
        again.set()
        return real(self)

    monkeypatch.setattr("aar.ledger.writer.HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(Lease, "writing", writing)
    with ledger.hold("s-1"):
        assert again.wait(30)


def test_another_hosts_lease_is_waited_for(ledger: Ledger) -> None:
    lease = ledger.hold("s-1")
    with ledger.engine.begin() as c:
        c.execute(update(tables.leases).values(holder="elsewhere:1:1"))
    with pytest.raises(LeaseHeld, match="wait .* s if that host is dead"):
        ledger.hold("s-1")
    with ledger.engine.begin() as c:
        c.execute(update(tables.leases).values(expires=0.0))
    assert ledger.hold("s-1").fence == lease.fence + 1


def test_a_replaced_writer_can_write_nothing_more(ledger: Ledger) -> None:
    old = ledger.hold("s-1")
    with ledger.engine.begin() as c:
        c.execute(update(tables.leases).values(holder="gone:1:1", expires=0.0))
    new = ledger.hold("s-1")
    with pytest.raises(LeaseLost):
        old.propose(0, **fields())
    assert ledger.trials("s-1") == []
    new.propose(0, **fields())
    new.start_attempt("a-0001", "transfer", ["k"], 0)
    assert ledger.attempts("s-1", "running")[0]["fence"] == 2


def test_a_stale_result_is_kept_marked_and_never_used(ledger: Ledger) -> None:
    old = ledger.hold("s-1")
    old.start_attempt("a-0001", "transfer", ["k"], None)
    with ledger.engine.begin() as c:
        c.execute(update(tables.leases).values(expires=0.0, holder="gone:1:1"))
    ledger.hold("s-1")
    unit = {"key": "k", "kind": "transfer", "seed": 0, "outputs": '{"dev":"x"}', "seconds": 1.0, "curve": "[]"}
    with pytest.raises(LeaseLost):
        old.finish_attempt("a-0001", "ok", "{}", [unit], None, False)
    old.stale_attempt("a-0001")
    assert ledger.attempts("s-1")[0]["status"] == "stale" and ledger.unit("k") is None


def test_a_result_its_cost_and_its_units_are_one_transaction(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = ledger.hold("s-1")
    lease.start_attempt("a-0001", "ceiling", ["k"], None)
    unit = {"key": "k", "kind": "ceiling", "seed": 0, "outputs": '{"dev":"x"}', "seconds": 1.0, "curve": "[]"}
    broken = {"kind": "ceiling", "seconds": None, "gpu_seconds": 0.0, "trial": None}
    with pytest.raises(IntegrityError):
        lease.finish_attempt("a-0001", "ok", "{}", [unit], broken, True)
    assert ledger.unit("k") is None and ledger.attempts("s-1")[0]["status"] == "running"
    lease.finish_attempt("a-0001", "ok", "{}", [unit], broken | {"seconds": 2.0}, True)
    lease.finish_attempt("a-0001", "failed", "{}", [], broken | {"seconds": 9.0}, True)
    assert ledger.spent("s-1")["job_seconds"] == 2.0, "an attempt ends once"
    assert ledger.tainted("x") and not ledger.tainted("y")


def test_the_seal_opens_once_a_search_and_is_counted_over_all(ledger: Ledger) -> None:
    ledger.create_search(id="s-2", task="t", data_digest="d", spec="{}", plan="{}")
    assert ledger.hold("s-1").open_seal(3) == 1
    assert ledger.hold("s-2").open_seal(1) == 2
    with ledger.engine.begin() as c:
        c.execute(update(tables.leases).values(expires=0.0, holder=""))
    lease = ledger.hold("s-1")
    assert lease.open_seal(3) == 2, "a resume opens nothing new"
    with pytest.raises(RuntimeError, match="for trial 3 already"):
        lease.open_seal(4)
    ledger.create_search(id="s-3", task="t", data_digest="d", spec="{}", plan='{"sealed": "rows"}')
    assert ledger.hold("s-3").open_seal(1) == 3, "with those that an older version counted by the data"


def test_trials_round_trip_and_mirror_in_the_same_transaction(ledger: Ledger) -> None:
    view = PublicScore(
        split="dev", accuracy=0.8, accuracy_se=0.01, weak=0.7, ceiling=0.9, pgr=0.5, ci_low=0.4, ci_high=0.6, n_seeds=5
    )
    with ledger.hold("s-1") as lease:
        lease.propose(0, **fields())
        assert ledger.unsent() == []
        lease.set_trial(0, mirror=True, status=TrialStatus.COMPLETE, view=canonical_json(view), n_seeds=5)
        lease.find(Finding(text="x beat y", trials=(0,)))
        lease.find(Finding(text="x beat y", trials=(0,)))
    row = ledger.trial("s-1", 0)
    assert row.view == view and row.recipe == Recipe() and row.status is TrialStatus.COMPLETE
    assert [(e["what"], e["trial"]) for e in ledger.unsent()] == [("trial", 0)]
    assert len(ledger.findings("s-1")) == 1
    with pytest.raises(KeyError, match="no trial 7"):
        ledger.trial("s-1", 7)


def test_a_ledger_of_an_older_version_gets_the_columns_it_lacks_and_keeps_its_rows(ledger: Ledger) -> None:
    with ledger.hold("s-1") as lease:
        lease.propose(0, **fields())
    with ledger.engine.begin() as c:
        c.exec_driver_sql("ALTER TABLE trials DROP COLUMN refute")
    again = Ledger(ledger.engine.url.render_as_string(hide_password=False))
    with again.hold("s-1") as lease:
        lease.propose(1, **fields(1), refute="a fall")
    assert [t.refute for t in again.trials("s-1")] == [None, "a fall"]
    again.close()


def test_many_threads_and_processes_write_without_losing_a_row(ledger: Ledger) -> None:
    with ledger.hold("s-1") as lease:
        threads = [threading.Thread(target=_spend, args=(lease,)) for _ in range(8)]
        others = [multiprocessing.get_context("spawn").Process(target=_post, args=(ledger.url,)) for _ in range(2)]
        started: list[threading.Thread | SpawnProcess] = [*threads, *others]
        for one in started:
            one.start()
        for one in started:
            one.join()
    assert ledger.spent("s-1")["job_seconds"] == 200.0
    with ledger.engine.connect() as c:
        assert len(c.execute(select(tables.inbox)).all()) == 40


def _spend(lease: Lease) -> None:
    for _ in range(25):
        lease.spend("x", 1.0)


def _post(url: str) -> None:
    ledger = Ledger(url)
    for i in range(20):
        ledger.post("s-1", "steer", {"text": str(i)})


def test_a_process_killed_inside_a_transaction_leaves_nothing(ledger: Ledger) -> None:
    code = (
        "import os, signal\nfrom sqlalchemy import insert\nfrom aar.ledger import Ledger, tables\n"
        f"lease = Ledger({ledger.url!r}).hold('s-1')\n"
        "with lease.writing() as c:\n"
        "    c.execute(insert(tables.findings).values(search='s-1', text='half', trials='[]', at=0.0))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert ledger.findings("s-1") == []
    with ledger.engine.begin() as c:
        c.execute(insert(tables.findings).values(search="s-1", text="whole", trials="[]", at=0.0))
    assert [f.text for f in ledger.findings("s-1")] == ["whole"]


@pytest.mark.skipif(not SERVER, reason=SERVERLESS)
def test_a_search_on_a_database_server_ends_as_one_on_sqlite(tmp_path: Path) -> None:
    ends = []
    for name, url in (("file", None), ("server", SERVER)):
        folder = tmp_path / name
        folder.mkdir()
        with searching(folder, url=url) as here:
            search = here.create(folder, trials=4, researcher="random")
            here.work(search)
            trials = here.ledger.trials(search)
            ends.append([(t.number, t.status, t.recipe, t.view) for t in trials])
            assert here.ledger.confirmations(search)
            if url:
                tables.meta.drop_all(here.ledger.engine)
    assert ends[0] == ends[1] and len(ends[0]) == 5


def test_a_message_is_handled_with_what_it_causes_or_not_at_all(ledger: Ledger) -> None:
    ledger.post("s-1", "propose", {"label": "logconf"})
    ledger.post("other", "steer", {"text": "of another search"})
    (message,) = ledger.messages("s-1")
    assert (message.kind, message.payload, message.handled) == ("propose", {"label": "logconf"}, None)
    lease = ledger.hold("s-1")
    lease.propose(0, **fields())
    with pytest.raises(IntegrityError):
        lease.propose(0, {message.id: "t0"}, **fields())
    assert ledger.messages("s-1", unheeded=True) == [message], "the proposal failed, so the message still waits"
    lease.propose(1, {message.id: "t1"}, **fields(1))
    lease.set_search({message.id: "again"})
    (heeded,) = ledger.messages("s-1", "propose")
    assert heeded.handled is not None and heeded.outcome == "t1", "once"
    assert ledger.messages("s-1", unheeded=True) == [] == ledger.messages("s-1", "steer")


def test_a_question_is_put_once_while_it_is_open(ledger: Ledger) -> None:
    lease = ledger.hold("s-1")
    lease.ask("which?", 1)
    lease.ask("which?", 1)
    (asked,) = ledger.messages("s-1", "question")
    lease.set_search({asked.id: "that one"})
    lease.ask("which?", 1)
    assert [m.outcome for m in ledger.messages("s-1", "question")] == ["that one", None]


def test_who_writes_a_search_is_known_while_it_lives(ledger: Ledger) -> None:
    assert ledger.holder("s-1") is None
    with ledger.hold("s-1"):
        assert str(os.getpid()) in (ledger.holder("s-1") or "")
    assert ledger.holder("s-1") is None
    ledger.hold("s-1")
    with ledger.engine.begin() as c:
        c.execute(update(tables.leases).values(holder=f"{socket.gethostname()}:1:1"))
    assert ledger.holder("s-1") is None, "its process is gone"
