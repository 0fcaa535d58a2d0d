"""Supervision through models between the weak and the strong one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from aar.methods.space import Choice, Int, Space
from aar.methods.supervision._base import Probs, Supervision
from aar.types import Value


class Bootstrap(Supervision):
    """The weak model teaches the first model of the task's chain, each link the next, the last the student.

    The first `links` models of `models.chain` learn naively (soft labels, cross-entropy, all weights) under
    `training.chain`, whatever the student's recipe: so all recipes share them. They learn on the transfer rows, which
    they then have to label. With `folds` = 2 two models learn on random halves and each labels the other half, so that
    none labels a row it was trained on: a model that has memorised a weak error would pass it on with confidence. With
    1, one model learns on all rows and labels them; the paper does not say which rows its links label. Halving costs
    no more time but each model sees half the rows. PGR stays measured against the task's weak model.
    """

    name = "bootstrap"
    paper = "Burns et al. 2023, section 4.3.1"
    space: ClassVar[dict[str, Space]] = {
        "links": Int(low=1, high=3, default=1),
        "folds": Choice(options=(1, 2), default=2),
    }

    @classmethod
    def members(cls, params: Mapping[str, Value]) -> int:
        """One."""
        return 1

    @classmethod
    def links(cls, params: Mapping[str, Value]) -> int:
        """links."""
        return int(params["links"])

    @classmethod
    def folds(cls, params: Mapping[str, Value]) -> int:
        """folds."""
        return int(params["folds"])

    @classmethod
    def combine(cls, answers: Sequence[Probs], params: Mapping[str, Value]) -> Probs:
        """The last link's answer as it is."""
        return answers[0]
