"""What optimisation by feedback came to: truth, and what the feedback believes, against the way from the reference."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from aar.report._svg import STYLE, Scale, line, mark, scale, svg, text
from aar.report._template import render
from aar.runner.feedback import Feedback, Moment
from aar.scoring.verdicts import Share
from aar.settings import write_whole
from aar.tracking import interval, number

WIDTH, LEFT, TOP, BOTTOM = 900, 52, 42, 342
SERIES = {
    "proxy": ("optuna", "believed, of all texts"),
    "truth": ("preset", "truth, of well-formed texts"),
    "good": ("llm", "well-formed and true, of all texts"),
}
APART = 6.0
"""Pixels between the series of one look, whose bars would else hide each other."""


def write(found: Feedback, path: Path) -> Path:
    """What `aar.report.write_feedback` does."""
    if found.resampled:
        across = [float(m.samples) for m in found.resampled]
        chart = curve(found.moments, across, "samples that read as many tokens", found.resampled)
    else:
        across = [max(0.0, m.worth.kl.value) ** 0.5 for m in found.moments]
        chart = curve(found.moments, across, "square root of the KL from the reference (nats)")
    many, steps = found.plan.rounds > 1, found.plan.align.steps

    def at(moment: Moment) -> str:
        step = f"step\u00a0{moment.share * steps:.0f}"
        return f"round {moment.round + 1}, {step}" if many else step

    def cell(share: Share) -> str:
        return _cell(share).replace(" ", "\u00a0")  # an interval on one line

    page = render(
        "feedback.html.j2", {"curve": chart}, style=STYLE, found=found, cell=cell, at=at,
        now=datetime.now(UTC).timestamp(),
    )  # fmt: skip
    write_whole(path, page)
    return path


def curve(moments: Sequence[Moment], across: Sequence[float], what: str, beside: Sequence[Moment] = ()) -> str:
    """Shares at `across`, which is `what`, with intervals and each seed's share of well-formed and true texts.

    `beside` are looks at the same places, of which that last share is drawn too, hollow.
    """
    x = scale([0.0, *across], LEFT + 12, WIDTH - 24, 0.04)
    y = Scale(0.0, 1.0, BOTTOM, TOP)
    drawn = [(author, words, name, moments, True) for name, (author, words) in SERIES.items()]
    if beside:
        drawn.append(("human", "the same, best of as many samples", "good", beside, False))
    body, at = list[str](), LEFT + 12.0
    for author, words, _, _, full in drawn:
        body += [mark(author, at, 14, full), text(at + 11, 18, words, "soft")]
        at += 30 + 5.9 * len(words)
    for tick in y.ticks(5):
        body += [line(LEFT, y(tick), WIDTH - 12, y(tick), "grid"), text(LEFT - 8, y(tick) + 4, f"{tick:g}", "end soft")]
    for tick in x.ticks(7):
        if tick >= 0:
            body.append(text(x(tick), BOTTOM + 18, f"{tick:g}", "mid soft"))
    body.append(text((LEFT + WIDTH) / 2, BOTTOM + 38, what, "mid soft"))
    for i, (author, _, name, looks, full) in enumerate(drawn):
        places = [x(a) + APART * (i - 1) for a in across]
        told: list[tuple[float, Moment, Share]] = [
            (a, m, getattr(m.worth, name)) for a, m in zip(places, looks, strict=True)
        ]
        joined = " ".join(f"{a:g},{y(share.value):g}" for a, _, share in told)
        body.append(f'<polyline class="step {author}" points="{joined}"/>')
        for a, moment, share in told:
            if share.low == share.low:
                body.append(line(a, y(share.low), a, y(share.high), f"ci {author}"))
            if name == "good":
                body += [mark(author, a, y(each), False, f"a seed: {number(each, 3)}", 2) for each in moment.worth.each]
        for a, moment, share in told:
            title = f"round {moment.round + 1}, after {moment.share:.0%}: {name} {_cell(share)}"
            body.append(mark(author, a, y(share.value), full, title, 4))
    return svg(WIDTH, BOTTOM + 48, f"Truth and belief against {what}", body)


def _cell(share: Share) -> str:
    return f"{number(share.value, 3)} {interval(share.low, share.high, 3)}".strip()
