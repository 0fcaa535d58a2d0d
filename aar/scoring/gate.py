"""The one gate for numbers that need labels: rounded so that no look at them tells single labels."""

from __future__ import annotations

import math
from collections.abc import Callable

from aar.scoring.estimate import Estimate, interval, no_gap
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

    Accuracies are rounded to no finer than half their standard error; PGR and its interval are computed from the
    rounded means; standard errors keep two digits; diagnostics are rounded by their own standard errors.
    """
    count()
    accuracy = coarse(e.accuracy, math.sqrt(e.var_accuracy))
    weak = coarse(e.weak, math.sqrt(e.var_weak))
    ceiling = coarse(e.ceiling, math.sqrt(e.var_ceiling))
    var_gain, var_gap = ladder(e.var_gain), ladder(e.var_gap)
    # A covariance near zero would tell single examples by its digits; a tenth of the variances' scale does not.
    step = math.sqrt(var_gain * var_gap) / 5
    rounded = e._replace(
        var_gain=var_gain,
        var_gap=var_gap,
        cov=round(e.cov / step) * step if step > 0 else 0.0,
        var_accuracy=ladder(e.var_accuracy),
        df=_two(e.df),
    )
    gap = ceiling - weak
    pgr, low, high = interval(rounded, coarse(e.gain, math.sqrt(e.var_gain)), gap)
    reason = no_gap(gap, math.sqrt(rounded.var_gap), e.floor_gap) if pgr is None else None
    return PublicScore(
        split=e.split,
        accuracy=accuracy,
        accuracy_se=_two(math.sqrt(rounded.var_accuracy)),
        weak=weak,
        ceiling=ceiling,
        pgr=_digits(pgr),
        ci_low=_digits(low),
        ci_high=_digits(high),
        reason=reason,
        n_seeds=e.n_seeds,
        weak_se=_two(math.sqrt(e.var_weak)),
        ceiling_se=_two(math.sqrt(e.var_ceiling)),
        diagnostics={name: coarse(value, se) for name, (value, se) in e.diagnostics.items()},
    )


def ladder(variance: float) -> float:
    """A variance on a ladder of 21 % steps (10 % in its root), rounded up: shown intervals are never too short."""
    return 1.21 ** math.ceil(math.log(variance, 1.21)) if variance > 0 else 0.0


def _two(value: float) -> float:
    return float(f"{value:.1e}")


def _digits(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
