"""Rows as jobs get them: one text, or the two sides of a pair, as JSON lines without labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

SPEAKERS = {"system": "System", "user": "Human", "assistant": "Assistant"}
"""Roles of a message, and who speaks where a tokenizer has no chat template (the hh-rlhf layout)."""


class Message(NamedTuple):
    """One turn; `role` is a key of SPEAKERS."""

    role: str
    content: str


class Side(NamedTuple):
    """A response and what it answers: the turns before it, or plain text where there are no speakers."""

    prompt: str | tuple[Message, ...]
    answer: str


Row = str | tuple[Side, Side]


def plain(side: Side) -> tuple[str, str]:
    """Prompt and answer as a model without a chat template reads them, one right after the other."""
    if isinstance(side.prompt, str):
        return (side.prompt + "\n" if side.prompt else ""), side.answer
    turns = [f"\n\n{SPEAKERS[turn.role]}: {turn.content}" for turn in side.prompt]
    return "".join([*turns, "\n\nAssistant:"]), " " + side.answer


def texts_of(row: Row) -> list[str]:
    """The one text of a row, or both of a pair."""
    return [row] if isinstance(row, str) else ["".join(plain(side)) for side in row]


def line_of(row: Row) -> str:
    """One JSON line: `{"text": ...}` or `{"pair": [{"prompt": ..., "answer": ...}, ...]}`."""
    if isinstance(row, str):
        return json.dumps({"text": row}) + "\n"
    return json.dumps({"pair": [{"prompt": _json(side.prompt), "answer": side.answer} for side in row]}) + "\n"


def row_of(line: str) -> Row:
    """What `line_of` wrote."""
    found = json.loads(line)
    if "text" in found:
        return str(found["text"])
    first, second = (Side(_prompt(side["prompt"]), side["answer"]) for side in found["pair"])
    return first, second


def read_rows(path: Path) -> list[Row]:
    """Every row of a JSON-lines file, in its order."""
    with path.open(encoding="utf-8") as lines:
        return [row_of(line) for line in lines]


def _json(prompt: str | tuple[Message, ...]) -> Any:
    return prompt if isinstance(prompt, str) else [turn._asdict() for turn in prompt]


def _prompt(value: Any) -> str | tuple[Message, ...]:
    return value if isinstance(value, str) else tuple(Message(**turn) for turn in value)
