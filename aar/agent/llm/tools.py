"""What the model may call. Each tool is typed, answers out of public values, and costs no trial but `propose`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aar import search
from aar.agent.families import families, near
from aar.agent.llm.evidence import data, parts_text, pgr, recipe_text, table
from aar.agent.llm.model import Message
from aar.agent.researchers import Situation
from aar.ledger import Lease, Ledger, TrialRow
from aar.ledger.journal import family
from aar.methods import fill, illegal, label, parse, short
from aar.oversight import Speaker
from aar.types import AarError, Finding, Hypothesis, TrialStatus, Written

ROWS = 40


class Args(BaseModel):
    """Arguments of a tool; its docstring is what the model reads."""

    model_config = ConfigDict(extra="forbid")


class Draft(NamedTuple):
    """A part that the model wrote, and what the review said of it."""

    code: Written
    review: str


@dataclass
class Desk:
    """What tools work with: the situation, the ledger and the right to write it, a speaker for protocols.

    `drafts` gives the parts that were written in this conversation.
    """

    now: Situation
    ledger: Ledger
    lease: Lease
    speaker: Callable[[], Speaker]
    drafts: Callable[[Desk], list[Draft]] = lambda desk: []

    def accepted(self) -> list[tuple[str, Any, str]]:
        """Calls of this conversation whose tool had nothing against them: tool, arguments, answer."""
        calls: dict[str, Message] = {}
        out = []
        for row in self.ledger.turns(self.lease.search, self.now.number):
            body = row["body"]
            calls |= {call["id"]: call for call in body.get("tool_calls") or []}
            if row["role"] == "tool" and not body["trouble"]:
                made = calls[body["tool_call_id"]]["function"]
                out.append((made["name"], json.loads(made["arguments"]), body["content"]))
        return out

    def trial(self, number: int) -> TrialRow:
        """A trial of this search.

        Raises:
            AarError: there is none of that number.
        """
        for t in self.now.trials:
            if t.number == number:
                return t
        raise AarError(f"no trial t{number}; there are t0 to t{self.now.trials[-1].number}")


class Tool(NamedTuple):
    """A tool: its arguments, and what it answers.

    Raises:
        AarError: the arguments name what is not there; the message goes to the model.
    """

    args: type[Args]
    run: Callable[[Desk, Any], str]

    def told(self, name: str) -> Message:
        """The tool as a chat client is told of it."""
        schema = self.args.model_json_schema()
        schema.pop("title", None)
        about = " ".join((schema.pop("description", None) or "").split())
        return {"type": "function", "function": {"name": name, "description": about, "parameters": schema}}


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
    lines = [f"t{t.number} by {t.author}, {t.status}: {t.label}", f"settings: {recipe_text(t.recipe, task)}"]
    if t.status is TrialStatus.REJECTED:
        lines[1] = "settings: not a recipe"
    lines.append(f"why: {data('rationale', t.rationale)}" if t.author in ("llm", "human") else f"why: {t.rationale}")
    if t.predicted_pgr is not None:
        ends = "" if t.predicted_low is None else f" [{t.predicted_low}, {t.predicted_high}]"
        lines.append(f"predicted PGR {t.predicted_pgr}{ends}; would refute it: {t.refute or '-'}")
    if t.view is not None:
        v = t.view
        lines.append(f"PGR {pgr(v)}, accuracy {short(v.accuracy)} ± {short(v.accuracy_se)}, {t.n_seeds} seeds")
        lines += [f"- {name}: {short(value)}" for name, value in sorted(v.diagnostics.items())]
        lines += [f"- {s.column}={s.value}: accuracy {short(s.accuracy)} ± {short(s.se)}" for s in v.slices]
    if t.reason:
        lines.append(data("reason", t.reason))
    for attempt in reversed(desk.ledger.attempts(desk.lease.search, trial=t.number)):
        if attempt["status"] not in ("ok", "running") and attempt["exit"]:
            lines.append(data("log", json.loads(attempt["exit"]).get("log_tail", "")))
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


class Propose(Args):
    """Propose the trial that is yours; ends your turn. `start`: a preset or a loss to begin from; `settings` change it,
    each `slot=part` or `slot.parameter=value`, such as ["loss=logconf", "loss.a=0.75", "schedule.epochs=2"]. Give the
    PGR you expect with the ends of an 80 % interval, what would refute the idea, and the trial you build on, if any."""

    start: str | None = None
    settings: list[str] = Field(default=[], max_length=30)
    rationale: str = Field(min_length=10, max_length=1_000)
    refute: str = Field(min_length=5, max_length=500)
    predicted_pgr: float = Field(ge=-5, le=5)
    predicted_low: float = Field(ge=-5, le=5)
    predicted_high: float = Field(ge=-5, le=5)
    parent: int | None = None


ACCEPTED = "accepted"


def propose(desk: Desk, args: Propose) -> str:
    """See `Propose`.

    Raises:
        AarError: not a recipe for this task, tried already or nearly, of an over-tried family, or with an interval
            that does not hold its prediction.
    """
    hypothesis, now = hypothesis_of(desk, args), desk.now
    base = now.task.training.strong
    twin = near(hypothesis.recipe, now.trials, base)
    if twin is not None:
        t, moved = twin
        what = f"differs from it only a little, in {moved}" if moved else "is the same"
        raise AarError(f"t{t.number} ({t.label}, PGR {pgr(t.view)}) {what}: propose something else, or a larger step")
    own = label(fill(hypothesis.recipe, base), base)
    tired = [f for f in families(now.trials) if f.over_tried]
    if (f := next((f for f in tired if f.name == family(hypothesis.recipe)), None)) is not None:
        raise AarError(f"family {f.name} brought no gain in its latest {f.barren} trials: leave it")
    return f"{ACCEPTED}: t{now.number} is {own}"


def hypothesis_of(desk: Desk, args: Propose) -> Hypothesis:
    """The hypothesis a proposal stands for.

    Raises:
        AarError: not a recipe for this task, or numbers that cannot be.
    """
    now, drafts = desk.now, desk.drafts(desk)
    if not args.predicted_low <= args.predicted_pgr <= args.predicted_high:
        raise AarError(
            f"predicted_pgr {args.predicted_pgr} does not lie in [{args.predicted_low}, {args.predicted_high}]"
        )
    if args.parent is not None and args.parent not in {t.number for t in now.trials}:
        raise AarError(f"parent: no trial t{args.parent}; leave it out, or name one of the journal")
    known = [*search.written(now.trials).values(), *(d.code for d in drafts)]
    recipe = fill(parse(args.start, args.settings, known), now.task.training.strong)
    used = {w.ref for w in recipe.written}
    brought = next((d for d in drafts if d.code.ref in used), None)
    why = illegal(recipe, now.able)
    if why is not None:
        raise AarError(why)
    view = next((t.view for t in now.trials if t.number == 0), None)
    accuracy = None
    if view is not None and view.weak is not None and view.ceiling is not None:
        accuracy = round(view.weak + args.predicted_pgr * (view.ceiling - view.weak), 4)
    return Hypothesis(
        recipe=recipe, rationale=args.rationale, refute=args.refute, author="llm", parent=args.parent,
        predicted_pgr=args.predicted_pgr, predicted_low=args.predicted_low, predicted_high=args.predicted_high,
        predicted_accuracy=accuracy, code=brought and brought.code, review=brought and brought.review,
    )  # fmt: skip


TOOLS: dict[str, Tool] = {
    "journal": Tool(Journal, journal), "trial": Tool(Trial, trial), "compare": Tool(Compare, compare),
    "optuna": Tool(Optuna, optuna), "parts": Tool(Parts, parts), "findings": Tool(Findings, findings),
    "note": Tool(Note, note), "propose": Tool(Propose, propose),
}  # fmt: skip


def called(desk: Desk, call: Message, tools: dict[str, Tool]) -> tuple[str, str]:
    """What a tool answers, and what was wrong with the call ("" for nothing). Never raises for what a model says."""
    name, arguments = call["function"]["name"], call["function"]["arguments"]
    if name not in tools:
        return f"no tool {name!r}; there are {', '.join(tools)}", "unknown tool"
    given = json.loads(arguments)
    if isinstance(given, dict) and set(given) == {"unreadable"}:
        return "the arguments are no JSON (cut off?); send the whole call again, shorter", "unreadable"
    try:
        args = tools[name].args.model_validate(given)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, e['loc'])) or name}: {e['msg']}" for e in error.errors()]
        return "; ".join(wrong[:6]), "wrong arguments"
    try:
        return tools[name].run(desk, args), ""
    except AarError as error:
        return str(error), "declined"


def tools_told(tools: dict[str, Tool]) -> Sequence[Message]:
    """All tools as a chat client is told of them."""
    return [tool.told(name) for name, tool in tools.items()]
