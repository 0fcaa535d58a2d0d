"""Targets that use what the weak model's own held-out rows say about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aar.methods.space import Choice, Space
from aar.methods.targets._base import Context, Made, Need, Targets, everything
from aar.methods.targets._calibration import softmax
from aar.types import Value


class Calibrated(Targets):
    """Weak probabilities at the temperature, or by the confusion matrix, that weak_val rows give.

    `temperature`: softmax(log y / T). `confusion`: the probability of each true class given only what the weak model
    called the row, prior_a confusion[a, call]; its confidence is then the same for all rows of one call.
    """

    name = "calibrated"
    paper = "Guo et al. 2017 (temperature); Patrini et al. 2017 (confusion matrix)"
    space: ClassVar[dict[str, Space]] = {"how": Choice(options=("temperature", "confusion"), default="temperature")}
    needs: ClassVar[tuple[Need, ...]] = ("calibration",)

    @classmethod
    def make(cls, y: NDArray[np.float32], params: Mapping[str, Value], context: Context) -> Made:
        """Every row kept with weight 1."""
        fitted = context.calibration
        assert fitted is not None, "named in needs"
        if params["how"] == "temperature":
            log_y = np.log(np.clip(y.astype(np.float64), 1e-12, None))
            return everything(softmax(log_y / fitted.temperature).astype(np.float32))
        joint = fitted.prior[:, None] * fitted.confusion
        return everything((joint / joint.sum(0)).T[y.argmax(1)].astype(np.float32))
