from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from aar.data import POOLS, Prepared, prepare, read_texts, show, weak_draw
from aar.settings import Settings
from aar.tasks import load_task
from aar.types import AarError
from aar.vault import Vault
from tests.data.conftest import SIZES, Spec, Write, reviews

WORLD = {"world": {"name": "polarity"}}


def truth(prepared: Prepared, settings: Settings, split: str) -> list[int]:
    labels: list[int] = Vault(settings.folder("vault")).truth(prepared.digest, split).tolist()
    return labels


def refusal(spec: Any, settings: Settings) -> str:
    with pytest.raises(AarError) as error:
        prepare(spec, settings, "mine.yaml")
    assert str(error.value).startswith("mine.yaml: ")
    assert not list(settings.folder("data").iterdir())
    return str(error.value)


def test_one_file_gives_all_five_splits_with_its_own_labels(settings: Settings, write: Write, spec: Spec) -> None:
    rows = reviews(300)
    made = prepare(spec({"files": {"all": write("a.jsonl", rows)}}), settings)
    assert {s: made.counts[s] for s in ("transfer", "dev", "test")} == {"transfer": 60, "dev": 30, "test": 30}
    assert made.counts["weak_pool"] == made.weak_pool == 180
    label_of = {row["text"]: row["label"] for row in rows}
    seen: list[str] = []
    for split in POOLS:
        texts = read_texts(made, split)
        assert [label_of[t] for t in texts] == truth(made, settings, split)
        seen += texts
    assert sorted(seen) == sorted(label_of)
    assert all(made.balance[s] == (0.5, 0.5) for s in POOLS)


def test_train_and_test_files_stay_apart(settings: Settings, write: Write, spec: Spec) -> None:
    files = {"train": write("train.jsonl", reviews(250)), "test": write("test.jsonl", reviews(40, start=1000))}
    made = prepare(spec({"files": files}), settings)
    assert all(int(t.split()[2]) >= 1000 for t in read_texts(made, "test"))
    assert all(int(t.split()[2]) < 1000 for s in ("weak_pool", "transfer", "dev") for t in read_texts(made, s))
    assert made.weak_pool == 250 - 90


