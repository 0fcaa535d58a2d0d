"""`aar tasks` and `aar sandbox`: what there is to run, and what it runs in."""

from __future__ import annotations

from typing import Annotated

import typer

from aar.cli.options import DEFAULT, Json, Sets, Workspace
from aar.types import AarError

tasks_app = typer.Typer(help="List tasks; show or check one.", invoke_without_command=True)
sandbox_app = typer.Typer(help="The Docker sandbox's image.", no_args_is_help=True)


@tasks_app.callback()
def _tasks(context: typer.Context, json: Json = False) -> None:
    if context.invoked_subcommand is None:
        from aar.cli import listing

        listing.tasks(json)


@tasks_app.command("show")
def _tasks_show(
    name: Annotated[str, typer.Argument(help="A task's name, or the path of a YAML.")],
    json: Json = False,
    workspace: Workspace = DEFAULT,
    sets: Sets = None,
) -> None:
    """Three rendered rows, split sizes, class balance, digest."""
    from aar.cli import listing

    listing.task_show(name, json, workspace, sets or [])


@tasks_app.command("check")
def _tasks_check(
    file: Annotated[
        str | None, typer.Argument(help="A task's name, or the path of a YAML. Every known task with --offline alone.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Only the file and its sample rows: no data.")] = False,
    workspace: Workspace = DEFAULT,
    sets: Sets = None,
) -> None:
    """Read a task, prepare its data, find its models; say what is wrong."""
    from aar.cli import listing

    if offline:
        listing.task_check_offline(file, sets or [])
    elif file is None:
        raise AarError("name a task, or give --offline to check the files of all of them")
    else:
        listing.task_check(file, workspace, sets or [])


@sandbox_app.command("build")
def _sandbox_build(
    base_image: Annotated[
        str | None, typer.Option(help="An image with the host's Python; found or made without it.")
    ] = None,
) -> None:
    """Build the image jobs run in, out of a wheel of this package and a wheelhouse."""
    from aar.cli import listing

    listing.sandbox_build(base_image)
