"""Running an oversight module: its row in the ledger, its rows on disk, its table on screen, its run in MLflow."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aar.cli.opening import explained
from aar.cli.screen import Screen, screen
from aar.executor import Stopped
from aar.ledger import Ledger
from aar.runner.launcher import Launcher
from aar.runner.oversight import finish, overseeing, run_id
from aar.scoring.verdicts import Share
from aar.settings import Settings, write_whole
from aar.tracking import Told, TrackingError, interval, number, publish

Cell = str | int | float | Share | None


@dataclass
class Result:
    """What a module came to: its table (rows of named cells), rows as JSON, words about it, what writes its pages."""

    table: list[dict[str, Cell]]
    rows: Iterable[Mapping[str, Any]]
    notes: list[str] = field(default_factory=list)
    pages: Mapping[str, Callable[[Path], object]] = field(default_factory=dict)


def perform(
    module: str,
    plan: Mapping[str, Any],
    settings: Settings,
    as_json: bool,
    work: Callable[[Launcher, Console], Result],
) -> None:
    """Run `work` under the plan's own row, write what it came to, show it and publish it. Equal plans are one run.

    Raises:
        AarError: what the module was given cannot be used, or a job or server failed; the same command goes on.
    """
    console = Screen(stderr=True) if as_json else screen()
    name = run_id(module, plan)
    try:
        with (
            explained("the same command goes on"),
            overseeing(Ledger(settings.ledger_url), settings, module, plan) as run,
        ):
            result = work(run, console)
            folder = settings.folder("oversight") / name
            told = {"id": name, "module": module, "plan": plan, "table": [_plain(row) for row in result.table]}
            files = write(folder, told, result)
            finish(run, told)
    except Stopped:
        console.print("\nstopped; everything so far is kept. The same command goes on", highlight=False)
        sys.exit(130)
    if as_json:
        print(json.dumps(told | {"notes": result.notes, "files": [str(f) for f in files]}, indent=2))
    else:
        _show(name, result.table, console)
    for note in result.notes:
        console.print(f"note    {escape(note)}", highlight=False, soft_wrap=True)
    console.print(f"rows    {folder / 'rows.jsonl'}  (table.json beside it)", highlight=False, soft_wrap=True)
    for page in result.pages:
        console.print(f"page    {folder / page}", highlight=False, soft_wrap=True)
    params = {key: json.dumps(value) if not isinstance(value, str) else value for key, value in plan.items()}
    note = "  \n".join(result.notes)
    tracked(settings, Told(name, module, params, dict(_metrics(result.table)), note, tuple(files)), console)


def tracked(settings: Settings, told: Told, console: Console) -> None:
    """Publish a run; a store that does not take it is a line on the screen and no more."""
    try:
        publish(settings, told)
    except TrackingError as error:
        console.print(f"tracking  {escape(str(error))}", highlight=False, soft_wrap=True)


def write(folder: Path, told: Mapping[str, Any], result: Result) -> list[Path]:
    """The run's files: rows as JSON lines, the table, its pages. Each is whole or as it was."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in result.rows)
    content = {"rows.jsonl": lines, "table.json": json.dumps(told, indent=2)}
    for name, text in content.items():
        write_whole(folder / name, text)
    for name, page in result.pages.items():
        page(folder / name)
    return [folder / name for name in (*content, *result.pages)]


def _show(name: str, rows: Sequence[Mapping[str, Cell]], console: Console) -> None:
    table = Table(box=None, pad_edge=False, show_edge=False, title=f"\n[bold]{name}[/]", title_justify="left")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*(escape(_cell(row.get(column))) for column in columns))
    console.print(table)
    console.print()


def _cell(value: Cell) -> str:
    if isinstance(value, Share):
        if math.isnan(value.value):
            return "–"
        return f"{number(value.value, 3)} {interval(value.low, value.high, 3)}".strip()
    if isinstance(value, float):
        return "–" if math.isnan(value) else number(value, 3)
    return "" if value is None else f"{value:,}" if isinstance(value, int) else value


def _plain(row: Mapping[str, Cell]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Share):
            out[key] = {k: None if not math.isfinite(v) else v for k, v in value._asdict().items()}
        else:
            out[key] = None if isinstance(value, float) and not math.isfinite(value) else value
    return out


def _metrics(rows: Sequence[Mapping[str, Cell]]) -> Iterable[tuple[str, float]]:
    """`debate/accuracy`, with its ends as `..._low` and `..._high`."""
    for row in rows:
        head, *rest = row.items()
        for key, value in rest:
            name = "".join(c if c.isalnum() or c in "_-./ " else "_" for c in f"{head[1]}/{key}")
            if isinstance(value, Share):
                yield from ((name, value.value), (f"{name}_low", value.low), (f"{name}_high", value.high))
            elif isinstance(value, int | float):
                yield name, float(value)
