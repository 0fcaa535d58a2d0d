"""Targets that let the student's own answer before any supervision speak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aar.methods.space import Float, Space
from aar.methods.targets._base import Context, Made, Need, Targets, everything
from aar.types import Value


class ZeroShotBlend(Targets):
    """Weak probabilities mixed with the strong model's own zero-shot ones: (1 - a) y + a z.

    The strong model may know the concept before anybody labels it; what both say stays, where they differ the target
    is a doubt. At a = 1 the weak labels are not used at all: a control, which says what they add.
    """

    name = "zero_shot_blend"
    paper = "Burns et al. 2023, section 5.2.1 (prompting shows what the strong model knows)"
    space: ClassVar[dict[str, Space]] = {"a": Float(low=0.0, high=1.0, default=0.5)}
    needs: ClassVar[tuple[Need, ...]] = ("zero_shot",)

    @classmethod
    def make(cls, y: NDArray[np.float32], params: Mapping[str, Value], context: Context) -> Made:
        """Every row kept with weight 1."""
        own, a = context.zero_shot, np.float32(params["a"])
        assert own is not None, "named in needs"
        return everything((1 - a) * y + a * own)
