"""The report's charts, each a function from public values to SVG; an empty text where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aar.ledger import TrialRow
from aar.ledger.journal import sharing
from aar.report._headline import Row
from aar.report._svg import AUTHORS, Scale, line, mark, rect, scale, svg, text
from aar.scoring import Prediction
from aar.tracking import interval, number
from aar.types import PublicScore, TrialStatus

WIDTH, LEFT, RIGHT = 900, 140, 190
NEVER_RAN = (TrialStatus.FAILED, TrialStatus.REJECTED)
FURTHEST = (-1.0, 2.0)


def gap_bars(rows: Sequence[Row]) -> str:
    """How much of the way from weak to ceiling each row goes. Every row has its own weak and ceiling as its track."""
    by_key = {row.key: row for row in rows}
    weak, ceiling = by_key["weak"].accuracy, by_key["ceiling"].accuracy
    shown = [row for row in rows if row.accuracy is not None]
    if weak is None or ceiling is None or len(shown) < 3:
        return ""
    tracks = [v for row in shown for v in (row.accuracy, row.weak, row.ceiling) if v is not None]
    ends = [min(max(v, -0.5), 1.5) for row in shown for v in (row.ci_low, row.ci_high) if v is not None]
    tracks += [weak + v * (ceiling - weak) for v in ends]
    x = scale(tracks, LEFT, WIDTH - RIGHT, 0.04)
    height, body = 24 + 34 * len(shown) + 28, []
    for tick in x.ticks():
        body += [line(x(tick), 20, x(tick), height - 30, "grid"), text(x(tick), height - 12, number(tick), "mid soft")]
    body.append(text(WIDTH - RIGHT, height - 12, "accuracy", "soft"))
    for i, row in enumerate(shown):
        y, own_weak, own_top = 24 + 34 * i, row.weak or weak, row.ceiling or ceiling
        assert row.accuracy is not None
        body.append(text(LEFT - 10, y + 16, row.name + (f" t{row.trial}" if row.trial else ""), "end"))
        body.append(rect(x(own_weak), y + 4, x(own_top) - x(own_weak), 18, "track"))
        if row.key == "weak":
            body.append(rect(x(row.accuracy) - 1.5, y + 2, 3, 22, row.key))
        else:
            kind = row.key if row.accuracy >= own_weak else "under"
            body.append(rect(x(own_weak), y + 4, x(row.accuracy) - x(own_weak), 18, kind))
        if row.ci_low is not None and row.ci_high is not None:
            low, high = (own_weak + ci * (own_top - own_weak) for ci in (row.ci_low, row.ci_high))
            body += [line(x(low), y + 13, x(high), y + 13, "whisker")]
            body += [line(x(e), y + 9, x(e), y + 17, "whisker") for e in (low, high)]
        pgr = "" if row.ci_low is None else f"PGR {number(row.pgr)} {interval(row.ci_low, row.ci_high)}"
        body.append(text(WIDTH - RIGHT + 12, y + 17, number(row.accuracy, 3)))
        body.append(text(WIDTH - RIGHT + 52, y + 17, pgr, "soft"))
    return svg(WIDTH, height, "Accuracy from weak to ceiling", body)


class _Seen(NamedTuple):
    trial: TrialRow
    value: float
    low: float | None
    high: float | None


def _seen(trials: Sequence[TrialRow]) -> tuple[str, list[_Seen]]:
    """PGR of every trial that has one; where none has, accuracy with two standard errors."""
    scored = [(t, t.view) for t in trials if t.view is not None]
    with_pgr = [_Seen(t, v.pgr, v.ci_low, v.ci_high) for t, v in scored if v.pgr is not None]
    if with_pgr:
        return "PGR", with_pgr
    return "accuracy", [
        _Seen(t, v.accuracy, v.accuracy - 2 * v.accuracy_se, v.accuracy + 2 * v.accuracy_se) for t, v in scored
    ]


def by_trial(trials: Sequence[TrialRow], fresh: Mapping[int, PublicScore]) -> str:
    """Value of every trial in the order they were tried, with intervals, authors, the lost ones, and fresh values."""
    what, seen = _seen(trials)
    if not seen:
        return ""
    again = {n: v.pgr if what == "PGR" else v.accuracy for n, v in fresh.items()}
    ends = [v for s in seen for v in (s.value, s.low, s.high) if v is not None] + [v for v in again.values() if v]
    if what == "PGR":
        ends = [min(max(v, FURTHEST[0]), FURTHEST[1]) for v in [*ends, 0.0]]
    last = max(t.number for t in trials)
    bottom, r = 330, 4.5 if last < 150 else 3.0
    x, y = Scale(-0.5, last + 0.5, 46, WIDTH - 12), scale(ends, bottom - 26, 34)
    body = _legend(trials, bool(again))
    for tick in y.ticks():
        body += [line(46, y(tick), WIDTH - 12, y(tick), "grid"), text(40, y(tick) + 4, number(tick, 2), "end soft")]
    body += [text(x(t), bottom + 6, f"t{t:g}", "mid soft") for t in x.ticks(12) if t == int(t) and t >= 0]
    body.append(text(10, 26, what, "soft"))
    body += _reference(seen, x, y)
    for s in seen:
        if s.low is not None and s.high is not None:
            at = x(s.trial.number)
            body.append(line(at, y(s.low), at, y(s.high), f"ci {s.trial.author}"))
    for s in seen:
        t = s.trial
        title = f"t{t.number} {t.label[:80]}: {what} {number(s.value)} {interval(s.low, s.high)}, {t.n_seeds} seeds"
        body.append(mark(t.author, x(t.number), y(s.value), t.status is TrialStatus.COMPLETE, title, r))
        if (value := again.get(t.number)) is not None:
            at = x(t.number) + r + 4
            body.append(line(at - 4, y(value), at + 5, y(value), "fresh"))
    if seen[0].trial.number == 0:
        body.append(text(x.end, y(seen[0].value) - 5, "naive", "end soft halo"))
    for t in trials:
        if t.status in NEVER_RAN:
            at = x(t.number)
            body += [line(at - 3, bottom - 20, at + 3, bottom - 14, "cross")]
            body += [line(at - 3, bottom - 14, at + 3, bottom - 20, "cross")]
    return svg(WIDTH, bottom + 16, f"{what} by trial", body)


def _reference(seen: Sequence[_Seen], x: Scale, y: Scale) -> list[str]:
    """Naive's value across, and the best complete value so far as steps."""
    out = []
    naive = next((s.value for s in seen if s.trial.number == 0), None)
    if naive is not None:
        out.append(line(x.start, y(naive), x.end, y(naive), "dash"))
    best: float | None = None
    points: list[tuple[float, float]] = []
    for s in sorted(seen, key=lambda s: s.trial.number):
        if s.trial.status is TrialStatus.COMPLETE and (best is None or s.value > best):
            points += [] if best is None else [(x(s.trial.number), y(best))]
            best = s.value
            points.append((x(s.trial.number), y(best)))
    if best is not None:
        points.append((x.end, y(best)))
        out.append(f'<polyline class="step" points="{" ".join(f"{a:g},{b:g}" for a, b in points)}"/>')
    return out


