"""Targets that weigh the rows where what the weak model knows meets what it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aar.methods.space import Float, Space
from aar.methods.targets._base import Context, Made, Need, Targets
from aar.methods.targets._features import blocks, directions
from aar.types import Value


class Overlap(Targets):
    """Weigh up the rows that hold an easy and a hard pattern at once, found by two change-points.

    Rows below the change-point of weak confidence (which is out of sample: the weak model never trained on transfer)
    are hard. Of the others, those beyond the change-point of similarity to the hard rows (largest |cosine| of
    pre-trained student features) are overlap: the weak model labels them by the easy pattern, and the student learns
    the hard one from them. Where all weak labels are equally sure there is nothing to split, and every weight is 1.
    """

    name = "overlap"
    paper = "Shin et al. 2024 (overlap density, data-centric weak-to-strong)"
    space: ClassVar[dict[str, Space]] = {"weight": Float(low=1.0, high=10.0, default=3.0, log=True)}
    needs: ClassVar[tuple[Need, ...]] = ("features",)

    @classmethod
    def make(cls, y: NDArray[np.float32], params: Mapping[str, Value], context: Context) -> Made:
        """Soft labels, every row kept; overlap rows weigh `weight`, the others 1."""
        assert context.features is not None, "named in needs"
        _, overlap = detect(y.max(1), context.features)
        return Made(y, np.where(overlap, np.float32(params["weight"]), np.float32(1)), np.ones(len(y), np.bool_))


def detect(
    confidence: NDArray[np.float32], features: NDArray[np.float32]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows (n,) are hard and which are overlap; both empty where confidence does not vary."""
    hard, overlap = confidence < threshold(confidence), np.zeros(len(confidence), np.bool_)
    sure = np.flatnonzero(~hard)
    if hard.any() and len(sure) > 1:
        rows = directions(features)
        score = np.concatenate([np.abs(rows[sure[b]] @ rows[hard].T).max(1) for b in blocks(len(sure))])
        cut = threshold(score)
        overlap[sure[score >= cut]] = cut > score.min()
    return hard, overlap


def threshold(values: NDArray[np.float32]) -> float:
    """The change-point of the values: the least of the upper part of the split of least squared error.

    Equal values are never parted: where all are equal it is that value, with nothing below it.
    """
    ordered = np.sort(values.astype(np.float64))
    n = len(ordered)
    if n < 2:
        return float(ordered[0])
    below = np.arange(1, n)
    total = np.cumsum(ordered)
    # Squared error of a part is its sum of squares less (sum)^2 / size: the least error has the largest of these.
    explained = total[:-1] ** 2 / below + (total[-1] - total[:-1]) ** 2 / (n - below)
    return float(ordered[1 + int(explained.argmax())])
