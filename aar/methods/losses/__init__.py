"""Losses: a part is a `Loss` in any file of this folder."""

from aar.methods._parts import discover
from aar.methods.losses._base import Loss, cross_entropy, kl, weighted_mean

LOSSES: dict[str, type[Loss]] = discover(__name__, Loss, "xent")

__all__ = ["LOSSES", "Loss", "cross_entropy", "kl", "weighted_mean"]
