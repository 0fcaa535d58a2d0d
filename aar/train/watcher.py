"""Early stopping without truth: held-out rows with weak labels decide which state is kept."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from aar.methods.losses import cross_entropy
from aar.train.loop import Supervised, predict
from aar.train.models import Classifier
from aar.train.tokens import Tokens

if TYPE_CHECKING:
    from aar.methods.student import Holdout

CHECKS = 5
"""Looks at the held-out rows in an epoch."""


class Watcher:
    """Takes a share of the rows out of `data` and watches how the model does on them.

    `curve` holds (step, mean score) of every look; a score is what one row costs, so lower is better.
    """

    def __init__(
        self, plan: Holdout, model: Classifier, tokens: Tokens, data: Supervised, batch_size: int, seed: int
    ) -> None:
        """Split the rows by `seed`.

        Raises:
            ValueError: fewer than two rows to split.
        """
        if len(data.rows) < 2:
            raise ValueError("early_stop holds rows out, but the targets part kept one row only")
        self.plan, self.model, self.tokens, self.target = plan, model, tokens, data.target.cpu()
        order = np.random.default_rng([seed, 13]).permutation(data.rows)
        count = min(max(1, round(plan.held * len(order))), len(order) - 1)
        self.held, data.rows = np.sort(order[:count]), np.sort(order[count:])
        self.every = math.ceil(len(data.rows) / batch_size / CHECKS)
        self.curve: list[tuple[int, float]] = []
        self.best: NDArray[np.float64] | None = None
        self.state: list[torch.Tensor] = []
        self.waited = 0

    def over(self, step: int, steps: int) -> bool:
        """Look, where a look is due after `step` of `steps`; is the training over?"""
        if step % self.every and step != steps:
            return False
        scores = self.scores()
        self.curve.append((step, float(scores.mean())))
        if self.best is None or self._clearly(self.best - scores):
            self.best, self.waited = scores, 0
            self.state = [p.detach().clone() for p in self._learning()]
        else:
            self.waited += 1
        return self.waited >= self.plan.patience or step == steps

    def scores(self) -> NDArray[np.float64]:
        """(m,) cross-entropy with the held-out rows' targets, or 1 where the most likely classes differ."""
        logits = torch.from_numpy(predict(self.model, self.tokens, self.held))
        target = self.target[torch.from_numpy(self.held)]
        if self.plan.on == "loss":
            return cross_entropy(logits, target).double().numpy()
        return (logits.argmax(1) != target.argmax(1)).double().numpy()

    def restore(self) -> None:
        """Put the best state back."""
        with torch.no_grad():
            for parameter, kept in zip(self._learning(), self.state, strict=True):
                parameter.copy_(kept)

    def _learning(self) -> list[torch.nn.Parameter]:
        return [p for p in self.model.parameters() if p.requires_grad]

    def _clearly(self, gain: NDArray[np.float64]) -> bool:
        error = gain.std(ddof=1) / math.sqrt(len(gain)) if len(gain) > 1 else 0.0
        return bool(gain.mean() > self.plan.z * error)