def _legend(trials: Sequence[TrialRow], fresh: bool) -> list[str]:
    out, at = _authors([t.author for t in trials], 60)
    notes = [("pruned (fewer seeds)", mark(_first(trials), at, 14, False))] if _has(trials, TrialStatus.PRUNED) else []
    for words, drawn in notes:
        out += [drawn, text(at + 10, 18, words, "soft")]
        at += 150
    if any(t.status in NEVER_RAN for t in trials):
        out += [line(at - 3, 11, at + 3, 17, "cross"), line(at - 3, 17, at + 3, 11, "cross")]
        out.append(text(at + 10, 18, "failed or rejected", "soft"))
        at += 130
    if fresh:
        out += [line(at - 4, 14, at + 5, 14, "fresh"), text(at + 12, 18, "same recipe on fresh seeds", "soft")]
        at += 190
    out += [f'<polyline class="step" points="{at - 4},18 {at + 2},18 {at + 2},11 {at + 9},11"/>']
    return [*out, text(at + 14, 18, "best so far", "soft")]


def _authors(present: Sequence[str], at: float) -> tuple[list[str], float]:
    """Marks and names of those present, from `at` on; where they end."""
    out = []
    for author in AUTHORS:
        if author in present:
            out += [mark(author, at, 14, True), text(at + 10, 18, author, "soft")]
            at += 34 + 7 * len(author)
    return out, at


def _has(trials: Sequence[TrialRow], status: TrialStatus) -> bool:
    return any(t.status is status for t in trials)


