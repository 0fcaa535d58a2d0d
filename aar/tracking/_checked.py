"""What people and models write of results, checked against the ledger before it is printed.

Recognised are `A beat B by X` (A, B a trial, `naive` or a part), `tN` with its PGR, accuracy or share of the gap
in the same clause, and `predictions were off by X accuracy`. What a claim says must be a public value of the ledger,
rounded as it is written. Every other fraction and percentage, and in a sentence about trials, PGR, accuracy or the gap
every other quantity, in digits or words, is named as not checked: rather no verdict than a wrong one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aar.ledger import TrialRow
from aar.methods import short
from aar.tracking._about import About
from aar.types import SLOTS, Finding

AMOUNTS = {"zero": "0", "none": "0", "half": ".5", "one": "1", "all": "1", "whole": "1", "entire": "1", "full": "1"}
PERCENT = r"(?:%|per ?cent\b|(?:percentage )?points?\b)"
VALUE = rf"(?P<value>[-−+]?(?:\d+[.,]\d+|\.\d+|\d+)|\b(?:{'|'.join(AMOUNTS)})\b)(?:\s?(?P<percent>{PERCENT}))?"
OTHER = (
    r"\b(?:by|gain\w*|predict\w*|expect\w*|differ\w*|over|above|below|under|within|than|would|should|could|if|may|might"
    r"|per|weak|ceiling|naive|more|less|higher|lower|better|worse|up|down|not?|never|nor|neither|without|\w*n['’]t"
    r"|fail\w*|short|aim\w*|need\w*|hope\w*|want\w*|lose[sd]?|losing|lost|drop\w*|f[ae]ll\w*)\b"
)
"""Words after which a number is not what a trial reached."""
NEAR = rf"(?:(?!\b(?:t|trial )\d+\b|[;,\n]|\.\s|{OTHER}).){{0,60}}?"
"""So far from its trial a number may stand: not past the clause, nor past another trial."""
END = (
    rf"(?![\d./]*\d)(?!\s?{PERCENT})(?!\s*(?:PGR\s+|accuracy\s+)?{OTHER})(?!\s*(?:-|–|to|and|or|,)\s*\d*\.\d)"
    r"(?!\s+(?:on|for|in|among|where|when)\b(?!\s+(?:the\s+)?(?:fresh|sealed|dev|test|\w+ seeds)\b))"
    r"(?!\s*(?:PGR\s+|accuracy\s+)?(?:weights?|target|threshold|goal)\b)"
)
"""What follows makes it another number: a unit, a comparison, a second value, a part of the rows."""
MEASURE = r"(?P<measure>PGR|acc(?:uracy)?)\b"
TRIAL = r"(?<!\bnor )(?<!\bnot )\b(?:t|trial )(?P<trial>\d+)\b"
JOIN = r"\s*(?:of|is|was|at|to|=|:|≈|about)?\s*"
CLAIMS = [
    re.compile(
        rf"(?<![+·&])(?<![+·&]\s)(?<!\band\s)(?<!\bwith\s)\b(?P<a>[\w]+) "
        rf"(?:beats?|is ahead of|outperform(?:s|ed)) (?P<b>[\w]+) by {VALUE}(?:\s+(?:of\s+)?{MEASURE})?",
        re.I,
    ),
    re.compile(rf"{TRIAL}{NEAR}\b{MEASURE}{JOIN}{VALUE}{END}", re.I),
    re.compile(rf"{TRIAL}{NEAR}(?<![\w.=]){VALUE}\s+{MEASURE}{END}", re.I),
    re.compile(
        rf"{TRIAL}{NEAR}\b(?:recover|clos|bridg)\w* (?:the )?{VALUE}(?: of)? (?P<gap>(?:the |its )?gap)\b{END}", re.I
    ),
    re.compile(rf"predictions were off by {VALUE} {MEASURE}(?: on average)?(?: \(bias [-+.\d]+\))?", re.I),
]
WRITERS = ("llm", "human")
FRACTION = re.compile(rf"(?<![\w.=:/→-])[-−+]?(?:\d*\.\d+(?![\w/])|\d+(?:[.,]\d+)?\s?{PERCENT})", re.I)
NUMERALS = rf"two|three|four|five|six|seven|eight|nine|ten|third|quarter|twice|double[sd]?|{'|'.join(AMOUNTS)}"
QUANTITY = re.compile(rf"(?<![\w./-])[-−+]?(?:(?:\d+[.,]\d+|\.\d+|\d+)(?:/\d+)?|\b(?:{NUMERALS}))(?!\w)", re.I)
SENTENCE = re.compile(r".+?(?:[.!?](?=\s)|\n|$)", re.S)
OUTCOME = re.compile(r"\b(?:(?:t|trials? )\d+|PGR|acc|accuracy|gap|correct|naive|ceiling|beats?|beat)\b", re.I)
APART = re.compile(
    r"\b(?!(?:acc|accuracy|pgr|gap)=)[\w.]+=[^\s,;]+|(?<=\d)→[\d.]+|\btrials? \d+|"
    rf"\b(?:\d+|{NUMERALS})[ -](?:\w+ )?(?:trial|seed|epoch|step|row|example|layer|class|hour|minute)(?:e?s)?\b",
    re.I,
)
"""Settings, names of trials and counts of what was run: quantities, but not results."""
INTERVAL = re.compile(r"\s*\[[^\]]{1,40}\]")


class Said(NamedTuple):
    """A stretch of text; `ledger` is what the ledger says where this contradicts it, None where it does not."""

    text: str
    ledger: str | None = None


class Checked(NamedTuple):
    """A text in stretches, and what of it could not be checked: `not checked`, or the numbers; "" for nothing."""

    said: tuple[Said, ...]
    unchecked: str


def check_finding(about: About, finding: Finding) -> Checked:
    """A finding against the trials it rests on."""
    found = _checked(about, finding.text, [about.trials[n] for n in finding.trials if n in about.trials])
    bare = not found.unchecked and len(found.said) == 1 and found.said[0].ledger is None
    known = any(pattern.search(finding.text) for pattern in CLAIMS)
    return found._replace(unchecked="not checked") if bare and not known else found


def check_reason(about: About, trial: TrialRow) -> Checked:
    """A trial's rationale against what was known when it was proposed; our own prose of papers is left alone.

    Numbers that are not claims are named where a model or a person wrote them.
    """
    if trial.author == "preset":
        return Checked((Said(trial.rationale),), "")
    known = [t for t in about.trials.values() if t.finished is not None and t.finished <= trial.created]
    found = _checked(about, trial.rationale, known)
    return found if trial.author in WRITERS else found._replace(unchecked="")


def words(checked: Checked) -> str:
    """On one line, for where nothing can be struck out."""
    said = "".join(s.text if s.ledger is None else f"{s.text} [wrong; {s.ledger}]" for s in checked.said)
    return f"{said} ({checked.unchecked})" if checked.unchecked else said


def _checked(about: About, text: str, among: Sequence[TrialRow]) -> Checked:
    spans: list[tuple[int, int, str | None]] = []
    doubtful: list[str] = []
    for pattern in CLAIMS:
        for m in pattern.finditer(text):
            if any(m.start() < end and start < m.end() for start, end, _ in spans):
                continue
            truth = _truth(about, m, among)
            end = m.end() + (i.end() if (i := INTERVAL.match(text[m.end() :])) else 0)
            if truth is None:
                doubtful.append(m[0])
                spans.append((m.start(), end, None))
            else:
                spans.append((m.start(), end, None if any(_same(m, v) for v in truth.values()) else _told(truth)))
    out, at = [], 0
    for start, end, wrong in sorted(spans):
        if wrong is not None:
            out += [Said(text[at:start])] if start > at else []
            out.append(Said(text[start:end], wrong))
            at = end
    out += [Said(text[at:])] if at < len(text) or not out else []
    rest = [m[0].strip() for m in _quantities(text) if not any(s <= m.start() < e for s, e, _ in spans)]
    return Checked(tuple(out), f"not checked: {', '.join([*doubtful, *rest])}" if doubtful or rest else "")


def _quantities(text: str) -> list[re.Match[str]]:
    """What may be a result: fractions and percentages anywhere, all quantities beside the name of an outcome."""
    found = list(FRACTION.finditer(text))
    for sentence in SENTENCE.finditer(text):
        if OUTCOME.search(sentence[0]):
            found += QUANTITY.finditer(text, *sentence.span())
    apart = [m.span() for m in APART.finditer(text)]
    kept: list[re.Match[str]] = []
    for m in sorted(found, key=lambda m: (m.start(), -m.end())):
        if not any(s <= m.start() < e for s, e in apart) and not (kept and m.start() < kept[-1].end()):
            kept.append(m)
    return kept


def _truth(about: About, claim: re.Match[str], among: Sequence[TrialRow]) -> dict[str, float] | None:
    """What the ledger has for a claim, by its name there; None where it has nothing to hold the claim against."""
    groups = claim.groupdict()
    said = "PGR" if groups.get("gap") else groups.get("measure") or ""
    measures = ("PGR",) if said.upper() == "PGR" else ("accuracy",) if said else ("accuracy", "PGR")
    if groups.get("trial"):
        if not claim["percent"] and _written(claim)[0] > 2:
            return None  # 95 of what is not said
        return _values(about, int(groups["trial"]), measures[0]) or None
    if groups.get("a"):
        return {k: v for m in measures for k, v in _gains(about, groups["a"], groups["b"], m, among).items()} or None
    pairs = [(t.view.accuracy, t.predicted_accuracy) for t in among if t.view and t.predicted_accuracy is not None]
    return {"off by": sum(abs(x - y) for x, y in pairs) / len(pairs)} if pairs else None


def _gains(about: About, a: str, b: str, measure: str, among: Sequence[TrialRow]) -> dict[str, float]:
    """A less B: a named trial (`naive` is t0), or the mean and the best of all trials with a part, both in one slot."""

    def values(name: str, slot: str) -> list[float]:
        named = "0" if name == "naive" else name[1:] if re.fullmatch(r"t\d+", name) else None
        if named is not None:
            whose = [t for t in about.trials.values() if t.number == int(named)]
        else:
            whose = [t for t in among if getattr(t.recipe, slot).name == name]
        return [v for t in whose if (v := _value(t, measure)) is not None]

    for slot in SLOTS:
        x, y = values(a, slot), values(b, slot)
        if x and y:
            if len(x) == len(y) == 1:
                return {f"{measure} gain": x[0] - y[0]}
            mean, best = sum(x) / len(x) - sum(y) / len(y), max(x) - max(y)
            return {f"mean {measure} gain": mean, f"best {measure} gain": best}
    return {}


def _values(about: About, trial: int, measure: str) -> dict[str, float]:
    """A trial's public values of one measure: selected, and where it was confirmed fresh and sealed."""
    t = about.trials.get(trial)
    own = _value(t, measure) if t else None
    views: Mapping[str, Any] = about.confirmed.get(trial, {})
    found = {"": own} | {f"{k} ": views[k][measure.lower()] for k in ("fresh", "sealed") if views.get(k)}
    return {f"{k}{measure}": v for k, v in found.items() if v is not None}


def _value(trial: TrialRow, measure: str) -> float | None:
    return None if trial.view is None else trial.view.pgr if measure == "PGR" else trial.view.accuracy


def _same(claim: re.Match[str], value: float) -> bool:
    """Is the number that was written this value? To its last digit; .01 may have come with seeds added since."""
    written, unit = _written(claim)
    scale = 100 if claim["percent"] else 1
    half = 0.0 if unit == scale == 1 else unit / 2  # PGR 1 is no rounded .55
    return bool(abs(written - value * scale) <= max(half, min(unit, 0.01 * scale)) + 1e-9)


def _written(claim: re.Match[str]) -> tuple[float, float]:
    """The number that was written, and one in its last digit."""
    written = AMOUNTS.get(claim["value"].lower(), claim["value"]).replace("−", "-").replace(",", ".")
    return float(written), 10.0 ** -len(written.partition(".")[2])


def _told(truth: Mapping[str, float]) -> str:
    return "ledger: " + ", ".join(f"{name} {short(round(value, 3))}" for name, value in truth.items())
