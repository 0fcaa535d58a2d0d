"""Why a student is as good as it is: agreement, copied errors, misfit, calibration, ranking, slices, weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from aar.scoring.estimate import Arm, Floats, Labels, Logits, Slice, correct

Valued = tuple[float, float]
"""A value and its standard error: what the gate needs to round it."""
FLIPS = 4.0
"""A share's standard error is taken as at least this many examples: its grid is then two examples wide."""
UNSURE = 0.2
"""The weak model is unsure on this share of rows: those of its lowest confidence."""
FEWEST = 20
"""A slice of fewer rows (mean over seeds) is left out."""
FLOOR = math.log(1e-6)


def diagnostics(student: Sequence[Logits], weak: Sequence[Logits], labels: Labels) -> dict[str, Valued]:
    """(value, standard error) of each diagnostic, means over seeds; `student` and `weak` are paired logits (n, C).

    `agreement`; `errors_copied`: of the examples the weak model gets wrong, the share where the student gives the same
    wrong answer. `misfit`: mean KL(student || weak) in nats, and `loss_gain`: mean cross-entropy of the weak model
    less the student's, in nats. Where the student is the weak model's projection onto a convex set, gain >= misfit
    (Charikar et al. 2024; for cross-entropy Mulgund and Pabbaraju 2025). `ece`, `ece_weak`: expected calibration
    errors with 15 equal bins (Guo et al. 2017); `ece_scaled`: the student's after a temperature fitted on the other
    half of the rows. `auroc` for two classes. `right_where_weak_right`, `_wrong`, `_unsure`: the student's accuracy
    on those slices, `_unsure` being the fifth of rows where the weak model's confidence is lowest.
    """
    rows = [_one(s, w, labels) for s, w in zip(student, weak, strict=True)]
    out: dict[str, Valued] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        found = [row[name] for row in rows if name in row]
        size = sum(f[2] for f in found) / len(rows)
        if name.startswith("right_where") and size < FEWEST:
            continue
        value = float(np.mean([f[0] for f in found]))
        spread = float(np.mean([f[1] for f in found]))
        out[name] = (value, share_se(value, size) if math.isnan(spread) else spread)
    return out


def answered(student: Sequence[Labels], weak: Sequence[Labels], truth: Labels) -> dict[str, Valued]:
    """`diagnostics` of written answers, as numbers (n,) that are equal for equal answers: those that need no logits.

    `agreement`: the same answer, right or wrong; `errors_copied` and `right_where_weak_right` and `_wrong` as there.
    """
    shares: dict[str, list[tuple[float, int]]] = {}
    for s, w in zip(student, weak, strict=True):
        same, right, weak_right = s == w, s == truth, w == truth
        for name, values in {
            "agreement": same,
            "right_where_weak_right": right[weak_right],
            "right_where_weak_wrong": right[~weak_right],
            "errors_copied": same[~weak_right],
        }.items():
            if len(values):
                shares.setdefault(name, []).append((float(values.mean()), len(values)))
    found = {name: (float(np.mean([v for v, _ in rows])), sum(n for _, n in rows) / len(student))
             for name, rows in shares.items()}  # fmt: skip
    few = {name for name, (_, size) in found.items() if name.startswith("right_where") and size < FEWEST}
    return {name: (value, share_se(value, size)) for name, (value, size) in found.items() if name not in few}


def slices(
    values: Mapping[str, Sequence[str]], student: Arm, weak: Arm | None, ceiling: Arm
) -> tuple[Slice, ...]:  # fmt: skip
    """Mean accuracies where a column of `values`, one for each of the arms' n examples, has the same value.

    Slices of fewer than FEWEST examples are left out.
    """
    found = []
    for column, of_rows in values.items():
        at = np.array(of_rows)
        for value in sorted(set(of_rows)):
            rows = at == value
            if (n := int(rows.sum())) >= FEWEST:
                own, top = (float(arm.correct[:, rows].mean()) for arm in (student, ceiling))
                below = None if weak is None else float(weak.correct[:, rows].mean())
                found.append(Slice(column, value, n, own, below, top))
    return tuple(found)


def noise(se: float, rows: float) -> float:
    """A standard error, never finer than FLIPS of `rows` examples (0: not known)."""
    return max(se, FLIPS / rows) if rows else se


def share_se(p: float, size: float) -> float:
    """Standard error of a share of `size` examples, never finer than FLIPS of them."""
    size = max(size, 1.0)
    return noise(math.sqrt(max(p * (1 - p), 0.0) / size), size)