def _first(trials: Sequence[TrialRow]) -> str:
    return next(t.author for t in trials if t.status is TrialStatus.PRUNED)


def calibration(pairs: Sequence[Prediction]) -> str:
    """Predicted (with its interval) against observed PGR; on the diagonal a prediction was right."""
    if len(pairs) < 3:
        return ""
    side, values = 380, [v for p in pairs for v in (p.said, p.seen, p.low, p.high) if v is not None]
    low, high = max(min(values), FURTHEST[0]), min(max(values), FURTHEST[1])
    room = (high - low) * 0.08 or 0.05
    x = Scale(low - room, high + room, 52, side - 12)
    y = Scale(low - room, high + room, side - 44, 28)
    body = []
    for tick in x.ticks(5):
        body += [line(x(tick), 28, x(tick), side - 44, "grid"), text(x(tick), side - 26, number(tick, 1), "mid soft")]
        body += [line(52, y(tick), side - 12, y(tick), "grid"), text(46, y(tick) + 4, number(tick, 1), "end soft")]
    body.append(line(x(x.low), y(y.low), x(x.high), y(y.high), "dash"))
    body += [line(x(p.low), y(p.seen), x(p.high), y(p.seen), f"ci {p.trial.author}") for p in pairs
             if p.low is not None and p.high is not None]  # fmt: skip
    for p in pairs:
        t, said = p.trial, f"{number(p.said)} {interval(p.low, p.high)}".strip()
        title = f"t{t.number} {t.label[:80]}: predicted {said}, came out {number(p.seen)}"
        body.append(mark(t.author, x(p.said), y(p.seen), t.status is TrialStatus.COMPLETE, title))
    body += _authors([p.trial.author for p in pairs], 60)[0]
    body.append(text(side / 2 + 20, side - 8, "predicted PGR", "mid soft"))
    body.append(f'<text transform="translate(14 {side / 2 - 20}) rotate(-90)" class="mid soft">observed PGR</text>')
    return svg(side, side, "Predictions against outcomes", body)


def portfolio(trials: Sequence[TrialRow]) -> str:
    """The chance each source had of proposing a trial, stacked; the mark under it is the one that was asked."""
    chosen = [(t, s) for t in trials if (s := sharing(t)) is not None]
    if not chosen:
        return ""
    last, top, bottom = max(t.number for t in trials), 30, 150
    x, y = Scale(0.5, max(last, 8) + 0.5, 46, WIDTH - 12), Scale(0.0, 1.0, bottom, top)
    width = max(x(2) - x(1) - 1.5, 1.0)
    sources = [a for a in AUTHORS if any(s.source == a or a in s.shares for _, s in chosen)]
    body = _authors(sources, 60)[0]
    body += [text(40, y(v) + 4, f"{v:.0%}".replace("%", " %"), "end soft") for v in (0.0, 0.5, 1.0)]
    for t, s in chosen:
        low, left = 0.0, x(t.number) - width / 2
        for author in sources:
            share = s.shares.get(author, 0.0)
            if share > 0:
                body.append(rect(left, y(low + share), width, round(y(low) - y(low + share), 1), f"share {author}"))
            low += share
        told = ", ".join(f"{a} {s.shares[a]:.0%}" for a in sources if a in s.shares)
        r = 4.5 if last < 100 else 2.5
        body.append(mark(s.source, x(t.number), bottom + 14, True, f"t{t.number} asked {s.source}: {told}", r))
    body += [text(x(v), bottom + 36, f"t{v:g}", "mid soft") for v in x.ticks(12) if v == int(v) and 1 <= v <= last]
    return svg(WIDTH, bottom + 44, "Shares of the sources by trial", body)


def bars(shares: Mapping[str, float], most: int = 12) -> str:
    """Shares of one, largest first; under one per cent is left out."""
    shown = sorted(((k, v) for k, v in shares.items() if v >= 0.01), key=lambda item: -item[1])[:most]
    if not shown:
        return ""
    left, body = 210, []
    x = Scale(0.0, max(shown[0][1], 0.01), left, 560)
    for i, (name, share) in enumerate(shown):
        y = 22 * i + 6
        body += [text(left - 8, y + 12, name, "end"), rect(left, y, x(share) - left, 15, "bar")]
        body.append(text(x(share) + 6, y + 12, f"{100 * share:.0f} %", "soft"))
    return svg(640, 22 * len(shown) + 10, "Importance of choices", body)
