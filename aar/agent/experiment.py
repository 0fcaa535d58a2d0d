"""A set of searches that differ in who proposes: every arm on every search seed, in one ledger, resumable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from aar.agent.run import WITH_MODEL, Plan, create, work
from aar.ledger import Ledger
from aar.runner.bench import Problem
from aar.settings import Settings
from aar.types import TaskSpec, digest_of

OF_MODEL = ("model", "base_url", "prices", "tokens", "usd")
"""What of a plan is for arms with a model only."""


class Member(NamedTuple):
    """One search of an experiment: its arm, search seed, id (None before it began) and status."""

    arm: str
    seed: int
    search: str | None
    status: str


def name_of(task: TaskSpec, settings: Settings, plan: Plan) -> str:
    """The experiment's id: task, plan (but for who proposes, and the seed) and code decide.

    Arms and repeats may grow, also by arms with a model, or with another one.

    Raises:
        AarError: the task, its data or its models are not usable.
    """
    exclude = {"seed", "researcher", "experiment", "sandbox", "slots", "code", *OF_MODEL}
    rest = plan.model_dump(mode="json", exclude=exclude)
    digest = digest_of({"task": task, "plan": rest, "code": Problem.of(task, settings).code})
    return f"{task.name}-x{digest[:6]}"


def members(ledger: Ledger, plan: Plan, arms: Sequence[str], seeds: Sequence[int]) -> list[Member]:
    """Every search of these arms and seeds, seed after seed: the arms of one seed share their baselines.

    An arm with another model is another arm. What it may spend on it was said when a search of it began.
    """
    there = {}
    for row in ledger.searches():
        other = Plan.model_validate_json(row["plan"])
        same = other.model == plan.model or other.researcher not in WITH_MODEL
        if other.experiment == plan.experiment and same:
            there[other.researcher, other.seed] = (str(row["id"]), str(row["status"]))
    found = [(arm, seed, *there.get((arm, seed), (None, "not begun"))) for seed in seeds for arm in arms]
    return [Member(*one) for one in found]


def go_on(
    ledger: Ledger, settings: Settings, task: TaskSpec, plan: Plan, arms: Sequence[str], seeds: Sequence[int]
) -> Iterator[Member]:
    """Run what is not complete, one search after another; each as it ends.

    Raises:
        Stopped: Ctrl-C, SIGTERM or `aar stop`; the same call goes on.
        AarError: a search cannot go on.
    """
    for member in members(ledger, plan, arms, seeds):
        if member.status != "complete":
            own = plan.model_copy(update={"seed": member.seed, "researcher": member.arm})
            if member.arm not in WITH_MODEL:
                own = own.model_copy(update=dict.fromkeys(OF_MODEL))
            search = member.search or create(ledger, settings, task, own)
            work(ledger, settings, search, lambda: None)
            member = member._replace(search=search, status="complete")
        yield member
