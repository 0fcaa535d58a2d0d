"""What a search's trials and conversations add up to: families, plateaus, who was asked, what talking cost.

Public values only.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aar.ledger.records import Row, TrialRow
from aar.types import SLOTS, Part, Recipe, TrialStatus

PATIENCE = 8
"""Scored trials in a row without a new best that make a plateau."""
SCORED = (TrialStatus.COMPLETE, TrialStatus.PRUNED)
NEVER_TRIED = (TrialStatus.REJECTED, TrialStatus.DUPLICATE)


def family(recipe: Recipe) -> str:
    """The parts that are not naive's, schedule aside: `hard + logconf`; `naive` for none.

    A written part is its slot and name, `loss.mine`: versions of it are one family.
    """
    plain, names = Recipe(), []
    for slot in SLOTS[:-1]:
        part: Part = getattr(recipe, slot)
        if part.name != getattr(plain, slot).name:
            names.append(part.name if part.code is None else f"{slot}.{part.code.name}")
    return " + ".join(names) or "naive"


def entropy(trials: Sequence[TrialRow]) -> float | None:
    """How evenly the trials (naive's aside) are spread over families: Shannon, in bits; None before any."""
    counts: dict[str, int] = {}
    for t in trials:
        if t.number > 0 and t.status not in NEVER_TRIED:
            counts[family(t.recipe)] = counts.get(family(t.recipe), 0) + 1
    n = sum(counts.values())
    return -sum(c / n * math.log2(c / n) for c in counts.values()) + 0.0 if n else None


def plateaus(trials: Sequence[TrialRow]) -> int:
    """How often so far PATIENCE scored trials in a row brought no new best: each begins a new direction."""
    best, dry, found = -math.inf, 0, 0
    for t in trials:
        if t.view is None or t.status not in SCORED:
            continue
        if t.view.accuracy > best:
            best, dry = t.view.accuracy, 0
            continue
        dry += 1
        if dry == PATIENCE:
            found, dry = found + 1, 0
    return found


class Sharing(NamedTuple):
    """How a portfolio chose who proposes a trial: the chance of each source, and what each was worth until then."""

    source: str
    shares: Mapping[str, float]
    credit: Mapping[str, float]


def sharing(trial: TrialRow) -> Sharing | None:
    """What the portfolio noted with a trial, or None where none chose."""
    if not trial.shares:
        return None
    said = json.loads(trial.shares)
    return Sharing(str(said.get("source") or trial.author), said.get("shares") or {}, said.get("credit") or {})


def source(trial: TrialRow) -> str:
    """Who was asked for this trial, whoever then proposed it."""
    chosen = sharing(trial)
    return trial.author if chosen is None else chosen.source


class Talked(NamedTuple):
    """What conversations came to. `usd`: of calls with a known price; `unpriced` had none; `troubles` by what it was.

    `calls` are those that cost tokens: answers, and tools that ask the model themselves.
    """

    conversations: int
    calls: int
    tokens_in: int
    tokens_out: int
    usd: float
    unpriced: int
    seconds: float
    troubles: Mapping[str, int]

    @property
    def cost(self) -> str:
        """`$0.0124`, `price unknown`, or both."""
        known = "under $0.0001" if 0 < self.usd < 5e-5 else f"${self.usd:.4f}"
        if not self.unpriced:
            return known
        if self.unpriced == self.calls:
            return "price unknown"
        return f"{known} and {self.unpriced} of {self.calls} calls at a price unknown"


def talked(turns: Sequence[Row]) -> Talked | None:
    """What these rows of conversations (`Ledger.turns`) came to; None without any."""
    if not turns:
        return None
    paid = [r for r in turns if r["tokens_in"] or r["tokens_out"]]
    troubles = Counter(str(r["body"]["trouble"]) for r in turns if r["body"].get("trouble"))
    return Talked(
        len({r["trial"] for r in turns}), len(paid), sum(r["tokens_in"] for r in paid),
        sum(r["tokens_out"] for r in paid), sum(r["usd"] or 0.0 for r in paid),
        sum(r["usd"] is None for r in paid), sum(r["seconds"] for r in turns), dict(sorted(troubles.items())),
    )  # fmt: skip
