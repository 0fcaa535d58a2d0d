"""A task that brings its weak labels: no weak job, PGR against those labels, paired where they cover the split."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest

from aar.agent import run as running
from aar.agent.run import Plan, create, work
from aar.ledger import Ledger
from aar.settings import Settings
from aar.tasks import load_task
from aar.worlds import get
from tests.loops import NO_TRACKING, fast_sandbox, launches


def write(folder: Path, covers: str) -> Path:
    rng = np.random.default_rng(0)
    texts, labels = get("polarity").generate(2400, 5)
    with (folder / "rows.jsonl").open("w") as out:
        for text, label in zip(texts, labels.tolist(), strict=True):
            weak = label if rng.random() < 0.66 else 1 - label
            out.write(json.dumps({"text": text, "label": label, "old": weak}) + "\n")
    path = folder / "given.yaml"
    path.write_text(f"""
name: given
data: {{files: {{all: rows.jsonl}}, classes: ["0", "1"]}}
splits: {{weak_train: 50, transfer: 600, dev: 700, test: 700}}
models:
  weak: {{labels: {{column: old, covers: {covers}}}}}
  strong: {{tiny: {{layers: 1, width: 16, heads: 2}}, pool: last, max_length: 32}}
seeds: {{screen: 1, full: 2, confirm: 2, baseline: 2}}
floor_gap: 0
""")
    return path


@pytest.mark.parametrize(("covers", "paired"), [("[transfer, dev, test]", True), ("[transfer]", False)])
def test_a_search_on_provided_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, covers: str, paired: bool
) -> None:
    monkeypatch.setattr(running, "choose", fast_sandbox)
    spec, _ = load_task(str(write(tmp_path, covers)))
    settings = Settings(workspace=tmp_path / "ws", slots=1, tracking_uri=NO_TRACKING)
    ledger = Ledger(settings.ledger_url)
    search = create(ledger, settings, spec, Plan(trials=6))
    work(ledger, settings, search, lambda: None, contextlib.nullcontext)
    row = ledger.search(search)
    assert row is not None and row["status"] == "complete"
    assert "weak" not in {one["kind"] for one in launches(settings.root)}, "there is no weak job"
    trials = ledger.trials(search)
    assert all(t.recipe.supervision.name == "single" for t in trials), "an ensemble needs weak models to train"
    view = trials[0].view
    assert view is not None and view.pgr is not None and view.weak == pytest.approx(0.66, abs=0.04)
    assert ("errors_copied" in view.diagnostics) is paired
    confirmed = [c for c in ledger.confirmations(search) if "sealed" in c["views"]]
    assert len(confirmed) == 1 and confirmed[0]["views"]["sealed"]["pgr"] is not None
    ledger.close()
