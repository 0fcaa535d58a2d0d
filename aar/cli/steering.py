"""Commands that tell a search something while it runs, from another terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aar.cli.options import DEFAULT, Sets, Workspace

app = typer.Typer()
# Click fills places from the left: with one word, the first place holds what the last one is for.
Search = Annotated[str, typer.Argument(metavar="[SEARCH]", help="A search's id; the one that runs without it.")]
OnlySearch = Annotated[str | None, typer.Argument(metavar="[SEARCH]", help="A search's id; the one that runs.")]
Trial = Annotated[str | None, typer.Argument(metavar="TRIAL", help="A trial that waits: 3 or t3.")]


@app.command()
def steer(
    search: Search,
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="What the researcher should know or do.")] = None,
    workspace: Workspace = DEFAULT,
) -> None:
    """Tell the researcher something, or answer what it asked: seen at the next hypothesis."""
    from aar.cli import telling

    telling.steer(search if text is not None else None, search if text is None else text, workspace)


@app.command()
def propose(
    search: Annotated[str | None, typer.Argument(metavar="[SEARCH]", help="A search's id; the one that runs.")] = None,
    file: Annotated[
        str | None,
        typer.Argument(metavar="[FILE]", help="A recipe in YAML: a part's name, or name and params, a slot."),
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="A preset or a loss, in place of a file.")] = None,
    sets: Sets = None,
    code: Annotated[list[Path] | None, typer.Option(help="A file with a written part; repeatable.")] = None,
    why: Annotated[str, typer.Option(help="Why it should be tried.")] = "",
    workspace: Workspace = DEFAULT,
) -> None:
    """Put a recipe of your own first in the queue: `--recipe logconf --set loss.a=.75`, or a file."""
    from aar.cli import telling

    if file is None and search is not None and Path(search).suffix in (".yaml", ".yml"):
        search, file = None, search
    telling.propose(search, file, recipe, sets or [], code or [], why, workspace)


@app.command()
def pause(search: OnlySearch = None, workspace: Workspace = DEFAULT) -> None:
    """Let running trials end and begin nothing new, until `aar unpause`; a resume stays paused."""
    from aar.cli import telling

    telling.pause(search, True, workspace)


@app.command()
def unpause(search: OnlySearch = None, workspace: Workspace = DEFAULT) -> None:
    """Go on after `aar pause`."""
    from aar.cli import telling

    telling.pause(search, False, workspace)


@app.command()
def stop(
    search: OnlySearch = None,
    now: Annotated[bool, typer.Option("--now", help="Kill running jobs, as Ctrl-C does.")] = False,
    workspace: Workspace = DEFAULT,
) -> None:
    """Let running trials end, then stop the search; `aar resume` goes on."""
    from aar.cli import telling

    telling.stop(search, now, workspace)


@app.command()
def approve(search: Search, trial: Trial = None, workspace: Workspace = DEFAULT) -> None:
    """Let a trial run that waits for leave (`aar run --approve`); `aar export-part --source` shows its code."""
    from aar.cli import telling

    telling.decide(search if trial is not None else None, search if trial is None else trial, None, workspace)


@app.command()
def reject(
    search: Search,
    trial: Trial = None,
    why: Annotated[str, typer.Option(help="The reason, for the researcher and the report.")] = "",
    workspace: Workspace = DEFAULT,
) -> None:
    """Reject a trial that waits for leave."""
    from aar.cli import telling

    telling.decide(search if trial is not None else None, search if trial is None else trial, why, workspace)
