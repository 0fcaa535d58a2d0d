"""What a run in MLflow says of a trial or a search: params, metrics, tags, note, files. No MLflow in here.

Only public values are read (`PublicScore`, and baselines made of them): the table of exact scores never is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from aar.ledger import TrialRow, UnitRow
from aar.ledger.journal import entropy, plateaus, sharing, source
from aar.methods import file_of
from aar.scoring import calibration, predictions
from aar.tracking._about import About, best_selected
from aar.tracking._claim import claim, flags, markdown
from aar.tracking._notes import reason, search_note, trial_note
from aar.tracking._text import plain
from aar.types import SLOTS, Part, PublicScore, Written

NAME_LENGTH, TAG_LENGTH, PARAM_LENGTH, KEY_LENGTH = 200, 7_900, 500, 100
PART_FIELDS = ("trial", "author", "parent", "review")
UNTAKEN = re.compile(r"[^A-Za-z0-9_.-]+")
STATUSES = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "rejected": "KILLED",
            "duplicate": "KILLED"}  # fmt: skip


class Point(NamedTuple):
    """One value of a metric at a step."""

    key: str
    value: float
    step: int


@dataclass(frozen=True)
class Words:
    """All that one run says. Times are unix seconds; `files` are texts by name, `attachments` files on disk."""

    name: str
    status: str
    started: float
    finished: float | None
    tags: dict[str, str]
    params: dict[str, str]
    points: list[Point]
    files: dict[str, str] = field(default_factory=dict)
    attachments: list[Path] = field(default_factory=list)


def trial_words(about: About, number: int, workspace: Path) -> Words:
    """The run of one trial; a winner's has its claim card, with commands for `workspace`."""
    trial = about.trials[number]
    units, jobs, logs = _jobs(about, trial)
    tags = {
        "kind": "trial", "task": about.row["task"], "author": trial.author, "status": str(trial.status),
        "recipe": plain(trial.label, PARAM_LENGTH), "recipe_hash": trial.hash, "preset": trial.preset or "",
        "source": source(trial), "refute": plain(trial.refute or "", TAG_LENGTH),
        "parent": "" if trial.parent is None else f"t{trial.parent}", "n_seeds": str(trial.n_seeds),
        "reason": plain(reason(trial), TAG_LENGTH), "confirmed": _confirmed(about.confirmed.get(trial.number)),
        "flagged": plain("; ".join(flags(about.confirmed.get(trial.number, {}))), TAG_LENGTH),
        "mlflow.note.content": trial_note(about, trial),
    }  # fmt: skip
    files = {
        "recipe.yaml": yaml.safe_dump(trial.recipe.model_dump(mode="json"), sort_keys=False),
        "jobs.json": json.dumps(jobs, indent=2),
    }
    if units:
        files["curves.json"] = json.dumps({str(u.seed): u.curve for u in units})
    for code in trial.recipe.written:
        files |= _part_files(code, about.parts.get(code.digest, {}))
    card = claim(about, workspace) if "sealed" in about.confirmed.get(trial.number, {}) else None
    if card is not None:
        files["claim_card.md"] = markdown(card)
    if logs:
        files["log_tail.txt"] = "\n".join(logs)
    return Words(
        name=plain(f"t{trial.number} {trial.label}", NAME_LENGTH),
        status=STATUSES.get(str(trial.status), "RUNNING"),
        started=trial.created, finished=trial.finished, tags={k: v for k, v in tags.items() if v},
        params=_params(trial),
        points=list(_trial_points(about, trial, units)), files=files,
    )  # fmt: skip


def _part_files(code: Written, row: Mapping[str, Any]) -> dict[str, str]:
    """A written part as files: source as `aar trial --code` reads it, diff to its parent, what was said of it."""
    told = {"digest": code.digest, "part": code.ref, "slot": code.slot} | {k: row.get(k) for k in PART_FIELDS}
    diff = {f"part_{code.slot}.diff": row["diff"]} if row.get("diff") else {}
    return {f"part_{code.slot}.py": file_of(code), f"part_{code.slot}.json": json.dumps(told, indent=2)} | diff


