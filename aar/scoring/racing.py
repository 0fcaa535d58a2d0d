"""Comparing arms on common seeds, racing, and shrinking noisy values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from aar.scoring.estimate import LEVEL, Arm, Floats, example_var, moderated

PRUNE_BELOW = 0.05
LEAST_VAR = 1e-8
"""A standard error of .0001: no accuracy is known better."""


class Difference(NamedTuple):
    """Paired difference of two arms on common seeds: mean, standard error, degrees of freedom, examples behind it."""

    mean: float
    se: float
    df: float
    rows: int = 0

    def probability_above_zero(self) -> float:
        """P(first arm is truly better)."""
        if self.se <= 0:
            return 1.0 if self.mean > 0 else 0.5 if self.mean == 0 else 0.0
        return float(stats.t.cdf(self.mean / self.se, self.df))

    def interval(self) -> tuple[float, float]:
        """95 % interval of the difference."""
        half = float(stats.t.ppf(0.5 + LEVEL / 2, self.df)) * self.se
        return self.mean - half, self.mean + half


def difference(first: Arm, second: Arm, pooled_var: float, pooled_df: float) -> Difference:
    """first - second on the seeds both have; `pooled_var` of such differences over the task's trials.

    Raises:
        ValueError: no seed in common.
    """
    seeds = [s for s in first.seeds if s in second.seeds]
    if not seeds:
        raise ValueError("the arms have no seed in common")
    a, b = first.at(seeds), second.at(seeds)
    gaps = a.accuracy - b.accuracy
    var, df = moderated(gaps, pooled_var, pooled_df)
    seed = var / len(seeds)
    total = seed + example_var(a.correct.astype(np.float64) - b.correct)
    df = df * (total / seed) ** 2 if seed > 0 else 1e6
    return Difference(float(gaps.mean()), math.sqrt(total), df, a.correct.shape[1])


def losing(candidate: Arm, best: Arm, pooled_var: float, pooled_df: float) -> bool:
    """True when the probability that `candidate` beats the best trial so far is under 5 %: prune it."""
    return difference(candidate, best, pooled_var, pooled_df).probability_above_zero() < PRUNE_BELOW


def shrink(values: Sequence[float], ses: Sequence[float]) -> Floats:
    """Empirical-Bayes means: noisy values are pulled towards the common mean, and their order is what to believe.

    The variance between them is that under which they spread as far as they do (Paule and Mandel 1982), so that a few
    noisy values do not make the precise ones look alike. Where noise explains every difference a millionth of it is
    kept, for the order alone.
    """
    x, v = np.asarray(values, dtype=np.float64), np.maximum(np.asarray(ses, dtype=np.float64) ** 2, LEAST_VAR)
    if len(x) < 3:
        return x

    def excess(between: float) -> float:
        w = 1 / (between + v)
        return float(w @ (x - np.average(x, weights=w)) ** 2) - (len(x) - 1)

    between = float(optimize.brentq(excess, 0, np.var(x, ddof=1))) if excess(0) > 0 else 0.0
    between = max(between, 1e-6 * float(v.mean()))
    centre = np.average(x, weights=1 / (between + v))
    return np.asarray(centre + (x - centre) * between / (between + v))
