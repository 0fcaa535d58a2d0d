"""A search as its runs and its report need it: rows of the ledger, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aar.ledger import Ledger, Message, TrialRow
from aar.ledger.journal import Talked, talked
from aar.types import Finding, PublicScore, TrialStatus


@dataclass
class About:
    """One search; what is read once stays as it was. Public values only: the exact scores are not in here."""

    ledger: Ledger
    search: str

    @cached_property
    def row(self) -> Mapping[str, Any]:
        """The search's row."""
        found = self.ledger.search(self.search)
        assert found is not None, f"{self.search}: in the outbox, but not in the ledger"
        return found

    @cached_property
    def trials(self) -> dict[int, TrialRow]:
        """All trials by number."""
        return {t.number: t for t in self.ledger.trials(self.search)}

    @cached_property
    def confirmed(self) -> dict[int, dict[str, Any]]:
        """Views by confirmed trial."""
        return {c["trial"]: c["views"] for c in self.ledger.confirmations(self.search)}

    @cached_property
    def ood(self) -> dict[int, dict[str, PublicScore]]:
        """Views on out-of-distribution splits by trial and name."""
        return self.ledger.ood(self.search)

    @cached_property
    def parts(self) -> dict[str, Mapping[str, Any]]:
        """Parts that were written for its trials, by digest."""
        return dict(self.ledger.parts(self.search))

    @cached_property
    def findings(self) -> list[Finding]:
        """What was learnt."""
        return self.ledger.findings(self.search)

    @cached_property
    def talked(self) -> Talked | None:
        """What conversations with a model came to."""
        return talked(self.ledger.turns(self.search))

    @cached_property
    def messages(self) -> list[Message]:
        """What was said between people and the search, in the order it came."""
        return self.ledger.messages(self.search)


def best_selected(trials: list[TrialRow]) -> TrialRow | None:
    """The complete trial (naive aside) with the highest accuracy seen: a maximum over noise, so it flatters."""
    scored = [t for t in trials if t.number > 0 and t.status is TrialStatus.COMPLETE and t.view is not None]
    return max(scored, key=lambda t: (t.view.accuracy if t.view else 0.0, -t.number), default=None)
