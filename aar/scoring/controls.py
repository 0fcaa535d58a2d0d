"""A control beside a result: two arms that need not share their seeds, and what perturbed texts do to a student."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from aar.scoring.diagnostics import Valued, share_se
from aar.scoring.estimate import Arm, example_cov, seed_noise
from aar.scoring.racing import Difference

CLEARLY = 0.95
"""One arm is called above another when this probable."""


def unpaired(first: Arm, second: Arm) -> Difference:
    """first - second over the same examples, each arm over its own seeds (one seed: it does not vary).

    Four shuffles of a method that lands at either end have a wide standard error, and rightly so.
    """
    squares = [float(np.var(a.accuracy, ddof=1)) / len(a.seeds) if len(a.seeds) > 1 else 0.0 for a in (first, second)]
    seed = sum(squares)
    gaps = first.correct.mean(0, dtype=np.float64) - second.correct.mean(0, dtype=np.float64)
    total = seed + max(0.0, example_cov(gaps, gaps, seed_noise(first.correct) + seed_noise(second.correct)))
    # Satterthwaite over the two seed parts; the examples' part is known well.
    parts = [(v, len(a.seeds) - 1) for v, a in zip(squares, (first, second), strict=True) if v > 0]
    df = total**2 / sum(v**2 / d for v, d in parts) if parts else 1e6
    return Difference(float(gaps.mean()), math.sqrt(total), df, first.correct.shape[1])


def above(found: Difference) -> bool:
    """Is the first arm above the second within error?"""
    return found.probability_above_zero() > CLEARLY


def probed(clean: NDArray[np.bool_], perturbed: NDArray[np.bool_]) -> dict[str, Valued]:
    """(value, standard error) under perturbations that keep the label: means over k seeds.

    `clean` (k, n): right on the text as it is; `perturbed` (k, n, v): right on each of its v variants. `clean`,
    `perturbed`: accuracies on these rows; `attack_success`: of the rows right when clean, the share that at least one
    variant turns wrong (left out where none is right).
    """
    n, own = clean.shape[1], float(clean.mean())
    moved = float(perturbed.mean())
    out = {"clean": (own, share_se(own, n)), "perturbed": (moved, share_se(moved, n))}
    if clean.any():
        fooled = float((clean & ~perturbed.all(2)).sum() / clean.sum())
        out["attack_success"] = (fooled, share_se(fooled, clean.sum() / len(clean)))
    return out
