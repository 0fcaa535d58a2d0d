"""One seed of a model inside its job: what a student part trains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from aar.methods.supervision import Mix
from aar.methods.targets import Context
from aar.train.attack import Attack
from aar.train.blend import Blend
from aar.train.conflict import conflicting
from aar.train.language import read
from aar.train.loop import Supervised, fit, predict
from aar.train.models import Classifier
from aar.train.watcher import Watcher
from aar.train.written import loss_of, targets_of
from aar.types import Recipe, Training

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from aar.methods.student import Adversary, Holdout, Reward
    from aar.methods.student._base import Probs
    from aar.train.loop import Progress
    from aar.train.tokens import Tokens


class Members(NamedTuple):
    """Probabilities (n, C) of each supervisor whose weights are learnt, and how."""

    answers: Sequence[Probs]
    mix: Mix


class Trainee:
    """Fits a model to its supervision; `aar.methods.student.Trainee` says what each method is for.

    `weight` (n,): how much each row weighed in the last training, 0 where it was left out; `target` (n, C): what it
    was to learn there.
    `folder` holds the pre-trained model's files, where it came from a folder; `opposed` does what `oppose` asks for.
    `conflict` weighs a second objective; `after` is told of each step of a fit: how many are done, of how many.
    """

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
        folder: Path | None = None,
        members: Members | None = None,
        opposed: Callable[[Trainee, Reward], None] | None = None,
        conflict: float = 0.0,
    ) -> None:
        self.fresh, self.tokens, self.y, self.recipe, self.training = fresh, tokens, y, recipe, training
        self.seed, self.progress, self.prior = seed, progress, prior
        self.context = context or Context(seed)
        self.folder = folder or Path()
        self.members, self.opposed = members, opposed
        self.conflict = conflict
        self.after: Callable[[int, int], None] | None = None
        self.keep: NDArray[np.bool_] = np.ones(len(y), np.bool_)
        self.model = fresh()
        self.weight, self.target = np.zeros(len(y), np.float32), y

    def fit(
        self,
        y: Probs | None = None,
        *,
        training: Training | None = None,
        head_only: bool = False,
        rows: NDArray[np.bool_] | None = None,
        adversary: Adversary | None = None,
        holdout: Holdout | None = None,
    ) -> None:
        """Train with the recipe's targets and loss on `y` (default: its own), from the weights it has now."""
        given = self.y if y is None else y
        training = training or self.training
        targets, loss = self.recipe.targets, self.recipe.loss
        made = targets_of(targets).make(given, targets.params, self.context)
        keep = made.keep & self.keep if rows is None else made.keep & self.keep & rows
        device = self.model.head.weight.device
        blend = Blend(*self.members, device) if self.members is not None and y is None else None
        data = Supervised(given, made.target, made.weight, keep, device, blend)
        kind = loss_of(loss)
        attack = watcher = None
        if adversary is not None and adversary.eps > 0 and adversary.share > 0:
            attack = Attack(adversary, kind.build(loss.params, self.prior))
        if holdout is not None:
            watcher = Watcher(holdout, self.model, self.tokens, data, training.batch_size, self.seed)
        self.weight = np.zeros(len(given), np.float32)
        self.weight[data.rows], self.target = made.weight[data.rows], made.target
        objective = kind.build(loss.params, self.prior)
        if self.conflict > 0:
            objective = conflicting(objective, self.conflict)
        fit(
            self.model, self.tokens, data, objective, training, self.seed, self.progress,
            head_only, kind.noise(loss.params), attack, watcher, self.after,
        )  # fmt: skip

    def read(self, training: Training) -> None:
        """Language-model the transfer texts, from the weights it has now."""
        read(self.model, self.folder, self.tokens, training, self.seed, self.progress)

    def answers(self) -> Probs:
        """Its probabilities (n, C) on the rows it is trained on, now."""
        logits = torch.from_numpy(predict(self.model, self.tokens))
        probs: Probs = logits.softmax(-1).numpy()
        return probs

    def oppose(self, reward: Reward) -> None:
        """Learn from the targets' likeliest answers against its own; nothing on pairs, which are that already."""
        if self.opposed is not None:
            self.opposed(self, reward)

    def supervise(self, y: Probs, keep: NDArray[np.bool_]) -> None:
        """New labels of its own (n, C), and the only rows (n,) it is trained on from now on."""
        self.y, self.keep = y, keep

    def renew(self) -> None:
        """Back to the weights it began with, head at zero."""
        self.model = self.fresh()
