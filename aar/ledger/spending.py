"""What a search has spent: sums over the ledger's rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, Engine, func, select

from aar.ledger import tables as t


class TalkCost(NamedTuple):
    """Tokens in and out, dollars where the price is known, and calls where it is not."""

    tokens: int
    usd: float
    unpriced: int = 0


class Spending:
    """What a ledger answers about costs, over an engine."""

    engine: Engine

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for reads: no lock is taken."""
        with self.engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def spent(self, search: str) -> dict[str, float]:
        """Totals: job seconds, GPU seconds, looks at labels, and wall seconds between first and last record."""
        s = t.spend
        with self.reading() as c:
            total = c.execute(
                select(func.coalesce(func.sum(s.c.seconds), 0.0), func.coalesce(func.sum(s.c.gpu_seconds), 0.0)).where(
                    s.c.search == search
                )
            ).one()
            looks = c.execute(select(func.count()).where(t.queries.c.search == search)).scalar_one()
        wall = self.wall(search, None)
        return {
            "job_seconds": float(total[0]) - wall,
            "gpu_seconds": float(total[1]),
            "wall_seconds": wall,
            "looks": float(looks),
        }

    def costs(self, search: str, until: float | None = None) -> dict[int, tuple[float, float]]:
        """Job seconds and GPU seconds so far (or recorded by `until`, unix seconds), by trial."""
        s = t.spend
        where = [s.c.search == search, s.c.trial.is_not(None)] + ([s.c.at <= until] if until is not None else [])
        sums = select(s.c.trial, func.sum(s.c.seconds), func.sum(s.c.gpu_seconds)).where(*where).group_by(s.c.trial)
        with self.reading() as c:
            return {number: (float(seconds), float(gpu)) for number, seconds, gpu in c.execute(sums).all()}

    def talk_costs(self, search: str) -> dict[int, TalkCost]:
        """What the conversation about each trial cost."""
        s = t.turns
        unpriced = func.count().filter(s.c.tokens_in + s.c.tokens_out > 0, s.c.usd.is_(None))
        columns = (func.sum(s.c.tokens_in + s.c.tokens_out), func.sum(s.c.usd), unpriced)
        sums = select(s.c.trial, *columns).where(s.c.search == search).group_by(s.c.trial)
        with self.reading() as c:
            rows = c.execute(sums).all()
        return {number: TalkCost(int(tokens), float(usd or 0.0), int(bare)) for number, tokens, usd, bare in rows}

    def wall(self, search: str, since: float | None) -> float:
        """Wall seconds recorded after `since` (unix seconds; None: all)."""
        s = t.spend
        total = select(func.coalesce(func.sum(s.c.seconds), 0.0)).where(s.c.search == search, s.c.kind == "wall")
        with self.reading() as c:
            return float(c.execute(total.where(s.c.at > since) if since is not None else total).scalar_one())

    def talked(self, search: str) -> dict[str, float]:
        """What conversations cost: tokens, dollars where the price is known, seconds, answers of the model."""
        s = t.turns
        summed = {name: func.coalesce(func.sum(s.c[name]), 0) for name in ("tokens_in", "tokens_out", "usd", "seconds")}
        said = func.count().filter(s.c.role == "assistant")
        with self.reading() as c:
            row = c.execute(select(*summed.values(), said).where(s.c.search == search)).one()
        return dict(zip((*summed, "answers"), map(float, row), strict=True))
