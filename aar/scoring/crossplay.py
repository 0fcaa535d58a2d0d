"""Ratings of debaters that all met: Elo by the Bradley-Terry likelihood, its interval from resampled questions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aar.scoring.estimate import LEVEL, Floats
from aar.scoring.verdicts import Share, Sides, mean_share, ratings

DRAWS = 500
PRIOR = 0.5
"""Wins that each side of each pair is given on top: a debater that never lost has a finite rating too."""


class Standing(NamedTuple):
    """One debater: its rating, the share of debates won, and that with the right and with the wrong answer to argue."""

    elo: Share
    won: Share
    honest: Share
    lying: Share


def standings(won: Floats, better: Sides, seed: int = 0) -> list[Standing]:
    """Of k debaters from `won` (k, k, n): what i, bound to answer 0 of a question, won over j: 1, 0, .5 (no verdict).

    `won[i, i]` does not count; `better` (n,) is the truly better side. Ratings have mean 0, and 400 points are odds of
    10 to 1. All bouts on a question stand or fall together in the bootstrap: they share its difficulty.
    """
    k, _, n = won.shape
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, np.full(n, 1 / n), DRAWS)
    drawn = np.array([_elo(won, w) for w in weights])
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    value = _elo(won, np.ones(n))
    out = []
    for i in range(k):
        others = np.arange(k) != i
        first, second = won[i, others], 1 - won[others, i]
        honest = np.where(better == 0, first, second).mean(0)
        lying = np.where(better == 0, second, first).mean(0)
        rated = Share(float(value[i]), float(low[i]), float(high[i]), 2 * (k - 1) * n)
        out.append(Standing(rated, mean_share((honest + lying) / 2), mean_share(honest), mean_share(lying)))
    return out


def _elo(won: Floats, weights: NDArray[np.float64] | NDArray[np.int64]) -> Floats:
    """Ratings (k,) with each question counted so often."""
    scored = won @ weights
    lost = (1 - won) @ weights
    wins = scored + lost.T
    np.fill_diagonal(wins, 0.0)
    return np.array([r.value for r in ratings(wins, PRIOR)])
