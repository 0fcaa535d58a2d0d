"""What a person sees while a search runs: one line a finished trial; below it, on a terminal, the state of play.

A thread reads the ledger twice a second; the search knows nothing of it.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aar.ledger import Ledger, TrialRow
from aar.methods import short
from aar.sandbox.outputs import BadOutput, read_jsonl
from aar.sandbox.protocol import PROGRESS_BYTES
from aar.types import PublicScore, TrialStatus, Word

POLL_SECONDS = 0.5
MARKS = {
    TrialStatus.COMPLETE: "[green]✓[/]", TrialStatus.PRUNED: "[yellow]✗[/]", TrialStatus.FAILED: "[red]✗[/]",
    TrialStatus.REJECTED: "[red]✗[/]", TrialStatus.DUPLICATE: "[dim]=[/]",
    TrialStatus.RUNNING: "●", TrialStatus.PROPOSED: "○",
}  # fmt: skip


def duration(seconds: float) -> str:
    """`31 s`, `2 m 40 s`, `3 h 05 m`, `2 d 4 h`."""
    s = int(seconds)
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} m {s % 60:02d} s"
    if s < 86_400:
        return f"{s // 3600} h {s % 3600 // 60:02d} m"
    return f"{s // 86_400} d {s % 86_400 // 3600} h"


def pgr_text(view: PublicScore | None) -> str:
    """`PGR .47 [.41, .53]`, or why there is none."""
    if view is None:
        return ""
    if view.pgr is None:
        return f"PGR – ({view.reason})"
    if view.ci_low is None or view.ci_high is None:
        return f"PGR {view.pgr:.2f}".replace("0.", ".")
    text = f"PGR {view.pgr:.2f} [{view.ci_low:.2f}, {view.ci_high:.2f}]"
    return text.replace("0.", ".")


def trial_line(t: TrialRow) -> str:
    """One trial as one line of console markup."""
    name = "naive soft labels" if t.number == 0 else t.label
    head = f"{MARKS[t.status]} t{t.number:<3} {t.author:<7} {escape(name):<34}"
    if t.status in (TrialStatus.COMPLETE, TrialStatus.PRUNED):
        tail = f"[dim]  {escape(t.reason)}[/]" if t.reason else ""
        return f"{head} {escape(pgr_text(t.view))}   {t.n_seeds} seeds   {duration(t.seconds)}{tail}"
    if t.status in (TrialStatus.RUNNING, TrialStatus.PROPOSED):
        predicted = f"predicts {t.predicted_pgr:.2f}  ".replace("0.", ".") if t.predicted_pgr is not None else ""
        return f"{head} {predicted}[dim]{escape(t.rationale)}[/]"
    reason = (t.reason or "").splitlines()
    return f"{head} {t.status}: {escape(reason[0] if reason else '')}"


class View:
    """Context manager that shows a search on `console` while the body runs it."""

    def __init__(self, ledger: Ledger, search: str, console: Console, jobs: Path) -> None:
        self.ledger, self.search, self.console, self.jobs = ledger, search, console, jobs
        self.began = time.time()
        self._said: set[Any] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="view", daemon=True)
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._first = sum(1 for t in ledger.trials(search) if t.finished is not None)

    def __enter__(self) -> View:
        if self._live:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.update()
        if self._live:
            self._live.stop()

    def _loop(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self.update()

    def update(self) -> None:
        """Print what is new and redraw what moves."""
        row = self.ledger.search(self.search)
        trials = self.ledger.trials(self.search)
        if row is None:
            return
        if not trials:
            self._once("baselines", "  pre-training, weak models and ceilings first (cached for later searches) ...")
        for t in trials:
            if t.number == 0 and t.view is not None:
                self._once("gap", baseline_line(t.view))
            if t.finished is not None:
                self._once((t.number, t.status, t.reason), "  " + trial_line(t))
        if trials and all(t.finished for t in trials) and self.ledger.attempts(self.search, "running"):
            plan = _Plan.of(row)
            if plan.trials is not None and len(trials) > plan.trials:
                self._once("confirm", "  confirming the best on fresh seeds (fresh weak models too) ...")
        if self._live:
            self._live.update(self._panel(row, trials))

    def _once(self, key: Any, line: str) -> None:
        if key not in self._said:
            self._said.add(key)
            self.console.print(line, highlight=False, soft_wrap=not self.console.is_terminal)

    def _panel(self, row: Any, trials: list[TrialRow]) -> RenderableType:
        plan = _Plan.of(row)
        lines: list[RenderableType] = [
            Text.from_markup("  " + trial_line(t), overflow="ellipsis") for t in trials if t.finished is None
        ]
        lines += [
            Text(line, style="dim") for a in self.ledger.attempts(self.search, "running") if (line := self._job(a))
        ]
        done = sum(1 for t in trials if t.finished is not None and t.number > 0)
        elapsed = time.time() - self.began
        total = plan.trials
        scored = [t for t in trials if t.view is not None and t.view.pgr is not None]
        best = max(scored, key=lambda t: t.view.accuracy if t.view else 0.0, default=None)
        parts = [f"{done}/{total}" if total else f"{done} trials", duration(elapsed)]
        fresh = done - max(0, self._first - 1)
        if total and fresh > 0:
            parts.append(f"about {duration(elapsed / fresh * (total - done))} left")
        failed = sum(1 for t in trials if t.status is TrialStatus.FAILED)
        spent = self.ledger.spent(self.search)
        parts += [f"{failed} failed", f"GPU-h {spent['gpu_seconds'] / 3600:.2g}", f"{spent['looks']:.0f} looks"]
        said = self.ledger.talked(self.search)
        if said["tokens_in"]:
            parts.append(f"{(said['tokens_in'] + said['tokens_out']) / 1000:.0f}k tokens")
        head = f"best t{best.number} {pgr_text(best.view)}   " if best else ""
        grid = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=total, completed=done, width=24) if total else ProgressBar(pulse=True, width=24)
        grid.add_row(bar, Text(head + "   ".join(parts)))
        return Group(*lines, grid)

    def _job(self, attempt: Any) -> str:
        """A running job's last word: `    ▸ t3 transfer   seed 2   step 40/126   loss .61   2500/s`."""
        try:
            said = read_jsonl(self.jobs / attempt["id"], "progress.jsonl", PROGRESS_BYTES)
        except (BadOutput, OSError):
            said = []
        head = f"    ▸ {'' if attempt['trial'] is None else 't' + str(attempt['trial']) + ' '}{attempt['kind']}"
        last = next((p for p in reversed(said) if {"seed", "step", "steps", "loss", "examples_s"} <= set(p)), None)
        numbers = last and all(
            isinstance(last[k], int | float) for k in ("seed", "step", "steps", "loss", "examples_s")
        )
        if not last or not numbers:
            return f"{head}   starting"
        step = f"step {last['step']:.0f}/{last['steps']:.0f}"
        speed = f"loss {short(float(last['loss']))}   {last['examples_s']:.0f}/s"
        return f"{head}   seed {last['seed']:.0f}   {step}   {speed}"


