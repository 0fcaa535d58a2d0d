"""The file by which a run asks a person: JSON lines that the person fills in, and the next run of the command reads.

    {"id": "7", "question": "...", "options": ["...", "..."], "verdict": 1, "confidence": 0.52, "answer": null}

`options` stand in alphabetical order, for a file of questions may have the right one first; `verdict` is the judge's
choice among them, null where it has none; `answer` is the person's, 0 or 1. `source` is there where the question has
one. Nothing in the file tells what is right.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import Field

from aar.oversight import ABSTAINED, Comparison, Outcome
from aar.oversight.asking import confidence, least_sure, with_answers
from aar.runner.protocols import read_lines
from aar.types import AarError, Word

FILE = "person.jsonl"


class Line(Word):
    """A line of the file."""

    id: str
    question: str
    options: tuple[str, str]
    source: str = ""
    verdict: int | None = Field(default=None, ge=0, le=1)
    confidence: float | None = None
    answer: int | None = Field(default=None, ge=0, le=1)


class Query(NamedTuple):
    """What is asked and what was answered. `outcome` has the person's answers in place of the judge's verdicts.

    `text` is the file as it is to be: every question asked now, and every one answered before.
    """

    outcome: Outcome
    text: str
    asked: int
    answered: int


def query(outcome: Outcome, comparisons: Sequence[Comparison], most: int, path: Path) -> Query:
    """Ask a person about the `most` verdicts of least margin; answers that `path` already holds are used.

    Row i of `outcome` judges comparison i. A question once answered stays answered: it is of the budget.

    Raises:
        AarError: the file holds what is no answer, or what this run does not ask; the message says where.
    """
    told = _answers(path, comparisons)
    belief, sure = outcome.verdicts.decided(), confidence(outcome.verdicts)
    fresh = [i for i in least_sure(outcome.verdicts, len(comparisons)) if i not in told]
    rows = sorted([*told, *fresh[: max(0, most - len(told))]])
    lines = []
    for i in rows:
        c, side = comparisons[i], told.get(i)
        options, verdict = _sorted(c), int(belief[i])
        lines.append(
            Line(
                id=c.id, question=c.prompt, options=options, source=c.source,
                verdict=None if verdict == ABSTAINED else options.index(c.answers[verdict]),
                confidence=None if np.isnan(sure[i]) else round(float(sure[i]), 6),
                answer=None if side is None else options.index(c.answers[side]),
            )
        )  # fmt: skip
    text = "".join(json.dumps(line.model_dump(), ensure_ascii=False) + "\n" for line in lines)
    changed = outcome._replace(verdicts=with_answers(outcome.verdicts, told))
    return Query(changed, text, len(rows), len(told))


def _answers(path: Path, comparisons: Sequence[Comparison]) -> Mapping[int, int]:
    """The sides that a person chose, by comparison."""
    if not path.is_file():
        return {}
    place = {c.id: i for i, c in enumerate(comparisons)}
    out = {}
    for line in read_lines(path, Line, "questions to a person; move the file away to ask again"):
        i = place.get(line.id)
        if i is None or line.options != _sorted(comparisons[i]):
            raise AarError(f"{path}: {line.id!r} with these options is no question of this run; change nothing but "
                           "`answer`, or move the file away to ask again")  # fmt: skip
        if line.answer is not None:
            out[i] = comparisons[i].answers.index(line.options[line.answer])
    return out


def _sorted(c: Comparison) -> tuple[str, str]:
    one, two = sorted(c.answers)
    return one, two
