"""Cross-entropy: the default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from aar.methods.losses._base import Loss, cross_entropy, weighted_mean
from aar.types import Value

if TYPE_CHECKING:
    from torch import Tensor

    from aar.methods.losses._base import LossFn


class CrossEntropy(Loss):
    """Cross-entropy with the targets: naive weak-to-strong training."""

    name = "xent"
    paper = "Burns et al. 2023"

    @classmethod
    def build(cls, params: Mapping[str, Value], prior: Tensor | None = None) -> LossFn:
        """CE(p, t)."""
        return lambda logits, y, target, weight, step_frac: weighted_mean(cross_entropy(logits, target), weight)
