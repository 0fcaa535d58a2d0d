"""Active querying: the verdicts that a judge is least sure of go to a person, whose answers take their place."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aar.oversight.judge import Verdicts


def confidence(verdicts: Verdicts) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(n,) belief in what is held for right, .5 to 1; NaN where there is no verdict."""
    return np.asarray(np.maximum(verdicts.belief, 1 - verdicts.belief))


def least_sure(verdicts: Verdicts, most: int) -> list[int]:
    """At most so many rows, the least margin first; those without an answer come before all others."""
    sure = np.nan_to_num(confidence(verdicts), nan=0.0)
    return [int(i) for i in np.argsort(sure, kind="stable")[:most]]


def with_answers(verdicts: Verdicts, answers: Mapping[int, int]) -> Verdicts:
    """Verdicts in which a person's answer (0 or 1, by row) stands in place of the judge's."""
    p, se, why = verdicts.p.copy(), verdicts.se.copy(), list(verdicts.why)
    for row, side in answers.items():
        p[row], se[row], why[row] = 1 - side, 0, ""
    return Verdicts(p, se, tuple(why))
