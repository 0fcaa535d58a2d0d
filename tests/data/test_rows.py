from __future__ import annotations

import csv
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from aar.data._format import Examples, add_table, class_names, distribution, index_labels
from aar.data._rows import Table, read_table
from aar.types import AarError

WANTED = ["text", "label"]
PLACE = ("f.csv", "line", 7)


def refusal(path: Path, content: str | bytes, wanted: list[str] = WANTED, header: list[str] | None = None) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(AarError) as error:
        read_table(path, wanted, header)
    assert str(path) in str(error.value)
    return str(error.value)


def examples(rows: list[dict[str, object]], template: str = "{text}") -> Examples:
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    made = Examples()
    add_table(made, Table("f.csv", columns, range(1, len(rows) + 1)), template, "label", None, None)
    return made


def test_csv_honours_quotes_and_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('\ufefflabel,text\n1,"a, ""quoted""\ntext"\n\n0,plain\n')
    table = read_table(path, WANTED)
    assert table.columns == {"text": ['a, "quoted"\ntext', "plain"], "label": ["1", "0"]}
    assert list(table.lines) == [3, 5]


def test_csv_takes_long_fields_and_leaves_the_module_as_it_was(tmp_path: Path) -> None:
    csv.field_size_limit(131_072)
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "x" * 200_000 + ",1\n")
    assert len(read_table(path, WANTED).columns["text"][0]) == 200_000
    assert csv.field_size_limit() == 131_072


def test_tsv_has_no_quotes_and_columns_name_a_headerless_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes('"half quoted\t0\r\nline\u2028separator\rs\t1\n'.encode())
    table = read_table(path, WANTED, ["text", "label"])
    assert table.columns == {"text": ['"half quoted', "line\u2028separator\rs"], "label": ["0", "1"]}


