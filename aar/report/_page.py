"""Gathers what the page shows and fills the template."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aar.ledger import Ledger, TrialRow
from aar.report import _charts as charts
from aar.report._headline import Row, rows
from aar.report._researcher import researcher_facts
from aar.report._svg import STYLE, standalone
from aar.report._template import render
from aar.scoring import predictions
from aar.search import importances
from aar.settings import Settings, write_whole
from aar.tracking import (
    AUDITED,
    REPLAY,
    About,
    best_selected,
    check_finding,
    check_reason,
    claim,
    flags,
    interval,
    number,
    probe_words,
    task_yaml,
    words,
)
from aar.types import SLOTS, AarError, Part, PublicScore, TaskSpec, TrialStatus

INDENTS = 12
LONG = 60
ENOUGH = 50
"""Scored trials from which the importance of choices says something (measured: docs of the search)."""
NOT_RUN = (TrialStatus.FAILED, TrialStatus.REJECTED)


def write(ledger: Ledger, settings: Settings, search: str) -> Path:
    """What `aar.report.write_report` does."""
    if ledger.search(search) is None:
        raise AarError(f"no search {search!r} in the ledger; `aar status` names the latest")
    about = About(ledger, search)
    drawn = _charts(about)
    folder = settings.folder("reports")
    plots = folder / search
    shutil.rmtree(plots, ignore_errors=True)
    plots.mkdir()
    for name, chart in drawn.items():
        if chart:
            (plots / f"{name}.svg").write_text(standalone(chart), encoding="utf-8")
    task = TaskSpec.model_validate_json(about.row["spec"])
    (folder / f"{search}.yaml").write_text(task_yaml(task), encoding="utf-8")
    path = folder / f"{search}.html"
    write_whole(path, _render(about, drawn, settings))
    return path


def _render(about: About, drawn: dict[str, str], settings: Settings) -> str:
    return render(
        "report.html.j2", drawn, **_facts(about), card=claim(about, settings.workspace), style=STYLE,
        interval=interval, probe_words=probe_words, replay_words=REPLAY, audited=AUDITED,
    )  # fmt: skip


def _charts(about: About) -> dict[str, str]:
    trials = list(about.trials.values())
    fresh = {n: PublicScore.model_validate(v["fresh"]) for n, v in about.confirmed.items()}
    task = TaskSpec.model_validate_json(about.row["spec"])
    enough = sum(1 for t in trials if t.view is not None) >= ENOUGH
    return {
        "gap": charts.gap_bars(rows(about)), "trials": charts.by_trial(trials, fresh),
        "importance": charts.bars(importances(task, trials)) if enough else "",
        "predictions": charts.calibration(predictions(trials)), "portfolio": charts.portfolio(trials),
    }  # fmt: skip


def _facts(about: About) -> dict[str, Any]:
    row, trials = about.row, list(about.trials.values())
    task, ledger = TaskSpec.model_validate_json(row["spec"]), about.ledger
    counts: dict[str, int] = {}
    for t in trials:
        counts[str(t.status)] = counts.get(str(t.status), 0) + 1
    head = rows(about)
    return {
        "row": row, "task": task, "plan": json.loads(row["plan"]), "trials": trials, "counts": counts,
        "headline": head, "verdict": _verdict(about, head), "confirmed": _confirmed(about), "flags": flags,
        "methods": _methods(trials), "enough": ENOUGH, "scored": sum(1 for t in trials if t.view is not None),
        **researcher_facts(about), "lineage": _lineage(trials), "long": LONG, "messages": about.messages,
        "findings": [(f, check_finding(about, f)) for f in about.findings],
        "reasons": {t.number: check_reason(about, t) for t in trials}, "in_words": words,
        "failures": _failures(about), "spent": ledger.spent(about.search),
        "ood": about.ood, "ood_names": list(dict.fromkeys(name for views in about.ood.values() for name in views)),
        "slices": _slices(trials),
        "openings": ledger.openings(about.search), "now": datetime.now(UTC).timestamp(),
    }  # fmt: skip


def _verdict(about: About, head: Sequence[Row]) -> str:
    """The page in two sentences, and what the controls say against them."""
    by_key = {r.key: r for r in head}
    best, naive = by_key["selected"], by_key["naive"]
    if "sealed" in by_key:
        fresh, sealed = by_key["confirmed"], by_key["sealed"]
        assert sealed.trial is not None
        views = about.confirmed[sealed.trial]
        mean, low, high = views["gain_over_matched_naive"]
        doubt = "" if low > 0 else ", which is a loss" if high < 0 else ", which may be no gain at all"
        return (
            f"t{sealed.trial} ({about.trials[sealed.trial].label}) {_says(fresh)} on fresh seeds; on the sealed split "
            f"it {_says(sealed)}. Against naive training with the same student and schedule: {'+' if mean > 0 else ''}"
            f"{number(mean, 3)} {interval(low, high, 3)} accuracy{doubt}."
            + "".join(f" But {flag}." for flag in flags(views))
        )
    if best.accuracy is None:
        return "No trial besides naive has a result, so there is nothing to compare."
    flatters = "This value was selected as the highest of several noisy ones and flatters; no fresh seeds confirm it"
    if about.confirmed:
        flatters = "The seal was not opened: nothing here was measured on data that selected nothing"
    versus = f", against {_says(naive)} of naive training" if naive.accuracy is not None else ""
    return f"The best selected trial, t{best.trial}, {_says(best)}{versus}. {flatters}."


def _confirmed(about: About) -> list[tuple[TrialRow, dict[str, Any]]]:
    """Confirmed trials with their views: the winner first, then by what fresh seeds said."""
    order = sorted(about.confirmed.items(), key=lambda c: ("sealed" not in c[1], -c[1]["fresh"]["accuracy"], c[0]))
    return [(about.trials[number_], views) for number_, views in order]


def _says(row: Row) -> str:
    if row.pgr is None:
        return f"reaches accuracy {number(row.accuracy, 3)} (no PGR)"
    return f"recovers {number(row.pgr)} {interval(row.ci_low, row.ci_high)} of the gap"


def _methods(trials: Sequence[TrialRow]) -> list[dict[str, Any]]:
    """Per slot and part: how many trials, the best and the mean PGR (accuracy where no trial has a PGR)."""
    scored = [(t, t.view) for t in trials if t.view is not None]
    use_pgr = any(v.pgr is not None for _, v in scored)
    out = []
    for slot in SLOTS:
        groups: dict[str, list[tuple[float, TrialRow]]] = {}
        for t, v in scored:
            part: Part = getattr(t.recipe, slot)
            value = v.pgr if use_pgr else v.accuracy
            if value is not None:
                groups.setdefault(part.name, []).append((value, t))
        found: list[dict[str, Any]] = []
        for name, seen in groups.items():
            values = [value for value, _ in seen]
            best, holder = max(seen, key=lambda s: (s[0], -s[1].number))
            mean = sum(values) / len(values)
            found.append({"part": name, "count": len(seen), "best": best, "holder": holder.number, "mean": mean})
        if len(found) > 1:
            out.append({"slot": slot, "parts": sorted(found, key=lambda p: -p["best"]), "pgr": use_pgr})
    return out


def _slices(trials: Sequence[TrialRow]) -> dict[str, Any] | None:
    """Naive and the best selected trial by slice: (naive's view or None, the best's) in rows, and the best's number."""
    best = best_selected(list(trials))
    if best is None or best.view is None or not best.view.slices:
        return None
    naive = {(s.column, s.value): s for t in trials if t.number == 0 and t.view for s in t.view.slices}
    return {"best": best.number, "rows": [(naive.get((s.column, s.value)), s) for s in best.view.slices]}


