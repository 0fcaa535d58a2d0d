"""What the polarity task must show, on five seeds, from the figures of `python -m tests.make_polarity_arms`."""

from __future__ import annotations

import numpy as np

from tests.polarity_arms import arms


def test_weak_ceiling_naive_and_logconf_are_where_the_task_promises() -> None:
    found = {name: arm.accuracy[:5] for name, arm in arms().items()}
    assert ((found["weak"] > 0.66) & (found["weak"] < 0.75)).all(), found["weak"]
    assert (found["ceiling"] >= 0.88).all(), found["ceiling"]
    gap = found["ceiling"].mean() - found["weak"].mean()
    naive = (found["soft"] - found["weak"]).mean() / gap
    logconf = (found["logconf"] - found["weak"]).mean() / gap
    assert 0.10 <= naive <= 0.45 and logconf >= naive + 0.15, (naive, logconf)
    assert np.median([(s - w) / gap for s, w in zip(found["soft"], found["weak"], strict=True)]) > 0
