"""Adversarial training: the loss where a small shift of the token embeddings hurts most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aar.methods.losses import cross_entropy
from aar.train.loop import autocast
from aar.train.models import Classifier

if TYPE_CHECKING:
    from aar.methods.losses._base import LossFn
    from aar.methods.student import Adversary

STEP = 2.5
"""Steps of a search together go this many radii: enough to reach the ball's surface from its centre and move on it
(Madry et al. 2018). One step lands on the surface, which is the fast gradient method."""


class Attack:
    """An adversary at work. `loss_fn` is its own copy of the recipe's loss: some keep state over batches."""

    def __init__(self, plan: Adversary, loss_fn: LossFn) -> None:
        self.plan, self.loss_fn = plan, loss_fn

    def mixed(
        self, clean: Tensor, model: Classifier, batch: tuple[Tensor, ...],
        y: Tensor, target: Tensor, weight: Tensor, step_frac: float, *further: Tensor,
    ) -> Tensor:  # fmt: skip
        """(1 - share) * clean + share * the loss on shifted embeddings."""
        ids, mask = batch
        shift = worst_shift(model, ids, mask, target, self.plan.eps, self.plan.steps)
        with autocast(shift.device):
            logits = model(ids, mask, shift)
        hurt = self.loss_fn(logits.float(), y, target, weight, step_frac, *further)
        return (1 - self.plan.share) * clean + self.plan.share * hurt


def worst_shift(model: Classifier, ids: Tensor, mask: Tensor, target: Tensor, eps: float, steps: int) -> Tensor:
    """Shift (b, t, d) of the embeddings that raises CE with `target` most within the ball, by projected ascent.

    The ball of a text has radius `eps` times the norm of all its embeddings together; pads do not move. Where the
    gradient is zero (a head that is still zero) there is no shift.
    """
    real = mask.unsqueeze(-1)
    embedded = (model.embed(ids).detach() * real).float()
    radius = eps * _norm(embedded)
    shift = torch.zeros_like(embedded)
    for _ in range(steps):
        shift.requires_grad_(True)
        with autocast(shift.device):
            logits = model(ids, mask, shift)
        (slope,) = torch.autograd.grad(cross_entropy(logits.float(), target).sum(), shift)
        slope = slope * real
        shift = shift.detach() + STEP * radius / steps * slope / _norm(slope).clamp_min(1e-12)
        shift = shift * (radius / _norm(shift).clamp_min(1e-12)).clamp_max(1)
    return shift.detach()


def _norm(x: Tensor) -> Tensor:
    """Euclidean norm (b, 1, 1) of each text's (t, d)."""
    size: Tensor = x.flatten(1).norm(dim=1)
    return size[:, None, None]
