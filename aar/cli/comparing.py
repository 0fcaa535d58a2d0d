"""Commands that set searches side by side: compare, experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aar.cli.options import DEFAULT, Backend, Json, Sets, Tokens, Usd, Workspace

if TYPE_CHECKING:
    from aar.ledger import Ledger
    from aar.settings import Settings

app = typer.Typer()


@app.command()
def compare(
    searches: Annotated[list[str], typer.Argument(help="Searches of one task, or ids of experiments.")],
    different: Annotated[
        bool, typer.Option("--different", help="Also searches whose task settings differ: the verdict names them.")
    ] = False,
    json: Json = False,
    workspace: Workspace = DEFAULT,
) -> None:
    """Searches side by side, by who proposed: best so far, confirmed, costs, and whether it is more than noise."""
    from aar.cli.opening import ledger_of
    from aar.settings import Settings

    settings = Settings(workspace=workspace)
    ledger = ledger_of(settings)
    _show(ledger, settings, _meant(ledger, searches), searches[0] if len(searches) == 1 else "compare", json, different)


@app.command()
def experiment(
    task: Annotated[str, typer.Argument(help="A task's name, or the path of a YAML.")],
    arms: Annotated[str, typer.Option(help="Researchers, parted by commas: optuna,random,mixed,llm,presets.")],
    repeats: Annotated[int, typer.Option(min=2, max=1000, help="Searches an arm, each on a search seed.")] = 10,
    trials: Annotated[int, typer.Option(min=1, help="Trials of each search.")] = 20,
    hours: Annotated[float | None, typer.Option(min=0.0, help="Hours of each search.")] = None,
    gpu_hours: Annotated[float | None, typer.Option(min=0.0, help="GPU hours of each search.")] = None,
    tokens: Tokens = None,
    usd: Usd = None,
    seed: Annotated[int, typer.Option(min=0, max=1_000_000, help="The first search seed.")] = 0,
    model: Annotated[str | None, typer.Option(help="The chat model of llm and mixed.")] = None,
    base_url: Annotated[str | None, typer.Option(help="A server that speaks OpenAI's protocol.")] = None,
    prices: Annotated[Path | None, typer.Option(help="A price table in place of the shipped one.")] = None,
    top: Annotated[int, typer.Option(min=0, max=20, help="How many of each search go on to fresh seeds.")] = 1,
    controls: Annotated[bool, typer.Option(help="Run controls of what was confirmed.")] = False,
    sandbox: Backend = "auto",
    workspace: Workspace = DEFAULT,
    sets: Sets = None,
    json: Json = False,
) -> None:
    """Run arms against each other over repeats, and compare them. Killed, the same command goes on."""
    import sys

    from rich.markup import escape

    from aar.agent.experiment import go_on, name_of
    from aar.agent.researchers import RESEARCHERS
    from aar.agent.run import WITH_MODEL, Plan
    from aar.cli.opening import explained
    from aar.cli.screen import screen
    from aar.cli.searching import demand_end, ready, settings_of
    from aar.cli.speakers import server_of
    from aar.executor import Stopped
    from aar.ledger import Ledger
    from aar.tasks import load_task
    from aar.types import AarError

    wanted = [arm.strip() for arm in arms.split(",")]
    for arm in wanted:
        if arm not in (*RESEARCHERS, *WITH_MODEL):
            raise AarError(f"--arms {arm!r}: want {', '.join((*RESEARCHERS, *WITH_MODEL))}, parted by commas")
    if len(set(wanted)) < max(2, len(wanted)):
        raise AarError(f"--arms {arms}: want at least two different ones")
    settings = settings_of(workspace, sandbox)
    asks = [arm for arm in wanted if arm in WITH_MODEL]
    model, base_url, prices = model or settings.model, base_url or settings.base_url, prices or settings.prices
    if asks and model is None:
        raise AarError(f"--arms {asks[0]}: name its model, with --model PROVIDER:NAME or AAR_MODEL")
    spec, _ = load_task(task, sets or [])
    plan = Plan(researcher=arms, trials=trials, hours=hours, gpu_hours=gpu_hours, tokens=tokens, usd=usd,
                confirm_top=top, controls=controls)  # fmt: skip
    if asks:
        url = None if base_url is None else server_of(base_url)
        told = {"model": model, "base_url": url, "prices": str(prices.absolute()) if prices else None}
        plan = plan.model_copy(update=told)
    demand_end(plan, spec)
    if asks:
        ready(plan)
    plan = plan.model_copy(update={"experiment": name_of(spec, settings, plan)})
    ledger, console = Ledger(settings.ledger_url), screen()
    seeds, names = range(seed, seed + repeats), []
    again = "the same command goes on"
    try:
        with explained(again):
            for done in go_on(ledger, settings, spec, plan, wanted, seeds):
                names.append(str(done.search))
                if not json:
                    line = f"{len(names)}/{repeats * len(wanted)}  {done.arm}, search seed {done.seed}: {done.search}"
                    console.print(escape(line), highlight=False, soft_wrap=True)
    except Stopped:
        console.print(f"\nstopped; everything so far is kept, {again}", highlight=False)
        sys.exit(130)
    _show(ledger, settings, names, plan.experiment, json)


def _meant(ledger: Ledger, names: list[str]) -> list[str]:
    """The searches, those of an experiment in place of its id."""
    import json

    plans = {str(row["id"]): json.loads(row["plan"]) for row in reversed(ledger.searches())}
    out: list[str] = []
    for name in names:
        out += [search for search, plan in plans.items() if plan.get("experiment") == name] or [name]
    return out


def _show(
    ledger: Ledger, settings: Settings, searches: list[str], name: str, as_json: bool, different: bool = False
) -> None:
    """The table, the chart's path, the verdict; or all of it as JSON."""
    import json

    from rich.markup import escape
    from rich.table import Table

    from aar.cli.screen import screen
    from aar.report import compare, write_arms
    from aar.report._arms import as_json as told
    from aar.report._arms import table, words

    found = compare(ledger, searches, different)
    path = write_arms(found, settings.folder("reports") / f"{name}.svg")
    if as_json:
        print(json.dumps(told(found) | {"chart": str(path)}, indent=2))
        return
    shown = Table(box=None, pad_edge=False, title_justify="left")
    shown.title = f"\n{escape(found.task)}: {found.trials} trials, {found.unit}"
    clock = "GPU hours" if found.clock == "GPU" else "job hours"
    for column in ("arm", "repeats", "area under best so far", "best selected", "confirmed", clock, "dollars"):
        shown.add_column(column, justify="left" if column == "arm" else "right")
    for row in table(found):
        cells = [words(row[key]) for key in ("area", "selected", "confirmed")]
        dollars = "unknown" if row["usd"] is None else f"{row['usd']:.2f}"
        shown.add_row(escape(row["arm"]), str(row["repeats"]), *map(escape, cells), f"{row['hours']:.3f}", dollars)
    console = screen()
    console.print(shown)
    for note in found.notes:
        console.print(f"note: {escape(note)}", highlight=False, soft_wrap=True)
    console.print(escape(found.verdict), highlight=False, soft_wrap=True)
    console.print(f"chart  {path}", highlight=False, soft_wrap=True)