def search_words(about: About, reports: Path) -> Words:
    """The run of a whole search. `reports` holds `<search>.html` and the plots in `<search>/`, where written."""
    row, plan = about.row, json.loads(about.row["plan"])
    params = {k: str(v) for k, v in plan.items() if isinstance(v, str | int | float) and v != ""}
    done = sum(1 for t in about.trials.values() if t.finished is not None)
    tags = {
        "kind": "search", "task": row["task"], "author": str(plan.get("researcher", "")), "status": row["status"],
        "reason": plain(row["reason"] or "–", TAG_LENGTH), "data_digest": row["data_digest"],
        "mlflow.note.content": search_note(about),
    }  # fmt: skip
    if about.talked is not None:
        tags["price"] = about.talked.cost
    found = [reports / f"{about.search}{end}" for end in (".html", ".yaml")]
    found += sorted((reports / about.search).glob("*.svg"))
    return Words(
        name=about.search, status=STATUSES.get(row["status"], "RUNNING"), started=row["created"],
        finished=row["finished"], tags=tags, params=params,
        points=[Point(k, v, done) for k, v in _search_values(about).items() if v is not None and math.isfinite(v)]
        + list(_share_points(about)),
        attachments=[path for path in found if path.is_file()],
    )  # fmt: skip


def _trial_points(about: About, trial: TrialRow, units: list[UnitRow]) -> Iterator[Point]:
    values: dict[str, float | None] = {"n_seeds": float(trial.n_seeds), "seconds": trial.seconds}
    for name in ("predicted_pgr", "predicted_low", "predicted_high", "predicted_accuracy"):
        values[name] = getattr(trial, name)
    if trial.view is not None:
        view = trial.view
        values |= {"accuracy": view.accuracy, "accuracy_se": view.accuracy_se} | _pgr_values("pgr", view)
        values |= view.diagnostics | _slice_values(view)
        if view.pgr is not None and trial.predicted_pgr is not None:
            values["prediction_error"] = round(view.pgr - trial.predicted_pgr, 4)
            (held,) = (p.held for p in predictions([trial]))
            values["prediction_held"] = None if held is None else float(held)
    for name, view in about.ood.get(trial.number, {}).items():
        values |= {f"ood_{name}_accuracy": view.accuracy} | _pgr_values(f"ood_{name}_pgr", view)
    for name, view in _public(about.confirmed.get(trial.number, {})).items():
        values |= _pgr_values(f"{name}_pgr", view) | {f"{name}_accuracy": view.accuracy}
    gain = about.confirmed.get(trial.number, {}).get("gain_over_matched_naive")
    values |= dict(zip(("gain", "gain_ci_low", "gain_ci_high"), gain or (), strict=False))
    views = about.confirmed.get(trial.number, {})
    for control in views.get("controls") or ():
        prefix = "naive_control" if control["recipe"] == "naive" else "control"
        values[f"{prefix}_{control['name']}"] = control["accuracy"]
    values |= {f"probe_{name}": value for name, value in (views.get("probe") or {}).items()}
    if views.get("audit"):
        values["audit_failed"] = float(sum(a["passed"] is False for a in views["audit"]))
    for key, value in values.items():
        if value is not None and math.isfinite(value):
            yield Point(key, value, trial.n_seeds)
    by_step: dict[int, list[float]] = {}
    for unit in units:
        for p in unit.curve:
            by_step.setdefault(int(p["step"]), []).append(p["loss"])
    for step, losses in sorted(by_step.items()):
        mean = sum(losses) / len(losses)
        if math.isfinite(mean):
            yield Point("train_loss", mean, step)


def _search_values(about: About) -> dict[str, float | None]:
    trials, spent = list(about.trials.values()), about.ledger.spent(about.search)
    base = json.loads(about.row["baselines"]) if about.row["baselines"] else {}
    values: dict[str, float | None] = {f"{k}_accuracy": base.get(k) for k in ("weak", "naive", "ceiling")}
    values["trials"] = float(len(trials))
    for status in ("complete", "pruned", "failed"):
        values[status] = float(sum(1 for t in trials if t.status == status))
    best = best_selected(trials)
    if best is not None and best.view is not None:
        values |= _pgr_values("best_pgr", best.view) | {"best_accuracy": best.view.accuracy}
    winner = next((v for v in about.confirmed.values() if "sealed" in v), None)
    if winner is not None:
        for name, view in _public(winner).items():
            values |= _pgr_values(f"{name}_pgr", view) | {f"{name}_accuracy": view.accuracy}
        values |= dict(zip(("gain", "gain_ci_low", "gain_ci_high"), winner["gain_over_matched_naive"], strict=True))
    values |= {"job_seconds": spent["job_seconds"], "gpu_hours": spent["gpu_seconds"] / 3600, "looks": spent["looks"]}
    values |= _researcher_values(about, trials)
    return values | {"openings": float(about.ledger.openings(about.search))}


