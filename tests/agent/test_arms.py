"""Does reading the evidence pay? A scripted model that reads the journal against random, and one that says nothing.

Quick jobs whose accuracy follows from the recipe stand in for training; docs/researcher.md has real training.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.agent.models import competent, garbage, scripted
from tests.loops import searching
from tests.oversight.chatserver import Json, serving

TRIALS, NAIVE, T9 = 6, 0.74, 2.26


def areas(folder: Path, script: Callable[[Json, int], Any], researcher: str, repeats: int) -> np.ndarray:
    """(repeats,) mean of the best accuracy so far over the trials, one search seed each."""
    out = []
    with serving(script) as server, searching(folder) as here:
        for seed in range(repeats):
            model = {"model": "openai:m", "base_url": server.url} if researcher in ("llm", "mixed") else {}
            search = here.create(
                folder, seed=seed, trials=TRIALS, researcher=researcher, confirm_top=0, controls=False, **model
            )
            here.work(search)
            scored = [t.view.accuracy if t.view else 0.0 for t in here.ledger.trials(search)]
            out.append(np.maximum.accumulate(scored)[1:].mean())
    return np.array(out)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")


def test_a_model_that_reads_the_journal_beats_random(tmp_path: Path) -> None:
    clever, random = areas(tmp_path, scripted(competent), "llm", 10), areas(tmp_path, garbage, "random", 10)
    gain = clever - random
    assert gain.mean() > T9 * gain.std(ddof=1) / np.sqrt(10), (clever, random)


def test_a_model_that_says_nothing_costs_no_more_than_its_share(tmp_path: Path) -> None:
    alone, mixed = areas(tmp_path, garbage, "optuna", 6), areas(tmp_path, garbage, "mixed", 6)
    noise = T9 * np.hypot(alone.std(ddof=1), mixed.std(ddof=1)) / np.sqrt(6)
    share = (alone.mean() - NAIVE) / 4  # of an untried source among four, and falling
    assert alone.mean() - mixed.mean() <= share + noise, (alone, mixed)