class _Plan(Word):
    trials: int | None = None

    @classmethod
    def of(cls, row: Any) -> _Plan:
        import json

        return cls(trials=json.loads(row["plan"]).get("trials"))


def baseline_line(view: PublicScore) -> str:
    """`baselines   weak .691 ± .004   ceiling .901 ± .003   gap .210`."""
    if view.weak is None or view.ceiling is None:
        return "  baselines   not comparable"
    weak = f"weak {short(view.weak)} ± {short(view.weak_se or 0.0)}"
    top = f"ceiling {short(view.ceiling)} ± {short(view.ceiling_se or 0.0)}"
    return f"  baselines   {weak}   {top}   gap {short(round(view.ceiling - view.weak, 4))}"


def final_table(ledger: Ledger, search: str, console: Console) -> None:
    """Weak, naive, best selected, best confirmed, sealed, ceiling, with PGR and its interval."""
    from aar.report import headline

    table = Table(box=None, pad_edge=False, show_edge=False, title=f"\n[bold]{search}[/]", title_justify="left")
    table.add_column("")
    table.add_column("accuracy", justify="right")
    table.add_column("PGR", justify="right")
    table.add_column("95 % interval")
    table.add_column("", style="dim")
    for row in headline(ledger, search):
        interval = "" if row.ci_low is None or row.ci_high is None else f"[{row.ci_low:.2f}, {row.ci_high:.2f}]"
        table.add_row(
            row.name,
            "" if row.accuracy is None else short(float(row.accuracy)),
            "" if row.pgr is None else f"{row.pgr:.2f}",
            escape(interval),
            escape(row.note),
        )
    console.print(table)
