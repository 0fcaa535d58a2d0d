"""Which weights of the strong model learn, and under which schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from aar.methods.space import Choice, Float, Int, PartInfo, Space
from aar.types import Training, Value


class Student(PartInfo):
    """How the strong model is trained. `frozen`: only the head learns, on features computed once."""

    frozen: ClassVar[bool] = False

    @classmethod
    def training(cls, params: Mapping[str, Value], schedule: Training) -> Training:
        """The schedule this student really runs under."""
        return schedule


class Finetune(Student):
    """All weights learn (or the task's LoRA adapters, where its training names them)."""

    name = "finetune"
    paper = "Burns et al. 2023"


class LinearProbe(Student):
    """A linear head on frozen features; its own learning rate, the schedule's epochs and batches."""

    name = "linear_probe"
    paper = "Burns et al. 2023, appendix; Kumar et al. 2022"
    frozen = True
    space: ClassVar[dict[str, Space]] = {"lr": Float(low=1e-4, high=1e-1, default=1e-2, log=True)}

    @classmethod
    def training(cls, params: Mapping[str, Value], schedule: Training) -> Training:
        """The schedule with the probe's learning rate and no adapters."""
        return schedule.model_copy(update={"lr": float(params["lr"]), "lora": None})


class Schedule(PartInfo):
    """Learning rate (searched from .1 to 4 times the task's), epochs, batch size, warm-up, decay."""

    name = "standard"
    space: ClassVar[dict[str, Space]] = {
        "lr": Float(low=0.1, high=4.0, default=1.0, log=True, relative=True),
        "epochs": Int(low=1, high=5, default=2, inherit=True),
        "batch_size": Choice(options=(16, 32, 64, 128), default=32, inherit=True),
        "warmup": Float(low=0.0, high=0.3, default=0.0, inherit=True),
        "decay": Choice(options=("linear", "cosine", "constant"), default="linear", inherit=True),
    }

    @classmethod
    def training(cls, params: Mapping[str, Value], base: Training) -> Training:
        """The task's strong training with this part's parameters over it."""
        return Training.model_validate(base.model_dump() | dict(params))


STUDENTS: dict[str, type[Student]] = {p.name: p for p in (Finetune, LinearProbe)}
SCHEDULES: dict[str, type[Schedule]] = {Schedule.name: Schedule}
