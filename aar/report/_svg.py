"""Drawing: scales, ticks and marks as SVG text. Colours are CSS classes, so that a page may be light or dark."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

AUTHORS = ("preset", "optuna", "random", "llm", "human")
STYLE = """
:root { --ink: #1d2329; --soft: #66707a; --line: #dfe3e8; --paper: #ffffff; --track: #e9edf2; --good: #1f7a4d;
  --bad: #b3261e; --preset: #2f6fb2; --optuna: #c4541b; --random: #7a7f87; --llm: #0f8b6d; --human: #a2499b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa5b0; --line: #343b43; --paper: #15191d;
  --track: #262d35; --good: #55c08a; --bad: #f2857c; --preset: #6aa8e8; --optuna: #f09058; --random: #a9b0b8;
  --llm: #46c9a6; --human: #d98bd2; } }
svg.chart { width: 100%; height: auto; display: block; font: 12px system-ui, sans-serif; }
svg.chart text { fill: var(--ink); } svg.chart .soft { fill: var(--soft); } svg.chart .end { text-anchor: end; }
svg.chart .mid { text-anchor: middle; }
svg.chart .halo { paint-order: stroke; stroke: var(--paper); stroke-width: 4; } svg.chart .grid { stroke: var(--line); }
svg.chart .dash { stroke: var(--soft); stroke-dasharray: 4 4; } svg.chart .step { fill: none; stroke: var(--soft); }
svg.chart .track { fill: var(--track); } svg.chart .whisker { stroke: var(--ink); stroke-width: 1.5; }
svg.chart .cross { stroke: var(--bad); stroke-width: 1.5; } svg.chart .fresh { stroke: var(--ink); stroke-width: 2; }
svg.chart .under { fill: var(--bad); }
svg.chart .weak, svg.chart .naive, svg.chart .ceiling { fill: var(--random); }
svg.chart .selected { fill: var(--optuna); fill-opacity: .25; stroke: var(--optuna); stroke-dasharray: 3 2; }
svg.chart .confirmed, svg.chart .sealed { fill: var(--good); } svg.chart .bar { fill: var(--preset); }
svg.chart .ci { stroke-width: 1.2; stroke-opacity: .45; } svg.chart .mark { stroke-width: 1.6; }
svg.chart .hollow { fill: var(--paper); } svg.chart .arm { fill: none; stroke-width: 2; }
svg.chart .band { fill-opacity: .14; stroke-opacity: 0; }
svg.chart .hollow { fill: var(--paper); } svg.chart .share { stroke: none; fill-opacity: .55; }
""" + "\n".join(
    f"svg.chart .{a} {{ stroke: var(--{a}); }} svg.chart .{a}.full, svg.chart .{a}.share {{ fill: var(--{a}); }}"
    for a in AUTHORS
)


@dataclass(frozen=True)
class Scale:
    """Maps [low, high] to [start, end] in pixels; values outside are put on the edge."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Pixels, to a tenth."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, about: int = 6) -> list[float]:
        """Round values inside."""
        raw = (self.high - self.low) / about
        size = 10 ** math.floor(math.log10(raw))
        step = next(s * size for s in (1, 2, 5, 10) if s * size >= raw)
        first = math.ceil(self.low / step - 1e-9)
        return [round(i * step, 10) for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def scale(values: Sequence[float], start: float, end: float, margin: float = 0.06) -> Scale:
    """A scale that holds `values` with some room on both sides."""
    low, high = min(values), max(values)
    room = (high - low) * margin or 0.05
    return Scale(low - room, high + room, start, end)


def svg(width: int, height: float, title: str, body: Sequence[str]) -> str:
    """A whole chart; `title` is what a screen reader says."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {width} {height:g}" role="img"'
    return f"{head} aria-label={quoted(title)}>{''.join(body)}</svg>"


def standalone(chart: str) -> str:
    """A chart as a file of its own, with the size and the styles a page would give it."""
    opening, _, rest = chart.partition(">")
    opening = re.sub(r'viewBox="0 0 (\S+) (\S+)"', r'\g<0> width="\1" height="\2"', opening)
    ground = '<rect width="100%" height="100%" style="fill: var(--paper)"/>'
    return f"{opening}><style>{STYLE}</style>{ground}{rest}"


def quoted(text: str) -> str:
    """An attribute's value."""
    return f'"{html.escape(text, quote=True)}"'


def text(x: float, y: float, words: str, classes: str = "") -> str:
    """Words at a point."""
    return f'<text x="{x:g}" y="{y:g}" class="{classes}">{html.escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, classes: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" class="{classes}"/>'


def rect(x: float, y: float, width: float, height: float, classes: str) -> str:
    """A rectangle; a negative width goes left."""
    left, span = (x, width) if width >= 0 else (x + width, -width)
    return f'<rect x="{left:g}" y="{y:g}" width="{span:.1f}" height="{height:g}" rx="2" class="{classes}"/>'


def mark(author: str, x: float, y: float, full: bool, title: str = "", r: float = 4.5) -> str:
    """An author's mark: circle, square, diamond, triangle up, triangle down; hollow where not `full`."""
    classes = f"mark {author} {'full' if full else 'hollow'}"
    inside = f"<title>{html.escape(title)}</title>" if title else ""
    if author == "preset":
        return f'<circle cx="{x:g}" cy="{y:g}" r="{r:g}" class="{classes}">{inside}</circle>'
    shapes = {
        "optuna": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
        "random": ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
        "llm": ((0, -1.2), (1.2, 1), (-1.2, 1)),
        "human": ((0, 1.2), (1.2, -1), (-1.2, -1)),
    }
    points = " ".join(f"{x + dx * r * 0.9:.1f},{y + dy * r * 0.9:.1f}" for dx, dy in shapes[author])
    return f'<polygon points="{points}" class="{classes}">{inside}</polygon>'
