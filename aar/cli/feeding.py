"""The commands that train what they measure: a policy on a judge's word, and a model on its amplified answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from aar.cli.overseeing import Cell, Result, perform
from aar.report import write_feedback
from aar.runner.bench import Problem
from aar.runner.distilling import Distilled, DistilPlan, distil, rows
from aar.runner.feedback import Feedback, FeedbackPlan, Moment, measure
from aar.runner.launcher import Launcher
from aar.runner.tampering import Arms, TamperPlan, tamper
from aar.scoring.verdicts import Share
from aar.settings import Settings
from aar.tasks import load_task
from aar.types import ONLINE, AarError, Align, Word

LOOKS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
RATES = {"dpo": 3e-4, "kto": 3e-4, "simpo": 3e-4, "cpo": 3e-4, "orpo": 3e-4, "sft": 1e-3}
STEPS = {"grpo": 120, "rloo": 120, "revise": 4}
P = TypeVar("P", bound=Word)
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
        raise AarError(_wrong(error)) from None


def distilled(settings: Settings, as_json: bool, plan: dict[str, Any]) -> None:
    """Amplify, train, ask: the table, or JSON. Equal plans are one run, which goes on.

    Raises:
        AarError: an option has a value that cannot be, or a job failed; what was trained is kept.
    """
    wanted = _plan(DistilPlan, plan)

    def work(run: Launcher, console: Console) -> Result:
        found = distil(run, wanted, lambda words: console.print(f"  {escape(words)} ...", highlight=False))
        return Result(list(_asked(found)), rows(found), [
            f"of {found.given} amplified answers to training questions {found.taught:.3f} are right",
            f"{found.given - found.kept} of them are no answer and were left out",
        ])  # fmt: skip

    perform("distil", wanted.model_dump(mode="json"), settings, as_json, work)


def tampering(settings: Settings, as_json: bool, plan: dict[str, Any]) -> None:
    """Train and ask both languages' models: the table, or JSON. Equal plans are one run, which goes on.

    Raises:
        AarError: an option has a value that cannot be, or a job failed; what was trained is kept.
    """
    wanted = _plan(TamperPlan, plan)

    def work(run: Launcher, console: Console) -> Result:
        found = tamper(run, wanted, lambda words: console.print(f"  {escape(words)} ...", highlight=False))
        return Result([_tampered(a) for a in found.lines], found.rows)

    perform("tamper", wanted.model_dump(mode="json"), settings, as_json, work)


def _tampered(a: Arms) -> dict[str, Cell]:
    return {
        "training": f"{a.arm}, editing pays{'' if a.linked else ' nothing'}", "agrees": a.agrees,
        "edits its reward": a.edits, "skips": a.skips, "answers": a.honest, "edits more than before": a.edits_more,
        "beyond skipping": a.over_skips, "than after honest training": a.against_honest,
    }  # fmt: skip


def _plan(kind: type[P], given: dict[str, Any]) -> P:
    try:
        return kind(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise AarError(_wrong(error)) from None


def _asked(found: Distilled) -> Iterator[dict[str, Cell]]:
    n = len(found.held)
    for i, a in enumerate(found.asked):
        gain = Share(*a.over_alone, n) if i else None
        yield {
            "who is asked": a.who, "right": Share(*a.right, n), "gain over alone": gain,
            "calls a question": round(a.calls, 2),
        }  # fmt: skip


def _wrong(error: ValidationError) -> str:
    first = error.errors()[0]
    where = str(first["loc"][-1]) if first["loc"] else "method"
    return f"--{where.replace('_', '-')} {first['input']}: {first['msg'].lower()}"


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
