"""Oversight protocols on questions whose truth may be known: run, scored, written down.

The questions' file is JSON lines: `{"id", "prompt", "answers": [a, b], "source", "better"}`, of which `source` and
`better` (0 or 1) may be missing. Protocols get what a `Comparison` holds; `better` goes to scoring only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from aar.oversight import (
    ABSTAINED,
    Amplifying,
    Cast,
    Comparison,
    Debating,
    Outcome,
    amplify,
    decisions,
    direct,
    direct_at,
)
from aar.oversight.sandwich import HELPS, Protocol
from aar.scoring import (
    Measured,
    Share,
    agent_score_difference,
    by_question,
    difference_of,
    mean_share,
    measured,
    ratings,
    scores,
)
from aar.settings import write_whole
from aar.types import AarError, Word

PROTOCOLS: Mapping[str, Protocol] = {
    "direct": direct,
    **HELPS,
    "amplification": lambda cast, comparisons, how: amplify(cast, comparisons, Amplifying(judging=how.judging)),
}
T = TypeVar("T", bound=Word)
EQUAL = "direct, compute of "
"""Before a protocol's name: the judge alone, thinking as often as that protocol's cost allows."""
BOTH_SIDES = ("debate", "double consultancy", "consultancy")
"""Where somebody is bound to each answer, so that honesty can be said to pay."""


class Question(Comparison):
    """A line of a questions' file: a comparison, and what is known of it."""

    better: int | None = Field(default=None, ge=0, le=1)


class Line(NamedTuple):
    """One protocol's row of the table.

    `score`, one value a question, is what protocols are compared by; `gain`: its paired difference to the judge alone.
    `honesty` in nats and `elo` of the honest side over the lying one, None where nobody is bound to a side.
    """

    protocol: str
    measured: Measured
    score: Share
    gain: Share
    honesty: Share | None
    elo: float | None
    invalid_turns: Share
    characters: int
    tokens: int
    calls: int


class Played(NamedTuple):
    """What was run. `lines` is empty where the better answers are not known."""

    outcomes: tuple[Outcome, ...]
    lines: tuple[Line, ...]


class Request(Word):
    """A line of a file of requests."""

    prompt: str = Field(min_length=1)
    id: str = ""


def read_questions(path: Path) -> tuple[list[Comparison], NDArray[np.int64] | None]:
    """The comparisons of a file, and the better sides (n,): None unless every line tells it.

    Raises:
        AarError: a line is no question, or an id stands there twice; the message says where.
    """
    questions = read_lines(path, Question, "questions; give one JSON object a line with id, prompt and answers")
    ids = [q.id for q in questions]
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        raise AarError(f"{path}: id {twice[0]!r} stands there twice; give each question its own")
    known = [q.better for q in questions if q.better is not None]
    better = np.array(known, np.int64) if len(known) == len(questions) else None
    return [Comparison(**q.model_dump(include=set(Comparison.model_fields))) for q in questions], better


def read_requests(path: Path) -> list[str]:
    """The prompts of a file of requests: JSON lines with `prompt`.

    Raises:
        AarError: a line is no request; the message says where.
    """
    return [r.prompt for r in read_lines(path, Request, "requests; give one JSON object a line with prompt")]


def read_lines(path: Path, kind: type[T], wanted: str) -> list[T]:
    """The JSON lines of a file; `wanted` says what should stand there where there are none.

    Raises:
        AarError: the file cannot be read, or a line is none of this kind; the message says where.
    """
    rows: list[T] = []
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise AarError(f"{path}: cannot be read: {error}; give a file of JSON lines") from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                rows.append(kind.model_validate_json(line))
            except ValidationError as error:
                wrong = "; ".join(f"{'.'.join(map(str, e['loc']))} {e['msg'].lower()}".strip() for e in error.errors())
                raise AarError(f"{path}: line {number}: {wrong}") from None
    if not rows:
        raise AarError(f"{path}: no {wanted}")
    return rows


