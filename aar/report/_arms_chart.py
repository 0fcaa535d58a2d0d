"""The chart of a comparison: best so far against trials, time and dollars, a line an arm, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aar.report._arms import Arms, Curve, Mean, mean
from aar.report._svg import AUTHORS, Scale, line, scale, svg, text
from aar.tracking import number

Array = NDArray[np.float64]
Band = tuple[Array, Array, Array, Array]
"""x, and low, mean and high of best so far there."""
PANEL, HEIGHT, TOP, BOTTOM, LEFT, RIGHT = 430, 330, 44, 286, 46, 14
GRID = 60
"""Points at which curves over time and dollars are averaged."""
COLOURS = {"optuna": "optuna", "random": "random", "llm": "llm", "mixed": "human", "presets": "preset"}


def chart(found: Arms) -> str:
    """Two panels, or three where a model cost something and its price is known."""
    colours = _colours(list(found.curves))
    every = [c for curves in found.curves.values() for c in curves]
    panels: list[tuple[str, Callable[[Curve], Array] | None]] = [("trials", None)]
    if min(c.seconds[-1] for c in every) > 0:
        panels.append((f"{'GPU' if found.clock == 'GPU' else 'job'} minutes", lambda c: c.seconds / 60))
    if max(c.usd[-1] for c in every) > 0 and not any(np.isnan(c.usd[-1]) for c in every):
        panels.append(("dollars", lambda c: c.usd))
    drawn = [(name, {arm: _band(curves, cost) for arm, curves in found.curves.items()}) for name, cost in panels]
    confirmed = {
        arm: mean(v) for arm, cs in found.curves.items() if (v := [c.confirmed for c in cs if c.confirmed is not None])
    }
    ends = [v for _, bands in drawn for _, low, mid, high in bands.values() for v in (*low, *mid, *high)]
    ends += [v for m in confirmed.values() for v in (m.mean, m.low, m.high) if v is not None]
    y = scale([max(min(v, 2.0), -1.0) for v in ends], BOTTOM, TOP + 8)
    body = _legend(colours, found, bool(confirmed))
    for i, (name, bands) in enumerate(drawn):
        body += _panel(i * PANEL, name, bands, colours, y, confirmed)
    body.append(text(10, TOP - 4, f"best so far, {found.unit}", "soft"))
    return svg(PANEL * len(drawn), HEIGHT, f"Best so far by arm: {found.task}", body)


def _colours(arms: Sequence[str]) -> dict[str, str]:
    """A class for each arm: its own where it has one, else one that no other has."""
    spare = [a for a in AUTHORS if a not in {COLOURS.get(arm) for arm in arms}]
    return {arm: COLOURS.get(arm) or spare[i % max(1, len(spare))] for i, arm in enumerate(arms)}


def _band(curves: Sequence[Curve], cost: Callable[[Curve], Array] | None) -> Band:
    """(x, low, mean, high) of best so far over repeats; against a cost up to what every search of the arm spent."""
    if cost is None:
        x = np.arange(len(curves[0].best) + 1, dtype=float)
        rows = np.stack([np.concatenate([[c.naive], c.best]) for c in curves])
    else:
        x = np.linspace(0, min(float(cost(c)[-1]) for c in curves), GRID)
        rows = np.stack(
            [np.concatenate([[c.naive], c.best])[np.searchsorted(cost(c), x, side="right")] for c in curves]
        )
    over = [mean(list(column)) for column in rows.T]
    low, mid, high = ([m.mean if v is None else v for m in over for v in (m[k],)] for k in (1, 0, 2))
    return x, np.array(low), np.array(mid), np.array(high)


def _panel(
    left: float, name: str, bands: Mapping[str, Band], colours: Mapping[str, str], y: Scale,
    confirmed: Mapping[str, Mean],
) -> list[str]:  # fmt: skip
    start, end = left + LEFT, left + PANEL - RIGHT - (16 * len(confirmed) + 8 if confirmed else 0)
    most = max(float(x[-1]) for x, *_ in bands.values())
    x = Scale(0.0, most or 1.0, start, end)
    body = []
    for tick in y.ticks():
        body.append(line(start, y(tick), left + PANEL - RIGHT, y(tick), "grid"))
        body.append(text(start - 6, y(tick) + 4, number(tick, 2), "end soft"))
    body += [text(x(tick), BOTTOM + 18, f"{tick:g}", "mid soft") for tick in x.ticks(6)]
    body.append(text((start + end) / 2, BOTTOM + 36, name, "mid soft"))
    for arm, (at, low, _, high) in bands.items():
        edge = [(x(a), y(b)) for a, b in zip(at, high, strict=True)]
        edge += [(x(a), y(b)) for a, b in zip(at[::-1], low[::-1], strict=True)]
        body.append(f'<polygon points="{_points(edge)}" class="band {colours[arm]} full"/>')
    for arm, (at, _, mid, _) in bands.items():
        along = [(x(a), y(b)) for a, b in zip(at, mid, strict=True)]
        body.append(f'<polyline points="{_points(along)}" class="arm {colours[arm]}"/>')
    for i, (arm, m) in enumerate(confirmed.items()):
        at_x = end + 16 + 16 * i
        if m.low is not None and m.high is not None:
            body.append(line(at_x, y(m.low), at_x, y(m.high), f"arm {colours[arm]}"))
        body.append(f'<circle cx="{at_x:g}" cy="{y(m.mean):g}" r="4.5" class="mark {colours[arm]} full"/>')
    return body


def _points(along: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{a:g},{b:g}" for a, b in along)


def _legend(colours: Mapping[str, str], found: Arms, confirmed: bool) -> list[str]:
    out, at = [], LEFT + 4.0
    for arm, colour in colours.items():
        words = f"{arm} ({len(found.curves[arm])})"
        out += [line(at, 14, at + 18, 14, f"arm {colour}"), text(at + 24, 18, words)]
        at += 44 + 7 * len(words)
    if confirmed:
        out += [f'<circle cx="{at + 6:g}" cy="14" r="4.5" class="mark random hollow"/>']
        out.append(text(at + 16, 18, "confirmed on fresh seeds", "soft"))
    return out
