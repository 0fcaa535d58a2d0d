"""Tools that look at a search: typed, out of public values, at no cost; and one that notes what was seen."""

from __future__ import annotations

import json
import math
from typing import Literal

from pydantic import Field

from aar import search
from aar.agent.llm.evidence import data, line, parts_text, pgr, recipe_text, table
from aar.agent.llm.tools import Args, Desk, Tool
from aar.methods import short
from aar.runner.withheld import in_short
from aar.types import AarError, Finding, TrialStatus

ROWS = 40


class Journal(Args):
    """Trials of this search as a table, at most 40 rows. `contains` keeps those whose recipe contains a text."""

    order: Literal["best", "latest", "failed"] = "latest"
    limit: int = Field(default=20, ge=1, le=ROWS)
    contains: str = ""


def journal(desk: Desk, args: Journal) -> str:
    """See `Journal`."""
    found = [t for t in desk.now.trials if args.contains.casefold() in t.label.casefold()]
    if args.order == "failed":
        found = [t for t in found if t.status in (TrialStatus.FAILED, TrialStatus.REJECTED)]
    if args.order == "best":
        scored = [t for t in found if t.view is not None]
        found = sorted(scored, key=lambda t: -(t.view.accuracy if t.view else 0.0))
    else:
        found = found[::-1]
    return table(found[: args.limit]) if found else "no such trial"


class Trial(Args):
    """All that is known of one trial: recipe, reason, prediction, result, diagnostics, and the log of a failure."""

    number: int


def trial(desk: Desk, args: Trial) -> str:
    """See `Trial`."""
    t = desk.trial(args.number)
    task = desk.now.task
    lines = [f"t{t.number} by {t.author}, {t.status}: {line(t.label)}", f"settings: {recipe_text(t.recipe, task)}"]
    if t.status is TrialStatus.REJECTED:
        lines[1] = "settings: not a recipe"
    lines.append(f"why: {data('rationale', t.rationale)}")
    if t.predicted_pgr is not None:
        ends = "" if t.predicted_low is None else f" [{t.predicted_low}, {t.predicted_high}]"
        lines.append(f"predicted PGR {t.predicted_pgr}{ends}; would refute it: {line(t.refute or '-', 500)}")
    if t.view is not None:
        v = t.view
        lines.append(f"PGR {pgr(v)}, accuracy {short(v.accuracy)} ± {short(v.accuracy_se)}, {t.n_seeds} seeds")
        lines += [f"- {name}: {short(value)}" for name, value in sorted(v.diagnostics.items())]
        lines += [f"- {line(s.column)}={line(s.value)}: accuracy {short(s.accuracy)} ± {short(s.se)}" for s in v.slices]
    if t.reason:
        lines.append(data("reason", t.reason))
    for attempt in reversed(desk.ledger.attempts(desk.lease.search, trial=t.number)):
        if attempt["status"] not in ("ok", "running") and attempt["exit"]:
            log = json.loads(attempt["exit"]).get("log_tail", "")
            lines.append(data("log", in_short(log) if t.recipe.written else log))
            break
    return "\n".join(lines)


class Compare(Args):
    """How two trials differ: in their recipes and in accuracy, with a 95 % interval."""

    a: int
    b: int


def compare(desk: Desk, args: Compare) -> str:
    """From public values alone: another look at labels would have to be counted."""
    a, b = desk.trial(args.a), desk.trial(args.b)
    if a.view is None or b.view is None:
        raise AarError(f"t{(a if a.view is None else b).number} has no score")
    task = desk.now.task
    one, two = recipe_text(a.recipe, task).split(), recipe_text(b.recipe, task).split()
    only = [f"only in t{t.number}: {' '.join(s for s in x if s not in y) or '-'}" for t, x, y in
            ((a, one, two), (b, two, one))]  # fmt: skip
    mean = a.view.accuracy - b.view.accuracy
    half = 1.96 * math.hypot(a.view.accuracy_se, b.view.accuracy_se)
    said = f"t{a.number} less t{b.number}: accuracy {mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}]"
    noise = " (within noise)" if abs(mean) <= half else ""
    return "\n".join([said + noise + "; seeds are not paired here, so the interval is wide", *only])


class Optuna(Args):
    """What Optuna's sampler would try next, with the accuracy a regression predicts, and which choices mattered."""


def optuna(desk: Desk, args: Optuna) -> str:
    """See `Optuna`."""
    now = desk.now
    recipe, parent = search.propose(now.task, now.trials, now.seed, now.number)
    said = search.predict(now.trials, recipe)
    lines = [f"settings: {recipe_text(recipe, now.task)}", f"from t{parent}" if parent is not None else "drawn anew"]
    if said is not None:
        lines.append(f"predicted accuracy {said:.4f}")
    found = sorted(search.importances(now.task, now.trials).items(), key=lambda kv: -kv[1])[:10]
    lines.append("importances: " + (", ".join(f"{k} {v:.2f}" for k, v in found) or "none under 20 scored trials"))
    return "\n".join(lines)


class Parts(Args):
    """The parts a recipe is made of, with what each does and the ranges and defaults of its parameters."""

    slot: Literal["supervision", "targets", "loss", "student", "schedule"] | None = None


def parts(desk: Desk, args: Parts) -> str:
    """See `Parts`."""
    return parts_text(desk.now.task, args.slot)


class Findings(Args):
    """What was noted in this search so far, by all researchers."""


def findings(desk: Desk, args: Findings) -> str:
    """See `Findings`."""
    found = desk.ledger.findings(desk.lease.search)
    return data(
        "findings", "\n".join(f"{f.text} ({', '.join(f't{n}' for n in f.trials)})" for f in found) or "none yet"
    )


class Note(Args):
    """Note a finding for the report and for the other researchers: one sentence, and the trials it rests on."""

    text: str = Field(min_length=10, max_length=400)
    trials: list[int] = Field(min_length=1, max_length=20)


def note(desk: Desk, args: Note) -> str:
    """See `Note`. What it claims is checked against the ledger where it is printed."""
    for n in args.trials:
        desk.trial(n)
    desk.lease.find(Finding(text=args.text, trials=tuple(args.trials)))
    return "noted"


LOOKING: dict[str, Tool] = {
    "journal": Tool(Journal, journal), "trial": Tool(Trial, trial), "compare": Tool(Compare, compare),
    "optuna": Tool(Optuna, optuna), "parts": Tool(Parts, parts), "findings": Tool(Findings, findings),
    "note": Tool(Note, note),
}  # fmt: skip
