"""The notes of runs: pages of a lab book, in markdown. Foreign text in them is inert."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aar.ledger import TrialRow
from aar.ledger.journal import entropy, plateaus, sharing
from aar.scoring import Calibration, calibration, predictions
from aar.tracking._about import About, best_selected
from aar.tracking._checked import Checked, check_finding, check_reason
from aar.tracking._claim import AUDITED, flags
from aar.tracking._text import interval, number, plain

BREAK = "  \n"
"""A line break inside a paragraph: MLflow folds a note after its first few lines."""
NOTE_LENGTH, LOG_LINES, FINDINGS, CITED = 7_900, 12, 3, 8


def trial_note(about: About, trial: TrialRow) -> str:
    """The trial as a page of a lab book, in markdown."""
    parent = about.trials.get(trial.parent) if trial.parent is not None else None
    lines = [f"**Why** {_checked(check_reason(about, trial))}"]
    if trial.predicted_pgr is not None:
        said = f"PGR {number(trial.predicted_pgr)} {interval(trial.predicted_low, trial.predicted_high)}".strip()
        more = f" (accuracy {number(trial.predicted_accuracy, 3)})" if trial.predicted_accuracy is not None else ""
        lines.append(f"**Predicted** {said}{more}")
    if trial.refute:
        lines.append(f"**Would refute it** {_prose(trial.refute)}")
    lines.append(f"**Came out** {_outcome(trial)}")
    views = about.confirmed.get(trial.number)
    if views:
        fresh = f"PGR {pgr(views['fresh'])} on fresh seeds (selected: {pgr(views['selected'])})"
        lines.append(f"**Confirmed** {fresh}")
        lines += [f"**Flagged** {_prose(flag)}" for flag in flags(views)]
        if views.get("controls"):
            lines.append("**Controls** " + "; ".join(_control(c) for c in views["controls"]))
        if views.get("audit"):
            lines.append("**Audit** " + "; ".join(f"{a['name']} {AUDITED[a['passed']]}" for a in views["audit"]))
    if views and "sealed" in views:
        mean, low, high = views["gain_over_matched_naive"]
        gain = f"{number(mean, 3)} {interval(low, high, 3)} accuracy over naive with the same student and schedule"
        lines.append(f"**Sealed split** PGR {pgr(views['sealed'])}; gain {gain}")
    learnt = sorted((f for f in about.findings if trial.number in f.trials), key=lambda f: len(f.trials))
    lines += [f"**Learnt** {_checked(check_finding(about, f))} ({_cited(f.trials)})" for f in learnt[:FINDINGS]]
    if parent is not None:
        value = f", PGR {pgr(parent.view.model_dump())}" if parent.view else ""
        lines.append(f"**Parent** t{parent.number} `{_code(parent.label)}`{value}")
    author = trial.author + (f", preset {trial.preset}" if trial.preset else "")
    lines.append(f"**Recipe** `{_code(trial.label)}` ({author})")
    if (chosen := sharing(trial)) is not None:
        told = ", ".join(f"{name} {100 * share:.0f} %" for name, share in chosen.shares.items())
        lines.append(f"**Asked** {chosen.source} (chances: {told})")
    tail = _last_log(about, trial)
    log = "\n\n**Log, last lines**\n\n" + "\n".join("    " + line for line in tail) if tail else ""
    return plain(BREAK.join(lines) + log, NOTE_LENGTH)


def search_note(about: About) -> str:
    """The search on one page, in markdown."""
    row, trials = about.row, list(about.trials.values())
    spec = json.loads(row["spec"])
    counts: dict[str, int] = {}
    for t in trials:
        counts[str(t.status)] = counts.get(str(t.status), 0) + 1
    lines = [f"**Task** {row['task']}: {_prose(spec.get('summary') or '')}"]
    shown = ", ".join(f"{n} {s}" for s, n in sorted(counts.items()))
    lines.append(f"**Status** {row['status']}; {len(trials)} trials ({shown})" + _because(row["reason"]))
    lines.append(f"**Result** {_result(about)}")
    spent = about.ledger.spent(about.search)
    lines.append(f"**Spent** {spent['job_seconds'] / 3600:.2f} h in jobs, {spent['looks']:.0f} looks at labels")
    if (talked := about.talked) is not None:
        wrong = ", ".join(f"{what} {count}" for what, count in talked.troubles.items()) or "nothing"
        tokens = f"{talked.tokens_in:,} tokens read and {talked.tokens_out:,} written"
        lines.append(f"**Talked** {talked.conversations} conversations, {tokens}, {talked.cost}; went wrong: {wrong}")
    lines += [f"**Predictions** {_calibrated(c)}" for c in calibration(predictions(trials))]
    bits = entropy(trials)
    if bits is not None:
        lines.append(f"**Families** {bits:.2f} bits over {len(trials) - 1} trials, {plateaus(trials)} plateaus")
    base = json.loads(row["baselines"]) if row["baselines"] else {}
    if base:
        shown = ", ".join(f"{k} {number(base.get(k), 3)}" for k in ("weak", "naive", "ceiling"))
        lines.append(f"**Baselines** {shown}")
    best = best_selected(trials)
    if best is not None and best.view is not None:
        seen = f"t{best.number} `{_code(best.label)}` PGR {pgr(best.view.model_dump())}"
        lines.append(f"**Best selected** {seen} (a maximum over noisy trials: optimistic)")
    table = ["| trial | selected | fresh seeds | sealed split |", "|---|---|---|---|"]
    for n, v in about.confirmed.items():
        cells = [f"t{n} {_cell(about.trials[n].label)}", pgr(v["selected"]), pgr(v["fresh"])]
        table.append(f"| {' | '.join(cells)} | {pgr(v['sealed']) if 'sealed' in v else '–'} |")
    lines += [f"**Learnt** {_checked(check_finding(about, f))} ({_cited(f.trials)})" for f in about.findings]
    lines += [f"**Said** {_prose(m.words)}" + (f" → {_prose(m.outcome)}" if m.outcome else "") for m in about.messages]
    confirmed = "\n\n**Confirmed** (PGR with 95 % interval)\n\n" + "\n".join(table) if about.confirmed else ""
    return plain(BREAK.join(lines) + confirmed, NOTE_LENGTH)


def _calibrated(c: Calibration) -> str:
    """`llm: 12, off by .21 (bias -.10); 5 of 12 intervals held: too sure`."""
    said = f"{c.author}: {c.n}, PGR off by {number(c.error)} (bias {c.bias:+.2f})"
    return f"{said}; {c.words} (80 % promised, held [{number(c.held.low)}, {number(c.held.high)}])" if c.words else said


def _because(text: str | None) -> str:
    return f". {_prose(text)}" if text else ""


def _result(about: About) -> str:
    """The one sentence to read."""
    for n, v in about.confirmed.items():
        if "sealed" in v:
            mean, low, high = v["gain_over_matched_naive"]
            gain = f"{number(mean, 3)} {interval(low, high, 3)} accuracy over matched naive"
            said = f"t{n} `{_code(about.trials[n].label)}`: PGR {pgr(v['sealed'])} on the sealed split, {gain}"
            return said + "".join(f". Flagged: {_prose(flag)}" for flag in flags(v))
    return "nothing was confirmed on fresh seeds, so every PGR here is optimistic"


def _control(view: Mapping[str, Any]) -> str:
    """`shuffled (t7) .51 ± .02`."""
    whose = f" ({view['recipe']})" if view["recipe"] else ""
    if view["accuracy"] is None:
        return f"{view['name']}{whose} {_prose(view['words'])}"
    said = f"{number(view['accuracy'], 3)} ± {number(view['accuracy_se'], 3)}"
    return _prose(f"{view['name'].replace('_', ' ')}{whose} {said}")


def reason(trial: TrialRow) -> str:
    """Why a trial ended as it did, or why it has no PGR."""
    return trial.reason or (trial.view.reason if trial.view and trial.view.reason else "")


def pgr(view: Mapping[str, Any]) -> str:
    """`.71 [.66, .76]`, or `none (why)`."""
    if view["pgr"] is None:
        return f"none ({view['reason']})"
    return f"{number(view['pgr'])} {interval(view['ci_low'], view['ci_high'])}".strip()


def _outcome(trial: TrialRow) -> str:
    said = str(trial.status)
    if trial.view is not None:
        view = trial.view
        said += f" after {trial.n_seeds} seeds: PGR {pgr(view.model_dump())}"
        said += f", accuracy {number(view.accuracy, 3)} ± {number(view.accuracy_se, 3)} on {view.split}"
        if view.pgr is not None and trial.predicted_pgr is not None:
            said += f"; off by {view.pgr - trial.predicted_pgr:+.2f} from the prediction"
    return said + _because(trial.reason)


def _last_log(about: About, trial: TrialRow) -> list[str]:
    for a in reversed(about.ledger.attempts(about.search, trial=trial.number)):
        if a["status"] not in ("ok", "running") and a["exit"]:
            return plain(json.loads(a["exit"]).get("log_tail", "")).rstrip().split("\n")[-LOG_LINES:]
    return []


def _cited(trials: Sequence[int]) -> str:
    names = ", ".join(f"t{n}" for n in trials[:CITED])
    return names + (f" and {len(trials) - CITED} more" if len(trials) > CITED else "")


def _checked(found: Checked) -> str:
    """What was said, with what the ledger contradicts struck out."""
    said = ""
    for s in found.said:
        words = _prose(s.text) if s.ledger is None else f"~~{_prose(s.text)}~~ **{_prose(s.ledger)}**"
        said += f"{' ' if s.text[:1].isspace() else ''}{words}{' ' if s.text[-1:].isspace() else ''}"
    return f"{said} ({_prose(found.unchecked)})" if found.unchecked else said


def _prose(text: str) -> str:
    """Foreign text on one line in which no character means anything to markdown."""
    escaped = re.sub(r"([\\`*_~\[\]#|!])", r"\\\1", " ".join(plain(text).split()))
    return escaped.replace("<", "&lt;").replace(">", "&gt;").replace("://", "&#58;//").replace("www.", "www&#46;")


def _code(text: str) -> str:
    """Foreign text for between backticks."""
    return " ".join(plain(text).replace("`", "'").split())


def _cell(text: str) -> str:
    return _code(text).replace("|", "/")
