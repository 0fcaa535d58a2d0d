"""The one gate for numbers that need labels: rounded so that no look at them tells single labels."""

from __future__ import annotations

import math
from collections.abc import Callable

from aar.scoring.estimate import Estimate, no_gap, pgr_exact
from aar.types import PublicScore


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
    grid: rounding gain and gap apart would undo what they share. Standard errors keep two digits.
    """
    count()
    se_gap = math.sqrt(e.var_gap)
    gap = coarse(e.ceiling - e.weak, se_gap)
    reason = no_gap(gap, _two(se_gap), e.floor_gap)
    pgr, low, high = (None, None, None) if reason else pgr_exact(e)
    if pgr is not None:
        width = math.sqrt(e.var_gain) / gap if low is None or high is None else (high - low) / 4
        step = grid(max(width, math.sqrt(e.var_accuracy) / gap))
        pgr = round(round(pgr / step) * step, 10)
        low = None if low is None else round(math.floor(low / step) * step, 10)
        high = None if high is None else round(math.ceil(high / step) * step, 10)
    return PublicScore(
        split=e.split,
        accuracy=coarse(e.accuracy, math.sqrt(e.var_accuracy)),
        accuracy_se=_two(math.sqrt(e.var_accuracy)),
        weak=coarse(e.weak, math.sqrt(e.var_weak)),
        ceiling=coarse(e.ceiling, math.sqrt(e.var_ceiling)),
        pgr=pgr,
        ci_low=low,
        ci_high=high,
        reason=reason or ("the gap is not clear enough for a ratio: add seeds or dev rows" if pgr is None else None),
        n_seeds=e.n_seeds,
        weak_se=_two(math.sqrt(e.var_weak)),
        ceiling_se=_two(math.sqrt(e.var_ceiling)),
        diagnostics={name: coarse(value, se) for name, (value, se) in e.diagnostics.items()},
    )


def _two(value: float) -> float:
    return float(f"{value:.1e}")
