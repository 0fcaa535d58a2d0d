"""The command that rates debaters: each against each before one judge."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain

import numpy as np
from rich.console import Console
from rich.markup import escape

from aar.cli.asked import KNOWN, Asked
from aar.cli.mapping import each
from aar.cli.modules import page_of, rows_of, silent_turns
from aar.cli.overseeing import Cell, Result
from aar.cli.speakers import parsed, speaker_of
from aar.oversight import Skill, known
from aar.oversight.crossplay import cross_play
from aar.runner.launcher import Launcher
from aar.scoring.crossplay import standings
from aar.scoring.verdicts import mean_share, scores
from aar.types import AarError


def debaters_of(asked: Asked, given: Sequence[str]) -> list[str]:
    """What `--debaters` names: speakers, or with `--task known` skills.

    Raises:
        AarError: they are fewer than two, not different, or no such things.
    """
    names = each(given)
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise AarError(f"--debaters {','.join(names)}: give at least two, each once, with commas between them")
    if asked.helper:
        raise AarError("--helper debates for both sides; with --debaters leave it out")
    for name in names:
        if asked.task == KNOWN:
            _skill(name)
        else:
            parsed(name)
    return names


def crossed(asked: Asked, names: Sequence[str], run: Launcher, console: Console) -> Result:
    """Every ordered pair debates every question: ratings with intervals, and who wins with which answer."""
    comparisons, better, cast, notes = asked.cast(run)
    if asked.task == KNOWN:
        debaters = [known(len(comparisons), _skill(name), asked.seed)[2].debater for name in names]
        notes = [
            "a debater of skill s finds the other answer's flaw, or invents one that convinces, each with chance s"
        ]
    else:
        debaters = [speaker_of(name, run, asked.base_url) for name in names]
    bouts = cross_play(cast.judge, debaters, comparisons, asked.debating)
    console.print(f"  ✓ {len(bouts)} bouts of {len(comparisons)} debates", highlight=False)
    won = np.full((len(names), len(names), len(comparisons)), 0.5)
    for bout in bouts:
        # Answer 0's side wins where the verdict is 0.
        won[bout.first, bout.second] = scores(bout.outcome.verdicts.p, np.zeros(len(comparisons), np.int64))
    lines: list[dict[str, Cell]] = [
        {
            "debater": name, "Elo": s.elo, "won": s.won, "won for the right answer": s.honest,
            "won for the wrong answer": s.lying, "debates": s.elo.n,
        }
        for name, s in zip(names, standings(won, better, asked.seed), strict=True)
    ]  # fmt: skip
    outcomes = [bout.outcome for bout in bouts]
    right = mean_share(np.mean([scores(o.verdicts.p, better) for o in outcomes], axis=0))
    notes.append(f"the judge's score over all debates: {right.value:.3f} [{right.low:.3f}, {right.high:.3f}]")
    pages = {f"{b.first + 1}-against-{b.second + 1}.html": partial(page_of, b.outcome, comparisons, better)
             for b in bouts}  # fmt: skip
    who = ({"kind": "debater", "number": i, "name": name} for i, name in enumerate(names, start=1))
    return Result(lines, chain(who, rows_of(outcomes, comparisons, better)), notes + silent_turns(outcomes), pages)


def _skill(name: str) -> Skill:
    try:
        return Skill(finds=float(name), fools=float(name))
    except ValueError:
        raise AarError(f"--debaters {escape(name)}: with --task {KNOWN} a debater is a chance, 0 to 1") from None
