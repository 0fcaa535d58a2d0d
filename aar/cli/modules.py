"""The oversight modules as commands run them: from a file of questions to a table with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from aar.cli.asked import Asked, Sides
from aar.cli.overseeing import Cell, Result
from aar.cli.speakers import speaker_of
from aar.oversight import (
    Amplifying,
    Comparison,
    Outcome,
    Sampling,
    amplify,
    direct,
    direct_at,
)
from aar.oversight.constitution import load_constitution, revise
from aar.oversight.preferences import against_drafts, feedback, sampled
from aar.oversight.sandwich import HELPS, STRONG, WEAK, sandwich
from aar.report import write_transcripts
from aar.runner.asking import FILE, query
from aar.runner.launcher import Launcher
from aar.runner.protocols import EQUAL, Line, question_scores, read_requests, run_debate, table
from aar.scoring.lengths import win_rate
from aar.scoring.sandwich import closed
from aar.scoring.verdicts import mean, mean_share, share
from aar.settings import write_whole

DONE = ("gain over weak alone", "left to strong alone", "share of the gap closed")


def debate(asked: Asked, ask: int, run: Launcher, console: Console) -> Result:
    """Every protocol beside the judge alone, and the judge alone at the cost of the debate.

    With `ask` a person is asked about so many of the debate's verdicts, and what was answered before is used.
    """
    comparisons, better, cast, notes = asked.cast(run)
    played = run_debate(
        cast, comparisons, better, asked.debating, tuple(HELPS),
        say=lambda told: console.print(f"  {escape(told)}", highlight=False),
    )  # fmt: skip
    found = _played(played.outcomes, comparisons, better, notes, asked.bound)
    return _asking(found, played.outcomes, comparisons, better, ask, asked.bound, run) if ask else found


def _asking(
    found: Result, outcomes: Sequence[Outcome], comparisons: Sequence[Comparison], better: Sides, ask: int,
    bound: float, run: Launcher,
) -> Result:  # fmt: skip
    """What was found, and the debate with a person's answers in place of its least sure verdicts."""
    path = Path(run.settings.folder("oversight")) / run.search / FILE
    asks = query(outcomes[1], comparisons, ask, path)
    helped = asks.outcome._replace(protocol=f"{outcomes[1].protocol}, asking a person")
    line = table([outcomes[0], helped], better, bound)[1]
    counts = {n: share(k, len(comparisons)) for n, k in (("asked", asks.asked), ("answered", asks.answered))}
    waiting = asks.asked - asks.answered
    note = f"{waiting} questions wait for a person: give `answer` (0 or 1) in {path}, then run the same command"
    return replace(
        found, table=[*found.table, {**_cells(line), **counts}], notes=found.notes + ([note] if waiting else []),
        pages={**found.pages, FILE: partial(write_whole, text=asks.text)},
    )  # fmt: skip


def sandwiched(asked: Asked, run: Launcher, console: Console) -> Result:
    """The weak judge alone and helped, and the strong model alone: how much of the gap each protocol closes."""
    comparisons, better, cast, notes = asked.cast(run)
    found = sandwich(cast, comparisons, asked.debating)
    right = {name: question_scores(o, better) for name, o in found.items()}
    lines: list[dict[str, Cell]] = []
    for name, own in right.items():
        row: dict[str, Cell] = {"who": name, "score": mean_share(own), **dict.fromkeys(DONE)}
        if name not in (WEAK, STRONG):
            made = closed(right[WEAK], own, right[STRONG])
            row |= zip(DONE, (made.gain, made.left, made.share), strict=True)
            notes += [f"no share of the gap: {made.reason}"] if made.reason and made.reason not in str(notes) else []
        lines.append(row | {"characters": found[name].characters})
    return Result(lines, rows_of(found.values(), comparisons, better), notes + silent_turns(found.values()))


def amplified(asked: Asked, depth: int, branches: int, run: Launcher, console: Console) -> Result:
    """Questions taken apart to each depth up to `depth`, beside the judge alone at the same cost."""
    comparisons, better, cast, notes = asked.cast(run)
    outcomes = [direct(cast, comparisons, asked.debating)]
    for d in range(1, depth + 1):
        how = Amplifying(depth=d, branches=branches, judging=asked.judging, sampling=asked.debating.sampling)
        outcomes.append(amplify(cast, comparisons, how)._replace(protocol=f"depth {d}"))
        console.print(f"  ✓ depth {d}", highlight=False)
    alone = direct_at(cast, comparisons, asked.debating, outcomes[-1].characters)
    outcomes.append(alone._replace(protocol=f"{EQUAL}depth {depth}"))
    return _played(outcomes, comparisons, better, notes, asked.bound)


