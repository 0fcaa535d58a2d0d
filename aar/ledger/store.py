"""The ledger's reads, what any process may write, and becoming a search's one writer."""

from __future__ import annotations

import contextlib
import gc
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, Table, create_engine, event, func, insert, inspect, select, update
from sqlalchemy.engine import make_url

from aar.ledger import tables as t
from aar.ledger.lease import LEASE_SECONDS, LeaseHeld, is_gone, me
from aar.ledger.records import Message, Row, TrialRow, UnitRow
from aar.ledger.spending import Spending
from aar.ledger.writer import Lease
from aar.types import Finding, PublicScore, canonical_json


def _engine(url: str) -> Engine:
    sqlite = make_url(url).get_backend_name() == "sqlite"
    if not sqlite:
        return create_engine(url, pool_pre_ping=True)
    Path(make_url(url).database or "").parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": 60, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=60000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _immediate(connection: Connection) -> None:
        # A deferred transaction that reads and then writes fails at once when another writer was between.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


@contextlib.contextmanager
def _no_garbage() -> Iterator[None]:
    """The collector walks all live records over and over while thousands are made: half the time of reading them."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _grow(engine: Engine) -> None:
    """Add columns that a ledger written by an older version lacks: all of them may be null."""

    def missing(c: Connection) -> list[Column[Any]]:
        there = inspect(c).get_multi_columns()
        old = {(name, column["name"]) for (_, name), columns in there.items() for column in columns}
        return [c for table in t.meta.sorted_tables for c in table.columns if (table.name, c.name) not in old]

    with engine.connect() as c:
        if not missing(c):
            return
    with engine.begin() as c:  # looked at again under the lock: another process may have been first
        for column in missing(c):
            kind = column.type.compile(engine.dialect)
            c.exec_driver_sql(f"ALTER TABLE {column.table.name} ADD COLUMN {column.name} {kind}")


class Ledger(Spending):
    """Every search of one workspace. Safe to use from many threads and, for reading, many processes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)
        t.meta.create_all(self.engine)
        _grow(self.engine)

    def close(self) -> None:
        """Close pooled connections."""
        self.engine.dispose()

    # ------------------------------------------------------------ reads

    def rows(self, table: Table, *where: Any, order: Any = None, limit: int | None = None) -> list[Row]:
        """Rows of `table` as mappings."""
        query = select(table).where(*where)
        if order is not None:
            query = query.order_by(order)
        with self.reading() as c:
            return [dict(r) for r in c.execute(query.limit(limit) if limit else query).mappings()]

    def searches(self) -> list[Row]:
        """All searches, newest first."""
        return self.rows(t.searches, order=t.searches.c.created.desc())

    def search(self, search: str) -> Row | None:
        """One search, or None."""
        found = self.rows(t.searches, t.searches.c.id == search)
        return found[0] if found else None

    def trials(self, search: str) -> list[TrialRow]:
        """The search's trials in the order they were proposed."""
        rows = self.rows(t.trials, t.trials.c.search == search, order=t.trials.c.number)
        with _no_garbage():
            return [TrialRow.of(r) for r in rows]

    def trial(self, search: str, number: int) -> TrialRow:
        """One trial.

        Raises:
            KeyError: there is none of that number.
        """
        found = self.rows(t.trials, t.trials.c.search == search, t.trials.c.number == number)
        if not found:
            raise KeyError(f"{search}: no trial {number}")
        return TrialRow.of(found[0])

    def unit(self, key: str) -> UnitRow | None:
        """A finished unit by its content address."""
        found = self.rows(t.units, t.units.c.key == key)
        return UnitRow.of(found[0]) if found else None

    def tainted(self, digest: str) -> bool:
        """True when these bytes were derived from labels a trial must never see."""
        return any(r["tainted"] for r in self.rows(t.artifacts, t.artifacts.c.digest == digest))

    def scores(self, search: str, split: str | None = None) -> list[Row]:
        """Exact accuracies (arm, split, seed, accuracy, array): for scoring only, never shown during a search."""
        where = [t.scores.c.search == search] + ([t.scores.c.split == split] if split else [])
        return self.rows(t.scores, *where)

    def attempts(self, search: str, status: str | None = None, trial: int | None = None) -> list[Row]:
        """Starts of jobs, oldest first."""
        where = [t.attempts.c.search == search]
        if status:
            where.append(t.attempts.c.status == status)
        if trial is not None:
            where.append(t.attempts.c.trial == trial)
        return self.rows(t.attempts, *where, order=t.attempts.c.started)

    def parts(self, search: str) -> dict[str, Row]:
        """Parts that were written for trials of a search, by digest: source, space, parent, diff, review."""
        return {r["digest"]: r for r in self.rows(t.parts, t.parts.c.search == search, order=t.parts.c.trial)}

    def findings(self, search: str) -> list[Finding]:
        """What was learnt, oldest first."""
        found = self.rows(t.findings, t.findings.c.search == search, order=t.findings.c.id)
        return [Finding(text=r["text"], trials=tuple(json.loads(r["trials"]))) for r in found]

    def confirmations(self, search: str) -> list[Row]:
        """Confirmed trials with their views."""
        found = self.rows(t.confirmations, t.confirmations.c.search == search, order=t.confirmations.c.trial)
        return [dict(r) | {"views": json.loads(r["views"])} for r in found]

    def ood(self, search: str) -> dict[int, dict[str, PublicScore]]:
        """Views on out-of-distribution splits by trial and name: for people, never for what proposes or chooses."""
        out: dict[int, dict[str, PublicScore]] = {}
        for r in self.rows(t.ood, t.ood.c.search == search, order=t.ood.c.name):
            out.setdefault(r["trial"], {})[r["name"]] = PublicScore.model_validate_json(r["view"])
        return out

    def turns(self, search: str, trial: int | None = None) -> list[Row]:
        """The conversation about a trial in order, or those of all trials; `body` is the message."""
        where = [t.turns.c.search == search] + ([t.turns.c.trial == trial] if trial is not None else [])
        found = self.rows(t.turns, *where, order=t.turns.c.trial if trial is None else t.turns.c.step)
        return [dict(r) | {"body": json.loads(r["body"])} for r in sorted(found, key=lambda r: (r["trial"], r["step"]))]

    def begun(self, search: str) -> list[int]:
        """Numbers that a conversation was begun about and that are no trials yet."""
        with self.reading() as c:
            trials = select(t.trials.c.number).where(t.trials.c.search == search)
            where = (t.turns.c.search == search, t.turns.c.trial.not_in(trials))
            return sorted(c.execute(select(t.turns.c.trial).where(*where).distinct()).scalars())

    def voices(self, search: str) -> dict[int, int]:
        """Which researcher talked about each trial."""
        first = self.rows(t.turns, t.turns.c.search == search, t.turns.c.step == 0, order=t.turns.c.trial)
        return {r["trial"]: int(json.loads(r["body"])["about"]["voice"]) for r in first}

    def sealed(self, search: str) -> tuple[str, str]:
        """What names the rows behind a search's seal: the rows, by whatever task they came, and its data."""
        row = self.search(search)
        assert row is not None, search
        return str(json.loads(row["plan"]).get("sealed") or row["data_digest"]), str(row["data_digest"])

    def openings(self, search: str) -> int:
        """How often the rows behind this search's seal were scored, over all searches."""
        same = t.openings.c.data_digest.in_(self.sealed(search))
        with self.reading() as c:
            return int(c.execute(select(func.count()).where(same)).scalar_one())

    def opened(self, search: str) -> bool:
        """Has this search opened its seal?"""
        return bool(self.rows(t.openings, t.openings.c.search == search))

    def atlas(self, atlas: str) -> Row | None:
        """One atlas, or None. Its attempts, scores, looks and spend stand under its id like a search's."""
        found = self.rows(t.atlases, t.atlases.c.id == atlas)
        return found[0] if found else None

    def oversight(self, run: str) -> Row | None:
        """One oversight run, or None. Its attempts and spend stand under its id like a search's."""
        found = self.rows(t.oversights, t.oversights.c.id == run)
        return found[0] if found else None

    # ------------------------------------------------------------ outbox, inbox (any process)

    def unsent(self, limit: int = 200) -> list[Row]:
        """Records not yet mirrored, oldest first."""
        return self.rows(t.outbox, t.outbox.c.sent.is_(None), order=t.outbox.c.id, limit=limit)

    def mark_sent(self, ids: Iterable[int]) -> None:
        """These were mirrored."""
        with self.engine.begin() as c:
            c.execute(update(t.outbox).where(t.outbox.c.id.in_(list(ids))).values(sent=time.time()))

    def run_id(self, search: str, trial: int, tracking: str) -> str | None:
        """The tracking run that mirrors a trial (-1: the search itself)."""
        r = t.runs
        found = self.rows(r, r.c.search == search, r.c.trial == trial, r.c.tracking == tracking)
        return str(found[0]["run_id"]) if found else None

    def set_run_id(self, search: str, trial: int, tracking: str, run_id: str) -> None:
        """Remember it."""
        with self.engine.begin() as c:
            c.execute(insert(t.runs).values(search=search, trial=trial, tracking=tracking, run_id=run_id))

    def post(self, search: str, kind: str, payload: Any) -> None:
        """A message to the search's holder from another process."""
        with self.engine.begin() as c:
            c.execute(insert(t.inbox).values(search=search, kind=kind, payload=canonical_json(payload), at=time.time()))

    def messages(self, search: str, *kinds: str, unheeded: bool = False) -> list[Message]:
        """Messages of these kinds (all without any) in the order they came; `unheeded`: only those not handled yet."""
        where = [t.inbox.c.search == search] + ([t.inbox.c.kind.in_(kinds)] if kinds else [])
        where += [t.inbox.c.handled.is_(None)] if unheeded else []
        return [Message.of(row) for row in self.rows(t.inbox, *where, order=t.inbox.c.id)]

    def holder(self, search: str) -> str | None:
        """`host:pid:start` of the process that writes a search now, as far as can be told; None where there is none."""
        found = self.rows(t.leases, t.leases.c.search == search)
        if not found or not found[0]["holder"] or found[0]["expires"] < time.time() or is_gone(found[0]["holder"]):
            return None
        return str(found[0]["holder"])

    # ------------------------------------------------------------ becoming the writer

    def create_search(self, **fields: Any) -> None:
        """A new search.

        Raises:
            IntegrityError: the id is taken.
        """
        with self.engine.begin() as c:
            c.execute(insert(t.searches).values(status="running", created=time.time(), **fields))

    def begin_atlas(self, atlas: str, **fields: Any) -> None:
        """A new atlas, or the one of this id that was begun before."""
        self._begin(t.atlases, atlas, fields)

    def begin_oversight(self, run: str, **fields: Any) -> None:
        """A new oversight run, or the one of this id that was begun before."""
        self._begin(t.oversights, run, fields)

    def _begin(self, table: Table, name: str, fields: dict[str, Any]) -> None:
        with self.engine.begin() as c:
            if not c.execute(select(table.c.id).where(table.c.id == name)).first():
                c.execute(insert(table).values(id=name, status="running", created=time.time(), **fields))

    def hold(self, search: str) -> Lease:
        """Become the one writer of a search, an atlas or an oversight run.

        Raises:
            LeaseHeld: a living process holds it; the message names it and says what to do.
        """
        holder, now = me(), time.time()
        with self.engine.begin() as c:
            old = c.execute(select(t.leases).where(t.leases.c.search == search).with_for_update()).mappings().first()
            if old is not None and old["holder"] and old["expires"] > now and not is_gone(old["holder"]):
                raise LeaseHeld(
                    f"{search} is being written by {old['holder']} (host:pid:start); stop it first, "
                    f"or wait {old['expires'] - now:.0f} s if that host is dead"
                )
            fence = int(old["fence"]) + 1 if old is not None else 1
            values = {"holder": holder, "fence": fence, "expires": now + LEASE_SECONDS}
            if old is None:
                c.execute(insert(t.leases).values(search=search, **values))
            else:
                c.execute(update(t.leases).where(t.leases.c.search == search).values(**values))
        return Lease(self, search, fence)
