"""Coverage on real training noise: 95 % intervals at 2, 3 and 5 seeds hold the truth 90-99 % of the time."""

from __future__ import annotations

import numpy as np
import pytest

from tests.polarity_arms import coverage


@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("how", ["exact", "public"])
def test_intervals_hold_the_truth(k: int, how: str) -> None:
    shares = coverage(k, how)
    assert 0.90 <= float(np.mean(list(shares.values()))) <= 0.99, shares


def test_percentile_bootstraps_do_not() -> None:
    assert float(np.mean(list(coverage(2, "bootstrap", draws=100).values()))) < 0.8
