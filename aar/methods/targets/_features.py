"""Geometry and linear heads on features (n, d). numpy only: it runs in jobs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from aar.methods.targets._calibration import softmax

ROWS_AT_ONCE = 1024
RIDGE = 1e-2
STEPS = 300


def directions(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Centred rows of length 1: language models' features share a large mean that says nothing."""
    centred = features - features.mean(0)
    rows: NDArray[np.float32] = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    return rows


def neighbours(features: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """The k rows of largest cosine to each row, itself left out: (n, k), in no order."""
    rows = directions(features)
    k = min(k, len(rows) - 1)
    found = np.empty((len(rows), k), np.int64)
    for block in blocks(len(rows)):
        cosine = rows[block] @ rows.T
        cosine[np.arange(len(block)), block] = -np.inf
        found[block] = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
    return found


def blocks(n: int) -> Iterator[NDArray[np.int64]]:
    """0..n-1 in pieces, so that no n x n matrix is held."""
    for start in range(0, n, ROWS_AT_ONCE):
        yield np.arange(start, min(n, start + ROWS_AT_ONCE))


def head(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (d + 1, C) of multinomial logistic regression on rows x (n, d) and soft labels y (n, C), bias last.

    Minimises mean cross-entropy + RIDGE / 2 * |weights|^2 (bias aside) by Nesterov's accelerated gradient.
    """
    x = with_bias(x)
    penalty = np.full((x.shape[1], 1), RIDGE)
    penalty[-1] = 0
    vector = np.ones(x.shape[1])
    for _ in range(20):  # power iteration: the largest eigenvalue of x'x
        vector = x.T @ (x @ vector)
        vector /= np.linalg.norm(vector)
    step = 1 / (0.55 * float(np.linalg.norm(x @ vector)) ** 2 / len(x) + RIDGE)
    weights = ahead = np.zeros((x.shape[1], y.shape[1]))
    momentum = 1.0
    for _ in range(STEPS):
        new = ahead - step * (x.T @ (softmax(x @ ahead) - y) / len(x) + penalty * ahead)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / following * (new - weights)
        weights, momentum = new, following
    return weights


def with_bias(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """A last column of ones."""
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


def out_of_fold(
    features: NDArray[np.float32], y: NDArray[np.float32], folds: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Each row's class (n,) by a linear head that was trained on the other folds' rows and labels y (n, C)."""
    x = features.astype(np.float64)
    fold = rng.permutation(len(x)) % folds
    called = np.empty(len(x), np.int64)
    for f in range(folds):
        rest, own = fold != f, fold == f
        mean, spread = x[rest].mean(0), x[rest].std(0) + 1e-6
        weights = head((x[rest] - mean) / spread, y[rest].astype(np.float64))
        called[own] = (with_bias((x[own] - mean) / spread) @ weights).argmax(1)
    return called
