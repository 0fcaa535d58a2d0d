"""What the page says of those who propose: how well they predict, who was asked, families, conversations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from aar.agent.families import families
from aar.ledger import TrialRow
from aar.ledger.journal import NEVER_TRIED, PATIENCE, SCORED, entropy, family, plateaus, sharing, source
from aar.report._svg import AUTHORS
from aar.scoring import PROMISED, calibration, predictions
from aar.tracking import About

MOST_FAMILIES = 12


def researcher_facts(about: About) -> dict[str, Any]:
    """For `researcher.html.j2`."""
    trials = list(about.trials.values())
    found = families(trials)
    kinds = {family(t.recipe) for t in trials if t.number > 0 and t.status not in NEVER_TRIED}
    return {
        "calibrations": calibration(predictions(trials)), "promised": PROMISED, "sources": _sources(trials),
        "families": found[:MOST_FAMILIES], "more_families": max(0, len(found) - MOST_FAMILIES), "bits": entropy(trials),
        "kinds": len(kinds), "most_bits": math.log2(max(len(kinds), 1)), "plateaus": plateaus(trials),
        "patience": PATIENCE, "talked": about.talked,
    }  # fmt: skip


def _sources(trials: Sequence[TrialRow]) -> list[dict[str, Any]]:
    """Per source: trials asked of it, proposed by it, scored, its best; its share and credit at the latest choice."""
    last = next((s for t in reversed(trials) if (s := sharing(t)) is not None), None)
    out = []
    for name in AUTHORS:
        asked = [t for t in trials if t.number > 0 and source(t) == name]
        if not asked and not (last and name in last.shares):
            continue
        scored = [(t.view.accuracy, t) for t in asked if t.view is not None and t.status in SCORED]
        best = max(scored, key=lambda s: (s[0], -s[1].number), default=(None, None))[1]
        out.append({
            "name": name, "asked": len(asked), "itself": sum(t.author == name for t in asked), "scored": len(scored),
            "best": best, "share": last.shares.get(name) if last else None,
            "credit": last.credit.get(name) if last else None,
        })  # fmt: skip
    return out
