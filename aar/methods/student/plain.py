"""The plain students: everything learns, or only the head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from aar.methods.space import Float, Space
from aar.methods.student._base import Student, Trainee
from aar.types import Training, Value


class Finetune(Student):
    """All weights learn (or the task's LoRA adapters, where its training names them)."""

    name = "finetune"
    paper = "Burns et al. 2023"

    @classmethod
    def learn(cls, trainee: Trainee, params: Mapping[str, Value]) -> None:
        """One fit."""
        trainee.fit()


class LinearProbe(Student):
    """A linear head on frozen features; its own learning rate, the schedule's epochs and batches."""

    name = "linear_probe"
    paper = "Burns et al. 2023, appendix; Kumar et al. 2022"
    space: ClassVar[dict[str, Space]] = {"lr": Float(low=1e-4, high=1e-1, default=1e-2, log=True)}

    @classmethod
    def training(cls, params: Mapping[str, Value], schedule: Training) -> Training:
        """The schedule with the probe's learning rate and no adapters."""
        return schedule.model_copy(update={"lr": float(params["lr"]), "lora": None})

    @classmethod
    def learn(cls, trainee: Trainee, params: Mapping[str, Value]) -> None:
        """One fit of the head."""
        trainee.fit(head_only=True)
