"""What a model reads: exact tokens with and without a chat template, and what gives way where a row is too long."""

from __future__ import annotations

from pathlib import Path

import pytest

from aar.reading import Message, Reader, Row, Side, line_of, plain, row_of
from aar.types import AarError
from tests.reading_models import TEMPLATE, tokenizer_folder

TURNS = (Message("system", "no no"), Message("user", "what is it"))
PAIR: Row = (Side(TURNS, "a good day"), Side(TURNS, "bad"))
ASKED = "<s> no no <end> <u> what is it <end> <a>"


def tokens(reader: Reader, row: Row) -> list[str]:
    return [" ".join(reader.tokens(ids)) for ids in reader([row]).ids]


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", *(f"p{i}" for i in range(6)), *(f"a{i}" for i in range(6))]) + "\n")
    return path


def test_a_chat_template_is_used_where_there_is_one(tmp_path: Path) -> None:
    reader = Reader(64, folder=tokenizer_folder(tmp_path, TEMPLATE))
    assert tokens(reader, PAIR) == [f"{ASKED} a good day <end>", f"{ASKED} bad <end>"]


def test_without_a_template_turns_are_written_as_in_hh_rlhf(tmp_path: Path) -> None:
    reader = Reader(64, folder=tokenizer_folder(tmp_path))
    asked = "[CLS] system : no no human : what is it assistant :"
    assert tokens(reader, PAIR) == [f"{asked} a good day [SEP]", f"{asked} bad [SEP]"]
    assert "".join(plain(Side(TURNS[1:], "bad"))) == "\n\nHuman: what is it\n\nAssistant: bad"


def test_a_template_may_open_an_answer_with_what_a_finished_one_lacks(tmp_path: Path) -> None:
    thinking = TEMPLATE.replace("<a> {% endif %}", "<a> well {% endif %}")
    reader = Reader(64, folder=tokenizer_folder(tmp_path, thinking))
    assert tokens(reader, PAIR) == [f"{ASKED} a good day <end>", f"{ASKED} bad <end>"]


def test_a_template_that_refuses_a_dialogue_is_an_error_with_its_reason(tmp_path: Path) -> None:
    strict = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turns') }}{% endif %}" + TEMPLATE
    reader = Reader(64, folder=tokenizer_folder(tmp_path, strict))
    with pytest.raises(AarError, match="refuses a dialogue of system, user.*: no system turns"):
        reader([PAIR])


@pytest.mark.parametrize(
    ("room", "read", "trimmed", "cut"),
    [
        (9, ["p0 p1 p2 p3 p4 a0 a1 a2", "p0 p1 p2 p3 p4 a3"], 0, 0),
        (7, ["p1 p2 p3 p4 a0 a1 a2", "p0 p1 p2 p3 p4 a3"], 1, 0),
        (4, ["p4 a0 a1 a2", "p2 p3 p4 a3"], 1, 0),
        (3, ["a0 a1 a2", "p3 p4 a3"], 1, 0),
        (2, ["a0 a1", "p4 a3"], 1, 1),
    ],
)
def test_a_long_prompt_loses_its_beginning_and_the_answer_stays(
    words: Path, room: int, read: list[str], trimmed: int, cut: int
) -> None:
    row = (Side("p0 p1 p2 p3 p4", "a0 a1 a2"), Side("p0 p1 p2 p3 p4", "a3"))
    reader = Reader(room, vocabulary=words)
    assert tokens(reader, row) == read
    found = reader([row])
    assert (found.sides, found.trimmed, found.cut) == (2, trimmed, cut)
    found = reader([row, (Side("", "a0"), Side("", "a1"))])
    assert (found.trimmed, found.cut) == (trimmed, cut), "rows are counted, not sides"


def test_special_tokens_stay_when_a_prompt_is_trimmed(tmp_path: Path) -> None:
    assert tokens(Reader(7, folder=tokenizer_folder(tmp_path / "a")), PAIR) == [
        "[CLS] assistant : a good day [SEP]",
        "[CLS] is it assistant : bad [SEP]",
    ]
    templated = Reader(7, folder=tokenizer_folder(tmp_path / "b", TEMPLATE))
    assert tokens(templated, PAIR) == ["it <end> <a> a good day <end>", "what is it <end> <a> bad <end>"]


def test_texts_lose_their_end_and_are_counted(tmp_path: Path, words: Path) -> None:
    rows = ["good day", "a good day no yes"]
    found = Reader(5, folder=tokenizer_folder(tmp_path)).__call__(rows)
    assert ([len(ids) for ids in found.ids], found.trimmed, found.cut) == ([4, 5], 0, 1)
    assert Reader(2, vocabulary=words)(["a0 a1", "a0 a1 a2", ""]).cut == 1


def test_rows_survive_their_json_line() -> None:
    rows: list[Row] = ["text", PAIR, (Side("a prompt", "yes\n"), Side("a prompt", "nö"))]
    for row in rows:
        line = line_of(row)
        assert line.endswith("\n") and line.count("\n") == 1 and line.isascii() and row_of(line) == row
