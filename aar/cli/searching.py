"""Commands that run something: run, resume, trial, confirm."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from rich.console import Console
from rich.markup import escape

from aar.agent.run import WITH_MODEL, Plan, confirm_now, create, latest, load, model_of, work
from aar.cli.opening import explained, ledger_of
from aar.cli.parts import read_part_file
from aar.cli.screen import screen
from aar.cli.speakers import server_of
from aar.cli.view import View, final_table
from aar.executor import Stopped
from aar.ledger import Ledger
from aar.methods import PRESETS, Able, fill, illegal, parse, preset
from aar.runner.bench import Problem
from aar.runner.units import JobFailed
from aar.runner.written import NEEDS_DOCKER
from aar.sandbox.select import choose
from aar.settings import Settings
from aar.types import SLOTS, AarError, Recipe, TaskSpec

DEFAULT_TRIALS = 20
UNFINISHED = ("running", "stopped")


def settings_of(workspace: Path, sandbox: str) -> Settings:
    """Settings with what the command line says.

    Raises:
        AarError: no such sandbox.
    """
    if sandbox not in ("auto", "docker", "process"):
        raise AarError(f"--sandbox {sandbox!r}: want auto, docker or process")
    settings = Settings(workspace=workspace)
    if sandbox == "auto":
        return settings
    return settings.model_copy(update={"sandbox": cast(Literal["docker", "process"], sandbox)})


def run(
    task: str,
    workspace: Path,
    sandbox: str,
    sets: Sequence[str],
    *,
    seed: int,
    trials: int | None,
    hours: float | None,
    gpu_hours: float | None,
    tokens: int | None,
    usd: float | None,
    researcher: str | None,
    model: str | None,
    base_url: str | None,
    voices: int,
    directions: Sequence[str],
    prices: Path | None,
    presets: Sequence[str],
    top: int,
    controls: bool,
    approve: str,
    dry_run: bool,
) -> None:
    """A new search, or the forecast of one."""
    from aar.agent.inbox import APPROVALS
    from aar.agent.researchers import RESEARCHERS
    from aar.tasks import load_task

    if approve not in APPROVALS:
        raise AarError(f"--approve {approve!r}: want code or all")
    settings = settings_of(workspace, sandbox)
    if researcher is None and not presets or researcher in WITH_MODEL:
        model, base_url = model or settings.model, base_url or settings.base_url
    researcher, prices = researcher or ("mixed" if model else "optuna"), prices or settings.prices
    if researcher not in (*RESEARCHERS, *WITH_MODEL):
        raise AarError(f"--researcher {researcher!r}: want {', '.join((*RESEARCHERS, *WITH_MODEL))}")
    if researcher == "llm" and model is None:
        raise AarError("--researcher llm: name its model, with --model PROVIDER:NAME or AAR_MODEL")
    if (voices > 1 or directions) and model is None:
        raise AarError(f"--researchers, --direction: researcher {researcher} here asks no model; want --model NAME")
    if model is not None and researcher not in WITH_MODEL:
        raise AarError(f"--model {model}: researcher {researcher} asks no model; want --researcher mixed or llm")
    for name in presets:
        preset(name)
    if presets:
        if model is not None:
            raise AarError(f"--preset and --model {model}: presets ask no model; leave one of them out")
        researcher = "presets"
    spec, _ = load_task(task, sets)
    if trials is None and hours is None and gpu_hours is None:
        trials = (len(presets) or len(PRESETS) - 1) if researcher == "presets" else DEFAULT_TRIALS
    plan = Plan(seed=seed, trials=trials, hours=hours, gpu_hours=gpu_hours, tokens=tokens, usd=usd,
                researcher=researcher, presets=tuple(presets), confirm_top=top, controls=controls, approve=approve,
                model=model, base_url=None if base_url is None else server_of(base_url), voices=voices,
                directions=tuple(directions), prices=str(prices.absolute()) if prices else None)  # fmt: skip
    demand_end(plan, spec)
    console = screen()
    _, why = choose(settings)
    console.print(f"sandbox  {escape(why)}", highlight=False)
    if dry_run:
        from aar.agent.forecast import forecast

        try:
            for line in forecast(spec, settings, plan):
                console.print(escape(line), highlight=False)
        except JobFailed as error:
            raise AarError(f"the dry run failed: {error.told()}") from error
        return
    if model is not None:
        console.print(f"model    {escape(ready(plan))}", highlight=False)
    console.print(f"[bold]{spec.name}[/]  {escape(spec.summary)}", highlight=False)
    _notes(spec, settings, console)
    ledger = Ledger(settings.ledger_url)
    _work(ledger, settings, create(ledger, settings, spec, plan), console)


def demand_end(plan: Plan, spec: TaskSpec) -> None:
    """Refuse a budget that nothing would ever use up."""
    from aar.agent.llm.prices import load_prices

    if plan.gpu_hours is not None and not spec.limits.gpus and plan.trials is None and plan.hours is None:
        raise AarError(
            f"--gpu-hours {plan.gpu_hours:g}: task {spec.name} uses no GPU (limits.gpus: 0); give --trials or --hours"
        )
    for name, value in (("--tokens", plan.tokens), ("--usd", plan.usd)):
        if value is not None and plan.model is None:
            raise AarError(
                f"{name} {value:g}: researcher {plan.researcher} has no model, which costs none; leave it out"
            )
    prices = load_prices(Path(plan.prices) if plan.prices else None, plan.base_url)
    if plan.usd is not None and plan.model is not None and prices.of(plan.model) is None:
        raise AarError(f"--usd {plan.usd:g}: no price of {plan.model} is known; give it by --prices, or --tokens")


def ready(plan: Plan) -> str:
    """A word from the model, so that a wrong key or name costs nothing; what it is called and what it costs.

    Raises:
        AarError: it does not answer.
    """
    model = model_of(plan)
    model.retries = 1
    model.say([{"role": "user", "content": "Reply with the word ready."}], [])
    price = model.prices.of(model.model)
    if price is None:
        return f"{model.name}, price unknown: tokens are counted, dollars are not (--prices FILE)"
    return f"{model.name}, ${price.read:g} in and ${price.written:g} out per million tokens on {model.prices.date}"


def resume(search: str | None, workspace: Path, sandbox: str, budget: Mapping[str, float]) -> None:
    """The rest of a search; `budget` is what is to be changed of it."""
    settings = settings_of(workspace, sandbox)
    ledger = ledger_of(settings)
    chosen = search or latest(ledger, UNFINISHED)
    if chosen is None:
        raise AarError(f"no unfinished search in {settings.root}; `aar run TASK` starts one")
    task, plan = load(ledger, chosen)
    row = ledger.search(chosen)
    assert row is not None
    console = screen()
    if budget:
        if ledger.opened(chosen):
            raise AarError(f"{chosen} has opened its seal: no budget lets it go on; start a new search")
        demand_end(plan.model_copy(update=dict(budget)), task)
        ledger.post(chosen, "budget", budget)
    if row["status"] == "complete":
        console.print(f"{chosen} is complete; `aar status {chosen}` shows it")
        return
    _, why = choose(settings)
    console.print(f"sandbox  {escape(why)}", highlight=False)
    _work(ledger, settings, chosen, console)


def trial(
    task: str, recipe: str | None, workspace: Path, sandbox: str, sets: Sequence[str], seed: int, code: Sequence[Path]
) -> None:
    """One recipe, full seeds, without a confirmation."""
    from aar.tasks import load_task, nearest

    settings = settings_of(workspace, sandbox)
    heads = {s: s.partition("=")[0].partition(".")[0].strip() for s in sets}
    known = [*SLOTS, *TaskSpec.model_fields]
    for s, head in heads.items():
        if head not in known:
            raise AarError(f"--set {s}: {head!r} is neither a slot nor a task's field; {nearest(head, known)}")
    mine = [s for s in sets if heads[s] in SLOTS]
    spec, _ = load_task(task, [s for s in sets if s not in mine])
    written = [read_part_file(path) for path in code]
    own = [f"{part.slot}={part.ref}" for part in written]
    wanted: Recipe = fill(parse(recipe, [*own, *mine], written), spec.training.strong)
    if why_not := illegal(wanted, Able.of(spec)):
        raise AarError(why_not)
    console = screen()
    backend, why = choose(settings)
    if written and not backend.isolates:
        raise AarError(f"--code: {NEEDS_DOCKER}; now: {why}")
    console.print(f"sandbox  {escape(why)}", highlight=False)
    _notes(spec, settings, console)
    ledger = Ledger(settings.ledger_url)
    plan = Plan(seed=seed, trials=1, researcher="human", confirm_top=0, recipe=wanted)
    _work(ledger, settings, create(ledger, settings, spec, plan), console)


def confirm(search: str | None, top: int, workspace: Path, sandbox: str) -> None:
    """Fresh seeds and the seal for a search that did not get there by itself."""
    settings = settings_of(workspace, sandbox)
    ledger = ledger_of(settings)
    chosen = search or latest(ledger)
    if chosen is None:
        raise AarError(f"no search in {settings.root}; `aar run TASK` starts one")
    console = screen()
    if any("sealed" in c["views"] for c in ledger.confirmations(chosen)):
        console.print(f"{chosen} is confirmed already: the seal is opened once per search")
        final_table(ledger, chosen, console)
        return
    _work(ledger, settings, chosen, console, top)


def _notes(spec: TaskSpec, settings: Settings, console: Console) -> None:
    """What was left out of the data or will be cut off: nothing of it happens silently."""
    for note in Problem.of(spec, settings).notes():
        console.print(f"note     {escape(note)}", highlight=False, soft_wrap=True)


def _work(ledger: Ledger, settings: Settings, search: str, console: Console, top: int | None = None) -> None:
    """The search on the terminal, to its end; only the confirmation of its best `top` where that is given."""
    from aar.report import write_report

    shown: dict[str, Any] = {}

    def write() -> None:
        shown["report"] = write_report(ledger, settings, search)

    def watch() -> View:
        return View(ledger, search, console, settings.folder("jobs"))

    where = "" if settings.workspace == Path(".aar") else f" --workspace {settings.workspace}"
    hint = f"aar resume {search}{where}" if top is None else f"aar confirm {search} --top {top}{where}"
    try:
        with explained(f"go on with:  {hint}"):
            if top is None:
                waiting = work(ledger, settings, search, write, watch)
            else:
                waiting = confirm_now(ledger, settings, search, top, write, watch)
    except Stopped:
        console.print(f"\nstopped; everything so far is kept. Go on with:  {hint}", highlight=False, soft_wrap=True)
        sys.exit(130)
    final_table(ledger, search, console)
    console.print(f"report  {shown['report']}", highlight=False, soft_wrap=True)
    task = load(ledger, search)[0].name
    hint = f"(MLflow, experiment aar/{task}, filter: tags.kind = 'trial')"
    console.print(f"review  aar ui{where}      {hint}", highlight=False, markup=False, soft_wrap=True)
    if waiting:
        console.print(
            f"tracking at {settings.mlflow_uri} did not answer: {waiting} records wait in the ledger; "
            f"`aar ui{where}` or the next run sends them", highlight=False, soft_wrap=True,
        )  # fmt: skip
