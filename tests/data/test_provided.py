from __future__ import annotations

import hashlib
import random
from pathlib import Path

import numpy as np
import pytest

from aar.data import Prepared, prepare, read_texts
from aar.settings import Settings
from aar.types import AarError
from tests.data.conftest import Spec, Write, reviews


def weak_rows(made: Prepared, split: str) -> list[list[float]]:
    rows: list[list[float]] = np.fromfile(made.provided[split], dtype="<f4").reshape(-1, len(made.classes)).tolist()
    return rows


def test_provided_labels_from_a_column(settings: Settings, write: Write, spec: Spec) -> None:
    rows = [{**r, "said": [0.25, 0.75] if i % 3 else "0"} for i, r in enumerate(reviews(300))]
    said = {r["text"]: r["said"] for r in rows}
    weak = {"labels": {"column": "said", "covers": ["transfer", "dev"]}}
    made = prepare(spec({"files": {"all": write("a.jsonl", rows)}}, weak=weak), settings)
    assert made.provided.keys() == {"transfer", "dev"}
    for split in made.provided:
        expected = [[1.0, 0.0] if said[t] == "0" else said[t] for t in read_texts(made, split)]
        assert weak_rows(made, split) == expected
        content = Path(made.provided[split]).read_bytes()
        assert made.provided_digests[split] == hashlib.sha256(content).hexdigest()


def test_provided_labels_are_needed_only_where_they_cover(settings: Settings, write: Write, spec: Spec) -> None:
    transfer = [{**r, "said": r["label"]} for r in reviews(90)]
    files = {
        "transfer": write("r.jsonl", transfer),
        **{n: write(f"{n}.jsonl", reviews(90, 1000 * i)) for i, n in enumerate(("weak_train", "dev", "test"), 1)},
    }
    made = prepare(spec({"files": files}, weak={"labels": {"column": "said"}}), settings)
    assert made.provided.keys() == {"transfer"}
    weak = {"labels": {"column": "said", "covers": ["transfer", "dev"]}}
    with pytest.raises(AarError, match=r"dev\.jsonl: line 1: no column 'said'"):
        prepare(spec({"files": files}, weak=weak), settings)


def test_with_provided_labels_the_weak_split_may_be_one_row(settings: Settings, write: Write, spec: Spec) -> None:
    rows = [{**r, "said": r["label"]} for r in reviews(121)]
    sizes = {"weak_train": 1, "weak_val": 0}
    made = prepare(spec({"files": {"all": write("a.jsonl", rows)}}, sizes, {"labels": {"column": "said"}}), settings)
    assert made.counts["weak_pool"] == 1


def test_provided_labels_from_a_file_are_joined_by_text(settings: Settings, write: Write, spec: Spec) -> None:
    rows = reviews(300)
    given = [{"text": r["text"].upper(), "label": "good" if i % 5 else "bad"} for i, r in enumerate(rows)]
    expected = {r["text"]: [0.0, 1.0] if i % 5 else [1.0, 0.0] for i, r in enumerate(rows)}
    random.Random(0).shuffle(given)
    data = {"files": {"all": write("a.jsonl", rows)}, "classes": ["bad", "good"]}
    weak = {"labels": {"file": write("w.jsonl", given)}}
    made = prepare(spec(data, weak=weak), settings)
    assert weak_rows(made, "transfer") == [expected[t] for t in read_texts(made, "transfer")]
    write("w.jsonl", [g for g in given if g["text"] != read_texts(made, "transfer")[0].upper()])
    with pytest.raises(AarError, match=r"w\.jsonl has none for 1 of 60 rows of transfer, first 'review number"):
        prepare(spec(data, weak=weak), settings)
    write("w.jsonl", [*given, {**given[0], "label": [0.5, 0.5]}])
    with pytest.raises(AarError, match=r"w\.jsonl: line 301: an earlier row gives this text another weak label"):
        prepare(spec(data, weak=weak), settings)
