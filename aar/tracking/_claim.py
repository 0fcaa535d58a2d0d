"""The claim card: everything that speaks for and against a search's winner, on one page, and how to run it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from aar.ledger import TrialRow
from aar.methods import settings
from aar.tasks import list_tasks, load_task
from aar.tracking._about import About
from aar.tracking._text import interval, number, plain
from aar.types import AarError, AuditView, ControlView, PublicScore, SliceView, TaskSpec

MEANINGS = {
    "agreement": "agrees with its supervisor on this share of rows",
    "errors_copied": "of its supervisor's errors, the share it repeats",
    "misfit": "KL(student ‖ supervisor), nats",
    "loss_gain": "cross-entropy less than its supervisor's, nats; theory under convexity: at least the misfit",
    "ece": "calibration error",
    "ece_scaled": "calibration error after a temperature fitted on other rows",
    "ece_weak": "its supervisor's calibration error",
    "auroc": "area under the ROC curve",
    "right_where_weak_right": "accuracy where its supervisor is right",
    "right_where_weak_wrong": "accuracy where its supervisor is wrong",
    "right_where_weak_unsure": "accuracy on the fifth of rows where its supervisor is least sure",
    "effective_sample": "effective sample size of what it trained on, as a share of the transfer rows",
}
CONTROLS = {
    "shuffled": "shuffled weak labels",
    "matched_noise": "matched noise",
    "renumbered": "classes under other numbers",
    "length_only": "text length only",
    "zero_shot": "zero-shot",
    "self_training": "self-training without supervision",
}
AUDITED = {True: "passed", False: "failed", None: "not applicable"}

REPLAY = "On the search's seeds, then on fresh ones and the sealed split (which is one more opening)"


@dataclass(frozen=True)
class Measured:
    """One line of the card's table: what was measured, on what, and the gate's answer."""

    name: str
    view: PublicScore
    where: str


@dataclass(frozen=True)
class Claim:
    """A winner's card. Public values only; `flags` are sentences, `replay` command lines."""

    trial: TrialRow
    sentence: str
    flags: list[str]
    measured: list[Measured]
    controls: list[tuple[str, ControlView]]
    audit: list[AuditView]
    probe: dict[str, float] | None
    naive_probe: dict[str, float] | None
    diagnostics: list[tuple[str, float, str]]
    slices: tuple[SliceView, ...]
    openings: int
    conditions: list[tuple[str, str]]
    replay: list[str]

    @property
    def unflagged(self) -> str:
        """What it means that no control raises a flag: nothing where none has a result."""
        ran = sum(c.accuracy is not None for _, c in self.controls)
        return f"No control raises a flag ({ran} of {len(self.controls)} have a result)." if ran else "No control ran."


def claim(about: About, workspace: Path) -> Claim | None:
    """The card of the search's winner, or None before the seal was opened."""
    found = [(n, v) for n, v in about.confirmed.items() if "sealed" in v]
    if not found:
        return None
    n, views = found[0]
    trial, spec = about.trials[n], TaskSpec.model_validate_json(about.row["spec"])
    plan = json.loads(about.row["plan"])
    sealed = PublicScore.model_validate(views["sealed"])
    mean, low, high = views["gain_over_matched_naive"]
    gain = f"{'+' if mean > 0 else ''}{number(mean, 3)} {interval(low, high, 3)}"
    sentence = (
        f"On the sealed split t{n} reaches accuracy {number(sealed.accuracy, 3)}, PGR {_pgr(sealed)}: {gain} accuracy "
        "over naive training with the same student and schedule."
    )
    rows = [
        ("selected", "selected", "dev, search seeds; chosen for being high: flatters"),
        ("fresh seeds", "fresh", "dev, fresh seeds and fresh weak models"),
        ("sealed", "sealed", "test, fresh seeds; opened once in this search"),
        ("sealed, against the matched ceiling", "sealed_matched", "the ceiling under its own student and schedule"),
        ("matched naive, sealed", "naive_sealed", "naive under its student and schedule"),
    ]
    measured = [Measured(a, PublicScore.model_validate(views[k]), b) for a, k, b in rows if views.get(k)]
    whose = (("", "ood"), ("matched naive, ", "naive_ood"))
    measured += [
        Measured(f"{who}out of distribution: {name}", PublicScore.model_validate(view), "fresh seeds; it chose nothing")
        for name in views.get("ood") or () for who, key in whose for view in [views[key][name]]
    ]  # fmt: skip
    controls = [ControlView.model_validate(c) for c in views.get("controls") or ()]
    return Claim(
        trial=trial, sentence=sentence, flags=flags(views), measured=measured,
        controls=[(_control_name(c), c) for c in controls],
        audit=[AuditView.model_validate(a) for a in views.get("audit") or ()],
        probe=views.get("probe"), naive_probe=views.get("naive_probe"),
        diagnostics=[(k, sealed.diagnostics[k], words) for k, words in MEANINGS.items() if k in sealed.diagnostics],
        slices=sealed.slices,
        openings=int(views.get("openings", 0)),
        conditions=[
            ("task", f"{about.row['task']}: {spec.summary}"), ("search", about.search),
            ("data", about.row["data_digest"][:12]), ("code and models", str(plan.get("code") or "–")[:12]),
            ("fresh seeds", str(spec.seeds.confirm)), ("sandbox", str(plan.get("sandbox") or "not recorded")),
        ],
        replay=replay(trial, spec, int(plan.get("seed", 0)), about.search, workspace),
    )  # fmt: skip


