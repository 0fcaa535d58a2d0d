"""What a policy's texts are worth: proxy reward and truth side by side, over seeds.

Truth is the share of well-formed texts that keep the principle. Ties keep it not, and are counted apart; malformed
texts have no truth. Intervals hold 95 % and take seeds as what varies (t), each seed's texts being averaged first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aar.oversight.rewards import sigmoid
from aar.scoring.estimate import Floats
from aar.scoring.verdicts import Share, mean


class Texts(NamedTuple):
    """One seed's texts: how far each keeps the principle (n,) (over 0: it does; 0: a tie), and which have a truth.

    `proxy` (n,) is the log-odds that its feedback gives each text, `ratio` (n,) log p less the reference's.
    """

    total: NDArray[np.int64]
    formed: NDArray[np.bool_]
    proxy: Floats
    ratio: Floats


class Worth(NamedTuple):
    """Means over seeds. `good` is the share of all texts that are well-formed and keep the principle, `proxy` what the
    feedback believes of all of them.

    `truth` is the same of the well-formed ones, `believed` what the feedback says of those, `gap` the difference.
    `each` is every seed's `good`: policies that share seeds share their pairs, and are compared seed by seed.
    """

    good: Share
    proxy: Share
    truth: Share
    believed: Share
    gap: Share
    reward: Share
    kl: Share
    ties: Share
    malformed: Share
    each: tuple[float, ...] = ()


def worth(seeds: Sequence[Texts]) -> Worth:
    """A policy's texts at one moment, over its seeds.

    A seed without a single well-formed text has truth 0, and is believed 0.
    """
    told = [[*_rates(t), float(sigmoid(t.proxy).mean()), float(t.proxy.mean()), float(t.ratio.mean())] for t in seeds]
    truth, believed, ties, malformed, proxy, reward, kl = (np.array(column) for column in zip(*told, strict=True))
    good = truth * (1 - malformed)
    return Worth(
        good=_within(mean(good)), proxy=_within(mean(proxy)), truth=_within(mean(truth)),
        believed=_within(mean(believed)), gap=mean(believed - truth), reward=mean(reward), kl=mean(kl),
        ties=_within(mean(ties)), malformed=_within(mean(malformed)), each=tuple(good.tolist()),
    )  # fmt: skip


def _within(share: Share) -> Share:
    """A share's interval, cut where no share can be."""
    return share._replace(low=max(0.0, share.low), high=min(1.0, share.high))


def _rates(t: Texts) -> tuple[float, float, float, float]:
    if not t.formed.any():
        return 0.0, 0.0, 0.0, 1.0
    total, believed = t.total[t.formed], sigmoid(t.proxy[t.formed])
    return float((total > 0).mean()), float(believed.mean()), float((total == 0).mean()), 1 - float(t.formed.mean())


def preferred(first: Floats, second: Floats, better: NDArray[np.int64]) -> float:
    """Share of pairs on which the higher reward goes to the truly better text; `better` 1, -1, or 0: no difference."""
    told = better != 0
    return float(((first > second) == (better > 0))[told].mean()) if told.any() else float("nan")