def run_debate(
    cast: Cast,
    comparisons: Sequence[Comparison],
    better: NDArray[np.int64] | None,
    how: Debating,
    protocols: Sequence[str] = ("debate", "consultancy", "double consultancy", "critique"),
    folder: Path | None = None,
    say: Callable[[str], None] = lambda told: None,
) -> Played:
    """The judge alone, the protocols, and the judge alone at the compute of the first of them.

    Each protocol's rows go to `folder` as `<protocol>.jsonl` as soon as it is done. To go on after an interruption,
    give speakers that cache.

    Raises:
        AarError: an unknown protocol.
        SpeakerStopped: a speaker's server keeps failing.
    """
    if unknown := [name for name in protocols if name not in PROTOCOLS]:
        raise AarError(f"no protocol {unknown[0]!r}; there are {', '.join(PROTOCOLS)}")
    names = ["direct", *(name for name in protocols if name != "direct")]
    outcomes: list[Outcome] = []
    for name in names:
        say(f"{name}: {len(comparisons)} questions")
        outcomes.append(_kept(PROTOCOLS[name](cast, comparisons, how), folder))
    if len(outcomes) > 1:
        say(f"{EQUAL}{names[1]}")
        alone = direct_at(cast, comparisons, how, outcomes[1].characters)
        outcomes.append(_kept(alone._replace(protocol=f"{EQUAL}{names[1]}"), folder))
    return Played(tuple(outcomes), table(outcomes, better, how.judging.bound) if better is not None else ())


def table(outcomes: Sequence[Outcome], better: NDArray[np.int64], bound: float = 0.5) -> tuple[Line, ...]:
    """Each outcome against the truth, and its gain over the first one on the same questions."""
    lines, base = [], None
    for o in outcomes:
        p, truth = o.verdicts.p, better[list(o.of)]
        per = question_scores(o, better, bound)
        base = per if base is None else base
        advisers = [t.adviser for t in o.transcripts]
        bound_to_sides = o.protocol in BOTH_SIDES
        turns = [turn for t in o.transcripts for turn in t.turns]
        costs = list(o.cost.values())
        found = measured(p, truth, bound)
        if len(per) < len(p):  # an adviser's two sides are one observation
            found = found._replace(accuracy=_right(p, truth, o.of, bound))
        lines.append(
            Line(
                o.protocol, found, mean_share(per), difference_of(per, base),
                agent_score_difference(p, truth, advisers, o.of) if bound_to_sides else None,
                _elo(per) if bound_to_sides else None,
                mean_share(np.array([float(bool(turn.invalid)) for turn in turns])),
                o.characters, sum(c.tokens_in + c.tokens_out for c in costs), sum(c.calls for c in costs),
            )
        )  # fmt: skip
    return tuple(lines)


def question_scores(outcome: Outcome, better: NDArray[np.int64], bound: float = 0.5) -> NDArray[np.float64]:
    """(m,) a score for each question: an adviser's two sides are one observation."""
    return by_question(scores(outcome.verdicts.p, better[list(outcome.of)], bound), outcome.of)


def _right(p: NDArray[np.float64], truth: NDArray[np.int64], of: Sequence[int], bound: float) -> Share:
    """Accuracy of the verdicts that were given, with an interval over questions."""
    verdict = decisions(p, bound)
    given = verdict != ABSTAINED
    _, place = np.unique(np.asarray(of)[given], return_inverse=True)
    return mean_share(by_question((verdict == truth)[given].astype(np.float64), place.tolist()))


def _elo(per: NDArray[np.float64]) -> float:
    """The honest side's rating less the lying one's; an abstention is half a game won, half a win is added to each."""
    won = float(per.sum())
    honest, lying = ratings(np.array([[0.0, won], [len(per) - won, 0.0]]), prior=0.5)
    return honest.value - lying.value


def _kept(outcome: Outcome, folder: Path | None) -> Outcome:
    """Written down, whole or not at all."""
    if folder is not None:
        path = folder / f"{outcome.protocol.replace(', ', '-').replace(' ', '-')}.jsonl"
        write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in outcome.rows()))
    return outcome


def as_json(line: Line) -> dict[str, Any]:
    """A row for programs; what is not a number is null."""
    return {key: _plain(value) for key, value in line._asdict().items()}


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {k: _plain(v) for k, v in value._asdict().items()}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and value != value else value