def flags(views: Mapping[str, Any]) -> list[str]:
    """What controls and audit of a confirmed trial say against it, in sentences."""
    failed = [a for a in views.get("audit") or () if a["passed"] is False]
    said = [c["flag"] for c in views.get("controls") or () if c["flag"]]
    return said + [f"audit, {a['name']}: {a['words']}" for a in failed]


def replay(trial: TrialRow, spec: TaskSpec, seed: int, search: str, workspace: Path) -> list[str]:
    """Command lines that run the recipe again: on the search's seeds, then on fresh ones and the sealed split."""
    task = spec.name if _shipped(spec) else str(workspace / "reports" / f"{search}.yaml")
    where = [] if workspace == Path(".aar") else ["--workspace", str(workspace)]
    parts = {code.slot: f"part_{code.slot}.py" for code in trial.recipe.written}
    words = ["aar", "trial", task, *(w for file in parts.values() for w in ("--code", file))]
    words += [w for s in settings(trial.recipe, spec.training.strong) for w in ("--set", s)] + ["--seed", str(seed)]
    fetch = [
        ["aar", "export-part", search, str(trial.number), "--slot", slot, "--source", "--out", file, *where]
        for slot, file in parts.items()
    ]
    return [shlex.join(line) for line in (*fetch, [*words, *where], ["aar", "confirm", *where])]


def task_yaml(spec: TaskSpec) -> str:
    """The task as a file that `aar` reads to the same task."""
    return yaml.safe_dump(spec.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)


def markdown(card: Claim) -> str:
    """The card as a page of markdown, foreign text in code spans."""
    t = card.trial
    lines = [f"# Claim card: t{t.number} `{_code(t.label)}`", "", card.sentence, ""]
    lines += [f"**Flagged:** {_code(flag)}" for flag in card.flags] or ([card.unflagged] if card.controls else [])
    lines += ["", "| measured | accuracy | PGR | weak | ceiling | where |", "|---|---|---|---|---|---|"]
    for m in card.measured:
        v = m.view
        cells = [m.name, f"{number(v.accuracy, 3)} ± {number(v.accuracy_se, 3)}", _pgr(v), number(v.weak, 3)]
        lines.append(f"| {' | '.join([*cells, number(v.ceiling, 3), m.where])} |")
    lines += ["", "## Controls", ""]
    lines += [f"- {name}: {_code(c.words)}" for name, c in card.controls] or ["None were run."]
    lines += ["", "## Audit", ""]
    lines += [f"- {a.name}: **{AUDITED[a.passed]}**: {_code(a.words)}" for a in card.audit] or ["None was made."]
    if card.probe:
        lines += ["", "## Perturbed words, same label", "", f"- {probe_words(card.probe)}"]
        lines += [f"- matched naive: {probe_words(card.naive_probe)}"] if card.naive_probe else []
    lines += ["", "## Diagnostics (sealed split)", ""]
    lines += [f"- `{name}` {number(value, 3)}: {meaning}" for name, value, meaning in card.diagnostics]
    if card.slices:
        lines += ["", "## Slices (sealed split)", "", "| slice | rows | weak | accuracy | ceiling |"]
        lines += ["|---|---|---|---|---|"]
    for s in card.slices:
        cells = [_code(f"{s.column} {s.value}"), str(s.rows), number(s.weak, 3)]
        cells += [f"{number(s.accuracy, 3)} ± {number(s.se, 3)}", number(s.ceiling, 3)]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## Conditions", "", *(f"- {name}: {_code(value)}" for name, value in card.conditions)]
    lines += [f"- openings of these sealed rows, all searches: {card.openings}"]
    lines += ["", "## Run it again", "", f"{REPLAY}:", ""]
    return plain("\n".join([*lines, *(f"    {line}" for line in card.replay), ""]))


def probe_words(probe: Mapping[str, float]) -> str:
    """`accuracy .98 as it is, .97 perturbed; attack success .03`."""
    attack = probe.get("attack_success")
    said = f"accuracy {number(probe['clean'], 3)} as it is, {number(probe['perturbed'], 3)} perturbed"
    return said + (f"; attack success {number(attack, 3)}" if attack is not None else "")


def _control_name(view: ControlView) -> str:
    name = CONTROLS.get(view.name, view.name)
    return f"{name}, {view.recipe}" if view.recipe else name


def _shipped(spec: TaskSpec) -> bool:
    try:
        return spec.name in list_tasks() and load_task(spec.name)[0] == spec
    except AarError:
        return False


def _pgr(view: PublicScore) -> str:
    if view.pgr is None:
        return f"none ({view.reason})"
    return f"{number(view.pgr)} {interval(view.ci_low, view.ci_high)}".strip()


def _code(text: str) -> str:
    return " ".join(plain(text).replace("`", "'").replace("|", "/").replace("<", "‹").replace(">", "›").split())
