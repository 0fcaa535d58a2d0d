"""Supervision by weak models that differ in their seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from aar.methods.space import Choice, Float, Int, Space
from aar.methods.supervision._base import Mix, Probs, Supervision, mean
from aar.types import Value


class Single(Supervision):
    """One weak model's probabilities."""

    name = "single"
    paper = "Burns et al. 2023"

    @classmethod
    def members(cls, params: Mapping[str, Value]) -> int:
        """One."""
        return 1

    @classmethod
    def combine(cls, answers: Sequence[Probs], params: Mapping[str, Value]) -> Probs:
        """The one answer as it is."""
        return answers[0]


class Ensemble(Supervision):
    """k weak seeds, their probabilities averaged or their votes counted."""

    name = "ensemble"
    paper = "Lakshminarayanan et al. 2017; RAVEN without its weights"
    space: ClassVar[dict[str, Space]] = {
        "k": Int(low=2, high=5, default=3),
        "how": Choice(options=("mean", "vote"), default="mean"),
    }

    @classmethod
    def members(cls, params: Mapping[str, Value]) -> int:
        """k."""
        return int(params["k"])

    @classmethod
    def combine(cls, answers: Sequence[Probs], params: Mapping[str, Value]) -> Probs:
        """Mean of probabilities, or share of votes (a tie inside one member goes to the lower class)."""
        if params["how"] == "vote":
            classes = answers[0].shape[1]
            answers = [np.eye(classes, dtype=np.float32)[a.argmax(1)] for a in answers]
        return mean(answers)


class Raven(Supervision):
    """k weak seeds whose weights are learnt with the student, after a start on the rows they agree on.

    y = sum_j w_j y_j with w = softmax(u), u = 0 at first. After the first share `easy` of training, u descends
    CE(p, y), p the student's probabilities, by the student's own optimiser at learning rate `lr`: weight moves to
    the members whose labels the student finds easiest to fit, which in the paper are the more accurate ones. Before
    that, w is equal and only rows whose arg maxes all agree count. The published code keeps w on the simplex by
    clipping and renormalising after steps of plain SGD; here softmax does. And here u descends cross-entropy whatever
    the student's loss, so that every loss goes with it. Targets other than `soft` are made before training and cannot
    follow w: they are refused.
    """

    name = "raven"
    paper = "Jeon et al. 2025 (RAVEN), arXiv 2510.21332"
    space: ClassVar[dict[str, Space]] = {
        "k": Int(low=2, high=5, default=3),
        "easy": Float(low=0.0, high=0.9, default=0.3),
        "lr": Float(low=1e-3, high=0.3, default=0.03, log=True),
    }

    @classmethod
    def members(cls, params: Mapping[str, Value]) -> int:
        """k."""
        return int(params["k"])

    @classmethod
    def combine(cls, answers: Sequence[Probs], params: Mapping[str, Value]) -> Probs:
        """Equal weights: where the learnt ones begin."""
        return mean(answers)

    @classmethod
    def mix(cls, params: Mapping[str, Value]) -> Mix:
        """The weights' easy start and learning rate."""
        return Mix(float(params["easy"]), float(params["lr"]))
