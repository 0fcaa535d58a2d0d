"""The audit of a confirmed trial: what can make a number look good without a method behind it.

It trains nothing. Figures that need labels come through the gate; the rest are counted from predictions, from seeds
and from files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aar import scoring
from aar.ledger import TrialRow
from aar.methods import short
from aar.runner.bench import Bench, Problem
from aar.runner.evidence import Evidence
from aar.sandbox.image import source_now
from aar.types import AuditView, PublicScore, digest_of

LEANING = 0.5
"""How far from the labels' own balance (0) to one constant answer (1) the predictions of a seed may lean."""
APART = 0.5
"""How far single seeds may lie apart, in gaps between weak model and ceiling."""
FRESH = "fresh:"


def protected(problem: Problem) -> dict[str, str]:
    """Hashes of what no search may change, from the bytes on disk now: texts, labels, code that results depend on."""
    folder = Path(problem.prepared.folder)
    texts = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir()) if p.is_file()}
    return {
        "texts": digest_of(texts), "labels": problem.vault.fingerprint(problem.prepared.digest),
        "code": digest_of([problem.code, source_now()]),
    }  # fmt: skip


def sealed(problem: Problem) -> str:
    """Names the rows of the sealed split, in whatever order and of whatever task: what looks at them are counted by."""
    return digest_of(sorted(problem.prepared.text_file("test").read_text(encoding="utf-8").split("\n")))


def audit(bench: Bench, evidence: Evidence, trial: TrialRow, views: Mapping[str, Any]) -> list[AuditView]:
    """Every check of one confirmed trial, from its views (`fresh`, for the winner also `sealed`) and its arms."""
    scored = {name: view for name in ("fresh", "sealed") if (view := views.get(name)) is not None}
    return [
        _constant(bench, evidence, trial),
        _spread(bench, evidence, trial, scored["fresh"]),
        _above_one(scored),
        _files(bench),
        _seeds(bench, trial, "sealed" in scored),
    ]


def _constant(bench: Bench, evidence: Evidence, trial: TrialRow) -> AuditView:
    """Do its predictions lean to one answer, beyond the balance of the labels?"""
    arm = f"{FRESH}t{trial.number}"
    shares = evidence.commonest(arm, "dev")
    base = scoring.public_mean(evidence.constant("dev"), lambda: bench.lease.count_look("constant", "dev"))
    worst = max(shares.values())
    leaning = (worst - base.accuracy) / max(1 - base.accuracy, 1e-9)
    ends = "to".join(f" {short(round(v, 3))} " for v in sorted({min(shares.values()), worst})).strip()
    words = (
        f"the most frequent answer takes {ends} of a seed's predictions on dev; of the labels the most frequent class "
        f"takes {short(base.accuracy)}"
    )
    return AuditView(name="constant predictions", words=words, passed=leaning <= LEANING)


def _spread(bench: Bench, evidence: Evidence, trial: TrialRow, fresh: PublicScore) -> AuditView:
    """Does the result hang on its seed, and with it on the order of its rows, first weights and weak model?"""
    arm = evidence.arm(f"{FRESH}t{trial.number}", "dev")
    assert arm is not None and fresh.weak is not None and fresh.ceiling is not None
    seen = scoring.public_mean(arm, lambda: bench.lease.count_look(f"{FRESH}t{trial.number}", "dev"))
    gap = fresh.ceiling - fresh.weak
    covers = "the numbering of classes is a control of its own"
    words = (
        f"{len(arm.seeds)} fresh seeds, each with its own row order, first weights and weak model: accuracy "
        f"{short(seen.low)} to {short(seen.high)}"
    )
    if gap <= 0:
        return AuditView(name="spread over seeds", words=f"{words}; there is no gap to hold that against; {covers}")
    apart = (seen.high - seen.low) / gap
    words = f"{words}, {short(round(apart, 2))} of the gap apart; {covers}"
    return AuditView(name="spread over seeds", words=words, passed=apart <= APART)


def _above_one(scored: Mapping[str, PublicScore]) -> AuditView:
    """Is its PGR above 1 by more than noise?"""
    name = "PGR above 1"
    known = {what: v for what, v in scored.items() if v.pgr is not None and v.ci_low is not None}
    if not known:
        return AuditView(name=name, words="no PGR with an interval")
    said = "; ".join(
        f"{what} {short(round(v.pgr or 0.0, 3))} [{short(round(v.ci_low or 0.0, 3))}, {_end(v.ci_high)}]"
        for what, v in known.items()
    )
    high = [what for what, v in known.items() if (v.ci_low or 0.0) > 1]
    doubt = ": better than training on true labels is more often a leak than a method" if high else ""
    return AuditView(name=name, words=said + doubt, passed=not high)


def _files(bench: Bench) -> AuditView:
    """Are texts, labels and code the bytes that the search began with?"""
    name, row = "protected files", bench.ledger.search(bench.search)
    began = json.loads(row["plan"]).get("protected") if row else None
    if not began:
        return AuditView(name=name, words="not recorded when the search began")
    now = protected(bench.problem)
    changed = [what for what, digest in began.items() if now.get(what) != digest]
    if changed:
        return AuditView(name=name, words=f"changed since the search began: {', '.join(changed)}", passed=False)
    return AuditView(name=name, words=f"{', '.join(began)} are the bytes that the search began with", passed=True)


def _seeds(bench: Bench, trial: TrialRow, sealed: bool) -> AuditView:
    """Are the seeds behind its scores those that were fixed before?"""
    seeds, arm = bench.problem.task.seeds, f"t{trial.number}"
    planned = set(bench.seeds("confirm", seeds.confirm))
    block = set(bench.seeds("search", 100))
    found: dict[tuple[str, str], set[int]] = {}
    for row in bench.ledger.scores(bench.search):
        found.setdefault((row["arm"], row["split"]), set()).add(row["seed"])
    whose = [FRESH + arm, FRESH + "ceiling"] + ([] if bench.problem.provided else [FRESH + "weak"])
    wrong = [
        f"{a} on {s}" for s in ("dev", *(["test"] if sealed else [])) for a in whose if found.get((a, s)) != planned
    ]
    selected = found.get((arm, "dev"), set())
    if not set(bench.seeds("search", seeds.full)) <= selected <= block:
        wrong.append(f"{arm} on dev")
    if wrong:
        return AuditView(name="seeds as planned", words=f"other seeds than planned: {', '.join(wrong)}", passed=False)
    words = f"selected on {_listed(selected)}, confirmed on {_listed(planned)}, as fixed by the search's seed"
    return AuditView(name="seeds as planned", words=words, passed=True)


def _end(value: float | None) -> str:
    return "?" if value is None else short(round(value, 3))


def _listed(seeds: set[int]) -> str:
    return f"{len(seeds)} seeds ({min(seeds)} to {max(seeds)})"
