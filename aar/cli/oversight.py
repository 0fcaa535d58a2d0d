"""`aar oversight`: protocols by which weak judges are helped, each measured."""

from __future__ import annotations

from typing import Annotated

import typer

from aar.cli import training
from aar.cli.options import DEFAULT, Backend, Json, Workspace

app = typer.Typer(help="Oversight protocols, each measured.", no_args_is_help=True)


Speaker = Annotated[
    str, typer.Option(help="Who judges (or writes): local:FOLDER, local:HUB/NAME, or chat:PROVIDER:MODEL.")
]
Helper = Annotated[
    str | None,
    typer.Option(
        help="The strong one, who debates or advises; the speaker without it (`sandwich` over a file needs one)."
    ),
]
BaseUrl = Annotated[str | None, typer.Option(help="An OpenAI-compatible server, for chat:openai:MODEL.")]
Rows = Annotated[int | None, typer.Option(min=1, help="Only the first so many rows.")]
Thinks = Annotated[bool, typer.Option("--thinks", help="The judge writes its thoughts before it chooses.")]
Seed = Annotated[int, typer.Option(min=0, help="Fixes everything that is drawn.")]
Temperature = Annotated[float, typer.Option(min=0.0, help="At which arguments and replies are drawn.")]


@app.command()
def debate(
    task: Annotated[
        str,
        typer.Option(
            help="digits: by evidence, on 8 x 8 images. known: in text, speakers of known skill. "
            "FILE: in text, JSON lines with id, prompt, answers, better (and source, which only debaters see)."
        ),
    ] = "digits",
    speaker: Speaker = "",
    helper: Helper = None,
    base_url: BaseUrl = None,
    debaters: Annotated[
        list[str] | None, typer.Option(help="Rate these, each against each (text): speakers, or chances for known.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each side (text).")] = 2,
    rows: Rows = None,
    thinks: Thinks = False,
    temperature: Temperature = 0.7,
    seed: Seed = 0,
    bound: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Verdicts of less confidence are abstained from (text).")
    ] = 0.5,
    ask: Annotated[int, typer.Option(min=0, help="Ask a person about so many verdicts, the least sure (text).")] = 0,
    k: Annotated[
        list[str] | None, typer.Option(help="Reveals in a debate (digits); commas, or repeat. Default 4,6.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Judges for each k (digits).")] = 5,
    sandbox: Backend = "auto",
    json: Json = False,
    workspace: Workspace = DEFAULT,
) -> None:
    """Debate and its kin beside the judge alone: by evidence on images, or in text between speakers."""
    if task == "digits":
        from aar.cli import debating
        from aar.cli.searching import settings_of
        from aar.types import AarError

        if speaker or helper or base_url or rows or debaters or ask:
            raise AarError("--task digits has no speakers; for a debate in text give --task FILE, or --task known")

        debating.debate(k or [], seeds, settings_of(workspace, sandbox), json)
        return
    from aar.cli import modules
    from aar.cli.asked import Asked, perform_asked

    asked = Asked(task, speaker, helper, base_url, rows, rounds, thinks, seed, temperature, bound)
    if debaters:
        from aar.cli import crossing
        from aar.types import AarError

        if ask:
            raise AarError("--ask is about one debate; with --debaters leave it out")

        names = crossing.debaters_of(asked, debaters)
        more = {"debaters": names}
        perform_asked(
            "debate", asked, more, workspace, sandbox, json,
            lambda run, console: crossing.crossed(asked, names, run, console),
        )  # fmt: skip
        return
    perform_asked(
        "debate", asked, {"ask": ask}, workspace, sandbox, json,
        lambda run, console: modules.debate(asked, ask, run, console),
    )  # fmt: skip


@app.command()
def sandwich(
    task: Annotated[
        str, typer.Option(help="known, or JSON lines with id, prompt, answers, better (and source).")
    ] = "known",
    speaker: Speaker = "",
    helper: Helper = None,
    base_url: BaseUrl = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each side.")] = 1,
    rows: Rows = None,
    thinks: Thinks = False,
    temperature: Temperature = 0.7,
    seed: Seed = 0,
    sandbox: Backend = "auto",
    json: Json = False,
    workspace: Workspace = DEFAULT,
) -> None:
    """A weak judge alone, with each protocol, and the strong model alone: how much of the gap is closed."""
    from aar.cli import modules
    from aar.cli.asked import Asked, perform_asked

    asked = Asked(task, speaker, helper, base_url, rows, rounds, thinks, seed, temperature)
    perform_asked(
        "sandwich", asked, {}, workspace, sandbox, json, lambda run, console: modules.sandwiched(asked, run, console)
    )