def _one(student: Logits, weak: Logits, labels: Labels) -> dict[str, tuple[float, float, float]]:
    """(value, standard error or nan for a share's, rows behind it) of one seed."""
    n, nan = len(labels), math.nan
    right, weak_right = correct(student, labels), correct(weak, labels)
    s, w = (np.where(np.isfinite(x).all(1, keepdims=True), x, 0).astype(np.float64) for x in (student, weak))
    same = s.argmax(1) == w.argmax(1)
    log_s, log_w = log_softmax(s), log_softmax(w)
    misfit = (np.exp(log_s) * (log_s - log_w)).sum(1)
    at = np.arange(n)
    gain = log_s[at, labels] - log_w[at, labels]
    out: dict[str, tuple[float, float, float]] = {
        "agreement": (float(same.mean()), nan, n),
        "misfit": (float(misfit.mean()), _mean_se(misfit), n),
        "loss_gain": (float(gain.mean()), _mean_se(gain), n),
        "ece": (ece(s, labels), nan, n),
        "ece_scaled": (ece(s / temperatures(s, labels)[:, None], labels), nan, n),
        "ece_weak": (ece(w, labels), nan, n),
    }
    if s.shape[1] == 2 and 0 < labels.sum() < n:
        out["auroc"] = (auroc(s[:, 1] - s[:, 0], labels), nan, n)
    confidence = np.exp(log_w.max(1))
    unsure = np.zeros(n, bool)
    unsure[np.argsort(confidence, kind="stable")[: int(UNSURE * n)]] = True
    slices = {"right": weak_right, "wrong": ~weak_right, "unsure": unsure}
    for name, rows in slices.items():
        if rows.any():
            out[f"right_where_weak_{name}"] = (float(right[rows].mean()), nan, float(rows.sum()))
    if not weak_right.all():
        out["errors_copied"] = (float(same[~weak_right].mean()), nan, float((~weak_right).sum()))
    return out


def _mean_se(values: Floats) -> float:
    return float(values.std()) / math.sqrt(len(values)) + FLIPS / len(values) * float(np.abs(values).mean())


def log_softmax(logits: Floats) -> Floats:
    """Log-probabilities (n, C) float64, none below log 1e-6."""
    shifted = logits - logits.max(1, keepdims=True)
    found: Floats = np.maximum(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)), FLOOR)
    return found


def effective_sample(weight: NDArray[np.float32]) -> float:
    """Kish's effective sample size of row weights (n,), (sum w)^2 / sum w^2, as a share of n. 0 where all are 0."""
    w = np.where(np.isfinite(weight), weight, 0).astype(np.float64)
    squares = float((w**2).sum())
    return float(w.sum()) ** 2 / squares / len(w) if squares > 0 else 0.0


def temperatures(logits: Floats, labels: Labels) -> Floats:
    """(n,) the temperature (Guo et al. 2017) of each row: that fitted to the labels of the other half, odd or even."""
    out = np.ones(len(labels))
    for half in (0, 1):
        fit = slice(1 - half, None, 2)
        if len(labels[fit]):
            out[half::2] = _temperature(logits[fit], labels[fit])
    return out


def _temperature(logits: Floats, labels: Labels) -> float:
    at = np.arange(len(labels))

    def loss(log_t: float) -> float:
        return -float(log_softmax(logits / math.exp(log_t))[at, labels].mean())

    return math.exp(float(optimize.minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded").x))


def ece(logits: Logits | Floats, labels: Labels, bins: int = 15) -> float:
    """Expected calibration error of softmax confidences."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    probs = shifted / shifted.sum(1, keepdims=True)
    confidence, right = probs.max(1), probs.argmax(1) == labels
    total = 0.0
    for inside in binned(confidence, bins):
        total += abs(float(right[inside].mean()) - float(confidence[inside].mean())) * float(inside.mean())
    return total


def binned(confidence: Floats, bins: int) -> list[NDArray[np.bool_]]:
    """The rows (n,) of each of `bins` equal bins of [0, 1] that has any."""
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    return [which == b for b in range(bins) if (which == b).any()]


def auroc(score: NDArray[np.float32] | Floats, labels: Labels) -> float:
    """Area under the ROC curve of `score` for class 1 (ties count half)."""
    ranks = stats.rankdata(score)
    positives = int(labels.sum())
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * (len(labels) - positives)))
