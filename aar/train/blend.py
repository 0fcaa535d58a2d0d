"""Weights of several supervisors, learnt with the student."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from aar.methods.supervision import Mix, Probs


class Blend:
    """y = sum_j w_j y_j with w = softmax(scores); `Mix` says when and how fast the scores move.

    `answers`: each member's probabilities (n, C). `rows_easy` (n,): the arg maxes of all members agree.
    """

    def __init__(self, answers: Sequence[Probs], mix: Mix, device: torch.device) -> None:
        stack = np.stack(answers)
        votes = stack.argmax(-1)
        self.mix = mix
        self.answers = torch.from_numpy(stack).to(device)
        self.rows_easy = torch.from_numpy((votes == votes[0]).all(0)).to(device)
        self.scores = torch.zeros(len(stack), device=device, requires_grad=True)

    @property
    def weights(self) -> Tensor:
        """Each member's weight now (m,)."""
        return self.scores.detach().softmax(-1)

    def at(self, index: Tensor, weight: Tensor, step_frac: float) -> tuple[Tensor, Tensor]:
        """Labels (b, C) and row weights (b,) of a batch: through the easy start, rows without agreement weigh 0."""
        y = torch.einsum("m,mbc->bc", self.weights, self.answers[:, index])
        return y, weight * self.rows_easy[index] if step_frac < self.mix.easy else weight

    def misfit(self, index: Tensor, logits: Tensor, step_frac: float) -> Tensor:
        """CE of the student's answer against the weighted label, mean over the batch; its gradient moves scores only.

        0 and without gradient through the easy start.
        """
        if step_frac < self.mix.easy:
            return logits.new_zeros(())
        own = logits.detach().log_softmax(-1)
        by_member = -(self.answers[:, index] * own).sum(-1).mean(-1)
        return (self.scores.softmax(-1) * by_member).sum()
