"""Language models scored by their implicit reward: on pairs of a preference task, or on answers of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from aar.methods.losses import LOSSES
from aar.methods.student import STUDENTS, Reward
from aar.methods.supervision import SUPERVISION
from aar.reading import read_rows
from aar.train.generation import Writer, language_model
from aar.train.job import Job
from aar.train.loop import Supervised, autocast, fit
from aar.train.models import Classifier
from aar.train.tokens import Tokens, prediction_batches
from aar.train.trainee import Trainee
from aar.types import JobKind, JobSpec, Training, Unit

SHARE = 0.1
"""Of the learning rate, for preferences between answers that were just learnt; published were 1e-5 and 6e-7."""


class ImplicitReward(Writer):
    """A causal language model; the logits of a pair are the implicit rewards of its two sides.

    `aar.methods.student.Reward` has the formulas (Rafailov et al. 2023; Meng et al. 2024). Only tokens of the answer
    count, and what closes it. `reference` holds the log-probability of each text under the model as it was before
    training, by the text's ids: a second model in memory would say the same.
    """

    def __init__(self, backbone: nn.Module, head: nn.Linear, how: Reward) -> None:
        super().__init__(backbone, head, 2)
        self.classes = 2
        self.how, self.margin = how, how.gamma
        self.reference: dict[bytes, float] = {}

    @torch.inference_mode()
    def remember(self, tokens: Tokens) -> None:
        """What the model now says of these pairs is the reference from here on."""
        for rows in prediction_batches(tokens.lengths):
            ids, mask = tokens.batch(rows, self.head.weight.device)
            with autocast(ids.device):
                log_p, _ = self.said(ids, mask)
            self.reference |= zip(texts_of(ids, mask), log_p.tolist(), strict=True)

    def forward(self, ids: Tensor, mask: Tensor, shift: Tensor | None = None) -> Tensor:
        """Rewards (b, 2) of b pairs, `ids` and `mask` (2b, t) as `Tokenizer.answering` gives them.

        `shift` (2b, t, d) is added to the token embeddings. A side without an answer has reward 0.
        """
        log_p, count = self.said(ids, mask, shift)
        if self.how.form == "simpo":
            reward = log_p / count.clamp_min(1)
        else:
            known = [self.reference[text] for text in texts_of(ids, mask)]
            reward = log_p - torch.tensor(known, device=log_p.device)
        return self.how.beta * reward.view(-1, self.sides)


def texts_of(ids: Tensor, mask: Tensor) -> list[bytes]:
    """Each text's own ids, without pads, as a key."""
    lengths = mask.sum(1).tolist()
    return [row[:n].tobytes() for row, n in zip(ids.cpu().numpy(), lengths, strict=True)]


def prefer(model: Writer, pairs: Tokens, how: Reward, trainee: Trainee) -> None:
    """Train `model` in place to find the first side of each pair the better one, against itself as it is now.

    One epoch at SHARE of the trainee's learning rate.
    """
    rewards = ImplicitReward(model.backbone, model.head, how)
    if how.form == "dpo":
        rewards.remember(pairs)
    y = np.tile(np.array([1, 0], np.float32), (len(pairs), 1))
    data = Supervised(y, y, np.ones(len(y), np.float32), np.ones(len(y), np.bool_), model.head.weight.device)
    training = trainee.training.model_copy(update={"epochs": 1, "lr": SHARE * trainee.training.lr})
    fit(rewards, pairs, data, LOSSES["xent"].build({}), training, trainee.seed, trainee.progress)


def reward_of(spec: JobSpec) -> Reward | None:
    """How what the job trains scores a side of a pair, if not by a head of its own."""
    if spec.recipe is None or spec.recipe.student.code is not None:
        return None
    alpha = contrast_of(spec)
    student = spec.recipe.student
    return STUDENTS[student.name].reward(student.params) if alpha is None else Reward("dpo", alpha, 0.0)


def contrast_of(spec: JobSpec) -> float | None:
    """How much a weak model's labels are moved from what it said before it was trained."""
    if spec.kind is not JobKind.WEAK or spec.recipe is None:
        return None
    part = spec.recipe.supervision
    return SUPERVISION[part.name].contrast(part.params)


class AligningJob(Job):
    """The same steps as `Job`; the reference is asked about every pair before the first step of training.

    `own`: pairs of the seed's own, which a weak model learns from.
    """

    own: tuple[Tokens, ...] = ()

    def _weak(self, unit: Unit) -> None:
        files = (self.unit_file(unit, f"{name}.jsonl") for name in ("train", "val"))
        self.own = tuple(self._read(file) for file in files if file.exists())
        super()._weak(unit)

    def _read(self, path: Path) -> Tokens:
        return self.tokenizer.answering(read_rows(path))

    def _built(self, dtype: torch.dtype) -> Classifier:
        how = reward_of(self.spec)
        assert how is not None, "why the job is one of these"
        return ImplicitReward(*language_model(self.spec.model, self.inputs, self.tokenizer.size, dtype), how)

    def _fresh(self, seed: int, training: Training) -> Classifier:
        model = super()._fresh(seed, training)
        assert isinstance(model, ImplicitReward)
        model.head.requires_grad_(training.lora is None)
        if model.how.form == "dpo":
            known = bool(model.reference)  # the same model begins every seed
            shared = () if known else tuple(self.tokens(split) for split in {"transfer", *self.spec.predict})
            for tokens in (*shared, *self.own):
                model.remember(tokens)
        return model
