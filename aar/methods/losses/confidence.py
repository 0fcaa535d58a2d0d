"""Losses that use confidence: the student's own, or the weak label's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from aar.methods.losses._base import Loss, cross_entropy, weighted_mean
from aar.methods.space import Float, Space
from aar.types import Value

if TYPE_CHECKING:
    from torch import Tensor

    from aar.methods.losses._base import LossFn

BUFFER = 128
"""Rows logconf's running quantile remembers. Few, because a stale threshold trails a student that drifts to one class
and pushes it further (docs/results.md has the collapse at 512). More than a small batch, because a batch of 8, or a
length-sorted one, distorts its own threshold."""


class LogConf(Loss):
    """Auxiliary confidence: CE with a mix of the target and the student's own hard label, class shares kept.

    CE(p, (1-c) t + c h) with c = a * min(1, s / w) and h = argmax_k p_k / q_k, q_k the (1 - prior_k) quantile of
    p_k over a running buffer; at two classes that is the published threshold. The published code ramps c wrongly
    (a * s until w, then a jump to a); this follows the paper. With a supervisor at chance it can turn the
    concept upside down.
    """

    name = "logconf"
    paper = "Burns et al. 2023, auxiliary confidence loss"
    space: ClassVar[dict[str, Space]] = {
        "a": Float(low=0.0, high=0.9, default=0.5),
        "w": Float(low=0.0, high=0.5, default=0.2),
    }

    @classmethod
    def build(cls, params: Mapping[str, Value], prior: Tensor | None = None) -> LossFn:
        """The prior falls back to a running mean of y where the supervisor gave none."""
        import torch

        a, w = float(params["a"]), float(params["w"])
        seen_p: list[Tensor] = []
        seen_y: list[Tensor] = []

        def loss(logits: Tensor, y: Tensor, target: Tensor, weight: Tensor, step_frac: float) -> Tensor:
            p = logits.detach().softmax(-1)
            seen_p.append(p)
            seen_y.append(y)
            while len(seen_p) > 1 and sum(len(x) for x in seen_p[1:]) >= BUFFER:
                del seen_p[0], seen_y[0]
            buffer = torch.cat(seen_p).float()
            shares = prior.to(buffer) if prior is not None else torch.cat(seen_y).to(buffer).mean(0)
            quantile = torch.stack([buffer[:, k].quantile(1 - shares[k].clamp(0, 1)) for k in range(p.shape[-1])])
            own = torch.nn.functional.one_hot((p / quantile.clamp_min(1e-6)).argmax(-1), p.shape[-1]).to(target.dtype)
            c = a * (min(1.0, step_frac / w) if w > 0 else 1.0)
            return weighted_mean(cross_entropy(logits, (1 - c) * target + c * own), weight)

        return loss


class Product(Loss):
    """Product confidence: the target is the student's belief times the weak label, renormalised and detached."""

    name = "product"
    paper = "openai/weak-to-strong, product_loss_fn"
    space: ClassVar[dict[str, Space]] = {
        "a": Float(low=0.25, high=2.0, default=1.0),
        "b": Float(low=0.25, high=2.0, default=1.0),
    }

    @classmethod
    def build(cls, params: Mapping[str, Value], prior: Tensor | None = None) -> LossFn:
        """CE(p, normalise(p^b * y^a)), in log space."""
        a, b = float(params["a"]), float(params["b"])

        def loss(logits: Tensor, y: Tensor, target: Tensor, weight: Tensor, step_frac: float) -> Tensor:
            own = logits.detach().log_softmax(-1)
            mixed = (b * own + a * y.clamp_min(1e-6).log()).softmax(-1)
            return weighted_mean(cross_entropy(logits, mixed), weight)

        return loss


class ConfidenceWeighted(Loss):
    """Cross-entropy weighted by the weak label's confidence, even where the targets are hard."""

    name = "confidence_weighted"
    paper = "the seed article, confidence weighting"

    @classmethod
    def build(cls, params: Mapping[str, Value], prior: Tensor | None = None) -> LossFn:
        """mean(max_k y_k * CE): the plain mean of the batch, so that a doubtful batch pulls less."""

        def loss(logits: Tensor, y: Tensor, target: Tensor, weight: Tensor, step_frac: float) -> Tensor:
            return weighted_mean(y.max(-1).values * cross_entropy(logits, target), weight)

        return loss


class Entropy(Loss):
    """Cross-entropy plus k times the student's entropy: k > 0 rewards confidence.

    The sign matters: subtracting the entropy (a common slip) rewards doubt.
    """

    name = "entropy"
    paper = "the seed article with its sign mended; EleutherAI/w2s"
    space: ClassVar[dict[str, Space]] = {"k": Float(low=0.0, high=1.0, default=0.1)}

    @classmethod
    def build(cls, params: Mapping[str, Value], prior: Tensor | None = None) -> LossFn:
        """CE(p, t) + k H(p)."""
        k = float(params["k"])

        def loss(logits: Tensor, y: Tensor, target: Tensor, weight: Tensor, step_frac: float) -> Tensor:
            log_p = logits.log_softmax(-1)
            entropy = -(log_p.exp() * log_p).sum(-1)
            return weighted_mean(cross_entropy(logits, target) + k * entropy, weight)

        return loss
