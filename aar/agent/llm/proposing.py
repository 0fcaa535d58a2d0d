"""The tool that ends a conversation: a proposal, turned away at no cost where it is none or was tried."""

from __future__ import annotations

from pydantic import Field

from aar import search
from aar.agent.families import families, near
from aar.agent.llm.evidence import line, pgr
from aar.agent.llm.tools import Args, Desk, Tool
from aar.ledger.journal import family
from aar.methods import fill, illegal, label, parse
from aar.types import AarError, Hypothesis


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
        raise AarError(
            f"t{t.number} ({line(t.label)}, PGR {pgr(t.view)}) {what}: propose something else, or a larger step"
        )
    for f in families(now.trials):
        if f.over_tried and f.name == family(hypothesis.recipe):
            raise AarError(f"family {line(f.name)} brought no gain in its latest {f.barren} trials: leave it")
    desk.claims.grant(now.number, hypothesis.recipe, base, {t.number for t in now.trials})
    return f"accepted: t{now.number} is {line(label(hypothesis.recipe, base))}"


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


PROPOSING: dict[str, Tool] = {"propose": Tool(Propose, propose)}