@pytest.mark.parametrize("own_val", [False, True])
def test_one_file_per_split(settings: Settings, write: Write, spec: Spec, own_val: bool) -> None:
    names = ["weak_train", "transfer", "dev", "test", *(["weak_val"] if own_val else [])]
    start = {name: 1000 * i for i, name in enumerate(names)}
    made = prepare(spec({"files": {n: write(f"{n}.jsonl", reviews(90, start[n])) for n in names}}), settings)
    for split in ("transfer", "dev", "test"):
        assert {int(t.split()[2]) // 1000 * 1000 for t in read_texts(made, split)} == {start[split]}
    train, val = weak_draw(made, 0)
    texts = read_texts(made, "weak_pool")
    assert {int(texts[i].split()[2]) // 1000 * 1000 for i in train} == {0}
    assert {int(texts[i].split()[2]) // 1000 * 1000 for i in val} == {start["weak_val"] if own_val else 0}
    assert (len(train), len(val), len(set(train) & set(val))) == (40, 10, 0)


def test_four_classes_from_parquet_with_a_template(settings: Settings, tmp_path: Path, spec: Spec) -> None:
    names = ["world", "sports", "business", "science"]
    draw = random.Random(0)
    columns: dict[str, list[Any]] = {"title": [], "body": [], "topic": []}
    for i in range(400):
        c = draw.choices(range(4), [4, 3, 2, 1])[0]
        columns["title"].append(f"{names[c]} headline {i}")
        columns["body"].append(f"agency report {i} on {names[c]}")
        columns["topic"].append(c)
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "news.parquet")
    data = {
        "files": {"all": str(tmp_path / "news.parquet")},
        "text": "{title}: {body}",
        "label": "topic",
        "classes": names,
    }
    made = prepare(spec(data), settings)
    assert made.classes == tuple(names)
    for split in POOLS:
        for text, label in zip(read_texts(made, split), truth(made, settings, split), strict=True):
            number = text.split()[2].rstrip(":")
            assert text == f"{names[label]} headline {number}: agency report {number} on {names[label]}"
        assert len(made.balance[split]) == 4
        assert made.balance[split] == pytest.approx(made.balance["weak_pool"], abs=0.05)
    with pytest.raises(AarError, match=r"no column 'titel'; did you mean 'title'\?"):
        prepare(spec({**data, "text": "{titel}"}), settings)


def test_copies_are_dropped_within_and_across_files_and_counted(settings: Settings, write: Write, spec: Spec) -> None:
    test = [*reviews(40), {"text": "Review number 0 of a film!", "label": 0}]
    train = [*reviews(250, start=30), {"text": "review  number 31 of a film", "label": 0}]
    made = prepare(spec({"files": {"train": write("r.jsonl", train), "test": write("t.jsonl", test)}}), settings)
    assert made.dropped == 1 + 10 + 1
    assert "1 duplicates carried another label than the copy that was kept" in made.notes
    texts = [t for s in POOLS for t in read_texts(made, s)]
    assert len(set(texts)) == len(texts)
    assert not set(read_texts(made, "weak_pool")) & {row["text"] for row in test}


def test_too_few_rows_say_how_many_are_left(settings: Settings, write: Write, spec: Spec) -> None:
    rows = [*reviews(160), *reviews(5)]
    told = refusal(spec({"files": {"all": write("a.jsonl", rows)}}), settings)
    assert told == "mine.yaml: splits.transfer: asks for 60 rows, 50 are left after de-duplication; give <= 50"
    told = refusal(spec({"files": {"all": write("a.jsonl", reviews(100))}}), settings)
    assert "ask for 170 rows, 100 are there after de-duplication" in told
    made = prepare(spec({"files": {"all": write("a.jsonl", rows)}}, {"transfer": 50}), settings)
    assert made.counts["transfer"] == 50 and made.weak_pool == 50


def test_one_class_and_no_rows_are_errors(settings: Settings, write: Write, spec: Spec) -> None:
    same = [{**row, "label": 1} for row in reviews(300)]
    assert "data.label: 'label' holds one class only: 1" in refusal(
        spec({"files": {"all": write("a.jsonl", same)}}), settings
    )
    files = {
        "train": write("r.jsonl", reviews(250)),
        "test": write("t.jsonl", [{**r, "label": 1} for r in reviews(40, 900)]),
    }
    told = refusal(spec({"files": files, "classes": ["bad", "good"]}), settings)
    assert "splits.test: holds one class only: good" in told
    told = refusal(spec({"files": {**files, "test": write("e.jsonl", [])}}), settings)
    assert "e.jsonl: no rows, so none for test" in told


def test_rows_without_text_and_classes_without_rows_are_noted(settings: Settings, write: Write, spec: Spec) -> None:
    rows = [*reviews(300), {"text": " ", "label": 0}, {"text": "the only one", "label": 2}]
    made = prepare(spec({"files": {"all": write("a.jsonl", rows)}}), settings)
    assert made.counts["weak_pool"] == 181
    assert any(note.endswith("a.jsonl: 1 bad rows left out: no text (line 301)") for note in made.notes)
    assert sum(note.endswith(" has no row of 2") for note in made.notes) == 3


def test_up_to_a_twentieth_of_bad_rows_is_left_out_with_its_numbers(
    settings: Settings, write: Write, spec: Spec
) -> None:
    bad = [{"text": f"x {i}", "label": "maybe"} for i in range(8)] + [{"text": "", "label": 0}] * 2
    data = {"files": {"all": write("a.jsonl", [*bad, *reviews(190)])}, "classes": ["bad", "good"]}
    made = prepare(spec(data), settings)
    assert sum(made.counts.values()) == 190 and not any("x " in t for s in POOLS for t in read_texts(made, s))
    unknown, blank = (note.partition(" bad rows left out: ")[2] for note in reversed(made.notes))
    why = "label 'maybe' is neither a class nor an index; (valid: bad, good)"
    assert unknown == f"{why} (lines 1, 2, 3, 4, 5 and 3 more)"
    assert blank == "no text (lines 9, 10)"


def test_more_bad_rows_stop_the_task_and_all_faults_are_told(settings: Settings, write: Write, spec: Spec) -> None:
    bad = [{"text": f"x {i}", "label": "maybe"} for i in range(8)] + [{"text": "", "label": 0}] * 3
    path = write("a.jsonl", [*reviews(189), *bad])
    told = refusal(spec({"files": {"all": path}, "classes": ["bad", "good"]}), settings)
    assert "11 of 200 rows are bad, more than 5%" in told
    assert f"{path}: no text (lines 198, 199, 200)" in told and "label 'maybe'" in told
    good = {"train": write("r.jsonl", reviews(500, 1000)), "test": path}
    assert "11 of 200 rows" in refusal(spec({"files": good, "classes": ["bad", "good"]}), settings), "by source"
    assert "gone.csv: no such file" in refusal(spec({"files": {"all": "gone.csv"}}), settings)


def test_groups_stay_together_everywhere(settings: Settings, write: Write, spec: Spec) -> None:
    rows = [{**row, "prompt": f"p{i // 3}"} for i, row in enumerate(reviews(600))]
    group_of = {row["text"]: row["prompt"] for row in rows}
    made = prepare(spec({"files": {"all": write("a.jsonl", rows)}}, {"group_by": "prompt", "dev": 31}), settings)
    sides = [{group_of[t] for t in read_texts(made, split)} for split in POOLS]
    assert sum(map(len, sides)) == len(set().union(*sides))
    assert "2 rows were left out because their group was cut to a split's size" in made.notes
    pool = read_texts(made, "weak_pool")
    for seed in range(5):
        train, val = weak_draw(made, seed)
        assert (len(train), len(val)) == (40, 10)
        assert not {group_of[pool[i]] for i in train} & {group_of[pool[i]] for i in val}


def test_a_pool_too_small_to_keep_groups_apart_is_refused(settings: Settings, write: Write, spec: Spec) -> None:
    rows = [{**row, "prompt": f"p{i // 9}"} for i, row in enumerate(reviews(54))]
    starts = {"transfer": 1000, "dev": 2000, "test": 3000}
    files = {n: write(f"{n}.jsonl", [{**r, "prompt": r["text"]} for r in reviews(60, s)]) for n, s in starts.items()}
    data = {"files": {**files, "weak_train": write("w.jsonl", rows)}}
    told = refusal(spec(data, {"group_by": "prompt"}), settings)
    assert "splits.weak_train: asks for 40 rows, 36 are left in whole groups; give fewer" in told
    made = prepare(spec(data, {"group_by": "prompt", "weak_train": 36}), settings)
    assert [len(part) for part in weak_draw(made, 0)] == [36, 10]


def test_a_group_in_two_files_stays_in_the_test_file(settings: Settings, write: Write, spec: Spec) -> None:
    train = [{**row, "prompt": str(i // 2)} for i, row in enumerate(reviews(300))]
    test = [{**row, "prompt": str(i)} for i, row in enumerate(reviews(40, 1000))]
    data = {"files": {"train": write("r.jsonl", train), "test": write("t.jsonl", test)}}
    made = prepare(spec(data, {"group_by": "prompt"}), settings)
    assert all(int(t.split()[2]) >= 80 for s in ("weak_pool", "transfer", "dev") for t in read_texts(made, s))
    assert "80 rows were left out because another source holds rows of their group" in made.notes


def test_weak_draws_differ_by_seed_and_are_repeatable(settings: Settings, write: Write, spec: Spec) -> None:
    made = prepare(spec({"files": {"all": write("a.jsonl", reviews(400))}}), settings)
    (train, val), (again, _), (other, _) = (weak_draw(made, seed) for seed in (3, 3, 4))
    assert train.tolist() == again.tolist() != other.tolist()
    assert len({*train.tolist(), *val.tolist()}) == 50 and max(train.max(), val.max()) < made.weak_pool
    assert len(set(train.tolist()) & set(other.tolist())) < 30
    assert not made.notes


def test_a_pool_of_exactly_one_draw_is_noted(settings: Settings, write: Write, spec: Spec) -> None:
    made = prepare(spec({"files": {"all": write("a.jsonl", reviews(170))}}), settings)
    assert any("every seed sees the same rows, split anew" in note for note in made.notes)
    draws = [weak_draw(made, seed) for seed in range(3)]
    assert len({frozenset([*t.tolist(), *v.tolist()]) for t, v in draws}) == 1
    assert len({frozenset(v.tolist()) for _, v in draws}) == 3


def test_a_world_has_separate_streams_and_a_pool_of_four_draws(settings: Settings, spec: Spec) -> None:
    made = prepare(spec(WORLD), settings)
    assert made.counts == {"weak_pool": 200, "transfer": 60, "dev": 30, "test": 30}
    assert made.classes == ("negative", "positive")
    bigger = prepare(spec(WORLD, {"dev": 50}), settings)
    assert bigger.digest != made.digest
    assert read_texts(bigger, "transfer") == read_texts(made, "transfer")
    assert made.dropped == 0
    assert read_texts(prepare(spec(WORLD, {"seed": 1}), settings), "dev") != read_texts(made, "dev")


def test_a_small_world_repeats_no_text_or_says_that_it_must(settings: Settings, spec: Spec) -> None:
    params = {"length": 4, "fillers": 1, "polar": 4, "negators": 1, "max_clauses": 1, "scope": 1, "negation": 0.5}
    small = {"world": {"name": "polarity", "params": params}}
    few = {"weak_train": 2, "weak_val": 0, "transfer": 4, "dev": 4, "test": 4}
    made = prepare(spec(small, few), settings)
    texts = [t for s in POOLS for t in read_texts(made, s)]
    assert len(set(texts)) == len(texts) == 20 and made.dropped > 0
    with pytest.raises(AarError, match=r"splits\.\w+: \d+ of \d+ texts are different in this world"):
        prepare(spec(small), settings)


def test_show_is_the_owners_view(settings: Settings, write: Write, spec: Spec) -> None:
    rows = reviews(300)
    task = spec({"files": {"all": write("a.jsonl", rows)}, "classes": ["bad", "good"]})
    made = prepare(task, settings)
    shown = show(task, made, Vault(settings.folder("vault")))
    label_of = {row["text"]: ["bad", "good"][row["label"]] for row in rows}
    assert [r["text"] for r in shown["rows"]["transfer"]] == read_texts(made, "transfer")[:3]
    assert all(label_of[r["text"]] == r["label"] for r in shown["rows"]["transfer"])
    assert shown["splits"] == {**SIZES, "weak_pool": 180}
    assert shown["balance"]["dev"] == {"bad": 0.5, "good": 0.5}
    assert list(shown["models"]) == ["weak", "strong"]
    assert (shown["digest"], shown["dropped"]) == (made.digest, 0)
    assert json.loads(json.dumps(shown)) == shown


SST2 = Path(__file__).parents[3] / "shared" / "data" / "sst2"


@pytest.mark.skipif(not SST2.is_dir(), reason="no ../shared/data/sst2 beside the repository")
def test_real_sentences(settings: Settings) -> None:
    spec, _ = load_task(
        "sst2",
        [
            f"data.files.train={SST2}/train.tsv",
            f"data.files.test={SST2}/test.tsv",
            "data.files.columns=[text, label]",
        ],
    )
    made = prepare(spec, settings)
    assert made.classes == ("negative", "positive")
    assert made.counts == {"weak_pool": 6920 - made.dropped - 4800, "transfer": 3000, "dev": 1800, "test": 1800}
    assert 5 <= made.dropped <= 50
    source = dict(line.rsplit("\t", 1) for line in (SST2 / "test.tsv").read_text().splitlines())
    assert [int(source[t]) for t in read_texts(made, "test")] == truth(made, settings, "test")
    for split in POOLS:
        assert 0.45 < made.balance[split][0] < 0.55
