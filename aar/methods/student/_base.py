"""How the strong model learns from the targets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aar.methods.space import PartInfo
from aar.types import Training, Value

Probs = NDArray[np.float32]


class Trainee(Protocol):
    """One seed of the strong model inside its job, as a student part sees it.

    `y` (n, C): the soft labels its supervision gave; `training`: the schedule it is to run under.
    """

    y: Probs
    training: Training

    def fit(self, y: Probs | None = None, *, training: Training | None = None, head_only: bool = False) -> None:
        """Train with the recipe's targets and loss on `y` (default: its own), from the weights it has now.

        `head_only`: a new head on frozen features computed once.
        """

    def answers(self) -> Probs:
        """Its probabilities (n, C) on the transfer rows now."""

    def renew(self) -> None:
        """Back to the weights it began with, head at zero."""


class Student(PartInfo):
    """How the strong model is trained."""

    @classmethod
    def training(cls, params: Mapping[str, Value], schedule: Training) -> Training:
        """The schedule this student really runs under."""
        return schedule

    @classmethod
    @abstractmethod
    def learn(cls, trainee: Trainee, params: Mapping[str, Value]) -> None:
        """Train it. Runs in the sandbox; `trainee.training` is what `training` gave."""
