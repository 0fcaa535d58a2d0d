"""What digits debates came to: figures with intervals, rows, a page of transcripts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aar.oversight.digits import Digits, Game, Side
from aar.report import _debate_charts as charts
from aar.report._svg import STYLE, standalone
from aar.report._template import render
from aar.scoring import Rate, ece, gain, rate
from aar.settings import write_whole
from aar.tracking import interval

SHOWN = 4
"""Transcripts of each sort on the page."""


class Figure(NamedTuple):
    """A protocol's accuracy with k reveals and its 95 % interval, over all seeds.

    `side`: who revealed first, or alone; `both`: the mean over both orders. `chance`: what guessing comes to. `ece`:
    the calibration error of the verdicts' confidence, where a verdict is one comparison. `bias`: accuracy with the
    honest player first less that with the liar first.
    """

    k: int
    protocol: str
    side: str
    accuracy: float
    low: float
    high: float
    chance: float
    ece: float | None = None
    bias: Rate | None = None


def figures(games: Sequence[Game], labels: NDArray[np.int64]) -> list[Figure]:
    """A figure for each protocol and side, in the order in which they were played."""
    out = []
    for k in dict.fromkeys(g.k for g in games):
        played = {key: [g for g in games if (g.k, g.protocol, g.side) == (k, *key)] for key in _keys(games)}
        right = {key: np.stack([g.transcript.verdict == labels for g in some]) for key, some in played.items()}
        for (protocol, side), some in played.items():
            chance = 0.1 if some[0].wide or protocol == "precommit" else 0.5
            error = None if protocol == "precommit" else float(np.mean([_ece(g, labels) for g in some]))
            out.append(Figure(k, protocol, side, *rate(right[protocol, side]), chance, error))
            if side == "liar" and protocol != "consultancy":
                honest, liar = right[protocol, "honest"], right[protocol, "liar"]
                mean, error = rate((honest + liar.astype(np.float64)) / 2), None
                out.append(Figure(k, protocol, "both", *mean, chance, error, gain(honest, liar)))
    return out


def _keys(games: Sequence[Game]) -> list[tuple[str, Side]]:
    return list(dict.fromkeys((g.protocol, g.side) for g in games))


def _ece(game: Game, labels: NDArray[np.int64]) -> float:
    """Of the judge's choice between the claims, or between all classes where all could win."""
    told, at = game.transcript, np.arange(len(labels))
    if game.wide:
        return ece(told.logits, labels.astype(np.int32))
    claims = np.sort(told.claims, axis=1)  # by class, so that what is true has no place of its own
    return ece(told.logits[at[:, None], claims], (claims[:, 1] == labels).astype(np.int32))


def rows(games: Sequence[Game], labels: NDArray[np.int64]) -> Iterator[dict[str, object]]:
    """A row for each game on each image. `revealed` counts pixels from 0, row by row; `margin` is the judge's lean to
    the truth after each turn; `lie` is missing where every wrong class would do."""
    for g in games:
        t = g.transcript
        for i, truth in enumerate(labels.tolist()):
            yield {
                "k": g.k, "seed": g.seed, "protocol": g.protocol, "side": g.side, "image": i, "truth": truth,
                "lie": None if t.claims[i, 1] < 0 else int(t.claims[i, 1]),
                "by": ["honest" if player == 0 else "liar" for player in t.by.tolist()],
                "revealed": [part for part in t.order[i].tolist() if part >= 0],
                "margin": [round(v, 3) for v in t.margins[i].tolist()],
                "verdict": int(t.verdict[i]), "right": bool(t.verdict[i] == truth),
            }  # fmt: skip


def write(games: Sequence[Game], asked: Digits, found: Sequence[Figure], path: Path) -> None:
    """What `aar.report.write_debate` does."""
    drawn = {"accuracy": charts.accuracies(found), "belief": charts.beliefs(games)}
    for name, chart in drawn.items():
        write_whole(path.with_name(f"{name}.svg"), standalone(chart))
    most = max(g.k for g in games)
    shown = next(g for g in games if (g.k, g.protocol, g.side) == (most, "debate", "liar"))
    sorts = _sorts(shown, asked.labels)
    pictures = {f"game{i}": charts.picture(asked, shown, i, f"image {i}") for some in sorts.values() for i in some}
    page = render(
        "debate.html.j2", drawn | pictures, style=STYLE, figures=found, sorts=sorts, k=most, seed=shown.seed,
        seeds=len({g.seed for g in games}), images=len(asked.labels), paper=charts.PAPER, interval=interval,
        now=datetime.now(UTC).timestamp(),
    )  # fmt: skip
    write_whole(path, page)


def _sorts(game: Game, labels: NDArray[np.int64]) -> dict[str, list[int]]:
    """Images whose games are shown: the first ones, where the truth won by least, and where it lost by most."""
    last, right = game.transcript.margins[:, -1], game.transcript.verdict == labels
    won, lost = np.flatnonzero(right), np.flatnonzero(~right)
    plain = list(range(min(SHOWN, len(labels))))
    close = [int(i) for i in won[np.argsort(last[won], kind="stable")] if i not in plain][:SHOWN]
    fooled = [int(i) for i in lost[np.argsort(last[lost], kind="stable")] if i not in plain][:SHOWN]
    return {"As they come": plain, "Won by a hair": close, "The judge fooled": fooled}
