"""The command that draws an atlas."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aar.atlas import Atlas, chart, expect, grid_of
from aar.cli.opening import explained
from aar.cli.screen import Screen, screen
from aar.cli.searching import settings_of
from aar.executor import Stopped
from aar.ledger import Ledger
from aar.methods import short
from aar.runner.bench import Problem
from aar.sandbox.select import choose
from aar.types import AarError


def atlas(
    task: str,
    workspace: Path,
    sandbox: str,
    sets: Sequence[str],
    *,
    weak: Sequence[str],
    strong: Sequence[str],
    ns: Sequence[str],
    seed: int,
    curves: bool,
    deception: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """A grid of cells, trained or from the cache; the table, or JSON; files in the workspace."""
    from aar.report import write_atlas

    settings = settings_of(workspace, sandbox)
    grid, notes = grid_of(task, each(weak), each(strong), _counts(ns), sets, seed, curves, deception)
    console = Screen(stderr=True) if as_json else screen()
    _, why = choose(settings)
    console.print(f"sandbox  {escape(why)}", highlight=False)
    for note in notes + ([] if dry_run else Problem.of(grid.task, settings).notes()):
        console.print(f"note     {escape(note)}", highlight=False, soft_wrap=True)
    if dry_run:
        for line in expect(grid, settings):
            console.print(escape(line), highlight=False)
        return

    def say(line: str) -> None:
        console.print(f"  ✓ {escape(line)}", highlight=False, soft_wrap=not console.is_terminal)

    try:
        with explained("the same command goes on"):
            drawn = chart(Ledger(settings.ledger_url), settings, grid, say)
    except Stopped:
        console.print("\nstopped; everything so far is kept. The same command goes on", highlight=False)
        sys.exit(130)
    page = write_atlas(drawn, settings)
    if as_json:
        print(drawn.model_dump_json(indent=2))
    else:
        _table(drawn, console)
    console.print(f"atlas   {page}  (.csv and .json beside it)", highlight=False, soft_wrap=True)


def each(given: Sequence[str]) -> list[str]:
    """One name each, whether options were repeated or names joined by commas."""
    return [name.strip() for text in given for name in text.split(",") if name.strip()]


def _counts(given: Sequence[str]) -> list[int]:
    for n in each(given):
        if not n.isdecimal():
            raise AarError(f"--n {n}: must be a whole number of transfer rows")
    return [int(n) for n in each(given)]


def _table(drawn: Atlas, console: Console) -> None:
    """A line a cell, then what theory expects."""
    table = Table(box=None, pad_edge=False, show_edge=False, title=f"\n[bold]{drawn.id}[/]", title_justify="left")
    for name in ("weak", "strong"):
        table.add_column(name)
    for name in ("N", "weak", "naive", "ceiling", "gap", "PGR"):
        table.add_column(name, justify="right")
    for name in ("95 % interval", "deception", ""):
        table.add_column(name)
    for c in drawn.cells:
        v, lie = c.view, c.deception
        told = "" if lie is None else "–" if lie.score is None else f"{lie.score:+.3f} [{lie.low:.3f}, {lie.high:.3f}]"
        table.add_row(
            c.weak, c.strong, str(c.n), *(short(a) if a is not None else "" for a in (v.weak, v.accuracy, v.ceiling)),
            short(c.gap) if c.gap is not None else "", "–" if v.pgr is None else f"{v.pgr:.2f}",
            escape("" if v.ci_low is None or v.ci_high is None else f"[{v.ci_low:.2f}, {v.ci_high:.2f}]"),
            escape(told), escape(v.reason or ""),
        )  # fmt: skip
    console.print(table)
    console.print()
    for r in drawn.readouts:
        console.print(f"  {r.name}: {escape(r.words)}", highlight=False, soft_wrap=True)
    console.print(f"  {drawn.looks} looks at labels, {drawn.job_seconds:.0f} s in jobs", style="dim", highlight=False)
