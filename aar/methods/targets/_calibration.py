"""Fitting a weak model's calibration on rows with truth that it was not trained on. numpy only: it runs in jobs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aar.methods.targets._base import Calibration

COLDEST, HOTTEST = 0.05, 20.0
"""Temperatures are sought in here: a model that is always right on few rows would have 0."""
HALVINGS = 50


def calibrate(logits: NDArray[np.float32], labels: NDArray[np.int32]) -> Calibration:
    """Temperature, confusion and prior of a model that gave `logits` (n, C) to rows of these true `labels` (n,).

    The temperature minimises the mean negative log-likelihood (Guo et al. 2017). Counts are smoothed: one row of each
    class, spread evenly over the answers, is added to the confusion, and one row of each class to the prior.
    """
    classes = logits.shape[1]
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels, logits.argmax(1)), 1.0)
    confusion = (counts + 1 / classes) / (counts.sum(1, keepdims=True) + 1)
    prior = (counts.sum(1) + 1) / (len(labels) + classes)
    return Calibration(temperature(logits.astype(np.float64), labels), confusion, prior)


def temperature(logits: NDArray[np.float64], labels: NDArray[np.int32]) -> float:
    """The T that minimises the mean NLL of softmax(logits / T), by bisection in log T.

    In b = 1 / T the NLL is convex with slope mean(E_p[z] - z_label), so the sign of that tells on which side T lies.
    """
    own = logits[np.arange(len(labels)), labels]
    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        p = softmax(logits / np.exp(middle))
        slope = float(((p * logits).sum(1) - own).mean())
        low, high = (middle, high) if slope > 0 else (low, middle)
    return float(np.exp((low + high) / 2))


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows to probabilities."""
    powered = np.exp(logits - logits.max(1, keepdims=True))
    p: NDArray[np.float64] = powered / powered.sum(1, keepdims=True)
    return p
