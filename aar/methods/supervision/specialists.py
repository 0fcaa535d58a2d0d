"""Supervision by weak models that each know a part of the weak pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aar.methods.space import Choice, Int, Space
from aar.methods.supervision._base import Probs, Supervision
from aar.types import Value


class CoSupervised(Supervision):
    """A generalist teaches first; then k specialists, each row assigned to the one the student is closest to.

    The weak pool is cut by its words into k parts (`aar.data.text_parts`: no labels used) and a specialist learns on
    each. The student learns from the generalist (the task's weak model); then, `rounds` times, each row gets the
    specialist with the least KL(student || specialist), rows inconsistent with the student are dropped, and the
    student learns anew. Kept (`keep` = consistent): the share of rows on which the specialist's arg max is the
    student's, those with the lowest student loss on the specialist's hard label. In the paper specialists know ranges
    of classes and the student's class names the specialist; with few classes there are no ranges, and the paper's
    multi-domain variant with the least divergence is followed. Its third consistency (top 3 classes) needs many
    classes: here it is top 1. The specialists together have seen more labels than one weak model has; so have
    `ensemble`'s members.
    """

    name = "co_supervised"
    paper = "Liu & Alahi 2024 (co-supervised learning), arXiv 2402.15505"
    space: ClassVar[dict[str, Space]] = {
        "k": Choice(options=(2, 4), default=2),
        "rounds": Int(low=1, high=3, default=1),
        "keep": Choice(options=("consistent", "all"), default="consistent"),
    }

    @classmethod
    def members(cls, params: Mapping[str, Value]) -> int:
        """The generalist and k specialists."""
        return 1 + int(params["k"])

    @classmethod
    def parts(cls, params: Mapping[str, Value]) -> int:
        """k."""
        return int(params["k"])

    @classmethod
    def combine(cls, answers: Sequence[Probs], params: Mapping[str, Value]) -> Probs:
        """The generalist's answer."""
        return answers[0]

    @classmethod
    def rounds(cls, params: Mapping[str, Value]) -> int:
        """rounds."""
        return int(params["rounds"])

    @classmethod
    def assign(
        cls, answers: Sequence[Probs], student: Probs, params: Mapping[str, Value]
    ) -> tuple[Probs, NDArray[np.bool_]]:
        """Each row's closest specialist, and the rows where it is consistent with the student."""
        stack = np.stack(answers[1:])
        log = np.log(np.clip(stack, 1e-12, None))
        closest = (-(student * log).sum(-1)).argmin(0)  # KL less the student's entropy, which is the same for all
        rows = np.arange(len(student))
        y: Probs = stack[closest, rows]
        if params["keep"] == "all":
            return y, np.ones(len(y), np.bool_)
        hard = y.argmax(1)
        count = int((hard == student.argmax(1)).sum())
        keep = np.zeros(len(y), np.bool_)
        keep[np.argsort(-student[rows, hard], kind="stable")[: max(1, count)]] = True
        return y, keep
