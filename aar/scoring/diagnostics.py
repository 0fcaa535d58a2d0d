"""Why a student is as good as it is: agreement, copied errors, calibration, ranking."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from aar.scoring.estimate import Labels, Logits


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
