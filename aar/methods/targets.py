"""What is done to weak labels before training: y (n, C) soft labels in, targets and kept rows out. Pure numpy."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aar.methods.space import Float, PartInfo, Space
from aar.types import Value


class Made(NamedTuple):
    """`target` (n, C) float32, rows sum to 1; `weight` (n,) float32; `keep` (n,) bool, True for rows to train on."""

    target: NDArray[np.float32]
    weight: NDArray[np.float32]
    keep: NDArray[np.bool_]


class Targets(PartInfo):
    """One way to turn weak labels into training targets."""

    @classmethod
    @abstractmethod
    def make(cls, y: NDArray[np.float32], params: Mapping[str, Value]) -> Made:
        """Targets from soft weak labels `y` (n, C)."""


def _all(target: NDArray[np.float32]) -> Made:
    n = len(target)
    return Made(target, np.ones(n, np.float32), np.ones(n, np.bool_))


def one_hot(y: NDArray[np.float32]) -> NDArray[np.float32]:
    """The most likely class of each row as (n, C) float32; ties go to the lower class."""
    hot: NDArray[np.float32] = np.eye(y.shape[1], dtype=np.float32)[y.argmax(1)]
    return hot


class Soft(Targets):
    """Weak probabilities as they are."""

    name = "soft"
    paper = "Burns et al. 2023"

    @classmethod
    def make(cls, y: NDArray[np.float32], params: Mapping[str, Value]) -> Made:
        """y."""
        return _all(y)


class Hard(Targets):
    """The weak model's most likely class."""

    name = "hard"
    paper = "Burns et al. 2023"

    @classmethod
    def make(cls, y: NDArray[np.float32], params: Mapping[str, Value]) -> Made:
        """One-hot arg max of y."""
        return _all(one_hot(y))


class Sharpen(Targets):
    """Temperature on the weak probabilities: T below 1 sharpens, above 1 flattens."""

    name = "sharpen"
    paper = "Berthelot et al. 2019 (MixMatch)"
    space: ClassVar[dict[str, Space]] = {"T": Float(low=0.2, high=5.0, default=0.5, log=True)}

    @classmethod
    def make(cls, y: NDArray[np.float32], params: Mapping[str, Value]) -> Made:
        """Row-normalised y ** (1 / T), in log space."""
        logits = np.log(np.clip(y.astype(np.float64), 1e-12, None)) / float(params["T"])
        powered = np.exp(logits - logits.max(1, keepdims=True))
        return _all((powered / powered.sum(1, keepdims=True)).astype(np.float32))


class Confident(Targets):
    """Keep the top share q by weak confidence, class by class, as soft labels."""

    name = "confident"
    paper = "AAR baselines (keep the confident); EleutherAI/w2s"
    space: ClassVar[dict[str, Space]] = {"q": Float(low=0.1, high=1.0, default=0.5)}

    @classmethod
    def make(cls, y: NDArray[np.float32], params: Mapping[str, Value]) -> Made:
        """Within each weak class the ceil(q * m) most confident rows are kept, so that no class dies out."""
        confidence, label = y.max(1), y.argmax(1)
        keep = np.zeros(len(y), np.bool_)
        for c in range(y.shape[1]):
            rows = np.flatnonzero(label == c)
            count = int(np.ceil(float(params["q"]) * len(rows)))
            keep[rows[np.argsort(-confidence[rows], kind="stable")[:count]]] = True
        return Made(y, np.ones(len(y), np.float32), keep)


TARGETS: dict[str, type[Targets]] = {p.name: p for p in (Soft, Hard, Sharpen, Confident)}
