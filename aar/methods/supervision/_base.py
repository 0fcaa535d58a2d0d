"""Where weak labels come from: how many weak models feed one student seed, and how their answers are combined."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aar.methods.space import PartInfo
from aar.types import Value

Probs = NDArray[np.float32]


class Supervision(PartInfo):
    """`members` plans on the host; `combine` runs in the sandbox."""

    @classmethod
    @abstractmethod
    def members(cls, params: Mapping[str, Value]) -> int:
        """How many weak models feed one student seed; member 0 is the one PGR is paired with."""

    @classmethod
    @abstractmethod
    def combine(cls, answers: Sequence[Probs], params: Mapping[str, Value]) -> Probs:
        """Soft labels (n, C) from each member's probabilities (n, C); rows sum to 1."""
