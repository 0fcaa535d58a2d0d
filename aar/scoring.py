"""Accuracy, PGR with intervals, racing, and the one gate. Pure functions over arrays; no torch, no files.

Statistics. Student seed i learns from weak seed i. With s_i, w_i, c_j accuracies on n examples,
PGR = mean_i(s_i - w_i) / (mean_j c_j - mean_j w_j). Seeds and examples are crossed random effects: the variance of
a seed mean is seed variance / k plus example variance / n, the first estimated between seeds, the second from
seed-averaged per-example values less their seed noise. With 2-5 seeds a trial's own variance is worthless alone, so
it is shrunk towards the variance pooled over the task's trials (Smyth 2004), and Fieller's theorem gives the ratio's
interval. `tests/test_coverage.py` holds this to 90-99 % on real seeds of the polarity world.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from aar.types import PublicScore

Floats = NDArray[np.float64]
Logits = NDArray[np.float32]
Labels = NDArray[np.int32]

PRIOR_DF = 6.0
"""Most degrees of freedom the pooled variance may weigh: recipes differ in how noisy they are."""
LEVEL = 0.95
PRUNE_BELOW = 0.05
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
    diagnostics: Mapping[str, tuple[float, float]] = {}


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


def _example_var(correct: NDArray[np.bool_] | NDArray[np.float64]) -> float:
    """Variance of the mean over n examples of a (k, n) array, seeds averaged out; never below zero."""
    k = len(correct)
    values = correct.astype(np.float64)
    noise = float(values.var(0, ddof=1).mean()) / k if k > 1 else 0.0
    mean = values.mean(0)
    return max(0.0, example_cov(mean, mean, noise))


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
        ex_gain = _example_var(per_gain)
        ex_gap = max(0.0, example_cov(means[3] - means[2], means[3] - means[2]))
        ex_cov = example_cov(means[0] - means[1], means[3] - means[2])
    else:
        ex_gain = _example_var(student.correct) + _example_var(partner.correct)
        ex_gap = _example_var(ceiling.correct) + _example_var(weak.correct)
        ex_cov = example_cov(means[0], means[3]) + _example_var(weak.correct)
    # The weak seeds of the numerator are among those of the gap: cov(mean gain, -mean weak) = -cov(gain_i, w_i) / K.
    shared = -float(np.cov(gains, w_k)[0, 1]) / len(w) if k > 1 and len(w) > 1 else 0.0
    var_seed, var_gain = seed_gain / k, seed_gain / k + ex_gain
    return Estimate(
        split=split,
        accuracy=float(s.mean()),
        weak=float(w.mean()),
        ceiling=float(c.mean()),
        gain=float(gains.mean()),
        var_accuracy=seed_accuracy / k + _example_var(student.correct),
        var_weak=seed_weak / len(w) + _example_var(weak.correct),
        var_ceiling=seed_ceiling / len(c) + _example_var(ceiling.correct),
        var_gain=var_gain,
        var_gap=seed_weak / len(w) + seed_ceiling / len(c) + ex_gap,
        cov=shared + ex_cov,
        df=df * (var_gain / var_seed) ** 2 if var_seed > 0 else 1e6,
        n_seeds=k,
        floor_gap=floor_gap,
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


def grid(se: float) -> float:
    """The step a value is rounded to: half its standard error, up to one significant digit."""
    if se <= 0:
        return 1e-4
    exponent = float(math.floor(math.log10(se / 2)))
    # The guard keeps .005 at .005 when the quotient is 5.000000001.
    return float(math.ceil(se / 2 / 10**exponent - 1e-9) * 10.0**exponent)


def coarse(value: float, se: float) -> float:
    """`value` on its grid."""
    step = grid(se)
    return round(round(value / step) * step, 10)


def public_view(e: Estimate, count: Callable[[], None]) -> PublicScore:
    """The one gate for numbers that need labels. `count` records the look before it is answered.

    Accuracies are rounded to no finer than half their standard error; PGR and its interval are computed from the
    rounded means; standard errors keep two digits; diagnostics are rounded by their own standard errors.
    """
    count()
    accuracy = coarse(e.accuracy, math.sqrt(e.var_accuracy))
    weak = coarse(e.weak, math.sqrt(e.var_weak))
    ceiling = coarse(e.ceiling, math.sqrt(e.var_ceiling))
    var_gain, var_gap = ladder(e.var_gain), ladder(e.var_gap)
    # A covariance near zero would tell single examples by its digits; a tenth of the variances' scale does not.
    step = math.sqrt(var_gain * var_gap) / 5
    rounded = e._replace(
        var_gain=var_gain,
        var_gap=var_gap,
        cov=round(e.cov / step) * step if step > 0 else 0.0,
        var_accuracy=ladder(e.var_accuracy),
        df=_two(e.df),
    )
    gap = ceiling - weak
    pgr, low, high = interval(rounded, coarse(e.gain, math.sqrt(e.var_gain)), gap)
    reason = no_gap(gap, math.sqrt(rounded.var_gap), e.floor_gap) if pgr is None else None
    return PublicScore(
        split=e.split,
        accuracy=accuracy,
        accuracy_se=_two(math.sqrt(rounded.var_accuracy)),
        weak=weak,
        ceiling=ceiling,
        pgr=_digits(pgr),
        ci_low=_digits(low),
        ci_high=_digits(high),
        reason=reason,
        n_seeds=e.n_seeds,
        weak_se=_two(math.sqrt(e.var_weak)),
        ceiling_se=_two(math.sqrt(e.var_ceiling)),
        diagnostics={name: coarse(value, se) for name, (value, se) in e.diagnostics.items()},
    )


def ladder(variance: float) -> float:
    """A variance on a ladder of 21 % steps (10 % in its root), rounded up: shown intervals are never too short."""
    return 1.21 ** math.ceil(math.log(variance, 1.21)) if variance > 0 else 0.0


def _two(value: float) -> float:
    return float(f"{value:.1e}")


def _digits(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


class Difference(NamedTuple):
    """Paired difference of two arms on common seeds: mean, standard error, degrees of freedom."""

    mean: float
    se: float
    df: float

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
    total = seed + _example_var(a.correct.astype(np.float64) - b.correct)
    return Difference(float(gaps.mean()), math.sqrt(total), df * (total / seed) ** 2 if seed > 0 else 1e6)


def losing(candidate: Arm, best: Arm, pooled_var: float, pooled_df: float) -> bool:
    """True when the probability that `candidate` beats the best trial so far is under 5 %: prune it."""
    return difference(candidate, best, pooled_var, pooled_df).probability_above_zero() < PRUNE_BELOW


def shrink(values: Sequence[float], ses: Sequence[float]) -> Floats:
    """Empirical-Bayes means: noisy values are pulled towards the common mean (method of moments)."""
    x, v = np.asarray(values, dtype=np.float64), np.asarray(ses, dtype=np.float64) ** 2
    if len(x) < 3:
        return x
    centre = float(np.average(x, weights=1 / np.maximum(v, 1e-12)))
    between = max(0.0, float(np.var(x, ddof=1)) - float(v.mean()))
    return centre + (x - centre) * between / np.maximum(between + v, 1e-12)


def diagnostics(student: Sequence[Logits], weak: Sequence[Logits], labels: Labels) -> dict[str, tuple[float, float]]:
    """(value, standard error) of agreement, errors_copied, ece and, for two classes, auroc; means over seeds.

    `errors_copied`: of the examples the paired weak seed gets wrong, the share where the student gives the same
    wrong answer. ECE has 15 equal bins (Guo et al. 2017).
    """
    n, rows = len(labels), []
    wrong_total = 0
    for s, w in zip(student, weak, strict=True):
        own, other = s.argmax(1), w.argmax(1)
        wrong = other != labels
        wrong_total += int(wrong.sum())
        row = {"agreement": float((own == other).mean()), "ece": ece(s, labels)}
        if wrong.any():
            row["errors_copied"] = float((own == other)[wrong].mean())
        if s.shape[1] == 2 and 0 < labels.sum() < n:
            row["auroc"] = auroc(s[:, 1] - s[:, 0], labels)
        rows.append(row)
    out: dict[str, tuple[float, float]] = {}
    for name in ("agreement", "errors_copied", "ece", "auroc"):
        values = [r[name] for r in rows if name in r]
        if values:
            p = float(np.mean(values))
            size = wrong_total / len(rows) if name == "errors_copied" else n
            out[name] = (p, math.sqrt(max(p * (1 - p), 1e-6) / max(size, 1)))
    return out


def ece(logits: Logits, labels: Labels, bins: int = 15) -> float:
    """Expected calibration error of softmax confidences."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    probs = shifted / shifted.sum(1, keepdims=True)
    confidence, right = probs.max(1), probs.argmax(1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    total = 0.0
    for b in range(bins):
        inside = which == b
        if inside.any():
            total += abs(float(right[inside].mean()) - float(confidence[inside].mean())) * float(inside.mean())
    return total


def auroc(score: NDArray[np.float32], labels: Labels) -> float:
    """Area under the ROC curve of `score` for class 1 (ties count half)."""
    ranks = stats.rankdata(score)
    positives = int(labels.sum())
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * (len(labels) - positives)))
