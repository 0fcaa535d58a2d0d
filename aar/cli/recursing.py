"""The command that measures recursive reward modelling: accuracy by level, beside votes at as many calls."""

from __future__ import annotations

from functools import partial

from rich.console import Console

from aar.cli.asked import KNOWN, Asked
from aar.cli.modules import page_of, rows_of, silent_turns
from aar.cli.overseeing import Cell, Result
from aar.oversight import Outcome, Recursing, Skill, known, majority, recursive
from aar.runner.launcher import Launcher
from aar.runner.protocols import question_scores, table
from aar.scoring.verdicts import difference_of

EASES = 0.1
"""By how much the judge of known skill is more often right about a part of a question."""
VOTES = "votes, calls of "


def recursed(asked: Asked, levels: int, branches: int, run: Launcher, console: Console) -> Result:
    """The judge alone (level 0), each level up to `levels`, and beside each as many votes as cost its calls."""
    if asked.task == KNOWN:
        skill = Skill(eases=EASES)
        comparisons, better, cast = known(asked.rows or 500, skill, asked.seed)
        notes = [f"speakers of known skill: {skill.model_dump_json()}"]
    else:
        comparisons, better, cast, notes = asked.cast(run)
    found: list[Outcome] = []
    votes: list[Outcome] = []
    for level in range(levels + 1):
        how = Recursing(level=level, branches=branches, judging=asked.judging, sampling=asked.debating.sampling)
        found.append(recursive(cast, comparisons, how))
        if level:
            alone = majority(cast, comparisons, asked.debating, _calls(found[-1]))
            votes.append(alone._replace(protocol=f"{VOTES}level {level}"))
        console.print(f"  ✓ level {level}", highlight=False)
    right = {o.protocol: question_scores(o, better) for o in (*found, *votes)}
    lines: list[dict[str, Cell]] = []
    for o, line in zip((*found, *votes), table([*found, *votes], better), strict=True):
        m, rival = line.measured, right.get(f"{VOTES}{o.protocol}")
        lines.append(
            {
                "judge": o.protocol, "accuracy": m.accuracy, "score": line.score,
                "gain over level 0": None if o is found[0] else line.gain,
                "gain over votes": None if rival is None else difference_of(right[o.protocol], rival),
                "first place adds": m.bias, "abstained": m.abstained, "invalid": m.invalid, "ECE": m.ece,
                "calls": line.calls, "characters": line.characters,
            }
        )  # fmt: skip
    pages = {f"{o.protocol.replace(' ', '-')}.html": partial(page_of, o, comparisons, better) for o in found[1:]}
    both = [*found, *votes]
    return Result(lines, rows_of(both, comparisons, better), notes + silent_turns(both), pages)


def _calls(outcome: Outcome) -> int:
    return sum(cost.calls for cost in outcome.cost.values())
