"""The right to write one search: every write is one transaction under a fence."""

from __future__ import annotations

import contextlib
import difflib
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from aar.ledger import tables as t
from aar.ledger.lease import HEARTBEAT_SECONDS, LEASE_SECONDS, LeaseLost
from aar.ledger.records import Row
from aar.types import Finding, PublicScore, Written, canonical_json

if TYPE_CHECKING:
    from aar.ledger.store import Ledger

Heeding = Mapping[int, str]
"""Messages that are acted on, by id, and what came of each: marked handled with what they cause, in one transaction."""


def diff(older: str, newer: str) -> str:
    """What changed between two sources, as a unified diff."""
    lines = difflib.unified_diff(older.splitlines(), newer.splitlines(), "parent", "part", lineterm="")
    return "".join(f"{line}\n" for line in lines)


class Lease:
    """The right to write one search. Every write is one transaction that first checks the fence.

    Use as a context manager: a heartbeat renews it, leaving releases it.
    """

    def __init__(self, ledger: Ledger, search: str, fence: int) -> None:
        self.ledger, self.search, self.fence = ledger, search, fence
        self._stop = threading.Event()
        self._beat = threading.Thread(target=self._renew, name=f"lease-{search}", daemon=True)

    def __enter__(self) -> Lease:
        self._beat.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._beat.join()
        with self.ledger.engine.begin() as c:
            c.execute(
                update(t.leases)
                .where(t.leases.c.search == self.search, t.leases.c.fence == self.fence)
                .values(expires=0.0, holder="")
            )

    def _renew(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(LeaseLost, SQLAlchemyError), self.writing() as c:
                c.execute(
                    update(t.leases).where(t.leases.c.search == self.search).values(expires=time.time() + LEASE_SECONDS)
                )

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction under the fence.

        Raises:
            LeaseLost: another process took the search over; nothing was written.
        """
        with self.ledger.engine.begin() as c:
            fence = c.execute(
                select(t.leases.c.fence).where(t.leases.c.search == self.search).with_for_update()
            ).scalar_one()
            if fence != self.fence:
                raise LeaseLost(f"search {self.search}: this process's lease {self.fence} was replaced by {fence}")
            yield c

    def set_search(self, heeding: Heeding | None = None, **fields: Any) -> None:
        """Update the search's row; `heeding` are the messages that made it so."""
        with self.writing() as c:
            if fields:
                c.execute(update(t.searches).where(t.searches.c.id == self.search).values(**fields))
            self._heed(c, heeding)
            self._mirror(c, "search", None)

    def set_atlas(self, **fields: Any) -> None:
        """Update the atlas's row."""
        with self.writing() as c:
            c.execute(update(t.atlases).where(t.atlases.c.id == self.search).values(**fields))

    def set_oversight(self, **fields: Any) -> None:
        """Update the oversight run's row."""
        with self.writing() as c:
            c.execute(update(t.oversights).where(t.oversights.c.id == self.search).values(**fields))

    def propose(
        self, number: int, heeding: Heeding | None = None, written: Sequence[Written] = (),
        review: str | None = None, **fields: Any,
    ) -> None:  # fmt: skip
        """Commit a proposal before anything is submitted, with the parts `written` for it that are new here.

        `heeding` is the message that asked for it, `review` what was said of the parts.
        """
        now = time.time()
        with self.writing() as c:
            self._heed(c, heeding)
            c.execute(
                insert(t.trials).values(
                    search=self.search, number=number, created=now, n_seeds=0, seconds=0.0, **fields
                )
            )
            for code in written:
                where = (t.parts.c.search == self.search, t.parts.c.digest == code.digest)
                if c.execute(select(t.parts.c.digest).where(*where)).first():
                    continue
                older = c.execute(select(t.parts.c.source).where(t.parts.c.digest == code.parent)).scalars().first()
                c.execute(
                    insert(t.parts).values(
                        search=self.search, digest=code.digest, trial=number, author=fields["author"], slot=code.slot,
                        name=code.name, source=code.source, space=canonical_json(code.space), parent=code.parent,
                        diff=None if older is None else diff(older, code.source), review=review,
                        created=now,
                    )
                )  # fmt: skip

    def turn(self, trial: int, step: int, role: str, body: Any, **cost: Any) -> None:
        """One message of the conversation about a trial, once; `cost`: tokens_in, tokens_out, usd, seconds."""
        with self.writing() as c:
            c.execute(
                insert(t.turns).values(
                    search=self.search,
                    trial=trial,
                    step=step,
                    role=role,
                    body=canonical_json(body),
                    at=time.time(),
                    **cost,
                )
            )

    def set_trial(
        self,
        number: int,
        mirror: bool = False,
        ood: Mapping[str, PublicScore] | None = None,
        heeding: Heeding | None = None,
        **fields: Any,
    ) -> None:
        """Update a trial; `mirror` also queues it for tracking, in the same transaction.

        `ood` are its views on out-of-distribution splits by name. They have a table of their own: nothing that
        proposes or chooses trials reads it. `heeding` are the messages that decided about it.
        """
        with self.writing() as c:
            self._heed(c, heeding)
            where = (t.trials.c.search == self.search, t.trials.c.number == number)
            c.execute(update(t.trials).where(*where).values(**fields))
            for name, view in (ood or {}).items():
                old = (t.ood.c.search == self.search, t.ood.c.trial == number, t.ood.c.name == name)
                c.execute(t.ood.delete().where(*old))
                values = {"search": self.search, "trial": number, "name": name, "view": canonical_json(view)}
                c.execute(insert(t.ood).values(**values))
            if mirror:
                self._mirror(c, "trial", number)

    def start_attempt(self, attempt: str, kind: str, keys: Sequence[str], trial: int | None) -> None:
        """A job is about to start, or to be adopted: the row then takes this lease's fence."""
        with self.writing() as c:
            known = c.execute(select(t.attempts.c.id).where(t.attempts.c.id == attempt)).first()
            if known:
                c.execute(update(t.attempts).where(t.attempts.c.id == attempt).values(fence=self.fence))
                return
            c.execute(
                insert(t.attempts).values(
                    id=attempt,
                    search=self.search,
                    trial=trial,
                    kind=kind,
                    keys=canonical_json(list(keys)),
                    status="running",
                    fence=self.fence,
                    started=time.time(),
                )
            )

    def finish_attempt(
        self, attempt: str, status: str, exit_json: str, units: Sequence[Row], spend: Row | None, tainted: bool
    ) -> None:
        """A job's end, its units, their artifacts and what it cost: one transaction."""
        now = time.time()
        with self.writing() as c:
            row = c.execute(select(t.attempts).where(t.attempts.c.id == attempt)).mappings().one()
            if row["status"] != "running":
                return
            c.execute(
                update(t.attempts).where(t.attempts.c.id == attempt).values(status=status, exit=exit_json, finished=now)
            )
            for unit in units:
                # Computed again only when the store lost the files: the new digests replace the old.
                c.execute(t.units.delete().where(t.units.c.key == unit["key"]))
                c.execute(insert(t.units).values(attempt=attempt, created=now, tainted=tainted, **unit))
                for digest in json.loads(unit["outputs"]).values():
                    if not c.execute(select(t.artifacts.c.digest).where(t.artifacts.c.digest == digest)).first():
                        c.execute(insert(t.artifacts).values(digest=digest, tainted=tainted))
            if spend is not None:
                c.execute(insert(t.spend).values(search=self.search, at=now, **spend))

    def lose_attempts(self) -> None:
        """Mark starts that nobody waits for any more (a resume with other slots groups seeds otherwise)."""
        with self.writing() as c:
            where = (t.attempts.c.search == self.search, t.attempts.c.status == "running")
            c.execute(update(t.attempts).where(*where).values(status="lost", finished=time.time()))

    def stale_attempt(self, attempt: str) -> None:
        """A result that came after somebody else took over: kept, marked, never used."""
        with self.ledger.engine.begin() as c:
            where = (t.attempts.c.id == attempt, t.attempts.c.fence == self.fence)
            c.execute(update(t.attempts).where(*where).values(status="stale", finished=time.time()))

    def record_scores(self, arm: str, split: str, rows: Sequence[tuple[int, float, str]]) -> None:
        """Exact accuracies by seed with the array they came from."""
        now = time.time()
        with self.writing() as c:
            s = t.scores
            for seed, accuracy, array in rows:
                where = (s.c.search == self.search, s.c.arm == arm, s.c.split == split, s.c.seed == seed)
                if not c.execute(select(s.c.seed).where(*where)).first():
                    values = {"search": self.search, "arm": arm, "split": split, "seed": seed}
                    c.execute(insert(s).values(accuracy=accuracy, array=array, created=now, **values))

    def count_look(self, arm: str, split: str) -> None:
        """Somebody is about to be told a number that needs labels."""
        with self.writing() as c:
            c.execute(insert(t.queries).values(search=self.search, arm=arm, split=split, at=time.time()))

    def open_seal(self, trial: int) -> int:
        """Open the sealed split for one trial, once per search; how many openings its rows have had.

        Raises:
            RuntimeError: this search opened it for another trial.
        """
        rows, _ = self.ledger.sealed(self.search)
        with self.writing() as c:
            old = c.execute(select(t.openings).where(t.openings.c.search == self.search)).mappings().first()
            if old is not None and old["trial"] != trial:
                raise RuntimeError(f"search {self.search} opened the sealed split for trial {old['trial']} already")
            if old is None:
                c.execute(insert(t.openings).values(search=self.search, data_digest=rows, trial=trial, at=time.time()))
        return self.ledger.openings(self.search)

    def confirm(self, trial: int, views: Any) -> None:
        """A confirmed trial's views (selected, fresh, sealed, gain), replacing an unfinished confirmation's."""
        with self.writing() as c:
            where = (t.confirmations.c.search == self.search, t.confirmations.c.trial == trial)
            c.execute(t.confirmations.delete().where(*where))
            c.execute(
                insert(t.confirmations).values(
                    search=self.search, trial=trial, views=canonical_json(views), created=time.time()
                )
            )
            self._mirror(c, "trial", trial)

    def find(self, finding: Finding) -> None:
        """Note what was learnt, once."""
        with self.writing() as c:
            where = (t.findings.c.search == self.search, t.findings.c.text == finding.text)
            if not c.execute(select(t.findings.c.id).where(*where)).first():
                c.execute(
                    insert(t.findings).values(
                        search=self.search,
                        text=finding.text,
                        at=time.time(),
                        trials=canonical_json(list(finding.trials)),
                    )
                )

    def ask(self, question: str, trial: int) -> None:
        """Put a question to the person, while `trial` is thought about; once while it is open."""
        payload = canonical_json({"text": question, "trial": trial})
        with self.writing() as c:
            where = (t.inbox.c.search == self.search, t.inbox.c.kind == "question", t.inbox.c.handled.is_(None))
            asked = c.execute(select(t.inbox.c.payload).where(*where)).scalars()
            if question not in [json.loads(old)["text"] for old in asked]:
                values = {"search": self.search, "kind": "question", "payload": payload, "at": time.time()}
                c.execute(insert(t.inbox).values(**values))
                self._mirror(c, "search", None)

    def spend(self, kind: str, seconds: float, trial: int | None = None, gpu_seconds: float = 0.0) -> None:
        """Seconds spent on something."""
        with self.writing() as c:
            c.execute(
                insert(t.spend).values(
                    search=self.search, trial=trial, kind=kind, seconds=seconds, gpu_seconds=gpu_seconds, at=time.time()
                )
            )

    def _heed(self, c: Connection, messages: Heeding | None) -> None:
        for number, outcome in (messages or {}).items():
            values = {"handled": time.time(), "outcome": outcome}
            c.execute(update(t.inbox).where(t.inbox.c.id == number, t.inbox.c.handled.is_(None)).values(**values))

    def _mirror(self, c: Connection, what: str, trial: int | None) -> None:
        c.execute(insert(t.outbox).values(search=self.search, what=what, trial=trial, at=time.time()))
