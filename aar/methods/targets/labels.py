"""Targets made of the weak labels alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aar.methods.space import Float, Space
from aar.methods.targets._base import Context, Made, Targets, everything, one_hot
from aar.types import Value


class Soft(Targets):
    """Weak probabilities as they are."""

    name = "soft"
    paper = "Burns et al. 2023"

    @classmethod
    def make(cls, y: NDArray[np.float32], params: Mapping[str, Value], context: Context) -> Made:
        """y."""
        return everything(y)


class Hard(Targets):
    """The weak model's most likely class."""

    name = "hard"
    paper = "Burns et al. 2023"

    @classmethod
    def make(cls, y: NDArray[np.float32], params: Mapping[str, Value], context: Context) -> Made:
        """One-hot arg max of y."""
        return everything(one_hot(y))


class Sharpen(Targets):
    """Temperature on the weak probabilities: T below 1 sharpens, above 1 flattens."""

    name = "sharpen"
    paper = "Berthelot et al. 2019 (MixMatch)"
    space: ClassVar[dict[str, Space]] = {"T": Float(low=0.2, high=5.0, default=0.5, log=True)}

    @classmethod
    def make(cls, y: NDArray[np.float32], params: Mapping[str, Value], context: Context) -> Made:
        """Row-normalised y ** (1 / T), in log space."""
        logits = np.log(np.clip(y.astype(np.float64), 1e-12, None)) / float(params["T"])
        powered = np.exp(logits - logits.max(1, keepdims=True))
        return everything((powered / powered.sum(1, keepdims=True)).astype(np.float32))


class Confident(Targets):
    """Keep the top share q by weak confidence, class by class, as soft labels."""

    name = "confident"
    paper = "AAR baselines (keep the confident); EleutherAI/w2s"
    space: ClassVar[dict[str, Space]] = {"q": Float(low=0.1, high=1.0, default=0.5)}

    @classmethod
    def make(cls, y: NDArray[np.float32], params: Mapping[str, Value], context: Context) -> Made:
        """Within each weak class the ceil(q * m) most confident rows are kept, so that no class dies out."""
        confidence, label = y.max(1), y.argmax(1)
        keep = np.zeros(len(y), np.bool_)
        for c in range(y.shape[1]):
            rows = np.flatnonzero(label == c)
            count = int(np.ceil(float(params["q"]) * len(rows)))
            keep[rows[np.argsort(-confidence[rows], kind="stable")[:count]]] = True
        return Made(y, np.ones(len(y), np.float32), keep)
