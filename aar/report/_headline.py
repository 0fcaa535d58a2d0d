"""The figures a search comes down to, one row each: for the end of the report's first page and of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from aar.ledger import Ledger, TrialRow
from aar.tracking import About, best_selected, flags, interval, number
from aar.types import PublicScore


@dataclass(frozen=True)
class Row:
    """One line. `key` is weak, naive, selected, confirmed, sealed or ceiling; values are public ones or None.

    `weak` and `ceiling` are what its PGR is measured against: the fresh and sealed rows have their own.
    """

    key: str
    name: str
    accuracy: float | None
    pgr: float | None
    ci_low: float | None
    ci_high: float | None
    note: str
    trial: int | None = None
    weak: float | None = None
    ceiling: float | None = None


def headline(ledger: Ledger, search: str) -> list[Row]:
    """Weak, naive, best selected, best confirmed, sealed (once opened), ceiling. Without a value: None and why."""
    return rows(About(ledger, search))


def rows(about: About) -> list[Row]:
    """`headline` of a search that was read already."""
    base = json.loads(about.row["baselines"]) if about.row["baselines"] else {}
    naive = about.trials.get(0)
    view = naive.view if naive else None
    weak = base.get("weak", view.weak if view else None)
    ceiling = base.get("ceiling", view.ceiling if view else None)
    gap = view is not None and view.pgr is not None
    out = [_fixed("weak", "weak", weak, 0.0 if gap else None, "the supervisor: PGR 0 by definition")]
    if naive is not None and view is not None:
        out.append(_scored("naive", "naive", view, f"{naive.label}: what a method must beat", 0))
    else:
        why = (naive.reason or str(naive.status)) if naive else "not run yet"
        out.append(_fixed("naive", "naive", base.get("naive"), None, why))
    out.append(_selected(about))
    out += _confirmed(about)
    return [*out, _fixed("ceiling", "ceiling", ceiling, 1.0 if gap else None, "trained on true labels: PGR 1")]


def winner(about: About) -> tuple[int, dict[str, Any]] | None:
    """The confirmed trial that was scored on the sealed split, or else the best on fresh seeds; its views."""
    if not about.confirmed:
        return None
    return max(about.confirmed.items(), key=lambda c: ("sealed" in c[1], c[1]["fresh"]["accuracy"], -c[0]))


def _selected(about: About) -> Row:
    trials = list(about.trials.values())
    best = best_selected(trials)
    if best is None or best.view is None:
        return _fixed("selected", "best selected", None, None, "no trial besides naive is complete")
    among = sum(1 for t in trials if t.number > 0 and t.view is not None)
    return _scored("selected", "best selected", best.view, f"t{best.number} {_short(best)}; best of {among}: flatters",
                   best.number)  # fmt: skip


def _confirmed(about: About) -> list[Row]:
    found = winner(about)
    if found is None:
        return [_fixed("confirmed", "best confirmed", None, None, "nothing was confirmed on fresh seeds")]
    n, views = found
    fresh = PublicScore.model_validate(views["fresh"])
    out = [_scored("confirmed", "best confirmed", fresh, f"t{n} {_short(about.trials[n])}; fresh seeds", n)]
    if "sealed" in views:
        mean, low, high = views["gain_over_matched_naive"]
        note = f"t{n} on the sealed split; {number(mean, 3)} {interval(low, high, 3)} accuracy over matched naive"
        note += "".join(f"; flagged: {flag}" for flag in flags(views))
        out.append(_scored("sealed", "sealed", PublicScore.model_validate(views["sealed"]), note, n))
    return out


def _fixed(key: str, name: str, accuracy: float | None, pgr: float | None, note: str) -> Row:
    return Row(key, name, accuracy, pgr, None, None, note)


def _scored(key: str, name: str, view: PublicScore, note: str, trial: int) -> Row:
    why = f"{note}; no PGR: {view.reason}" if view.pgr is None else note
    return Row(key, name, view.accuracy, view.pgr, view.ci_low, view.ci_high, why, trial, view.weak, view.ceiling)


def _short(trial: TrialRow) -> str:
    return trial.label if len(trial.label) <= 60 else trial.label[:59] + "…"
