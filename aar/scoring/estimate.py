"""Accuracy and PGR with intervals: variance of seeds and examples, Fieller's ratio. See the package's docstring."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Logits = NDArray[np.float32]
Labels = NDArray[np.int32]

PRIOR_DF = 3.0
"""Most degrees of freedom the pooled variance may weigh. Recipes differ in how noisy they are: at 6 the noisiest
recorded arm is covered 78-85 % of the time, at 3 it is 83-89 % (docs/results.md)."""
LEVEL = 0.95
GAP_STANDARD_ERRORS = 3.0


class Arm(NamedTuple):
    """One arm's results on one split: `seeds` (k,), `correct` (k, n) bool."""

    seeds: tuple[int, ...]
    correct: NDArray[np.bool_]

    @property
    def accuracy(self) -> Floats:
        """Accuracy of each seed (k,)."""
        means: Floats = self.correct.mean(1, dtype=np.float64)
        return means

    def at(self, seeds: Sequence[int]) -> Arm:
        """The rows of `seeds`, in that order."""
        return Arm(tuple(seeds), self.correct[[self.seeds.index(s) for s in seeds]])


class Pool(NamedTuple):
    """Seed variances pooled over the task's trials: of accuracy, and of the paired gain over the weak model."""

    accuracy: float
    gain: float
    df: float


class Slice(NamedTuple):
    """Exact accuracies on the rows of one value of a column: for scoring only, as `Estimate`."""

    column: str
    value: str
    rows: int
    accuracy: float
    weak: float | None
    ceiling: float


class Estimate(NamedTuple):
    """Exact values: for scoring and the ledger only. Callers outside see `public_view` of it."""

    split: str
    accuracy: float
    weak: float
    ceiling: float
    gain: float
    var_accuracy: float
    var_weak: float
    var_ceiling: float
    var_gain: float
    var_gap: float
    cov: float
    df: float
    n_seeds: int
    floor_gap: float
    rows: int
    diagnostics: Mapping[str, tuple[float, float]] = {}
    slices: Sequence[Slice] = ()


def correct(logits: Logits, labels: Labels) -> NDArray[np.bool_]:
    """(n,) True where the arg max of (n, C) logits is the label. A row that is not finite is wrong."""
    finite = np.asarray(np.isfinite(logits).all(axis=1), dtype=np.bool_)
    right: NDArray[np.bool_] = finite & (np.where(finite[:, None], logits, 0).argmax(1) == labels)
    return right


def pool(arms: Sequence[Floats], weak: Sequence[Floats]) -> Pool:
    """Pooled seed variances from each trial's accuracies (k_t,) and its weak partners' (k_t,).

    With no trial of two seeds or more, a seed standard deviation of .01 (typical of published runs) with no weight
    beyond its own degree of freedom stands in.
    """
    totals, df = np.zeros(2), 0.0
    for s, w in zip(arms, weak, strict=True):
        if len(s) > 1:
            totals += [np.var(s, ddof=1) * (len(s) - 1), np.var(s - w, ddof=1) * (len(s) - 1)]
            df += len(s) - 1
    if df == 0:
        return Pool(1e-4, 1e-4, 1.0)
    return Pool(float(totals[0] / df), float(totals[1] / df), df)


def moderated(values: Floats, pooled: float, pooled_df: float) -> tuple[float, float]:
    """Variance of one value between seeds, shrunk towards the pool, and its degrees of freedom."""
    prior = min(pooled_df, PRIOR_DF)
    own = len(values) - 1
    squares = float(np.var(values, ddof=1)) * own if own > 0 else 0.0
    return (prior * pooled + squares) / (prior + own), prior + own


def example_cov(a: NDArray[np.float64], b: NDArray[np.float64], seed_cov: float = 0.0) -> float:
    """Covariance of two example means: that of per-example values (n,) less their seed noise, over n."""
    n = len(a)
    return (float(np.cov(a, b)[0, 1]) - seed_cov) / n if n > 1 else 0.0


def example_var(correct: NDArray[np.bool_] | NDArray[np.float64]) -> float:
    """Variance of the mean over n examples of a (k, n) array, seeds averaged out; never below zero."""
    k = len(correct)
    values = correct.astype(np.float64)
    noise = float(values.var(0, ddof=1).mean()) / k if k > 1 else 0.0
    mean = values.mean(0)
    return max(0.0, example_cov(mean, mean, noise))


def seed_noise(correct: NDArray[np.bool_]) -> float:
    """What the seeds of a (k, n) array add to the variance of its per-example means: counted with the seeds already."""
    return float(correct.astype(np.float64).var(0, ddof=1).mean()) / len(correct) if len(correct) > 1 else 0.0


