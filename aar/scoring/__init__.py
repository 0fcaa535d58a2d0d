"""Accuracy, PGR with intervals, racing, and the one gate. Pure functions over arrays; no torch, no files.

Statistics. Student seed i learns from weak seed i. With s_i, w_i, c_j accuracies on n examples,
PGR = mean_i(s_i - w_i) / (mean_j c_j - mean_j w_j). Seeds and examples are crossed random effects: the variance of
a seed mean is seed variance / k plus example variance / n, the first estimated between seeds, the second from
seed-averaged per-example values less their seed noise. With 2-5 seeds a trial's own variance is worthless alone, so
it is shrunk towards the variance pooled over the task's trials (Smyth 2004), and Fieller's theorem gives the ratio's
interval. `tests/test_coverage.py` holds this to 90-99 % on real seeds of the polarity world.
"""

from aar.scoring.calibration import PROMISED, Calibration, Prediction, calibration, predictions
from aar.scoring.controls import above, probed, unpaired
from aar.scoring.crossed import Rate, gain, rate
from aar.scoring.deception import calibrated, deception, over_seeds, parts
from aar.scoring.diagnostics import FEWEST, answered, auroc, diagnostics, ece, effective_sample, slices
from aar.scoring.estimate import Arm, Estimate, Pool, Slice, correct, estimate, fieller, interval, pgr_exact, pool
from aar.scoring.gate import (
    PublicMean,
    coarse,
    grid,
    ladder,
    public_difference,
    public_mean,
    public_shares,
    public_view,
)
from aar.scoring.racing import PRUNE_BELOW, Difference, difference, losing, shrink
from aar.scoring.slopes import Slope, slope, spread
from aar.scoring.verdicts import (
    Bin,
    Measured,
    Precheck,
    Share,
    agent_score_difference,
    by_question,
    difference_of,
    mean,
    mean_share,
    measured,
    precheck,
    ratings,
    reliability,
    scores,
    share,
)

__all__ = [
    "FEWEST",
    "PROMISED",
    "PRUNE_BELOW",
    "Arm",
    "Bin",
    "Calibration",
    "Difference",
    "Estimate",
    "Measured",
    "Pool",
    "Precheck",
    "Prediction",
    "PublicMean",
    "Rate",
    "Share",
    "Slice",
    "Slope",
    "above",
    "agent_score_difference",
    "answered",
    "auroc",
    "by_question",
    "calibrated",
    "calibration",
    "coarse",
    "correct",
    "deception",
    "diagnostics",
    "difference",
    "difference_of",
    "ece",
    "effective_sample",
    "estimate",
    "fieller",
    "gain",
    "grid",
    "interval",
    "ladder",
    "losing",
    "mean",
    "mean_share",
    "measured",
    "over_seeds",
    "parts",
    "pgr_exact",
    "pool",
    "precheck",
    "predictions",
    "probed",
    "public_difference",
    "public_mean",
    "public_shares",
    "public_view",
    "rate",
    "ratings",
    "reliability",
    "scores",
    "share",
    "shrink",
    "slices",
    "slope",
    "spread",
    "unpaired",
]
