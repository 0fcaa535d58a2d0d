"""What an oversight command in text was asked: read, checked, and run under its own name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from aar.cli.overseeing import Result, perform
from aar.cli.searching import settings_of
from aar.cli.speakers import FORMS, parsed, server_of, speaker_of
from aar.oversight import Cast, Comparison, Debating, Judging, Sampling, Skill, known
from aar.oversight.constitution import load_constitution
from aar.runner.launcher import Launcher
from aar.runner.protocols import read_questions, read_requests
from aar.types import AarError

KNOWN = "known"
PLAIN = {"debate": ("digits", KNOWN), "sandwich": (KNOWN,), "recurse": (KNOWN,)}
"""Modules whose questions need no speaker that can read, and the names of these."""
STRONG_SKILL = 0.9
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
    bound: float = 0.5

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
        return Judging(
            thinks=self.thinks, bound=self.bound, sampling=Sampling(max_tokens=200, seed=self.seed)
        )  # fmt: skip

    @property
    def debating(self) -> Debating:
        """How a protocol is played."""
        sampling = Sampling(max_tokens=200, temperature=self.temperature, seed=self.seed)
        return Debating(rounds=self.rounds, judging=self.judging, sampling=sampling)


def perform_asked(
    module: str, asked: Asked, more: Mapping[str, Any], workspace: Path, sandbox: str, as_json: bool,
    work: Callable[[Launcher, Console], Result],
) -> None:  # fmt: skip
    """Check what was asked, then do it: equal questions on equal files are one run.

    Raises:
        AarError: see `check` and `perform`.
    """
    check(module, asked, more.get("constitution"), more.get("requests"))
    server = None if asked.base_url is None else server_of(asked.base_url)
    given = {"task": asked.task, **{name: more[name] for name in ("constitution", "requests") if more.get(name)}}
    content = {
        name: hashlib.sha256(Path(f).read_bytes()).hexdigest()[:12] for name, f in given.items() if Path(f).is_file()
    }
    plan = asdict(asked) | dict(more) | {"base_url": server, "content": content}
    perform(module, plan, settings_of(workspace, sandbox), as_json, work)


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


def _questions(task: str) -> list[Comparison]:
    """Those of a file, the right answer as answer 0: every judge is asked in both orders, so its place tells nobody."""
    comparisons, better = read_questions(Path(task))
    if better is None:
        raise AarError(f"{task}: nothing can be measured unless every line says which answer is `better`")
    return [
        c if side == 0 else c.model_copy(update={"answers": c.answers[::-1]})
        for c, side in zip(comparisons, better, strict=True)
    ]
