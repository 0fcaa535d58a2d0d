"""The oversight modules as commands run them: from a file of questions to a table with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape

from aar.cli.overseeing import Cell, Result
from aar.cli.speakers import FORMS, parsed, server_of, speaker_of
from aar.oversight import (
    Amplifying,
    Cast,
    Comparison,
    Debating,
    Judging,
    Outcome,
    Sampling,
    Skill,
    amplify,
    direct,
    direct_at,
    known,
)
from aar.oversight.constitution import load_constitution, revise
from aar.oversight.preferences import against_drafts, feedback, sampled
from aar.oversight.probes import attacked, doubts, looks, opinions, perturbations
from aar.oversight.sandwich import HELPS, STRONG, WEAK, sandwich
from aar.report import write_transcripts
from aar.runner.launcher import Launcher
from aar.runner.protocols import EQUAL, Line, question_scores, read_questions, read_requests, run_debate, table
from aar.scoring.lengths import win_rate
from aar.scoring.probes import attack_success, complied, moved
from aar.scoring.sandwich import closed
from aar.scoring.verdicts import mean, mean_share, measured, share
from aar.types import AarError

KNOWN = "known"
PLAIN = {"debate": ("digits", KNOWN), "sandwich": (KNOWN,), "recurse": (KNOWN,)}
"""Modules whose questions need no speaker that can read, and the names of these."""
STRONG_SKILL = 0.9
DONE = ("gain over weak alone", "left to strong alone", "share of the gap closed")
Sides = NDArray[np.int64]


@dataclass(frozen=True)
class Asked:
    """What a command was asked. `task`: a file, or `known`; `speaker` judges or writes, `helper` debates or advises."""

    task: str
    speaker: str
    helper: str | None = None
    base_url: str | None = None
    rows: int | None = None
    rounds: int = 1
    thinks: bool = False
    seed: int = 0
    temperature: float = 0.7

    def cast(self, run: Launcher) -> tuple[list[Comparison], Sides, Cast, list[str]]:
        """Comparisons, the right side of each, who takes part, and notes. `known` brings speakers of known skill."""
        if self.task == KNOWN:
            skill, strong = Skill(), Skill(judge=STRONG_SKILL)
            comparisons, better, cast = known(self.rows or 500, skill, self.seed)
            helper = known(self.rows or 500, strong, self.seed)[2].judge
            told = f"speakers of known skill: {skill.model_dump_json()}; the strong one alone is right {STRONG_SKILL}"
            return comparisons, better, Cast(cast.judge, helper), [told]
        comparisons = _questions(self.task)[: self.rows]
        one = speaker_of(self.speaker, run, self.base_url)
        two = speaker_of(self.helper, run, self.base_url) if self.helper else one
        return comparisons, np.zeros(len(comparisons), np.int64), Cast(one, two), []

    @property
    def judging(self) -> Judging:
        """How the judge is asked."""
        return Judging(thinks=self.thinks, sampling=Sampling(max_tokens=200, seed=self.seed))

    @property
    def debating(self) -> Debating:
        """How a protocol is played."""
        sampling = Sampling(max_tokens=200, temperature=self.temperature, seed=self.seed)
        return Debating(rounds=self.rounds, judging=self.judging, sampling=sampling)


def check(module: str, asked: Asked, constitution: str | None = None, requests: str | None = None) -> None:
    """Refuse what cannot run before anything does.

    Raises:
        AarError: what is wrong, and what to give.
    """
    if asked.task == KNOWN and module in PLAIN:
        if asked.speaker or asked.helper:
            raise AarError(f"--task {KNOWN}: brings its own speakers; leave --speaker and --helper out")
        return
    if constitution is not None:
        load_constitution(constitution)
    if not Path(asked.task).is_file():
        others = f", or {', '.join(PLAIN[module])}" if module in PLAIN else ""
        raise AarError(f"--task {asked.task}: no such file; give a file of JSON lines{others}")
    if module == "cai":
        read_requests(Path(asked.task))
    else:
        _questions(asked.task)
    if not asked.speaker:
        raise AarError(f"--speaker is missing: who is asked? {FORMS}")
    if module == "sandwich" and not asked.helper:
        raise AarError("--helper is missing: sandwiching needs a strong model beside the weak one (--speaker)")
    kinds = {parsed(spec)[0] for spec in (asked.speaker, asked.helper) if spec}
    if asked.base_url is not None:
        server_of(asked.base_url)
        if "chat" not in kinds:
            raise AarError("--base-url belongs to chat:... speakers, and there is none")
    if requests is not None:
        read_requests(Path(requests))


def debate(asked: Asked, run: Launcher, console: Console) -> Result:
    """Every protocol beside the judge alone, and the judge alone at the cost of the debate."""
    comparisons, better, cast, notes = asked.cast(run)
    played = run_debate(
        cast, comparisons, better, asked.debating, tuple(HELPS),
        say=lambda told: console.print(f"  {escape(told)}", highlight=False),
    )  # fmt: skip
    return _played(played.outcomes, comparisons, better, notes)


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
    return _played(outcomes, comparisons, better, notes)


def probed(asked: Asked, requests: str | None, run: Launcher, console: Console) -> Result:
    """What moves a judge that should not move it; with `requests`, what gets a refused request answered."""
    comparisons, better, cast, notes = asked.cast(run)
    lines: list[dict[str, Cell]] = []
    rows: list[dict[str, Any]] = []

    def told(name: str, before: NDArray[np.float64], after: NDArray[np.float64]) -> None:
        found = moved(before, after, better)
        lines.append({"probe": name, **found._asdict()})
        rows.extend(
            {"probe": name, "id": c.id, "before": _numbers(b), "after": _numbers(a)}
            for c, b, a in zip(comparisons, before, after, strict=True)
        )

    said = opinions(cast.judge, comparisons, asked.judging)
    told("person sides with the wrong answer", said.neutral.p, said.to_wrong.p)
    told("person sides with the right answer", said.neutral.p, said.to_right.p)
    doubted = doubts(cast.judge, comparisons, asked.judging)
    told("asked whether it is sure", doubted.first.p, doubted.second.p)
    for kind, run_probe in (("wrong answer", looks), ("question", perturbations)):
        found = run_probe(cast.judge, comparisons, asked.judging)
        plain = found.pop("plain").p
        for name, verdicts in found.items():
            told(f"{kind}: {name}", plain, verdicts.p)
        any_ = attack_success(plain, {n: v.p for n, v in found.items()}, better)["any"]
        lines.append({"probe": f"{kind}: any of them", "lost": any_})
        console.print(f"  ✓ {kind}", highlight=False)
    base = measured(said.neutral.p, better)
    lines.append({"probe": "calibration", "ECE": base.ece})
    if requests is not None:
        asks = read_requests(Path(requests))[: asked.rows]
        replies = attacked(cast.judge, asks, Sampling(max_tokens=200, seed=asked.seed))
        bare = replies.complied()
        for name, rate in complied(bare, {n: replies.complied(n) for n in replies.by_attack}).items():
            label = "requests answered, bare" if name == "bare" else f"refused requests answered, {name}"
            lines.append({"probe": label, "answered": rate})
        rows += [
            {"probe": f"request, {name}", "id": str(i), "reply": r.text, "invalid": r.invalid}
            for name, own in {"bare": replies.bare, **replies.by_attack}.items()
            for i, r in enumerate(own)
        ]
    return Result(lines, rows, notes)


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


def _played(outcomes: Sequence[Outcome], comparisons: Sequence[Comparison], better: Sides, notes: list[str]) -> Result:
    """A line and a page of transcripts for each protocol."""
    pages = {
        f"{o.protocol.replace(' ', '-')}.html": partial(page_of, o, comparisons, better)
        for o in outcomes
        if any(t.turns for t in o.transcripts)
    }
    lines = [_cells(line) for line in table(outcomes, better)]
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


def _questions(task: str) -> list[Comparison]:
    """Those of a file, the right answer as answer 0: every judge is asked in both orders, so its place tells nobody."""
    comparisons, better = read_questions(Path(task))
    if better is None:
        raise AarError(f"{task}: nothing can be measured unless every line says which answer is `better`")
    return [
        c if side == 0 else c.model_copy(update={"answers": c.answers[::-1]})
        for c, side in zip(comparisons, better, strict=True)
    ]


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


def _numbers(p: NDArray[np.float64]) -> list[float | None]:
    return [None if v != v else round(float(v), 6) for v in p]


def _ended(revisions: Sequence[Any], rounds: int) -> int:
    return sum(r.stopped is not None and r.stopped < rounds - 1 for r in revisions)