def cai(asked: Asked, constitution: str, pairs: bool, draws: int, run: Launcher, console: Console) -> Result:
    """Drafts, critiques and revisions by a constitution; whether they help; and preference pairs with soft labels."""
    law = load_constitution(constitution)
    requests, notes = read_requests(Path(asked.task))[: asked.rows], list[str]()
    writer = speaker_of(asked.speaker, run, asked.base_url)
    critic = speaker_of(asked.helper, run, asked.base_url) if asked.helper else writer
    how = Sampling(max_tokens=300, temperature=asked.temperature, seed=asked.seed)
    revisions = revise(writer, requests, law, asked.rounds, how, critic, seed=asked.seed)
    console.print("  ✓ revisions", highlight=False)
    drafted = [r for r in revisions if not r.failed]
    rounds = [one for r in drafted for one in r.rounds]
    changed = against_drafts(revisions)
    lines: list[dict[str, Cell]] = [
        {"what": "requests with a draft", "share": share(len(drafted), len(revisions))},
        {"what": "drafts that were changed", "share": share(len(changed), len(drafted))},
        {"what": "steps without an answer", "share": share(sum(bool(r.failed) for r in rounds), len(rounds))},
        {"what": "ended before the last round", "share": share(_ended(drafted, asked.rounds), len(drafted))},
    ]
    rows: list[Mapping[str, Any]] = [{"kind": "revision", **r.model_dump(mode="json")} for r in revisions]
    if changed:
        labels = feedback(critic, changed, law, asked.judging, draws, asked.seed)
        first, second = (np.array([len(c.answers[j]) for c in changed], np.float64) for j in (0, 1))
        won = win_rate(labels.p, first, second)
        lines += [
            {"what": "revision preferred to its draft", "share": won.plain},
            {"what": "the same at equal length", "share": won.at_equal_length},
        ]
        console.print("  ✓ revisions against drafts", highlight=False)
    if pairs:
        drawn = sampled(writer, requests, how.model_copy(update={"temperature": asked.temperature or 1.0}))
        notes += [] if asked.temperature else ["pairs are drawn at temperature 1: at 0 two draws would be the same"]
        told = feedback(critic, drawn.pairs, law, asked.judging, draws, asked.seed)
        rows += [{"kind": "pair", **row} for row in told.rows()]
        given = ~np.isnan(told.p)
        confidence = np.maximum(told.p, 1 - told.p)[given]
        lines += [
            {"what": "pairs without a verdict", "share": share(int((~given).sum()), len(told.p))},
            {"what": "mean belief in the chosen answer", "share": mean_share(confidence)},
        ]
        for name, (_, verdicts) in told.by_principle.items():
            leans = ((verdicts.p[:, 0] - verdicts.p[:, 1]) / 2)[~np.isnan(verdicts.p.mean(1))]
            lines.append({"what": f"first place adds, principle {name}", "share": mean(leans)})
        notes += [f"requests without a pair: {n} {why}" for why, n in drawn.dropped.items()]
        console.print("  ✓ pairs", highlight=False)
    return Result(lines, rows, notes)


def _played(
    outcomes: Sequence[Outcome], comparisons: Sequence[Comparison], better: Sides, notes: list[str], bound: float
) -> Result:
    """A line and a page of transcripts for each protocol."""
    pages = {
        f"{o.protocol.replace(' ', '-')}.html": partial(page_of, o, comparisons, better)
        for o in outcomes
        if any(t.turns for t in o.transcripts)
    }
    lines = [_cells(line) for line in table(outcomes, better, bound)]
    return Result(lines, rows_of(outcomes, comparisons, better), notes + silent_turns(outcomes), pages)


def page_of(outcome: Outcome, comparisons: Sequence[Comparison], better: Sides, path: Path) -> None:
    """Transcripts as a page."""
    write_transcripts(outcome, comparisons, path, better)


def _cells(line: Line) -> dict[str, Cell]:
    """What the table shows of a protocol."""
    m = line.measured
    return {
        "protocol": line.protocol, "accuracy": m.accuracy, "score": line.score,
        "gain over direct": None if line.protocol == "direct" else line.gain,
        "first place adds": m.bias, "abstained": m.abstained, "invalid": m.invalid, "ECE": m.ece,
        "honesty, nats": line.honesty,
        "Elo": None if line.elo is None or m.accuracy.n == 0 else f"{line.elo:+.0f}",
        "characters": line.characters,
    }  # fmt: skip


def rows_of(found: Iterable[Outcome], comparisons: Sequence[Comparison], better: Sides) -> Iterator[dict[str, Any]]:
    """A run's rows: its questions, then every transcript."""
    asked = ({"kind": "question", **c.model_dump(), "better": int(b)} for c, b in zip(comparisons, better, strict=True))
    return chain(asked, ({"kind": "transcript", **row} for outcome in found for row in outcome.rows()))


def silent_turns(found: Iterable[Outcome]) -> list[str]:
    """Turns that were no answer, by protocol."""
    out = []
    for outcome in found:
        for role, cost in outcome.cost.items():
            told = ", ".join(f"{n} {why}" for why, n in sorted(cost.invalid.items()))
            out += [f"{outcome.protocol}: of {cost.replies} replies of the {role}, no answer: {told}"] if told else []
    return out


def _ended(revisions: Sequence[Any], rounds: int) -> int:
    return sum(r.stopped is not None and r.stopped < rounds - 1 for r in revisions)
