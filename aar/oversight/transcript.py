"""What was said in a protocol, and how a judge gets to read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from aar.oversight import prompts
from aar.oversight.judge import Verdicts
from aar.oversight.meter import Cost, Metered
from aar.oversight.quotes import Quote
from aar.oversight.speaker import Speaker
from aar.types import Word

ARGUMENT, ADVICE, CRITICISM, HIGHER, NOTE = "argument", "advice", "criticism", "criticism of order", "note"
EVALUATION = "evaluation"


class Cast(NamedTuple):
    """Who takes part: the weak judge, and the strong speaker that debates, advises or criticises.

    In a debate `opponent` argues for answer 1; without it the debater argues for both.
    """

    judge: Speaker
    debater: Speaker
    opponent: Speaker | None = None

    def metered(self) -> tuple[Metered, Metered]:
        """Judge and debater, counting what they are asked."""
        return Metered(self.judge), Metered(self.debater)


class Turn(Word):
    """Something said. `side` is the answer it is about, None where it is about neither; `shown` is what others read.

    `order` is the order of the answers that it was said for and is shown in, None where it is shown in both. `invalid`
    and `cut` as in `Reply`; an invalid turn is shown as nothing said.
    """

    round: int
    kind: str
    side: int | None
    text: str
    shown: str
    order: int | None = None
    invalid: str = ""
    cut: bool = False
    quotes: tuple[Quote, ...] = ()


class Transcript(Word):
    """One comparison under one protocol. `adviser` is the side that a lone adviser was bound to.

    `beliefs` holds P(answer 0) in both orders before the first and after each round, None where there is no answer;
    empty unless the judge was followed.
    """

    comparison: str
    turns: tuple[Turn, ...] = ()
    adviser: int | None = None
    beliefs: tuple[tuple[float | None, float | None], ...] = ()


class Outcome(NamedTuple):
    """What a protocol gave: row i of `verdicts` judges `transcripts[i]`, whose comparison is number `of[i]`.

    `cost` by role. Advised alone, a comparison has a row for each side.
    """

    protocol: str
    transcripts: tuple[Transcript, ...]
    of: tuple[int, ...]
    verdicts: Verdicts
    cost: Mapping[str, Cost]
    models: Mapping[str, str]
    settings: str

    @property
    def characters(self) -> int:
        """Read and written by all roles."""
        return sum(cost.characters for cost in self.cost.values())

    def rows(self) -> Iterator[dict[str, Any]]:
        """JSON rows: a transcript, its verdict, and what it was made with."""
        for i, transcript in enumerate(self.transcripts):
            p = [None if value != value else float(value) for value in self.verdicts.p[i]]
            yield {
                "protocol": self.protocol, **transcript.model_dump(mode="json"), "p": p, "why": self.verdicts.why[i],
                "models": dict(self.models), "settings": self.settings,
                "prompts": f"{prompts.VERSION}:{prompts.DIGEST}",
            }  # fmt: skip


def told(turns: Sequence[Turn], order: int) -> str:
    """The turns as the judge reads them in this order of the answers."""
    heard = [t for t in turns if t.order in (None, order)]
    marked = prompts.QUOTES_SHOWN if any(t.quotes for t in heard) else ""
    return marked + "".join(prompts.section(_heading(t, order), t.shown) for t in heard)


def _heading(t: Turn, order: int) -> str:
    if t.kind == NOTE:
        return prompts.NOTES
    if t.kind == HIGHER:
        return prompts.ORDER_OF.format(order=t.round)
    label = "" if t.side is None else "AB"[(t.side + order) % 2]
    if t.kind == EVALUATION:
        return prompts.EVALUATION_FOR.format(label=label) if label else prompts.UNDECIDED
    return (prompts.CRITICISM_OF if t.kind == CRITICISM else prompts.ARGUMENT_FOR).format(label=label)
