"""One seed of a model inside its job: what a student part trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from aar.methods.losses import LOSSES
from aar.methods.supervision import Mix
from aar.methods.targets import TARGETS, Context
from aar.train.blend import Blend
from aar.train.loop import Supervised, fit, predict
from aar.train.models import Classifier
from aar.types import Recipe, Training

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from aar.methods.student._base import Probs
    from aar.train.loop import Progress
    from aar.train.tokens import Tokens


class Members(NamedTuple):
    """Probabilities (n, C) of each supervisor whose weights are learnt, and how."""

    answers: Sequence[Probs]
    mix: Mix


class Trainee:
    """Fits a model to its supervision; `aar.methods.student.Trainee` says what each method is for."""

    def __init__(
        self,
        fresh: Callable[[], Classifier],
        tokens: Tokens,
        y: Probs,
        recipe: Recipe,
        training: Training,
        seed: int,
        progress: Progress,
        prior: torch.Tensor | None = None,
        context: Context | None = None,
        members: Members | None = None,
    ) -> None:
        self.fresh, self.tokens, self.y, self.recipe, self.training = fresh, tokens, y, recipe, training
        self.seed, self.progress, self.prior = seed, progress, prior
        self.context = context or Context(seed)
        self.members = members
        self.keep: NDArray[np.bool_] = np.ones(len(y), np.bool_)
        self.model = fresh()

    def fit(self, y: Probs | None = None, *, training: Training | None = None, head_only: bool = False) -> None:
        """Train with the recipe's targets and loss on `y` (default: its own), from the weights it has now."""
        given = self.y if y is None else y
        targets, loss = self.recipe.targets, self.recipe.loss
        made = TARGETS[targets.name].make(given, targets.params, self.context)
        device = self.model.head.weight.device
        blend = Blend(*self.members, device) if self.members is not None and y is None else None
        data = Supervised(given, made.target, made.weight, made.keep & self.keep, device, blend)
        loss_fn = LOSSES[loss.name].build(loss.params, self.prior)
        fit(
            self.model, self.tokens, data, loss_fn, training or self.training, self.seed, self.progress, head_only
        )  # fmt: skip

    def answers(self) -> Probs:
        """Its probabilities (n, C) on the rows it is trained on, now."""
        logits = torch.from_numpy(predict(self.model, self.tokens))
        probs: Probs = logits.softmax(-1).numpy()
        return probs

    def supervise(self, y: Probs, keep: NDArray[np.bool_]) -> None:
        """New labels of its own (n, C), and the only rows (n,) it is trained on from now on."""
        self.y, self.keep = y, keep

    def renew(self) -> None:
        """Back to the weights it began with, head at zero."""
        self.model = self.fresh()