def _lineage(trials: Sequence[TrialRow]) -> list[tuple[int, TrialRow]]:
    """(indent, trial), children under what they build on; trials that stand alone are left out."""
    children: dict[int, list[TrialRow]] = {}
    numbers = {t.number for t in trials}
    roots = []
    for t in trials:
        if t.parent is not None and t.parent in numbers and t.parent < t.number:
            children.setdefault(t.parent, []).append(t)
        else:
            roots.append(t)
    out, stack = [], [(0, t) for t in reversed(roots) if t.number in children]
    while stack:
        depth, t = stack.pop()
        out.append((min(depth, INDENTS), t))
        stack += [(depth + 1, child) for child in reversed(children.get(t.number, []))]
    return out


def _failures(about: About) -> list[dict[str, Any]]:
    """Failed and rejected trials, then failed jobs that belong to no trial, each with reason and log tail."""
    tails: dict[int | None, list[dict[str, Any]]] = {}
    for a in about.ledger.attempts(about.search):
        if a["status"] not in ("ok", "running"):
            end = json.loads(a["exit"]) if a["exit"] else {}
            tails.setdefault(a["trial"], []).append({"job": a["id"], "status": a["status"], **end})
    out = [
        {"name": f"t{t.number} {t.label}", "status": str(t.status), "reason": t.reason, "jobs": tails.get(t.number, [])}
        for t in about.trials.values()
        if t.status in NOT_RUN
    ]
    return out + [
        {"name": f"job {j['job']}", "status": j["status"], "reason": j.get("reason", ""), "jobs": [j]}
        for j in tails.get(None, [])
    ]
