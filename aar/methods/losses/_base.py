"""Losses: `build(params, prior)` gives loss(logits, y, target, weight, step_frac) -> mean over the batch.

logits (n, C) float; y (n, C) the raw weak soft label; target (n, C) what the targets slot made of it; weight (n,)
with the batch mean taken over `weight.sum()` (a batch of all-zero weights gives 0 and no gradient); step_frac in
[0, 1] the share of training steps done. torch is imported inside functions: the host lists losses without it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from aar.methods.space import PartInfo
from aar.types import Value

if TYPE_CHECKING:
    from torch import Tensor

    LossFn = Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]


class Loss(PartInfo):
    """One loss of the student against weak labels."""

    @classmethod
    @abstractmethod
    def build(cls, params: Mapping[str, Value], prior: Tensor | None = None) -> LossFn:
        """A fresh loss (some keep state over steps). `prior` (C,): class shares of the supervisor's held-out slice."""


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """CE of each row (n,) against soft targets (n, C)."""
    return -(target * logits.log_softmax(-1)).sum(-1)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """sum(values * weight) / sum(weight); 0 where all weights are 0."""
    return (values * weight).sum() / weight.sum().clamp_min(1e-12)