def _shared_noise(gains: NDArray[np.float64], partner: NDArray[np.bool_], n_weak: int) -> float:
    """The same for the covariance of gain and gap, which have weak seeds in common."""
    k = len(gains)
    if k < 2 or n_weak < 2:
        return 0.0
    centred = (gains - gains.mean(0)) * (partner - partner.mean(0, dtype=np.float64))
    return -float(centred.sum(0).mean()) / (k - 1) / n_weak


def estimate(
    split: str, student: Arm, weak: Arm, ceiling: Arm, pooled: Pool, floor_gap: float, paired: bool = True
) -> Estimate:
    """Everything about one arm on one split. `weak` of one seed stands for all (provided labels).

    `paired`: the weak model answered the same examples; otherwise its own examples are independent.
    """
    k = len(student.seeds)
    partner = weak.at(student.seeds) if len(weak.seeds) > 1 else Arm(student.seeds, weak.correct[[0] * k])
    s, w_k, w, c = student.accuracy, partner.accuracy, weak.accuracy, ceiling.accuracy
    gains = s - w_k
    seed_gain, df = moderated(gains, pooled.gain, pooled.df)
    seed_accuracy, _ = moderated(s, pooled.accuracy, pooled.df)
    seed_weak = float(np.var(w, ddof=1)) if len(w) > 1 else 0.0
    seed_ceiling = float(np.var(c, ddof=1)) if len(c) > 1 else pooled.accuracy
    means = [x.correct.mean(0, dtype=np.float64) for x in (student, partner, weak, ceiling)]
    if paired:
        per_gain = student.correct.astype(np.float64) - partner.correct
        ex_gain = example_var(per_gain)
        gap = means[3] - means[2]
        ex_gap = max(0.0, example_cov(gap, gap, seed_noise(ceiling.correct) + seed_noise(weak.correct)))
        ex_cov = example_cov(means[0] - means[1], gap, _shared_noise(per_gain, partner.correct, len(weak.seeds)))
    else:
        ex_gain = example_var(student.correct) + example_var(partner.correct)
        ex_gap = example_var(ceiling.correct) + example_var(weak.correct)
        ex_cov = example_cov(means[0], means[3]) + example_var(weak.correct)
    # The weak seeds of the numerator are among those of the gap: cov(mean gain, -mean weak) = -cov(gain_i, w_i) / K.
    shared = -float(np.cov(gains, w_k)[0, 1]) / len(w) if k > 1 and len(w) > 1 else 0.0
    var_seed, var_gain = seed_gain / k, seed_gain / k + ex_gain
    return Estimate(
        split=split,
        accuracy=float(s.mean()),
        weak=float(w.mean()),
        ceiling=float(c.mean()),
        gain=float(gains.mean()),
        var_accuracy=seed_accuracy / k + example_var(student.correct),
        var_weak=seed_weak / len(w) + example_var(weak.correct),
        var_ceiling=seed_ceiling / len(c) + example_var(ceiling.correct),
        var_gain=var_gain,
        var_gap=seed_weak / len(w) + seed_ceiling / len(c) + ex_gap,
        cov=shared + ex_cov,
        df=df * (var_gain / var_seed) ** 2 if var_seed > 0 else 1e6,
        n_seeds=k,
        floor_gap=floor_gap,
        rows=min(arm.correct.shape[1] for arm in (student, weak, ceiling)),
    )


def fieller(
    top: float, bottom: float, var_top: float, var_bottom: float, cov: float, t: float
) -> tuple[float, float] | None:
    """Interval of top / bottom (Fieller 1954), or None where `bottom` is not clearly away from zero."""
    a = bottom**2 - t**2 * var_bottom
    if a <= 0:
        return None
    b = top * bottom - t**2 * cov
    c = top**2 - t**2 * var_top
    root = math.sqrt(max(0.0, b**2 - a * c))
    return (b - root) / a, (b + root) / a


def no_gap(gap: float, gap_se: float, floor: float) -> str | None:
    """Why a gap cannot carry a PGR, or None if it can."""
    if gap < floor or gap <= 0:
        return f"gap {gap:.3f} is under the task's floor {floor:g}: ceiling and weak model are too close"
    if gap < GAP_STANDARD_ERRORS * gap_se:
        return f"gap {gap:.3f} is under 3 standard errors ({gap_se:.3f} each): add seeds or dev rows"
    return None


Interval = tuple[float | None, float | None, float | None]


def interval(e: Estimate, gain: float, gap: float) -> Interval:
    """(PGR, low, high) at this gain and gap with the estimate's variances; Nones where the gap is too small."""
    if no_gap(gap, math.sqrt(e.var_gap), e.floor_gap):
        return None, None, None
    t = float(stats.t.ppf(0.5 + LEVEL / 2, e.df))
    low, high = fieller(gain, gap, e.var_gain, e.var_gap, e.cov, t) or (None, None)
    return gain / gap, low, high


def pgr_exact(e: Estimate) -> Interval:
    """(PGR, low, high) from exact values: scoring's own use, and its tests'."""
    return interval(e, e.gain, e.ceiling - e.weak)
