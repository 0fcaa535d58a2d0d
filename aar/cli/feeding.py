"""The command that measures AI feedback: a policy trained on a judge's word, and what it is worth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from aar.cli.overseeing import Cell, Result, perform
from aar.report import write_feedback
from aar.runner.bench import Problem
from aar.runner.feedback import Feedback, FeedbackPlan, Moment, measure
from aar.runner.launcher import Launcher
from aar.settings import Settings
from aar.tasks import load_task
from aar.types import ONLINE, AarError, Align

LOOKS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
RATES = {"dpo": 3e-4, "kto": 3e-4, "simpo": 3e-4, "cpo": 3e-4, "orpo": 3e-4, "sft": 1e-3}
STEPS = {"grpo": 120, "rloo": 120, "revise": 4}
BETAS = {"grpo": 0.02, "rloo": 0.02, "simpo": 2.0}


def feedback(settings: Settings, as_json: bool, align: dict[str, Any], plan: dict[str, Any]) -> None:
    """Run a plan: the table, or JSON; rows, page and curve in the workspace.

    `align` and `plan` hold what was asked for (None: the method's own). Equal plans are one run, which goes on.

    Raises:
        AarError: an option has a value that cannot be, or a job failed; what was trained is kept.
    """
    wanted = planned(align, plan)

    def work(run: Launcher, console: Console) -> Result:
        def say(words: str) -> None:
            console.print(f"  {escape(words)} ...", highlight=False, soft_wrap=not console.is_terminal)

        problem = Problem.of(load_task(wanted.task)[0], run.settings)
        found = measure(run, problem, wanted, say)
        return Result(
            list(_table(found)), [m.model_dump(mode="json") for m in (*found.moments, *found.resampled)],
            list(_notes(found)), {"curve.html": lambda path: write_feedback(found, Path(path))},
        )  # fmt: skip

    perform("feedback", wanted.model_dump(mode="json"), settings, as_json, work)


def planned(align: dict[str, Any], plan: dict[str, Any]) -> FeedbackPlan:
    """A plan out of a command's options, with a method's own defaults where none is given.

    Raises:
        AarError: says which option cannot have its value.
    """
    method = align["method"]
    defaults = {
        "steps": STEPS.get(method, 160), "lr": RATES.get(method, 1e-3), "beta": BETAS.get(method, 0.1),
        "looks": (0.0, 0.25, 0.5, 1.0) if method == "revise" else LOOKS,
    }  # fmt: skip
    given = defaults | {name: value for name, value in align.items() if value is not None}
    if given.get("rewards") and method not in ONLINE:
        raise AarError(f"--rewards {given['rewards']}: reward models reward {' and '.join(ONLINE)}, not {method}")
    given["judged"] = method in (*ONLINE, "revise") and not given.get("rewards")
    try:
        return FeedbackPlan(align=Align(**given), **{k: v for k, v in plan.items() if v is not None})
    except ValidationError as error:
        first = error.errors()[0]
        where = str(first["loc"][-1]) if first["loc"] else "method"
        raise AarError(f"--{where.replace('_', '-')} {first['input']}: {first['msg'].lower()}") from None


def _table(found: Feedback) -> Iterator[dict[str, Cell]]:
    rounds, steps = found.plan.rounds, found.plan.align.steps
    for m in found.moments:
        at = f"{round(m.share * steps)}" + (f" of round {m.round + 1}" if rounds > 1 else "")
        yield _row(f"{found.plan.align.method}, step {at}", m)
    for m in found.resampled:
        yield _row(f"best of {m.samples}", m)


def _row(name: str, m: Moment) -> dict[str, Cell]:
    w = m.worth
    return {
        "policy": name, "KL": w.kl.value, "reward": w.reward.value, "believed": w.believed, "truth": w.truth,
        "gap": w.gap, "good": w.good, "ties": w.ties.value, "malformed": w.malformed.value,
    }  # fmt: skip


def _notes(found: Feedback) -> Iterator[str]:
    if found.agreement is not None:
        yield f"the judge prefers the truly better text of a pair: {_said(found.agreement)}"
    for name, right in found.reward_right.items():
        who = f"reward model {name}" if name.isdecimal() else f"all of them, by {name}"
        yield f"{who} prefers the truly better text of a held pair: {_said(right)}"
    if found.given != found.kept:
        yield f"{found.given - found.kept} of {found.given} rows have over max_length tokens and were left out"
    if found.person:
        yield f"{found.person} pairs, the most doubtful, had their label from a person (the truth)"
        yield f"the label prefers the truly better text of a pair: {_said(found.labelled)}"


def _said(share: Any) -> str:
    return f"{share.value:.3f} [{share.low:.3f}, {share.high:.3f}] over {share.n} seeds"