def _researcher_values(about: About, trials: list[TrialRow]) -> dict[str, float | None]:
    """How well each author predicts, how trials spread over families, what conversations cost."""
    values: dict[str, float | None] = {"entropy_bits": entropy(trials), "plateaus": float(plateaus(trials))}
    for c in calibration(predictions(trials)):
        found = {"n": float(c.n), "bias": c.bias, "error": c.error}
        if c.held.n:
            found |= {"held": c.held.value, "held_low": c.held.low, "held_high": c.held.high}
        values |= {f"predictions_{c.author}_{key}": value for key, value in found.items()}
    if (talked := about.talked) is not None:
        values |= {"tokens_in": float(talked.tokens_in), "tokens_out": float(talked.tokens_out)}
        values |= {"usd": talked.usd, "calls_unpriced": float(talked.unpriced)}
        values |= {f"trouble_{UNTAKEN.sub('_', what)}": float(n) for what, n in talked.troubles.items()}
    return values


def _share_points(about: About) -> Iterator[Point]:
    """Shares and credits of the sources along the trials."""
    for t in about.trials.values():
        if (chosen := sharing(t)) is not None:
            yield from (Point(f"share_{name}", value, t.number) for name, value in chosen.shares.items())
            yield from (Point(f"credit_{name}", value, t.number) for name, value in chosen.credit.items())


def _confirmed(views: Mapping[str, Any] | None) -> str:
    """How far a trial got after the search: nowhere, onto fresh seeds, or onto the sealed split as the winner."""
    return "" if views is None else "winner" if "sealed" in views else "fresh"


def _public(views: Mapping[str, Any]) -> dict[str, PublicScore]:
    return {
        name: PublicScore.model_validate(views[key])
        for name, key in (("confirmed", "fresh"), ("sealed", "sealed"))
        if key in views
    }


def _slice_values(view: PublicScore) -> dict[str, float | None]:
    """`slice_NAME_VALUE_accuracy`, in letters that MLflow takes; what then reads the same gets a number."""
    values: dict[str, float | None] = {}
    for s in view.slices:
        name = UNTAKEN.sub("_", f"slice_{s.column}_{s.value}")[:KEY_LENGTH]
        key, twins = f"{name}_accuracy", 1
        while key in values:
            key, twins = f"{name}_{twins + 1}_accuracy", twins + 1
        values[key] = s.accuracy
    return values


def _pgr_values(name: str, view: PublicScore) -> dict[str, float | None]:
    return {name: view.pgr, f"{name}_ci_low": view.ci_low, f"{name}_ci_high": view.ci_high}


def _params(trial: TrialRow) -> dict[str, str]:
    out: dict[str, str] = {}
    for slot in SLOTS:
        part: Part = getattr(trial.recipe, slot)
        out[slot] = part.name
        out |= {f"{slot}.{key}": plain(str(value), PARAM_LENGTH) for key, value in part.params.items()}
    return out


def _jobs(about: About, trial: TrialRow) -> tuple[list[UnitRow], list[dict[str, Any]], list[str]]:
    """Students' units of the search phase, all jobs with digests, and the log tails of those that went wrong."""
    students, jobs, logs = [], [], []
    for a in about.ledger.attempts(about.search, trial=trial.number):
        end = json.loads(a["exit"]) if a["exit"] else {}
        units = [u for key in json.loads(a["keys"]) if (u := about.ledger.unit(key)) is not None]
        done = [{"key": u.key, "seed": u.seed, "outputs": u.outputs} for u in units]
        jobs.append({
            "attempt": a["id"], "kind": a["kind"], "status": a["status"], "reason": plain(end.get("reason", "")),
            "seconds": end.get("seconds"), "peak_memory": end.get("peak_memory"), "keys": json.loads(a["keys"]),
            "units": done,
        })  # fmt: skip
        if a["status"] not in ("ok", "running"):
            logs.append(f"== {a['id']}: {a['status']} {plain(end.get('reason', ''))}\n{plain(end.get('log_tail', ''))}")
        # What confirmation trains later is no part of the trial's own curve.
        if a["kind"] == "transfer" and (trial.finished is None or a["started"] <= trial.finished):
            students += units
    return students, jobs, logs
