"""Commands that read: status, report, ui."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from rich.markup import escape

from aar.agent.budget import Budget, outlook
from aar.agent.inbox import paused
from aar.cli.opening import ledger_of
from aar.cli.screen import screen
from aar.cli.view import baseline_line, duration, final_table, message_line, notices, thought_lines, trial_line
from aar.ledger import Ledger, TrialRow
from aar.ledger.journal import entropy, plateaus, sharing, source, talked
from aar.settings import Settings
from aar.types import AarError

SHOWN, SAID = 40, 5


def _chosen(ledger: Ledger, search: str | None, settings: Settings) -> str:
    known = [str(row["id"]) for row in ledger.searches()]
    if not known:
        raise AarError(f"no search in {settings.root}; `aar run TASK` starts one")
    if search is not None and search not in known:
        raise AarError(f"no search {search!r} in {ledger.url}; latest: {', '.join(known[:5])}")
    return search or known[0]


def status(search: str | None, as_json: bool, workspace: Path) -> None:
    """One search, as text or as the documented JSON."""
    settings = Settings(workspace=workspace)
    ledger = ledger_of(settings)
    run = ledger.oversight(search) if search and ledger.search(search) is None else None
    if run is not None:
        _run(run, settings, as_json)
        return
    chosen = _chosen(ledger, search, settings)
    if as_json:
        print(TypeAdapter(dict[str, Any]).dump_json(state(ledger, chosen), indent=2).decode())
        return
    row = ledger.search(chosen)
    assert row is not None
    console = screen()
    console.print(
        f"[bold]{chosen}[/]  {row['status']}" + (f": {escape(row['reason'])}" if row["reason"] else ""), highlight=False
    )
    trials = ledger.trials(chosen)
    if trials and trials[0].view is not None:
        console.print(baseline_line(trials[0].view), highlight=False)
    if len(trials) > SHOWN:
        console.print(f"  ... {len(trials) - SHOWN} earlier trials; --json and the report list all", style="dim")
    for t in trials[-SHOWN:]:
        console.print("  " + trial_line(t), highlight=False, soft_wrap=not console.is_terminal)
    if row["status"] in ("running", "stopped"):
        for line in thought_lines(ledger, chosen):
            console.print("  " + line, highlight=False)
    console.print(_spent(ledger, chosen), style="dim", highlight=False, soft_wrap=not console.is_terminal)
    messages, now = ledger.messages(chosen), outlook(ledger, chosen, trials)
    if row["status"] in ("running", "stopped"):
        console.print(f"  {now.words}", style="dim", highlight=False, soft_wrap=True)
    for m in [m for m in messages if m.handled is not None][-SAID:]:
        console.print("  " + message_line(m), highlight=False, soft_wrap=True)
    for notice in notices(messages):
        console.print("  " + notice, highlight=False, soft_wrap=True)
    if ledger.confirmations(chosen):
        final_table(ledger, chosen, console)
    elif row["status"] in ("stopped", "running"):
        console.print(f"  if nothing runs it any more:  aar resume {chosen}", style="dim", highlight=False)


def _run(row: Mapping[str, Any], settings: Settings, as_json: bool) -> None:
    """Where a run of `aar oversight` stands."""
    folder = settings.root / "oversight" / row["id"]
    told = {key: row[key] for key in ("id", "module", "status", "reason")}
    told |= {"plan": json.loads(row["plan"]), "folder": str(folder) if folder.is_dir() else None}
    if as_json:
        print(json.dumps(told, indent=2))
        return
    words = f"[bold]{row['id']}[/]  {row['status']}" + (f": {escape(row['reason'])}" if row["reason"] else "")
    screen().print(words, highlight=False)
    if folder.is_dir():
        screen().print(f"  rows and table in {folder}", highlight=False, soft_wrap=True)


def state(ledger: Ledger, search: str) -> dict[str, Any]:
    """`aar status --json`: a contract, described in docs/operations.md and held by a test."""
    from aar.tracking import flags

    row = ledger.search(search)
    assert row is not None
    base = json.loads(row["baselines"]) if row["baselines"] else {}
    trials, found = [], ledger.trials(search)
    for t in found:
        view = t.view
        trials.append({
            "id": t.number, "status": str(t.status), "author": t.author, "recipe": t.recipe,
            "label": t.label, "pgr": view.pgr if view else None, "ci_low": view.ci_low if view else None,
            "ci_high": view.ci_high if view else None, "accuracy": view.accuracy if view else None,
            "n_seeds": t.n_seeds, "reason": t.reason or (view.reason if view else None), "rationale": t.rationale,
            "predicted_pgr": t.predicted_pgr, "predicted_low": t.predicted_low, "predicted_high": t.predicted_high,
            "refute": t.refute, "source": source(t), "shares": dict(s.shares) if (s := sharing(t)) else None,
            "credit": dict(s.credit) if s else None,
        })  # fmt: skip
    confirmed = []
    for c in ledger.confirmations(search):
        views = c["views"]
        sealed = views.get("sealed")
        shown = sealed or views["fresh"]
        confirmed.append({
            "trial": c["trial"], "selected_pgr": (views.get("selected") or {}).get("pgr"),
            "fresh_pgr": views["fresh"]["pgr"], "sealed_pgr": sealed["pgr"] if sealed else None,
            "ci_low": shown["ci_low"], "ci_high": shown["ci_high"],
            "gain_over_matched_naive": views.get("gain_over_matched_naive"), "flags": flags(views),
            "audit": views.get("audit") or [],
        })  # fmt: skip
    spent, messages = ledger.spent(search), ledger.messages(search)
    said = [{"kind": m.kind, "at": m.at, "words": m.words, "outcome": m.outcome} for m in messages]
    now, limits = outlook(ledger, search, found), Budget.of(row["plan"]).model_dump()
    left = {name: None if limit is None else round(max(0.0, now.left[name]), 4) for name, limit in limits.items()}
    return {
        "search": search, "task": row["task"], "status": row["status"], "reason": row["reason"],
        "baselines": {name: base.get(name) for name in ("weak", "ceiling", "naive")},
        "paused": paused(messages), "messages": said,
        "trials": trials, "confirmed": sorted(confirmed, key=lambda c: c["sealed_pgr"] is None),
        "budget": limits, "left": left,
        "forecast": {"more_trials": now.more, "limited_by": now.limit, "ends_at": now.ends},
        "spend": {
            "wall_seconds": round(spent["wall_seconds"], 1), "job_seconds": round(spent["job_seconds"], 1),
            "gpu_hours": round(spent["gpu_seconds"] / 3600, 4), "looks": int(spent["looks"]),
            "tokens": int(now.spent["tokens"]), "usd": round(now.spent["usd"], 4),
            "openings": ledger.openings(row["id"]),
        },
        "researcher": _researcher(ledger, search, found),
    }  # fmt: skip


def _researcher(ledger: Ledger, search: str, trials: list[TrialRow]) -> dict[str, Any]:
    """How well who proposes predicts, how trials spread, and what conversations cost."""
    from aar.scoring import calibration, predictions

    said = talked(ledger.turns(search))
    return {
        "calibration": {
            c.author: {
                "n": c.n, "bias": round(c.bias, 4), "error": round(c.error, 4), "intervals": c.held.n,
                "held": [round(v, 4) for v in c.held[:3]] if c.held.n else None,
            } for c in calibration(predictions(trials))
        },
        "entropy_bits": entropy(trials), "plateaus": plateaus(trials),
        "talked": None if said is None else said._asdict() | {"cost": said.cost},
    }  # fmt: skip


def _spent(ledger: Ledger, search: str) -> str:
    """`spent  12 m in jobs, 42 looks at labels, 8,000 tokens read and 900 written ($0.0046)`."""
    spent, said = ledger.spent(search), talked(ledger.turns(search))
    words = [f"{duration(spent['job_seconds'])} in jobs", f"{spent['looks']:.0f} looks at labels"]
    if said is not None:
        words.append(f"{said.tokens_in:,} tokens read and {said.tokens_out:,} written ({said.cost})")
    return f"  spent       {', '.join(words)}"


def report(search: str | None, workspace: Path) -> None:
    """The HTML report, written again."""
    from aar.report import write_report

    settings = Settings(workspace=workspace)
    ledger = ledger_of(settings)
    screen().print(
        str(write_report(ledger, settings, _chosen(ledger, search, settings))), soft_wrap=True, highlight=False
    )


def ui(port: int, workspace: Path) -> None:
    """MLflow on the workspace: sends what waits, then becomes the server."""
    from aar.tracking import Mirror, ensure_store, serve_command, table_urls

    settings = Settings(workspace=workspace)
    ledger = ledger_of(settings)
    console = screen()
    ensure_store(settings)
    try:
        Mirror(ledger, settings).drain()
    except AarError as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
    command = serve_command(settings, port)
    ledger.close()
    for task, url in table_urls(settings, port).items():
        console.print(f"{task}  {url}", highlight=False, soft_wrap=True)
    console.print(f"MLflow on http://127.0.0.1:{port}  (Ctrl-C ends it)", highlight=False)
    os.execvp(command[0], command)