@app.command()
def amplify(
    task: Annotated[str, typer.Option(help="JSON lines with id, prompt, answers, better.")],
    speaker: Speaker = "",
    helper: Helper = None,
    base_url: BaseUrl = None,
    depth: Annotated[int, typer.Option(min=1, max=5, help="How often questions are taken apart.")] = 1,
    branches: Annotated[int, typer.Option(min=1, max=10, help="Into at most so many parts.")] = 3,
    rows: Rows = None,
    thinks: Thinks = False,
    temperature: Temperature = 0.7,
    seed: Seed = 0,
    sandbox: Backend = "auto",
    json: Json = False,
    workspace: Workspace = DEFAULT,
) -> None:
    """Questions taken apart, answered in parts and composed, beside the judge alone at the same cost."""
    from aar.cli import modules
    from aar.cli.asked import Asked, perform_asked

    asked = Asked(task, speaker, helper, base_url, rows, 1, thinks, seed, temperature)
    more = {"depth": depth, "branches": branches}
    perform_asked(
        "amplify", asked, more, workspace, sandbox, json,
        lambda run, console: modules.amplified(asked, depth, branches, run, console),
    )  # fmt: skip


@app.command()
def recurse(
    task: Annotated[str, typer.Option(help="known, or JSON lines with id, prompt, answers, better.")] = "known",
    speaker: Speaker = "",
    helper: Annotated[str | None, typer.Option(help="Who assists, below the judge; the speaker without it.")] = None,
    base_url: BaseUrl = None,
    levels: Annotated[int, typer.Option(min=1, max=5, help="How often evaluations help evaluations.")] = 2,
    branches: Annotated[int, typer.Option(min=1, max=9, help="By at most so many assistants.")] = 3,
    rows: Rows = None,
    thinks: Thinks = False,
    temperature: Temperature = 0.7,
    seed: Seed = 0,
    sandbox: Backend = "auto",
    json: Json = False,
    workspace: Workspace = DEFAULT,
) -> None:
    """Recursive reward modelling: level k's judge is helped by level k - 1's, beside votes at as many calls."""
    from aar.cli import recursing
    from aar.cli.asked import Asked, perform_asked

    asked = Asked(task, speaker, helper, base_url, rows, 1, thinks, seed, temperature)
    perform_asked(
        "recurse", asked, {"levels": levels, "branches": branches}, workspace, sandbox, json,
        lambda run, console: recursing.recursed(asked, levels, branches, run, console),
    )  # fmt: skip


@app.command()
def probe(
    task: Annotated[str, typer.Option(help="JSON lines with id, prompt, answers, better.")],
    requests: Annotated[
        str | None, typer.Option(help="JSON lines with prompt: requests that should be refused, then attacked.")
    ] = None,
    speaker: Speaker = "",
    base_url: BaseUrl = None,
    rows: Rows = None,
    thinks: Thinks = False,
    seed: Seed = 0,
    sandbox: Backend = "auto",
    json: Json = False,
    workspace: Workspace = DEFAULT,
) -> None:
    """What moves a judge that should not move it: opinions, doubt, looks, perturbed questions, attacks."""
    from aar.cli import probing
    from aar.cli.asked import Asked, perform_asked

    asked = Asked(task, speaker, None, base_url, rows, 1, thinks, seed)
    perform_asked(
        "probe", asked, {"requests": requests}, workspace, sandbox, json,
        lambda run, console: probing.probed(asked, requests, run, console),
    )  # fmt: skip


@app.command()
def cai(
    task: Annotated[str, typer.Option(help="JSON lines with prompt: the requests.")],
    speaker: Speaker = "",
    helper: Annotated[str | None, typer.Option(help="Who criticises and judges; the speaker without it.")] = None,
    base_url: BaseUrl = None,
    constitution: Annotated[str, typer.Option(help="assistant, research, or a YAML file.")] = "assistant",
    rounds: Annotated[int, typer.Option(min=1, help="Critiques and revisions of a draft.")] = 4,
    pairs: Annotated[bool, typer.Option(help="Draw pairs too, and label them.")] = True,
    draws: Annotated[int, typer.Option(min=1, help="Principles by which a pair is judged.")] = 1,
    rows: Rows = None,
    thinks: Thinks = False,
    temperature: Temperature = 0.7,
    seed: Seed = 0,
    sandbox: Backend = "auto",
    json: Json = False,
    workspace: Workspace = DEFAULT,
) -> None:
    """Constitutional AI: drafts criticised and revised by principles, and preference pairs with soft labels."""
    from aar.cli import modules
    from aar.cli.asked import Asked, perform_asked

    asked = Asked(task, speaker, helper, base_url, rows, rounds, thinks, seed, temperature)
    more = {"constitution": constitution, "pairs": pairs, "draws": draws}
    perform_asked(
        "cai", asked, more, workspace, sandbox, json,
        lambda run, console: modules.cai(asked, constitution, pairs, draws, run, console),
    )  # fmt: skip


@app.command()
def gap(
    oversight: Annotated[
        float | None, typer.Option(help="Project: by how much a helped judge's log-odds of being right grow a year.")
    ] = None,
    capability: Annotated[float | None, typer.Option(help="The same of the strong model.")] = None,
    years: Annotated[int, typer.Option(min=1, max=50, help="For how many years.")] = 5,
    workspace: Workspace = DEFAULT,
) -> None:
    """Chart what help leaves of the gap between weak and strong judges, over all sandwiches of the workspace."""
    from aar.cli.screen import screen
    from aar.report import write_gap
    from aar.settings import Settings

    page = write_gap(Settings(workspace=workspace), oversight, capability, years)
    screen().print(f"gap     {page}  (.svg beside it)", highlight=False, soft_wrap=True)


for command in (training.feedback, training.distil, training.tamper):
    app.command()(command)
