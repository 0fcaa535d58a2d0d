from __future__ import annotations

import hashlib
import json
import shutil
import threading
from pathlib import Path

import pytest

from aar.data import POOLS, Prepared, load_prepared, prepare
from aar.settings import Settings
from aar.types import AarError
from aar.vault import Vault
from tests.data.conftest import Spec, Write, reviews


def truth(prepared: Prepared, settings: Settings, split: str) -> list[int]:
    labels: list[int] = Vault(settings.folder("vault")).truth(prepared.digest, split).tolist()
    return labels


def test_the_folder_holds_texts_and_no_labels(settings: Settings, write: Write, spec: Spec) -> None:
    rows = [{**row, "label": "secret-bad" if row["label"] else "secret-good"} for row in reviews(300)]
    made = prepare(spec({"files": {"all": write("a.jsonl", rows)}}), settings)
    files = {p.name: p.read_text() for p in Path(made.folder).iterdir()}
    assert files.keys() == {"meta.json", *(f"{s}.jsonl" for s in POOLS)}
    for split in POOLS:
        assert all(json.loads(line).keys() == {"text"} for line in files[f"{split}.jsonl"].splitlines())
        assert "secret" not in files[f"{split}.jsonl"]
        assert hashlib.sha256(files[f"{split}.jsonl"].encode()).hexdigest() == made.texts[split]
        assert made.text_file(split) == Path(made.folder) / f"{split}.jsonl"


def test_the_digest_follows_content_and_not_place(settings: Settings, write: Write, spec: Spec, tmp_path: Path) -> None:
    first = write("a.jsonl", reviews(300))
    (tmp_path / "b").mkdir()
    moved = shutil.copy(first, tmp_path / "b" / "c.jsonl")
    made = prepare(spec({"files": {"all": first}}), settings)
    assert prepare(spec({"files": {"all": str(moved)}}), settings).digest == made.digest
    others = [
        prepare(spec({"files": {"all": write("d.jsonl", reviews(301))}}), settings),
        prepare(spec({"files": {"all": first}, "classes": ["bad", "good"]}), settings),
        prepare(spec({"files": {"all": first}}, {"seed": 1}), settings),
        prepare(spec({"files": {"all": first}}, {"dev": 31}), settings),
    ]
    assert len({made.digest, *(o.digest for o in others)}) == 5


def test_the_digest_follows_how_a_file_is_read(settings: Settings, tmp_path: Path, spec: Spec) -> None:
    content = "".join(f"{row['text']}\t{row['label']}\n" for row in reviews(300))
    for name in ("a.tsv", "a.csv"):
        (tmp_path / name).write_text(content)
    prepare(spec({"files": {"all": str(tmp_path / "a.tsv"), "columns": ["text", "label"]}}), settings)
    with pytest.raises(AarError, match="1 fields where there are 2 columns"):
        prepare(spec({"files": {"all": str(tmp_path / "a.csv"), "columns": ["text", "label"]}}), settings)
    with pytest.raises(AarError, match="ask for 170 rows, 2 are there"):
        prepare(spec({"files": {"all": str(tmp_path / "a.tsv"), "columns": ["label", "text"]}}), settings)


def test_a_changed_file_under_an_old_name_is_seen(settings: Settings, write: Write, spec: Spec) -> None:
    task = spec({"files": {"all": write("a.jsonl", reviews(300))}})
    before = prepare(task, settings)
    write("a.jsonl", reviews(301))
    assert prepare(task, settings).digest != before.digest


@pytest.mark.parametrize("damage", ["meta.json", "dev.jsonl", "labels", "text"])
def test_what_was_lost_or_damaged_is_made_again(settings: Settings, write: Write, spec: Spec, damage: str) -> None:
    task = spec({"files": {"all": write("a.jsonl", reviews(300))}})
    made = prepare(task, settings)
    labels = truth(made, settings, "dev")
    if damage == "labels":
        shutil.rmtree(settings.folder("vault"))
    elif damage == "text":
        made.text_file("dev").write_text("{}\n")
    else:
        (Path(made.folder) / damage).unlink()
    assert load_prepared(Path(made.folder)) == (made if damage == "labels" else None)
    assert prepare(task, settings) == made
    assert truth(made, settings, "dev") == labels
    assert [p.name for p in settings.folder("data").iterdir()] == [made.digest]


def test_prepared_data_is_not_made_twice(settings: Settings, write: Write, spec: Spec) -> None:
    task = spec({"files": {"all": write("a.jsonl", reviews(300))}})
    stamp = prepare(task, settings).text_file("dev").stat().st_mtime_ns
    assert prepare(task, settings).text_file("dev").stat().st_mtime_ns == stamp


def test_prepares_at_the_same_time_agree(settings: Settings, write: Write, spec: Spec) -> None:
    task = spec({"files": {"all": write("a.jsonl", reviews(2000))}})
    found: list[Prepared] = []
    threads = [threading.Thread(target=lambda: found.append(prepare(task, settings))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and all(made == found[0] for made in found)
    assert [p.name for p in settings.folder("data").iterdir()] == [found[0].digest]


def test_a_workspace_may_move(settings: Settings, write: Write, spec: Spec, tmp_path: Path) -> None:
    rows = [{**row, "said": row["label"]} for row in reviews(300)]
    task = spec({"files": {"all": write("a.jsonl", rows)}}, weak={"labels": {"column": "said"}})
    made = prepare(task, settings)
    shutil.move(settings.root, tmp_path / "elsewhere")
    there = prepare(task, Settings(workspace=tmp_path / "elsewhere"))
    assert there.digest == made.digest and there.folder.startswith(str(tmp_path / "elsewhere"))
    assert there.provided["transfer"].startswith(there.folder)
