"""`aar`: the command line. Commands live in their own files and import what they need when they run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from aar import __version__
from aar.cli.comparing import app as comparing_app
from aar.cli.options import DEFAULT, Backend, Json, Sets, Tokens, Usd, Workspace
from aar.cli.oversight import app as oversight_app
from aar.cli.steering import app as steering_app
from aar.cli.tasks import sandbox_app, tasks_app
from aar.types import AarError

app = typer.Typer(
    name="aar",
    help="Automated alignment researcher: weak-to-strong searches whose results can be trusted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(tasks_app, name="tasks")
app.add_typer(oversight_app, name="oversight")
app.add_typer(sandbox_app, name="sandbox")
app.add_typer(steering_app)
app.add_typer(comparing_app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aar {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    pass


@app.command()
def run(
    task: Annotated[str, typer.Argument(help="A task's name, or the path of a YAML.")],
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="Trials (naive is outside). Default 20, with presets all of them; none with hours."),
    ] = None,
    hours: Annotated[float | None, typer.Option(min=0.0, help="Wall hours of searching.")] = None,
    gpu_hours: Annotated[float | None, typer.Option(min=0.0, help="GPU hours of searching.")] = None,
    tokens: Tokens = None,
    usd: Usd = None,
    seed: Annotated[int, typer.Option(min=0, max=2_000_000, help="Search seed: fixes seeds and proposals.")] = 0,
    researcher: Annotated[
        str | None,
        typer.Option(
            help="optuna; random: the control arm; presets: every published recipe once; llm: --model alone; mixed: "
            "all of them, shared out by what each was worth. Default mixed with --model, else optuna."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A chat model that proposes trials, such as anthropic:NAME or openai:NAME."),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(help="A server that speaks OpenAI's protocol: --model is a model of it."),
    ] = None,
    researchers: Annotated[
        int, typer.Option(min=1, max=16, help="Researchers of the model, each its own direction; they think at once.")
    ] = 1,
    direction: Annotated[
        list[str] | None, typer.Option(help="Where a researcher should look, in your words; once for each.")
    ] = None,
    prices: Annotated[Path | None, typer.Option(help="A price table in place of the shipped one.")] = None,
    presets: Annotated[
        list[str] | None, typer.Option("--preset", help="Only these published recipes; give it once for each.")
    ] = None,
    sandbox: Backend = "auto",
    workspace: Workspace = DEFAULT,
    sets: Sets = None,
    top: Annotated[int, typer.Option(min=1, max=20, help="How many go on to fresh seeds.")] = 3,
    controls: Annotated[bool, typer.Option(help="Run controls of what was confirmed.")] = True,
    approve: Annotated[
        str, typer.Option(help="code, all: which trials wait for `aar approve`: those with written code, or all.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="A 1 % pass end to end, and a forecast.")] = False,
) -> None:
    """Search for the best weak-to-strong method on a task, confirm it, and report."""
    from aar.cli import searching

    searching.run(
        task, workspace, sandbox, sets or [], seed=seed, trials=trials, hours=hours, gpu_hours=gpu_hours,
        tokens=tokens, usd=usd, researcher=researcher, model=model, base_url=base_url, voices=researchers,
        directions=direction or [], prices=prices, presets=presets or [], top=top, controls=controls,
        approve=approve, dry_run=dry_run,
    )  # fmt: skip


@app.command()
def resume(
    search: Annotated[str | None, typer.Argument(help="A search's id; the latest unfinished one without it.")] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Another budget, in place of what was given.")] = None,
    hours: Annotated[float | None, typer.Option(min=0.0, help="Likewise.")] = None,
    gpu_hours: Annotated[float | None, typer.Option(min=0.0, help="Likewise.")] = None,
    tokens: Tokens = None,
    usd: Usd = None,
    sandbox: Backend = "auto",
    workspace: Workspace = DEFAULT,
) -> None:
    """Go on with a search that was stopped or killed. Nothing is spent twice."""
    from aar.cli import searching

    new = {"trials": trials, "hours": hours, "gpu_hours": gpu_hours, "tokens": tokens, "usd": usd}
    searching.resume(search, workspace, sandbox, {name: value for name, value in new.items() if value is not None})


@app.command()
def trial(
    task: Annotated[str, typer.Argument(help="A task's name, or the path of a YAML.")],
    recipe: Annotated[str | None, typer.Option(help="A preset or a loss; naive without it.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2_000_000, help="Search seed: fixes the seeds.")] = 0,
    code: Annotated[list[Path] | None, typer.Option(help="A part of your own: a file, run in Docker only.")] = None,
    sandbox: Backend = "auto",
    workspace: Workspace = DEFAULT,
    sets: Sets = None,
) -> None:
    """Run one recipe beside naive, weak and ceiling: `--recipe logconf --set loss.a=.75 --set targets=hard`."""
    from aar.cli import searching

    searching.trial(task, recipe, workspace, sandbox, sets or [], seed, code or [])


@app.command("export-part")
def export_part(
    search: Annotated[str, typer.Argument(help="A search's id.")],
    trial: Annotated[int, typer.Argument(min=1, help="The number of a trial whose recipe has a written part.")],
    out: Annotated[Path | None, typer.Option(help="Write it here; printed without it.")] = None,
    slot: Annotated[str | None, typer.Option(help="Which part, where a recipe has several.")] = None,
    source: Annotated[bool, typer.Option("--source", help="As `aar trial --code` reads it, not as a class.")] = False,
    workspace: Workspace = DEFAULT,
) -> None:
    """Write a part that a search wrote as a file ready for a pull request: a class for aar/methods."""
    from aar.cli import parts

    parts.export_part(search, trial, out, slot, source, workspace)


@app.command()
def confirm(
    search: Annotated[str | None, typer.Argument(help="A search's id; the latest without it.")] = None,
    top: Annotated[int, typer.Option(min=1, max=20, help="How many go on to fresh seeds.")] = 3,
    sandbox: Backend = "auto",
    workspace: Workspace = DEFAULT,
) -> None:
    """Confirm a stopped search's best trials on fresh seeds, and the winner on the sealed split."""
    from aar.cli import searching

    searching.confirm(search, top, workspace, sandbox)


