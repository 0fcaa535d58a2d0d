"""Where weak labels come from: how many weak models feed one student seed, and how their answers are combined."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aar.methods.space import Choice, Int, PartInfo, Space
from aar.types import Value

Probs = NDArray[np.float32]


class Supervision(PartInfo):
    """`members` plans on the host; `combine` runs in the sandbox."""

    @classmethod
    @abstractmethod
    def members(cls, params: Mapping[str, Value]) -> int:
        """How many weak models feed one student seed; member 0 is the one PGR is paired with."""

    @classmethod
    @abstractmethod
    def combine(cls, answers: Sequence[Probs], params: Mapping[str, Value]) -> Probs:
        """Soft labels (n, C) from each member's probabilities (n, C); rows sum to 1."""


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


SUPERVISION: dict[str, type[Supervision]] = {p.name: p for p in (Single, Ensemble)}
