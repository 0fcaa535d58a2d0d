"""How well those who propose know what will come out: predicted PGR against the public one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from aar.ledger import TrialRow
from aar.scoring.verdicts import Share, share

PROMISED = 0.8
"""What an interval given with a prediction is asked to hold."""


class Prediction(NamedTuple):
    """A trial's predicted and observed PGR; `low` and `high` where the prediction came with an interval."""

    trial: TrialRow
    said: float
    seen: float
    low: float | None
    high: float | None

    @property
    def held(self) -> bool | None:
        """Did the interval hold what came out? None without one."""
        return None if self.low is None or self.high is None else self.low <= self.seen <= self.high


class Calibration(NamedTuple):
    """One author's n predictions: mean of outcome less prediction (`bias`), mean absolute error, intervals that held.

    `guess`: the mean absolute error of guessing this author's mean outcome every time, which nobody knows before.
    """

    author: str
    n: int
    bias: float
    error: float
    guess: float
    held: Share

    @property
    def words(self) -> str:
        """What the intervals say, against the 80 % they promise; "" without any."""
        if self.held.n == 0:
            return ""
        told = f"{round(self.held.value * self.held.n)} of {self.held.n} intervals held"
        if self.held.high < PROMISED:
            return f"{told}: too sure"
        return f"{told}: wider than need be" if self.held.low > PROMISED else told


def predictions(trials: Sequence[TrialRow]) -> list[Prediction]:
    """Trials that have both a predicted and an observed PGR."""
    return [
        Prediction(t, t.predicted_pgr, t.view.pgr, t.predicted_low, t.predicted_high)
        for t in trials
        if t.predicted_pgr is not None and t.view is not None and t.view.pgr is not None
    ]


def calibration(found: Sequence[Prediction]) -> list[Calibration]:
    """By author, most predictions first."""
    authors = sorted({p.trial.author for p in found}, key=lambda a: (-sum(p.trial.author == a for p in found), a))
    return [_of(author, [p for p in found if p.trial.author == author]) for author in authors]


def _of(author: str, own: Sequence[Prediction]) -> Calibration:
    seen = np.array([p.seen for p in own])
    errors = seen - [p.said for p in own]
    held = [p.held for p in own if p.held is not None]
    guess = float(np.abs(seen - seen.mean()).mean())
    return Calibration(
        author, len(own), float(errors.mean()), float(np.abs(errors).mean()), guess, share(sum(held), len(held))
    )
