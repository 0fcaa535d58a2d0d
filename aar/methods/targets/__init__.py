"""Targets: a part is a `Targets` in any file of this folder."""

from aar.methods._parts import discover
from aar.methods.targets._base import Calibration, Context, Made, Need, Targets, everything, one_hot, surest

TARGETS: dict[str, type[Targets]] = discover(__name__, Targets, "soft")

__all__ = ["TARGETS", "Calibration", "Context", "Made", "Need", "Targets", "everything", "one_hot", "surest"]
