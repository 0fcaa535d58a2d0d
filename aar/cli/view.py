"""What a person sees while a search runs: one line a finished trial; below it, on a terminal, the state of play.

A thread reads the ledger twice a second; the search knows nothing of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aar.agent.budget import Outlook, outlook
from aar.agent.inbox import paused
from aar.ledger import Ledger, Message, TrialRow
from aar.methods import short
from aar.sandbox.outputs import BadOutput, read_jsonl
from aar.sandbox.protocol import PROGRESS_BYTES
from aar.tracking import plain
from aar.types import PublicScore, TrialStatus

POLL_SECONDS = 0.5
MARKS = {
    TrialStatus.COMPLETE: "[green]✓[/]", TrialStatus.PRUNED: "[yellow]✗[/]", TrialStatus.FAILED: "[red]✗[/]",
    TrialStatus.REJECTED: "[red]✗[/]", TrialStatus.DUPLICATE: "[dim]=[/]",
    TrialStatus.RUNNING: "●", TrialStatus.PROPOSED: "○", TrialStatus.WAITING: "[yellow]?[/]",
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
    head = f"{MARKS[t.status]} t{t.number:<3} {t.author:<7} {_safe(name):<34}"
    if t.status in (TrialStatus.COMPLETE, TrialStatus.PRUNED):
        tail = f"[dim]  {_safe(t.reason)}[/]" if t.reason else ""
        return f"{head} {escape(pgr_text(t.view))}   {t.n_seeds} seeds   {duration(t.seconds)}{tail}"
    if t.status in (TrialStatus.RUNNING, TrialStatus.PROPOSED):
        predicted = f"predicts {t.predicted_pgr:.2f}  ".replace("0.", ".") if t.predicted_pgr is not None else ""
        return f"{head} {predicted}[dim]{_safe(t.rationale)}[/]"
    if t.status is TrialStatus.WAITING:
        code = f"; its code: aar export-part {t.search} {t.number} --source" if t.recipe.written else ""
        return f"{head} [yellow]waits for leave: aar approve t{t.number}, or aar reject t{t.number}{code}[/]"
    reason = (t.reason or "").splitlines()
    return f"{head} {t.status}: {_safe(reason[0] if reason else '')}"


def _safe(text: str) -> str:
    """What a model, a job or a person wrote, as console markup that neither styles a line nor steers a terminal."""
    return escape(plain(text))


def message_line(m: Message) -> str:
    """What was said, when, and what came of it, as one line of console markup."""
    at = time.strftime("%H:%M", time.localtime(m.at))
    came = "" if m.outcome in (None, "seen") else f" → {m.outcome}"
    return f"» {at}  {_safe(m.words)}[dim]{_safe(came)}[/]"


def notices(messages: Sequence[Message]) -> list[str]:
    """What a person should know or do now: a pause, open questions, what nobody has acted on yet."""
    out = ["[yellow]paused; aar unpause goes on[/]"] if paused(messages) else []
    for m in messages:
        if m.handled is None and m.kind == "question":
            out.append(f"[yellow]{_safe(m.words)}[/]   [dim]aar steer answers[/]")
        elif m.handled is None and m.kind not in ("pause", "unpause"):
            out.append(f"{message_line(m)} [dim]not taken up yet[/]")
    return out


def spendings(now: Outlook) -> list[str]:
    """What was spent beside time: GPU hours, and what a model cost, where one was asked."""
    spent = now.spent
    dollars = f", ${spent['usd']:.2f}" if spent["usd"] else ""
    return [f"GPU-h {spent['gpu_hours']:.2g}"] + ([f"{spent['tokens']:.0f} tokens{dollars}"] if spent["tokens"] else [])


class View:
    """Context manager that shows a search on `console` while the body runs it."""

    def __init__(self, ledger: Ledger, search: str, console: Console, jobs: Path) -> None:
        self.ledger, self.search, self.console, self.jobs = ledger, search, console, jobs
        self.began = time.time()
        self._said: set[Any] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="view", daemon=True)
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

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
            if t.status is TrialStatus.WAITING:
                self._once((t.number, t.status), "  " + trial_line(t))
            if t.finished is not None:
                self._once((t.number, t.status, t.reason), "  " + trial_line(t))
        messages = self.ledger.messages(self.search)
        for m in messages:
            if m.at > self.began and (m.handled is not None or m.kind == "question"):
                self._once(("message", m.id), "  " + message_line(m))
        now = outlook(self.ledger, self.search, trials)
        over = trials and all(t.finished for t in trials) and not now.one_more
        if over and self.ledger.attempts(self.search, "running"):
            self._once("confirm", "  confirming the best on fresh seeds (fresh weak models too) ...")
        if self._live:
            self._live.update(self._panel(now, trials, messages))

    def _once(self, key: Any, line: str) -> None:
        if key not in self._said:
            self._said.add(key)
            self.console.print(line, highlight=False, soft_wrap=not self.console.is_terminal)

    def _panel(self, now: Outlook, trials: list[TrialRow], messages: list[Message]) -> RenderableType:
        lines: list[RenderableType] = [
            Text.from_markup("  " + trial_line(t), overflow="ellipsis") for t in trials if t.finished is None
        ]
        lines += [Text("  " + line, overflow="ellipsis") for line in thought_lines(self.ledger, self.search)]
        lines += [
            Text(line, style="dim") for a in self.ledger.attempts(self.search, "running") if (line := self._job(a))
        ]
        lines += [Text.from_markup("  " + notice, overflow="ellipsis") for notice in notices(messages)]
        done = sum(1 for t in trials if t.finished is not None and t.number > 0)
        total = int(now.given.get("trials", 0)) or None
        scored = [t for t in trials if t.view is not None and t.view.pgr is not None]
        best = max(scored, key=lambda t: t.view.accuracy if t.view else 0.0, default=None)
        parts = [f"{done}/{total}" if total else f"{done} trials", duration(time.time() - self.began)]
        failed = sum(1 for t in trials if t.status is TrialStatus.FAILED)
        looks = self.ledger.spent(self.search)["looks"]
        parts += [f"{failed} failed", f"{looks:.0f} looks", *spendings(now)]
        head = f"best t{best.number} {pgr_text(best.view)}   " if best else ""
        grid = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=total, completed=done, width=24) if total else ProgressBar(pulse=True, width=24)
        grid.add_row(bar, Text(head + "   ".join(parts)))
        return Group(*lines, grid, Text(f"  {now.words}", style="dim", overflow="ellipsis", no_wrap=True))

    def _job(self, attempt: Any) -> str:
        """A running job's last word: `    ▸ t3 transfer   seed 2   step 40/126   loss .61   2500/s`."""
        try:
            said = read_jsonl(self.jobs / attempt["id"], "progress.jsonl", PROGRESS_BYTES)
        except (BadOutput, OSError):
            said = []
        head = f"    ▸ {'' if attempt['trial'] is None else 't' + str(attempt['trial']) + ' '}{attempt['kind']}"
        last = next((p for p in reversed(said) if {"seed", "step", "steps", "loss", "examples_s"} <= set(p)), None)
        numbers = last and all(
            isinstance(last[k], int | float) and abs(last[k]) < 1e30
            for k in ("seed", "step", "steps", "loss", "examples_s")
        )
        if not last or not numbers:
            return f"{head}   starting"
        step = f"step {last['step']:.0f}/{last['steps']:.0f}"
        speed = f"loss {short(float(last['loss']))}   {last['examples_s']:.0f}/s"
        return f"{head}   seed {last['seed']:.0f}   {step}   {speed}"


def thought_lines(ledger: Ledger, search: str) -> list[str]:
    """What the model talks about: `◌ t7  llm  researcher 2 thinks   3 answers`."""
    lines = []
    for number in ledger.begun(search):
        turns = ledger.turns(search, number)
        said = sum(1 for r in turns if r["role"] == "assistant")
        voice = turns[0]["body"]["about"]["voice"] + 1
        lines.append(f"◌ t{number}  llm  researcher {voice} thinks   {said} answer{'' if said == 1 else 's'}")
    return lines


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
            _safe(row.note),
        )
    console.print(table)
