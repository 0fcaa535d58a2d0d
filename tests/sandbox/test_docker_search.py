"""A whole search whose jobs run in hardened containers, from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aar.ledger import Ledger
from aar.sandbox.select import not_ready
from tests.sandbox.conftest import unless_docker

TASK = """\
name: boxed
data: {world: {name: polarity}}
splits: {weak_train: 300, weak_val: 100, transfer: 500, dev: 600, test: 800}
models:
  weak: {tiny: {layers: 1, width: 16, heads: 2}, pool: last, max_length: 32}
  strong: {tiny: {layers: 2, width: 64, heads: 4}, pool: last, max_length: 32, pretrain: {documents: 8000, steps: 500}}
training: {weak: {epochs: 1, lr: 1e-3}, strong: {epochs: 2, lr: 1e-4}}
seeds: {screen: 2, full: 2, confirm: 2, baseline: 2}
floor_gap: 0.0
"""


@pytest.mark.docker
@pytest.mark.timeout(1500)
def test_a_search_in_docker_gives_what_the_process_sandbox_gives(tmp_path: Path, image: str) -> None:
    unless_docker(not_ready(image))
    task = tmp_path / "boxed.yaml"
    task.write_text(TASK)
    scores = {}
    for sandbox in ("docker", "process"):
        workspace = tmp_path / sandbox
        command = [sys.executable, "-m", "aar.cli", "run", str(task), "--trials", "1", "--sandbox", sandbox]
        done = subprocess.run([*command, "--workspace", str(workspace)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"sandbox  {sandbox}" in done.stdout
        ledger = Ledger(f"sqlite:///{workspace / 'ledger.db'}")
        row = ledger.searches()[0]
        assert row["status"] == "complete" and json.loads(row["plan"])["sandbox"] == sandbox
        scores[sandbox] = {(r["arm"], r["split"], r["seed"]): r["accuracy"] for r in ledger.scores(row["id"])}
        ledger.close()
        assert list((workspace / "jobs").iterdir()) == [], "job folders, and the labels in them, are gone"
    assert scores["docker"] == scores["process"], "the same source and seeds give the same predictions in both"
