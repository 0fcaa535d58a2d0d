"""Each test runs a fresh interpreter: the hub's client reads its environment when it is imported."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tests.data.conftest import SIZES, TINY, Row, Write, reviews

ROOT = Path(__file__).parents[2]
SHA, NEWER = "a" * 40, "b" * 40
CODE = """
import json, sys
from aar.data import POOLS, prepare, read_texts
from aar.settings import Settings
from aar.tasks import check_spec
from aar.types import AarError, TaskSpec
from aar.vault import Vault
settings = Settings(workspace="workspace")
try:
    made = prepare(check_spec(TaskSpec.model_validate_json(sys.stdin.read())), settings)
except AarError as error:
    sys.exit(str(error))
vault = Vault(settings.folder("vault"))
out = {s: list(zip(read_texts(made, s), vault.truth(made.digest, s).tolist())) for s in POOLS}
print(json.dumps({"prepared": made.model_dump(mode="json"), "rows": out, "torch": "torch" in sys.modules}))
"""


def run(home: Path, hub: Row, **data: object) -> subprocess.CompletedProcess[str]:
    task = {
        "name": "hubbed",
        "data": {"hub": hub, **data},
        "splits": SIZES,
        "models": {"weak": TINY, "strong": TINY},
    }
    env = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    for name in ("HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_DATASETS_OFFLINE", "HUGGINGFACE_HUB_CACHE"):
        env.pop(name, None)
    return subprocess.run(
        [sys.executable, "-c", CODE], input=json.dumps(task), env=env, cwd=home, capture_output=True, text=True
    )


def snapshot(home: Path, sha: str, splits: dict[str, list[Row]]) -> None:
    """Data files as the hub's cache keeps them: links into a store of blobs, and a branch that names the commit."""
    repository = home / "hub" / "datasets--org--films"
    for folder in ("refs", "blobs", f"snapshots/{sha}"):
        (repository / folder).mkdir(parents=True, exist_ok=True)
    (repository / "refs" / "main").write_text(sha)
    for split, rows in splits.items():
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        blob = repository / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        (repository / "snapshots" / sha / f"{split}.jsonl").symlink_to(f"../../blobs/{blob.name}")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    snapshot(tmp_path, SHA, {"train": list(reviews(250)), "test": list(reviews(60, 1000))})
    return tmp_path


def test_a_cached_data_set_is_read_offline_and_its_commit_recorded(home: Path) -> None:
    done = run(home, {"path": "org/films", "test": "test"})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["prepared"]["revision"] == SHA
    assert found["prepared"]["counts"] == {"weak_pool": 160, "transfer": 60, "dev": 30, "test": 30}
    for split, rows in found["rows"].items():
        for text, label in rows:
            number = int(text.split()[2])
            assert (number % 2, number >= 1000) == (label, split == "test")
    assert found["torch"] is False


def test_a_pinned_commit_is_obeyed_when_a_newer_one_is_cached(home: Path) -> None:
    snapshot(home, NEWER, {"train": list(reviews(250, 5000)), "test": list(reviews(60, 6000))})
    branch = json.loads(run(home, {"path": "org/films", "test": "test"}).stdout)
    pinned = json.loads(run(home, {"path": "org/films", "test": "test", "revision": SHA}).stdout)
    assert (branch["prepared"]["revision"], pinned["prepared"]["revision"]) == (NEWER, SHA)
    assert all(int(text.split()[2]) >= 5000 for text, _ in branch["rows"]["dev"])
    assert all(int(text.split()[2]) < 5000 for text, _ in pinned["rows"]["dev"])


ARROW = """
import datasets, json, sys
from pathlib import Path
builder = datasets.load_dataset_builder("json", data_files={"train": sys.argv[1]}, cache_dir="scratch")
out = Path("datasets/org___films/default/0.0.0") / sys.argv[2]
builder.download_and_prepare(output_dir=str(out))
(out / "json-train.arrow").rename(out / "films-train.arrow")
info = json.loads((out / "dataset_info.json").read_text())
(out / "dataset_info.json").write_text(json.dumps({**info, "config_name": "default", "dataset_name": "films"}))
"""


def test_the_librarys_own_cache_serves_the_pinned_commit_only(home: Path, write: Write) -> None:
    """`datasets` offline offers the newest version it has prepared, whatever revision it is asked for."""
    rows = write("newer.jsonl", reviews(250, 5000))
    env = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", ARROW, rows, NEWER], cwd=home, env=env, check=True, capture_output=True)
    newer = run(home, {"path": "org/films", "revision": NEWER})
    assert newer.returncode == 0, newer.stderr
    assert all(int(text.split()[2]) >= 5000 for text, _ in json.loads(newer.stdout)["rows"]["dev"])
    pinned = run(home, {"path": "org/films", "revision": SHA})
    assert pinned.returncode == 0, pinned.stderr
    assert all(int(text.split()[2]) < 5000 for text, _ in json.loads(pinned.stdout)["rows"]["dev"])
    assert run(home, {"path": "org/films", "revision": "c" * 40}).returncode == 1


def test_what_is_not_cached_says_what_to_do(home: Path) -> None:
    done = run(home, {"path": "org/other"})
    assert done.returncode == 1
    assert "task hubbed: data.hub.path: org/other at main is not in the local cache" in done.stderr
    assert "HF_HUB_OFFLINE is set" in done.stderr and "--set data.files.train=" in done.stderr
    done = run(home, {"path": "org/films", "revision": "c" * 40})
    assert f"org/films at {'c' * 40} is not in the local cache" in done.stderr


def test_an_unknown_split_or_column_suggests(home: Path) -> None:
    assert "has no split 'tset'; did you mean 'test'?" in run(home, {"path": "org/films", "test": "tset"}).stderr
    done = run(home, {"path": "org/films"}, label="labels")
    assert "org/films:train: no column 'labels'; did you mean 'label'? (valid: text, label)" in done.stderr


def test_a_local_folder_of_the_same_layout(home: Path) -> None:
    """Declared class names are used, the one split is divided, and the folder's content is the version."""
    folder = home / "folder"
    folder.mkdir()
    rows = reviews(300)
    features = {"info": {"features": {"label": {"names": ["2", "1"], "_type": "ClassLabel"}}}}
    features["info"]["features"] = {"text": {"dtype": "string", "_type": "Value"}, **features["info"]["features"]}
    schema = pyarrow.schema(
        [("text", pyarrow.string()), ("label", pyarrow.int64())], metadata={"huggingface": json.dumps(features)}
    )
    table = pyarrow.table({k: [r[k] for r in rows] for k in ("text", "label")}, schema=schema)
    pyarrow.parquet.write_table(table, folder / "train.parquet")
    first = json.loads(run(home, {"path": str(folder)}).stdout)["prepared"]
    assert (first["classes"], first["revision"]) == (["2", "1"], None)
    assert first["counts"]["weak_pool"] == 180 and first["files"].keys() == {"train.parquet"}
    pyarrow.parquet.write_table(table.slice(0, 290), folder / "train.parquet")
    assert json.loads(run(home, {"path": str(folder)}).stdout)["prepared"]["digest"] != first["digest"]
    assert "no such folder" in run(home, {"path": str(home / "gone")}).stderr
