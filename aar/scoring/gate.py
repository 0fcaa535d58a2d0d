"""The one gate for numbers that need labels: each is rounded by its own noise, and every look is counted.

No share is told more finely than two examples. Several values of the same rows told together say more than each of them
alone (docs/security.md has figures): this keeps a search from fitting labels, and is no cipher.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from aar.scoring.diagnostics import Valued, noise, share_se
from aar.scoring.estimate import Arm, Estimate, Slice, example_var, moderated, no_gap, pgr_exact
from aar.scoring.racing import Difference
from aar.types import PublicScore, SliceView

RENARD = (1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0, 10.0)


def grid(se: float) -> float:
    """The step a value is rounded to: half its standard error, up to one significant digit."""
    if se <= 0:
        return 1e-4
    exponent = float(math.floor(math.log10(se / 2)))
    # The guard keeps .005 at .005 when the quotient is 5.000000001.
    return float(math.ceil(se / 2 / 10**exponent - 1e-9) * 10.0**exponent)


def coarse(value: float, se: float) -> float:
    """`value` on its grid."""
    step = grid(se)
    return round(round(value / step) * step, 10)


def public_view(e: Estimate, count: Callable[[], None]) -> PublicScore:
    """The one gate for numbers that need labels. `count` records the look before it is answered.

    Accuracies are rounded to no finer than half their standard error. PGR is rounded to no finer than half its own
    standard error nor than the accuracy's half in units of the gap, and the ends of its interval outwards on the same
    grid: rounding gain and gap apart would undo what they share. Standard errors are told on a `ladder`, and none is
    taken for less than FLIPS examples.
    """
    count()
    accuracy, weak, ceiling, se_gap = (
        noise(math.sqrt(var), e.rows) for var in (e.var_accuracy, e.var_weak, e.var_ceiling, e.var_gap)
    )
    gap = coarse(e.ceiling - e.weak, se_gap)
    reason = no_gap(gap, ladder(se_gap), e.floor_gap)
    pgr, low, high = (None, None, None) if reason else pgr_exact(e)
    if pgr is not None:
        width = math.sqrt(e.var_gain) / gap if low is None or high is None else (high - low) / 4
        step = grid(max(width, accuracy / gap))
        pgr = round(round(pgr / step) * step, 10)
        low = None if low is None else round(math.floor(low / step) * step, 10)
        high = None if high is None else round(math.ceil(high / step) * step, 10)
    return PublicScore(
        split=e.split,
        accuracy=coarse(e.accuracy, accuracy),
        accuracy_se=ladder(accuracy),
        weak=coarse(e.weak, weak),
        ceiling=coarse(e.ceiling, ceiling),
        pgr=pgr,
        ci_low=low,
        ci_high=high,
        reason=reason or ("the gap is not clear enough for a ratio: add seeds or dev rows" if pgr is None else None),
        n_seeds=e.n_seeds,
        weak_se=ladder(weak),
        ceiling_se=ladder(ceiling),
        diagnostics=_rounded(e.diagnostics),
        slices=tuple(map(_slice, e.slices)),
    )


class PublicMean(NamedTuple):
    """An arm's accuracy through the gate, its standard error, and the range of its single seeds."""

    accuracy: float
    se: float
    low: float
    high: float


def public_mean(arm: Arm, count: Callable[[], None], pooled: tuple[float, float] = (0.0, 0.0)) -> PublicMean:
    """The accuracy of an arm that has no PGR, a control. `pooled`: variance between seeds and its degrees of freedom.

    Single seeds are rounded as coarsely as one of them would be.
    """
    count()
    variance, _ = moderated(arm.accuracy, *pooled) if sum(pooled) or len(arm.seeds) > 1 else (0.0, 0.0)
    rows = arm.correct.shape[1]
    se = noise(math.sqrt(variance / len(arm.seeds) + example_var(arm.correct)), rows)
    one = noise(math.sqrt(max(example_var(row[None]) for row in arm.correct)), rows)
    ends = [coarse(float(edge), one) for edge in (arm.accuracy.min(), arm.accuracy.max())]
    return PublicMean(coarse(float(arm.accuracy.mean()), se), ladder(se), *ends)


def public_difference(found: Difference, count: Callable[[], None]) -> tuple[float, float, float]:
    """A difference of two arms and its 95 % interval, on the grid of its own standard error."""
    count()
    low, high = found.interval()
    se = noise(found.se, found.rows)
    return coarse(found.mean, se), coarse(low, se), coarse(high, se)


def public_shares(values: Mapping[str, Valued], count: Callable[[], None]) -> dict[str, float]:
    """Values with their standard errors, each on its own grid."""
    count()
    return _rounded(values)


def _rounded(values: Mapping[str, Valued]) -> dict[str, float]:
    return {name: coarse(value, se) for name, (value, se) in values.items()}


def _slice(found: Slice) -> SliceView:
    """Each share on the grid of its size; the standard error told is that of the rounded one, not of the exact."""

    def share(exact: float) -> float:
        return coarse(exact, share_se(exact, found.rows))

    accuracy = share(found.accuracy)
    return SliceView(
        column=found.column, value=found.value, rows=found.rows, accuracy=accuracy,
        se=ladder(share_se(accuracy, found.rows)), weak=None if found.weak is None else share(found.weak),
        ceiling=share(found.ceiling),
    )  # fmt: skip


def ladder(se: float) -> float:
    """The nearest of ten steps a decade (Renard's R10: 1, 1.25, 1.6, 2, ...): 14 % off at most.

    A standard error to two digits says almost how many answers are right, where nearly all are.
    """
    if se <= 0:
        return 0.0
    decade = math.floor(math.log10(se))
    nearest = min(RENARD, key=lambda step: abs(math.log(se / step) - decade * math.log(10)))
    return float(f"{nearest}e{decade}")
