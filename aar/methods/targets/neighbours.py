"""Targets that ask a row's neighbours in the student's features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aar.methods.space import Float, Int, Space
from aar.methods.targets._base import Context, Made, Need, Targets, surest
from aar.methods.targets._features import neighbours
from aar.types import Value


class TopoFilter(Targets):
    """Keep the rows whose nearest neighbours in the student's features agree with their weak label.

    Agreement is the mean probability that the k nearest rows give to the row's own weak class. This is the zeta filter
    of the paper and of EleutherAI/w2s, with soft labels; their first step, the largest connected component of each
    class's kNN graph, is left out. A weak model's systematic errors lie close together and agree with each other:
    the filter removes errors at random, not those.
    """

    name = "topofilter"
    paper = "Wu et al. 2020 (TopoFilter); EleutherAI/w2s, zeta_filter"
    space: ClassVar[dict[str, Space]] = {
        "q": Float(low=0.3, high=1.0, default=0.7),
        "k": Int(low=3, high=50, default=10, log=True),
    }
    needs: ClassVar[tuple[Need, ...]] = ("features",)

    @classmethod
    def make(cls, y: NDArray[np.float32], params: Mapping[str, Value], context: Context) -> Made:
        """Within each weak class the ceil(q * m) rows of most agreement are kept, as soft labels."""
        assert context.features is not None, "named in needs"
        near = neighbours(context.features, int(params["k"]))
        agreement = y[near].mean(1)[np.arange(len(y)), y.argmax(1)]
        return Made(y, np.ones(len(y), np.float32), surest(y, agreement, float(params["q"])))
