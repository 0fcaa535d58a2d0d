"""Evidence in words: contrasts computed by hand, reasons that rest on them, findings that claim no more."""

from __future__ import annotations

import pytest

from aar.agent.reasons import contrasts, findings, why
from aar.types import TrialStatus
from tests.rows import recipe, row

# Welch by hand. logconf .80, .84: variance .0008 over 2 trials; xent .70, .72: .0002 over 2. Standard error
# sqrt(.0004 + .0001) = .02236; t(.975, 2 df) = 4.3027; half width .0962.
FOUR = [
    row(0, recipe(), 0.70), row(1, recipe(loss="logconf"), 0.80),
    row(2, recipe(), 0.72), row(3, recipe(loss="logconf"), 0.84),
]  # fmt: skip


def test_a_contrast_by_hand() -> None:
    (found,) = contrasts(FOUR)
    assert (found.slot, found.better, found.worse, found.trials) == ("loss", "logconf", "xent", (0, 1, 2, 3))
    assert found.gain == pytest.approx(0.11)
    assert [found.low, found.high] == pytest.approx([0.0138, 0.2062], abs=1e-4)
    assert found.sentence == "logconf beat xent by .11 [.014, .206] over 4 trials"


def test_measurement_noise_is_the_least_a_trial_can_vary() -> None:
    # One trial each: no variance of their own, so each trial's own standard error stands in. t(1 df) = 12.706.
    (single,) = contrasts(FOUR[:2])
    half = 12.7062 * (0.01**2 + 0.01**2) ** 0.5
    assert [single.low, single.high] == pytest.approx([0.1 - half, 0.1 + half], abs=1e-4)
    assert single.sentence == "logconf is ahead of xent by .1 [-.08, .28] over 2 trials", "zero is inside: no win"
    twins = [row(n, recipe(loss="logconf" if n % 2 else "xent"), 0.8 if n % 2 else 0.7) for n in range(4)]
    (same,) = contrasts(twins)
    assert same.high - same.low == pytest.approx(2 * 4.3027 * 0.01, abs=1e-4)


def test_only_scored_trials_count_and_equals_are_no_contrast() -> None:
    failed = row(9, recipe(loss="entropy"), None, status=TrialStatus.FAILED)
    assert contrasts([*FOUR, failed]) == contrasts(FOUR)
    assert contrasts([row(0, recipe(), 0.7), row(1, recipe(loss="entropy"), 0.7)]) == []
    assert contrasts([]) == [] == contrasts(FOUR[:1])


def test_the_clearest_contrast_comes_first() -> None:
    noisy = [row(4, recipe(targets="hard"), 0.75), row(5, recipe(targets="hard"), 0.70)]
    found = contrasts([*FOUR, *noisy])
    assert found[0].slot == "loss" and found[0].better == "logconf"
    ratios = [c.gain / (c.high - c.low) for c in found]
    assert ratios == sorted(ratios, reverse=True)


def test_a_reason_cites_a_contrast_only_for_what_is_proposed() -> None:
    said = why(recipe(loss=("logconf", {"a": 0.25})), FOUR)
    assert said == "logconf beat xent by .11 [.014, .206] over 4 trials; next: t3 with logconf a .5→.25"
    said = why(recipe(loss="product"), FOUR)
    assert said == "product not tried yet; next: t3 with product for logconf"
    said = why(recipe(schedule=("standard", {"epochs": 1})), FOUR)
    assert said.startswith("no part is clearly ahead yet; next: t3 with xent for logconf; epochs "), said
    assert why(recipe(loss="logconf"), []).endswith("next: a first look")
    assert why(recipe(loss="logconf"), FOUR).endswith("next: t3 again")


def test_findings_claim_only_what_an_interval_shows() -> None:
    assert [f.text for f in findings(FOUR)] == ["logconf beat xent by .11 [.014, .206] over 4 trials"]
    assert findings(FOUR)[0].trials == (0, 1, 2, 3)
    assert findings(FOUR[:2]) == []


def test_predictions_are_held_against_what_came() -> None:
    rows = [row(n, recipe(), 0.7 + n / 100, said=0.72) for n in range(4)] + [row(4, recipe(), None, said=0.9)]
    (said,) = [f for f in findings(rows) if "predictions" in f.text]
    # Errors -.02, -.01, 0, +.01.
    assert said.text == "predictions were off by .01 accuracy on average (bias -0.005) over 4 trials"
    assert said.trials == (0, 1, 2, 3)
    assert not [f for f in findings(rows[:2]) if "predictions" in f.text], "two are too few to speak of"
