"""What a task can give its recipes: `illegal` weighs a recipe against it before anything runs."""

from __future__ import annotations

from typing import NamedTuple

from aar.types import TaskSpec


class Able(NamedTuple):
    """A task's abilities; `Able()` is a plain task of two classes that trains its weak model.

    `provided`: the task brings its weak labels, so there is no weak model. `calibration`: there are rows with truth
    that the weak model does not train on. `zero_shot`: the strong model can answer before any supervision. `chain`:
    models between weak and strong. `classes`: how many, 0 where the task does not say before its data are read.
    """

    provided: bool = False
    calibration: bool = True
    zero_shot: bool = False
    chain: int = 0
    classes: int = 2

    @classmethod
    def of(cls, task: TaskSpec) -> Able:
        """What the task's own words say; reads no data."""
        provided = task.models.weak.labels is not None
        classes = len(task.data.classes or ())
        if task.data.world is not None:
            from aar import worlds

            classes = len(worlds.get(task.data.world.name, task.data.world.params).classes)
        return cls(
            provided=provided,
            calibration=not provided and task.splits.weak_val > 0,
            chain=len(task.models.chain),
            classes=classes,
        )
