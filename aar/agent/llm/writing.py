"""Parts that the model writes: what they have to look like, a look without running them, and a review by principles.

Nothing of a part is run here. What the check and the review let through is tried on a few rows in the sandbox before
it costs a seed (`aar.runner.written`).
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from aar import search
from aar.agent.llm.evidence import PROMPTS, data
from aar.agent.llm.tools import Args, Desk, Draft, Tool
from aar.methods import problems, read_part, signatures
from aar.oversight import Sampling
from aar.oversight.constitution import load_constitution
from aar.types import AarError, Written

VERDICTS = ("pass", "reject")
WORDS = 400
LONGEST_SOURCE = 16_384


class PartRules(Args):
    """How to write a part of your own (a loss, targets or a student) in Python: read this before `write_part`."""


def rules(desk: Desk, args: PartRules) -> str:
    """See `PartRules`."""
    return signatures()


class WritePart(Args):
    """Hand in a part of your own: `source` is one Python file as `part_rules` says. It is checked, and reviewed by
    principles of research conduct; the answer names it, and `propose` takes that name as slot=name@digest. `made_from`
    is the name of the written part that it changes, if any. Parts of this package come first: write one only for what
    they cannot do."""

    source: str = Field(max_length=2 * LONGEST_SOURCE)
    rationale: str = Field(min_length=10, max_length=1_000)
    made_from: str | None = None


def write_part(desk: Desk, args: WritePart) -> str:
    """See `WritePart`.

    Raises:
        AarError: it is no part, or the review rejects it.
    """
    code = draft(desk, args)
    found = problems(code)
    if found:
        raise AarError("; ".join(found[:8]))
    doubt, review = reviewed(desk, code, args.rationale)
    said = data("review", review)
    if doubt is not None and doubt > 0.5:
        raise AarError(f"the review rejects it (reject {doubt:.2f}): mend what it says, or leave the idea\n{said}")
    verdict = "no verdict" if doubt is None else f"reject {doubt:.2f}"
    return f"{code.slot}={code.ref} can be proposed ({verdict})\n{said}"


def draft(desk: Desk, args: WritePart) -> Written:
    """The part that is handed in.

    Raises:
        AarError: it cannot be read, or is made from a part that is not there.
    """
    code = read_part(args.source, "source")
    if args.made_from is None:
        return code
    known = search.written(desk.now.trials)
    if args.made_from not in known:
        raise AarError(f"made_from: no written part {args.made_from!r}; there are {', '.join(known) or 'none'}")
    return code.model_copy(update={"parent": known[args.made_from].digest})


def reviewed(desk: Desk, code: Written, rationale: str) -> tuple[float | None, str]:
    """Probability of rejection averaged over both orders of the verdicts (None: no verdict), and what was found."""
    told = "\n".join(f"- {p.name}: {p.critique}" for p in load_constitution("research").principles)
    asked = PROMPTS["review"].format(
        principles=told, code=data("code", code.source, LONGEST_SOURCE), rationale=data("purpose", rationale)
    )
    speaker = desk.speaker()
    (said,) = speaker.generate([asked], Sampling(max_tokens=WORDS))
    found = said.text if not said.invalid else f"(no review: {said.invalid})"
    ask = f"{asked}\n\n{data('findings', found)}\n\nVerdict:"
    choices = speaker.choose([ask, ask], [VERDICTS, VERDICTS[::-1]])
    if not choices.valid.all():
        return None, found
    return float(np.mean([choices.p[0, 1], choices.p[1, 0]])), found


def drafts(desk: Desk) -> list[Draft]:
    """Parts that were handed in and let through in this conversation, with their reviews."""
    out = []
    for name, args, answer in desk.accepted():
        if name == "write_part":
            out.append(Draft(draft(desk, WritePart.model_validate(args)), answer))
    return out


WRITING: dict[str, Tool] = {"part_rules": Tool(PartRules, rules), "write_part": Tool(WritePart, write_part)}