def test_jsonl_and_parquet_keep_types(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": 1, "x": 0}\n\n{"label": 0, "text": "b"}\n')
    table = read_table(tmp_path / "a.jsonl", WANTED)
    assert (table.columns, list(table.lines)) == ({"text": ["a", "b"], "label": [1, 0]}, [1, 3])
    rows = pyarrow.table({"text": ["a", "b"], "label": [1, 0], "x": [[1], [2]]})
    pyarrow.parquet.write_table(rows, tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet", WANTED)
    assert table.columns == {"text": ["a", "b"], "label": [1, 0]}
    assert table.place(1) == (str(tmp_path / "a.parquet"), "row", 2)


def test_a_missing_column_names_file_column_and_those_there(tmp_path: Path) -> None:
    told = refusal(tmp_path / "a.csv", "texts,label\na,1\n")
    assert "no column 'text'; did you mean 'texts'? (valid: texts, label)" in told
    assert "name its columns in data.files.columns" in told
    assert "line 2: no column 'label'" in refusal(tmp_path / "a.jsonl", '{"text": 1, "label": 1}\n{"text": 1}\n')
    pyarrow.parquet.write_table(pyarrow.table({"texts": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(AarError, match=r"no column 'text'; did you mean 'texts'\?"):
        read_table(tmp_path / "a.parquet", WANTED)


def test_malformed_files_are_placed(tmp_path: Path) -> None:
    assert "line 3: 1 fields where there are 2 columns" in refusal(tmp_path / "a.csv", "text,label\na,1\nb\n")
    assert "line 2: " in refusal(tmp_path / "a.csv", 'text,label\n"a"b,1\n')
    assert "line 1: 3 fields where there are 2" in refusal(tmp_path / "a.tsv", "a\tb\t1\n", header=WANTED)
    assert "line 2:" in refusal(tmp_path / "a.jsonl", '{"text": "a", "label": 1}\n{"text"\n')
    assert "line 1: must be a JSON object" in refusal(tmp_path / "a.jsonl", "[1]\n")
    assert "not UTF-8 at byte 11" in refusal(tmp_path / "a.csv", b"text,label\n\xff,1\n")
    assert "is empty" in refusal(tmp_path / "a.csv", "")
    assert "not a readable parquet file" in refusal(tmp_path / "a.parquet", "no parquet")
    assert "columns is for csv and tsv" in refusal(tmp_path / "a.jsonl", "{}", header=WANTED)
    with pytest.raises(AarError, match="none.csv: no such file"):
        read_table(tmp_path / "none.csv", WANTED)


def test_the_template_joins_columns() -> None:
    made = examples([{"q": "why {x}", "a": 3, "label": 0}], "Q: {q} A: {a} {{end}}")
    assert made.texts == ["Q: why {x} A: 3 {end}"]


def test_blank_texts_are_left_out_and_counted() -> None:
    made = examples([{"text": " ", "label": 0}, {"text": None, "label": 0}, {"text": "a", "label": 1}])
    assert (made.texts, made.labels) == (["a"], [1])
    assert made.bad.notes() == ["f.csv: 2 bad rows left out: no text (lines 1, 2)"]


@pytest.mark.parametrize(
    ("labels", "classes", "indices"),
    [
        (["bad", "good ", "bad"], ("bad", "good"), [0, 1, 0]),
        ([0, "1", 1.0, True], ("bad", "good"), [0, 1, 1, 1]),
        (["1", 2, "3"], ("1", "2", "3"), [0, 1, 2]),
    ],
)
def test_labels_are_names_or_indices(labels: list[object], classes: tuple[str, ...], indices: list[int]) -> None:
    made = examples([{"text": "a", "label": label} for label in labels])
    assert index_labels(made, classes).tolist() == indices


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("", "f.csv: 1 bad rows left out: label missing"),
        (None, "f.csv: 1 bad rows left out: label missing"),
        (float("nan"), "f.csv: 1 bad rows left out: label missing"),
        ("goood", "label 'goood' is neither a class nor an index; did you mean 'good'? (valid: bad, good) (line 1)"),
        (2, "label '2' is neither"),
        (-1, "label -1 means unlabelled"),
        ("label", "neither a class nor an index"),
    ],
)
def test_blank_and_unknown_labels_are_placed(label: object, message: str) -> None:
    made = examples([{"text": "a", "label": label}])
    assert index_labels(made, ("bad", "good")).tolist() == [-1]
    (note,) = made.bad.notes()
    assert message in note


def test_a_number_is_no_index_where_classes_are_numbers() -> None:
    made = examples([{"text": "a", "label": 0}])
    assert index_labels(made, ("1", "2", "3")).tolist() == [-1] and "label '0' is neither" in made.bad.notes()[0]


def test_classes_are_found_in_the_data() -> None:
    names = examples([{"text": "a", "label": label} for label in ("pear", "apple", "pear")])
    assert class_names([names], None) == ("apple", "pear")
    numbers = examples([{"text": "a", "label": label} for label in (10, 9, 1.0)])
    assert class_names([numbers], None) == ("1", "9", "10")
    assert index_labels(numbers, ("1", "9", "10")).tolist() == [2, 1, 0]
    assert class_names([names], ("x", "y")) == ("x", "y")
    many = examples([{"text": "a", "label": f"sentence {i}"} for i in range(1001)])
    with pytest.raises(AarError, match="1001 different values; is this the label's column"):
        class_names([many], None)


def test_weak_labels_become_distributions() -> None:
    classes = ("bad", "good")
    assert distribution("good", classes, PLACE) == [0, 1]
    assert distribution(0, classes, PLACE) == [1, 0]
    assert distribution([0.2, 0.8], classes, PLACE) == [0.2, 0.8]
    assert distribution("[0.25, 0.75]", classes, PLACE) == [0.25, 0.75]
    assert distribution([0.3334, 0.6663], classes, PLACE) == pytest.approx([0.3335, 0.6665], abs=1e-4)


@pytest.mark.parametrize("value", ["[1", [1.0], [0.5, 0.6], [-0.5, 1.5], [float("nan"), 1], ["0", "1"], "meh", None])
def test_bad_weak_labels_are_placed(value: object) -> None:
    with pytest.raises(AarError, match="f.csv: line 7: weak label"):
        distribution(value, ("bad", "good"), PLACE)
