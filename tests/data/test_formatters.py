"""Questions to (question, one answer): which answer, which label, what cannot be offered."""

from __future__ import annotations

from typing import Any

import pytest

from aar.data._format import Examples
from aar.data._formatters import add_rows, wanted_columns
from aar.data._rows import Table
from aar.types import AarError, Choices, DataSpec

RIGHT = Choices(correct="right", wrong=("no1", "no2"))


def data(choices: Choices, text: str = "{q} {answer}") -> DataSpec:
    return DataSpec(choices=choices, text=text)


def made(rows: list[dict[str, Any]], spec: DataSpec, group: str | None = None) -> Examples:
    columns = {column: [row[column] for row in rows] for column in wanted_columns(spec, group)}
    examples = Examples()
    add_rows(examples, Table("f", columns, range(1, len(rows) + 1)), spec, group)
    return examples


def questions(n: int) -> list[dict[str, Any]]:
    return [{"q": f"q{i}", "right": f"yes{i}", "no1": f"no{i}", "no2": f"not{i}", "id": i} for i in range(n)]


def test_one_answer_a_row_right_or_wrong_by_a_coin() -> None:
    found = made(questions(400), data(RIGHT))
    assert len(found.texts) == 400 and found.class_names == ("wrong", "right")
    for i, (text, label) in enumerate(zip(found.texts, found.labels, strict=True)):
        assert text in ([f"q{i} no{i}", f"q{i} not{i}"], [f"q{i} yes{i}"])[label]
    assert 160 < sum(found.labels) < 240
    wrong = [text for text, label in zip(found.texts, found.labels, strict=True) if not label]
    assert 0.35 < sum(" not" in text for text in wrong) / len(wrong) < 0.65, "each wrong answer as often"


def test_the_draw_follows_the_row_and_the_seed_alone() -> None:
    rows = questions(60)
    first = made(rows, data(RIGHT))
    assert made(rows[30:], data(RIGHT)).texts == first.texts[30:], "not the row's place"
    other = made(rows, data(RIGHT.model_copy(update={"seed": 1})))
    assert other.labels != first.labels


def test_both_versions_stand_side_by_side_with_their_group() -> None:
    found = made(questions(50), data(RIGHT.model_copy(update={"offer": "both"})), group="id")
    assert found.groups == [str(i // 2) for i in range(100)]
    assert all(sorted(found.labels[i : i + 2]) == [0, 1] for i in range(0, 100, 2))
    assert 10 < sum(found.labels[::2]) < 40, "neither class always first"


OPTIONS = Choices(correct="label", options=("a", "b", "c"), never=("None .",))


def row(a: Any, b: Any, c: Any, label: Any) -> dict[str, Any]:
    return {"q": "q", "a": a, "b": b, "c": c, "label": label}


@pytest.mark.parametrize("label", [1, "1", " 1 "])
def test_options_and_the_index_of_the_right_one(label: Any) -> None:
    for seed in range(20):
        found = made([row("x", "y", "z", label)], data(OPTIONS.model_copy(update={"seed": seed})))
        assert found.texts[0] in (["q x", "q z"], ["q y"])[found.labels[0]]


def test_what_is_never_offered() -> None:
    rows = [row("x", "y", "None .", 0), row("x", "None . ", "y", 1), row("x", "None .", "None .", 0)]
    for seed in range(30):
        found = made(rows, data(OPTIONS.model_copy(update={"seed": seed})))
        assert found.texts[0] in ("q x", "q y") and len(found.texts) == 1 and not found.bad.found
        assert found.left_out.total() == 2


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (row("x", "y", "z", 3), "label: 3 names no right answer"),
        (row("x", "y", "z", -1), "label: -1 names no right answer"),
        (row("x", "y", "z", None), "label: None names no right answer"),
        (row(" ", "y", "z", 0), "label: 0 names no right answer"),
        (row("x", "", "x", 0), "no wrong answer"),
    ],
)
def test_rows_without_a_right_and_a_wrong_answer_are_bad(bad: dict[str, Any], why: str) -> None:
    found = made([row("x", "y", "z", 0), bad], data(OPTIONS))
    assert len(found.texts) == 1 and found.bad.notes() == [f"f: 1 bad rows left out: {why} (line 2)"]
    with pytest.raises(AarError, match="1 of 2 rows are bad, more than 5%"):
        found.bad.demand_few()


def test_white_space_at_the_start_of_an_answer_stays() -> None:
    spec = data(RIGHT.model_copy(update={"offer": "both"}), "{q}\n{answer}")
    found = made([{"q": "def f():", "right": "    return 1", "no1": "    return 2", "no2": ""}], spec)
    assert set(found.texts) == {"def f():\n    return 1", "def f():\n    return 2"}