@app.command()
def atlas(
    task: Annotated[str, typer.Argument(help="A task's name, or the path of a YAML.")],
    weak: Annotated[
        list[str] | None,
        typer.Option(
            help="task, tiny:LAYERSxWIDTH[xHEADS][:scratch], hub:NAME[@REVISION], path:FOLDER; commas, or repeat."
        ),
    ] = None,
    strong: Annotated[list[str] | None, typer.Option(help="Likewise; without it the task's own.")] = None,
    n: Annotated[list[str] | None, typer.Option(help="Transfer rows with weak labels; likewise.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2_000_000, help="Search seed: fixes the seeds.")] = 0,
    curves: Annotated[bool, typer.Option(help="Look at students along training.")] = True,
    deception: Annotated[bool, typer.Option(help="Train a second arm with a conflicting objective.")] = True,
    sandbox: Backend = "auto",
    workspace: Workspace = DEFAULT,
    sets: Sets = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Cells, launches, about how long. Runs nothing.")] = False,
    json: Json = False,
) -> None:
    """Chart naive training over weak models, strong models and label counts. Killed, the same command goes on."""
    from aar.cli import mapping

    mapping.atlas(
        task, workspace, sandbox, sets or [], weak=weak or [], strong=strong or [], ns=n or [], seed=seed,
        curves=curves, deception=deception, dry_run=dry_run, as_json=json,
    )  # fmt: skip


@app.command()
def status(
    search: Annotated[str | None, typer.Argument(help="A search's id; the latest without it.")] = None,
    json: Json = False,
    workspace: Workspace = DEFAULT,
) -> None:
    """Where a search stands."""
    from aar.cli import showing

    showing.status(search, json, workspace)


@app.command()
def report(
    search: Annotated[str | None, typer.Argument(help="A search's id; the latest without it.")] = None,
    workspace: Workspace = DEFAULT,
) -> None:
    """Write a search's HTML report again and print its path."""
    from aar.cli import showing

    showing.report(search, workspace)


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where MLflow listens, on this machine.")] = 5000,
    workspace: Workspace = DEFAULT,
) -> None:
    """Open the workspace in MLflow."""
    from aar.cli import showing

    showing.ui(port, workspace)


@app.command()
def fetch(
    task: Annotated[str, typer.Argument(help="A task's name, or the path of a YAML.")],
    sets: Sets = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be downloaded.")] = False,
) -> None:
    """Bring a task's models and data from the hub, so that it runs without network."""
    from aar.cli import fetching

    fetching.fetch(task, sets or [], dry_run)


@app.command()
def methods(json: Json = False) -> None:
    """Parts by slot with their parameter spaces, and presets with their papers."""
    from aar.cli import listing

    listing.methods(json)


@app.command()
def doctor(json: Json = False, workspace: Workspace = DEFAULT) -> None:
    """What this machine has, and what to do about what it lacks."""
    from aar.cli import listing

    listing.doctor(json, workspace)


def fail(message: str) -> NoReturn:
    """Say what was wrong on stderr; exit 2."""
    from aar.tracking import plain

    typer.echo(f"aar: {plain(message)}", err=True)
    sys.exit(2)


def main() -> None:
    """The console script."""
    try:
        app()
    except AarError as error:
        fail(str(error))
    except ValueError as error:
        from pydantic_core import ValidationError

        if not isinstance(error, ValidationError) or error.title != "Settings":
            raise
        lines = [f"AAR_{str(e['loc'][0]).upper()}: {e['input']!r}: {e['msg']}" for e in error.errors()]
        fail("\n".join(lines))
