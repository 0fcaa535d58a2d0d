"""Under which schedule the student learns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from aar.methods.space import Choice, Float, Int, PartInfo, Space
from aar.types import Training, Value


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


SCHEDULES: dict[str, type[Schedule]] = {Schedule.name: Schedule}
