"""Supervision by weak models that differ in their seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from aar.methods.space import Choice, Int, Space
from aar.methods.supervision._base import Probs, Supervision
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
        total = np.zeros(answers[0].shape, np.float64)
        for answer in answers:
            total += answer
        mean: Probs = (total / len(answers)).astype(np.float32)
        return mean
