"""What a search may spend, what it has spent with work in flight reserved, and how far the rest goes at its pace."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aar.ledger import Ledger, TalkCost, TrialRow
from aar.types import TrialStatus, Word

NOTHING = 1e-9
"""What is left of sums of fractions when all is spent."""


class Budget(Word):
    """Whichever comes first ends the search. Trial 0 is outside `trials`, the confirmation outside all of them.

    `hours` are wall hours in which something ran; `tokens` and `usd` what conversations with models cost.
    """

    trials: int | None = None
    hours: float | None = None
    gpu_hours: float | None = None
    tokens: int | None = None
    usd: float | None = None

    @classmethod
    def of(cls, plan: str) -> Budget:
        """From a recorded plan, as JSON."""
        known = json.loads(plan)
        return cls.model_validate({name: known.get(name) for name in cls.model_fields})

    @property
    def given(self) -> dict[str, float]:
        """Only what was limited, by name."""
        return {name: float(value) for name, value in self.model_dump().items() if value is not None}


class Outlook(Word):
    """Where a search stands with its budget `given`. Names are those of `Budget`.

    `reserved` is what running trials and those that are thought about are expected to spend yet, by what finished ones
    of this search cost. `left` is what is left of what was given, after both. `more` is how many more trials that
    allows at the pace so far (None: not known yet), `limit` what allows no more, `ends` when the last of them is
    expected to end (unix seconds).
    """

    given: dict[str, float]
    spent: dict[str, float]
    reserved: dict[str, float]
    left: dict[str, float]
    more: int | None
    limit: str | None
    ends: float | None

    @property
    def one_more(self) -> bool:
        """May another trial begin?"""
        return all(value > NOTHING for value in self.left.values())

    @property
    def words(self) -> str:
        """`left: 13 trials, 1.2 hours, $3.10; at this pace 9 more trials (hours), until about 22:40`."""
        if not self.left:
            return "no budget is set"
        left = [_amount(name, max(0.0, value)) for name, value in self.left.items()]
        said = "left: " + ", ".join(left)
        if self.more is None:
            return said
        if self.more == 0:
            ends = "" if self.ends is None else f"; what is under way ends about {_clock(self.ends)}"
            return f"{said}; nothing more begins ({self.limit}){ends}"
        until = "" if self.ends is None else f", until about {_clock(self.ends)}"
        return f"{said}; at this pace {self.more} more trials ({self.limit}){until}"


def outlook(
    ledger: Ledger, search: str, trials: Sequence[TrialRow], wall: float = 0.0, thinking: Collection[int] | None = None,
) -> Outlook:  # fmt: skip
    """The outlook now; `wall` are seconds of work that are not recorded yet.

    `thinking` are the numbers of trials that are thought about (None: whose conversation is recorded).
    """
    row = ledger.search(search)
    assert row is not None, search
    given = Budget.of(row["plan"]).given
    thinking = ledger.begun(search) if thinking is None else thinking
    spent, talked, costs = ledger.spent(search), ledger.talked(search), ledger.costs(search)
    spending = {
        "trials": float(max(0, len(trials) - 1)), "hours": (spent["wall_seconds"] + wall) / 3600,
        "gpu_hours": spent["gpu_seconds"] / 3600, "tokens": talked["tokens_in"] + talked["tokens_out"],
        "usd": talked["usd"],
    }  # fmt: skip
    ran = [t for t in trials if t.number > 0 and t.finished is not None and t.seconds > 0]
    running = [t for t in trials if t.finished is None and t.status is not TrialStatus.WAITING]
    took = [costs.get(t.number, (0.0, 0.0)) for t in ran]
    seconds, gpu = _mean([t.seconds for t in ran]), _mean([g for _, g in took])
    ahead = [*(t.number for t in running), *thinking]
    rest = [(seconds - s, gpu - g) for s, g in (costs.get(n, (0.0, 0.0)) for n in ahead)]
    reserved = {
        "trials": float(len(thinking)),
        "hours": _side_by_side([max(0.0, s) for s, _ in rest], json.loads(row["plan"]).get("slots")) / 3600,
        "gpu_hours": sum(max(0.0, g) for _, g in rest) / 3600,
        **_unsaid(ledger.talk_costs(search), thinking),
    }
    left = {name: limit - spending[name] - reserved.get(name, 0.0) for name, limit in given.items()}
    pace = _pace(ledger, search, trials, wall)
    each = {
        "trials": 1.0, "hours": pace / 3600, "gpu_hours": gpu / 3600,
        "tokens": spending["tokens"] / max(1.0, spending["trials"]),
        "usd": spending["usd"] / max(1.0, spending["trials"]),
    }  # fmt: skip
    allows = {
        name: math.ceil(max(0.0, left[name]) / (each[name] or 1.0) - NOTHING)
        for name in left
        if each[name] > 0 or left[name] <= 0
    }
    known = {"given": given, "spent": spending, "reserved": reserved, "left": left}
    if not ran or not pace or not allows:
        return Outlook(**known, more=None, limit=None, ends=None)
    limit = min(allows, key=lambda name: allows[name])
    rounds = allows[limit] + len(ahead)
    ends = time.time() + rounds * pace if rounds else None
    return Outlook(**known, more=allows[limit], limit=limit, ends=ends)


def afford(ledger: Ledger, search: str, others: int = 0) -> bool:
    """Are there tokens and dollars left for another answer of a model, while `others` wait for one of usual cost?"""
    row = ledger.search(search)
    assert row is not None, search
    budget, talked = Budget.of(row["plan"]), ledger.talked(search)
    usual = others / max(1.0, talked["answers"])
    tokens = (talked["tokens_in"] + talked["tokens_out"]) * (1 + usual)
    return (budget.tokens is None or tokens < budget.tokens) and (
        budget.usd is None or talked["usd"] * (1 + usual) < budget.usd
    )


def changed(plan: str, new: dict[str, Any]) -> str:
    """What another budget changes: `trials 20 → 40, hours none → 8`."""
    old = Budget.of(plan).model_dump()
    return ", ".join(f"{name} {_number(was)} → {_number(new[name])}" for name, was in old.items() if name in new)


def _pace(ledger: Ledger, search: str, trials: Sequence[TrialRow], wall: float) -> float:
    """Wall seconds a trial: its work, what others did beside it, and conversations; 0 where none is over yet."""
    over = sum(1 for t in trials if t.number > 0 and t.finished is not None and t.seconds > 0)
    return (ledger.wall(search, min(t.created for t in trials[1:])) + wall) / over if over else 0.0


def _side_by_side(seconds: Sequence[float], slots: int | None) -> float:
    """How long so much work takes in so many slots, at least; None: a slot for each."""
    return max(max(seconds, default=0.0), sum(seconds) / (slots or max(1, len(seconds))))


def _unsaid(talk: Mapping[int, TalkCost], thinking: Collection[int]) -> dict[str, float]:
    """What conversations that are not over are expected to cost yet, by what those that are cost."""
    over = [cost for number, cost in talk.items() if number not in thinking]
    begun = [talk.get(number, TalkCost(0, 0.0)) for number in thinking]
    tokens, usd = _mean([c.tokens for c in over]), _mean([c.usd for c in over])
    return {
        "tokens": sum(max(0.0, tokens - c.tokens) for c in begun), "usd": sum(max(0.0, usd - c.usd) for c in begun),
    }  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _amount(name: str, value: float) -> str:
    if name == "usd":
        return f"${value:.2f}"
    return f"{value:.0f} {name}" if name in ("trials", "tokens") else f"{value:.2g} {name.replace('gpu_', 'GPU ')}"


def _clock(at: float) -> str:
    """`22:40`, or with the day where it is another one."""
    there, now = time.localtime(at), time.localtime()
    return time.strftime("%H:%M" if there[:3] == now[:3] else "%a %d %b %H:%M", there)
