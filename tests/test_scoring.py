"""Scoring: figures by hand, the gate, racing, and coverage on a simulated world whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from aar import scoring
from aar.scoring import Arm, Pool


def arm(rng: np.random.Generator, seeds: int, n: int, p: float, spread: float, easy: NDArray[np.float64]) -> Arm:
    """An arm of true accuracy about p: examples differ in difficulty, seeds in skill."""
    skill = rng.normal(0, spread, (seeds, 1))
    correct = rng.random((seeds, n)) < np.clip(p + skill + easy, 0, 1)
    return Arm(tuple(range(seeds)), correct)


def test_a_row_that_is_not_finite_is_wrong() -> None:
    logits = np.array([[1.0, 2.0], [np.nan, 3.0], [np.inf, 0.0], [2.0, 1.0]], np.float32)
    assert scoring.correct(logits, np.array([1, 1, 0, 0], np.int32)).tolist() == [True, False, False, True]


def test_pgr_is_the_paired_gain_over_the_mean_gap() -> None:
    weak = Arm((0, 1, 2), np.array([[1, 0, 0, 0] * 50, [1, 1, 0, 0] * 50, [1, 0, 0, 0] * 50], bool))
    ceiling = Arm((0, 1), np.array([[1, 1, 1, 1] * 50, [1, 1, 1, 0] * 50], bool))
    student = Arm((0, 1), np.array([[1, 1, 0, 0] * 50, [1, 1, 1, 0] * 50], bool))
    e = scoring.estimate("dev", student, weak, ceiling, Pool(1e-4, 1e-4, 4), 0.01)
    assert e.gain == pytest.approx(0.25)  # (.5 - .25 + .75 - .5) / 2: seed 1 is paired with the better weak seed
    assert e.ceiling - e.weak == pytest.approx(0.875 - 1 / 3)
    assert scoring.interval(e._replace(var_gap=1e-6, var_gain=1e-6), e.gain, e.ceiling - e.weak)[0] == pytest.approx(
        0.25 / (0.875 - 1 / 3)
    )


def test_no_pgr_without_a_gap_and_never_clipped() -> None:
    rng = np.random.default_rng(0)
    easy = rng.normal(0, 0.1, 2000)
    weak, same = arm(rng, 5, 2000, 0.70, 0.005, easy), arm(rng, 5, 2000, 0.70, 0.005, easy)
    top, above = arm(rng, 5, 2000, 0.80, 0.005, easy), arm(rng, 5, 2000, 0.85, 0.005, easy)
    below = arm(rng, 5, 2000, 0.60, 0.005, easy)
    pool = Pool(2.5e-5, 2.5e-5, 8)
    none = scoring.public_view(scoring.estimate("dev", above, weak, same, pool, 0.02), lambda: None)
    assert none.pgr is None and none.ci_low is None and "floor 0.02" in (none.reason or "")
    over = scoring.public_view(scoring.estimate("dev", above, weak, top, pool, 0.02), lambda: None)
    under = scoring.public_view(scoring.estimate("dev", below, weak, top, pool, 0.02), lambda: None)
    assert over.pgr is not None and over.pgr > 1.2 and under.pgr is not None and under.pgr < -0.7


def test_fieller_agrees_with_simulation_and_refuses_a_gap_near_zero() -> None:
    rng = np.random.default_rng(1)
    top, bottom, sd = 0.05, 0.2, np.array([[4e-4, 1e-4], [1e-4, 3e-4]])
    inside = 0
    for x, y in rng.multivariate_normal([top, bottom], sd, 4000):
        ends = scoring.fieller(x, y, sd[0, 0], sd[1, 1], sd[0, 1], 1.96)
        assert ends is not None
        inside += ends[0] <= top / bottom <= ends[1]
    assert inside / 4000 == pytest.approx(0.95, abs=0.012)
    assert scoring.fieller(0.05, 0.02, 1e-4, 4e-4, 0.0, 1.96) is None


@pytest.mark.parametrize("se", [0.1, 0.031, 0.0087, 0.004, 0.0011])
def test_the_gate_rounds_no_finer_than_half_a_standard_error(se: float) -> None:
    step = scoring.grid(se)
    assert se / 2 <= step * (1 + 1e-9) and step < se * 1.01
    assert len(f"{step:.10f}".strip("0.")) == 1, "one significant digit"
    assert scoring.coarse(0.734567, se) == pytest.approx(round(0.734567 / step) * step)


def test_one_label_cannot_be_read_through_the_gate() -> None:
    """Rule 3: flipping the outcome of one example seldom changes what is shown (only across a grid edge)."""
    looks: list[int] = []
    changed = 0
    for world in range(12):
        rng = np.random.default_rng(100 + world)
        easy = rng.normal(0, 0.1, 4000)
        weak, top, student = (arm(rng, 5, 4000, p, 0.01, easy) for p in (0.7, 0.9, 0.8))

        def view(correct: NDArray[np.bool_], weak: Arm = weak, top: Arm = top) -> tuple[float | None, ...]:
            e = scoring.estimate("dev", Arm(weak.seeds, correct), weak, top, Pool(1e-4, 1e-4, 12), 0.02)
            shown = scoring.public_view(e, lambda: looks.append(1))
            return shown.accuracy, shown.pgr, shown.ci_low, shown.ci_high

        before = view(student.correct)
        for i in range(10):
            flipped = student.correct.copy()
            flipped[:, i] ^= True
            changed += view(flipped) != before
    assert changed <= 36, f"{changed} of 120 flips showed"
    assert len(looks) == 12 * 11, "each look is counted before it is answered"


def test_what_student_and_ceiling_share_is_not_rounded_apart() -> None:
    """A student that equals the ceiling has PGR 1 whatever the weak model does; so says the public view."""
    for world in range(6):
        rng = np.random.default_rng(200 + world)
        easy = rng.normal(0, 0.1, 3000)
        weak, top = arm(rng, 5, 3000, 0.7, 0.02, easy), arm(rng, 5, 3000, 0.95, 0.001, easy / 4)
        e = scoring.estimate("dev", top, weak, top, scoring.pool([top.accuracy], [weak.accuracy]), 0.02)
        view = scoring.public_view(e, lambda: None)
        assert view.pgr is not None and view.ci_low is not None and view.ci_high is not None
        assert view.ci_low <= 1 <= view.ci_high and abs(view.pgr - 1) < 0.03


def test_a_look_that_cannot_be_counted_is_not_answered() -> None:
    rng = np.random.default_rng(3)
    easy = np.zeros(500)
    weak, top, student = (arm(rng, 3, 500, p, 0.01, easy) for p in (0.6, 0.9, 0.8))

    def refuse() -> None:
        raise RuntimeError("the ledger is gone")

    with pytest.raises(RuntimeError, match="ledger"):
        scoring.public_view(scoring.estimate("dev", student, weak, top, Pool(1e-4, 1e-4, 4), 0.02), refuse)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_intervals_cover_the_truth_in_a_simulated_world(k: int) -> None:
    """Seeds and examples crossed, recipes with unlike noise; the truth is known exactly."""
    rng = np.random.default_rng(4 + k)
    inside = total = 0
    n, base = 1500, 5
    for _ in range(160):
        hardness = rng.normal(0, 0.15, n)
        weak = arm(rng, base, n, 0.70, 0.012, hardness)
        top = arm(rng, base, n, 0.90, 0.006, hardness / 3)
        spreads = [0.006, 0.012, 0.02]
        arms = [arm(rng, base, n, p, s, hardness / 2) for p, s in zip((0.74, 0.78, 0.82), spreads, strict=True)]
        pool = scoring.pool([a.accuracy for a in arms], [weak.accuracy] * 3)
        for a, p in zip(arms, (0.74, 0.78, 0.82), strict=True):
            e = scoring.estimate("dev", a.at(range(k)), weak, top, pool, 0.02)
            _, low, high = scoring.pgr_exact(e)
            assert low is not None and high is not None
            # clipping at 0 and 1 moves true means a little; take them from the same world, many examples
            truth = (_mean(p, 0.15 / 2) - _mean(0.70, 0.15)) / (_mean(0.90, 0.15 / 3) - _mean(0.70, 0.15))
            inside += low <= truth <= high
            total += 1
    assert 0.90 <= inside / total <= 0.99, inside / total


def _mean(p: float, sd: float) -> float:
    """E clip(N(p, sd), 0, 1); the seeds' own spread is small beside it."""
    x = np.linspace(p - 6 * sd, p + 6 * sd, 4001)
    w = stats.norm.pdf(x, p, sd)
    return float((np.clip(x, 0, 1) * w).sum() / w.sum())


@pytest.mark.parametrize("seeds", [3, 5])
def test_what_seeds_disagree_on_by_chance_is_counted_once(seeds: int) -> None:
    """Each seed errs on other examples. Counted again as noise of examples, gap and gain seemed to move together."""
    rng, n, held, wide = np.random.default_rng(0), 600, 0, 0

    def chance(p: float) -> Arm:
        return Arm(tuple(range(seeds)), rng.random((seeds, n)) < p)

    for _ in range(200):
        weak, ceiling, students = chance(0.66), chance(0.93), [chance(p) for p in (0.72, 0.76, 0.8, 0.85)]
        pooled = scoring.pool([s.accuracy for s in students], [weak.accuracy] * len(students))
        e = scoring.estimate("dev", students[-1], weak, ceiling, pooled, 0.0)
        _, low, high = scoring.pgr_exact(e)
        assert low is not None and high is not None
        held += low <= 0.19 / 0.27 <= high
        wide += high - low > 0.02
    assert 0.90 <= held / 200 <= 0.995
    assert wide / 200 > 0.95, "an interval of no width"


def test_racing_prunes_the_clearly_worse_and_keeps_the_close() -> None:
    rng = np.random.default_rng(5)
    easy = rng.normal(0, 0.1, 3000)
    best, near, far = (arm(rng, s, 3000, p, 0.008, easy) for s, p in ((5, 0.84), (2, 0.835), (2, 0.76)))
    assert scoring.losing(far, best, 1e-4, 8) and not scoring.losing(near, best, 1e-4, 8)
    assert not scoring.losing(best, far, 1e-4, 8)
    with pytest.raises(ValueError, match="no seed in common"):
        scoring.losing(Arm((9,), near.correct[:1]), best, 1e-4, 8)


def test_near_the_ceiling_no_count_of_right_answers_is_told() -> None:
    """1,000 rows, two seeds that agree, 0 to 12 wrong answers: told in steps of two, the error the same for all."""
    seeds, pool = (0, 1), Pool(1e-12, 1e-12, 9.0)
    weak = Arm(seeds, np.arange(1000)[None].repeat(2, 0) % 3 > 0)
    told = []
    for wrong in range(13):
        student = Arm(seeds, np.arange(1000)[None].repeat(2, 0) >= wrong)
        view = scoring.public_view(scoring.estimate("dev", student, weak, student, pool, 0.02), lambda: None)
        told.append((view.accuracy, view.accuracy_se))
        mean = scoring.public_mean(student, lambda: None)
        assert (mean.accuracy, mean.se) == told[-1] and mean.low == mean.high == view.accuracy
    assert len(set(told)) <= 7 and {se for _, se in told} == {0.004}
    gap = scoring.difference(Arm(seeds, np.ones((2, 1000), bool)), student, 1e-12, 9)
    assert scoring.public_difference(gap, lambda: None)[0] == 0.012


def test_a_standard_error_is_told_on_a_ladder() -> None:
    assert [scoring.ladder(se) for se in (0.0, 1e-9, 0.0081, 0.0091, 0.0014, 0.95)] == pytest.approx(
        [0.0, 1e-9, 0.008, 0.01, 0.00125, 1.0]
    )
    steps = {scoring.ladder(0.004 * 1.003**i) for i in range(100)}
    assert steps == {0.004, 0.005}, "three examples in a thousand are not told apart"


def test_shrinking_pulls_noisy_winners_back_and_leaves_precise_ones() -> None:
    pulled = scoring.shrink([0.70, 0.72, 0.71, 0.85], [0.05, 0.05, 0.05, 0.05])
    precise = scoring.shrink([0.70, 0.72, 0.71, 0.85], [0.001] * 4)
    assert pulled[3] < 0.82 and precise[3] == pytest.approx(0.85, abs=0.001)
    assert list(np.argsort(pulled)) == list(np.argsort([0.70, 0.72, 0.71, 0.85]))
    assert scoring.shrink([0.5], [0.1]).tolist() == [0.5]


def test_where_noise_explains_every_difference_the_best_value_still_comes_first() -> None:
    values, ses = [0.74, 0.70, 0.774, 0.72], [0.05, 0.05, 0.05, 0.05]
    pulled = scoring.shrink(values, ses)
    assert np.ptp(pulled) < 1e-6, "nothing is left to believe"
    assert np.argsort(-pulled).tolist() == [2, 0, 3, 1]
    lucky = scoring.shrink([0.9, 0.85, 0.5, 0.5], [0.3, 0.001, 0.001, 0.001])
    assert lucky.argmax() == 1, "a noisy winner is pulled back"


def test_a_noisy_trial_does_not_make_the_precise_ones_look_alike() -> None:
    """Paule and Mandel's equation holds; the plain difference of variances is below zero here."""
    values, ses = np.array([0.86, 0.80, 0.74, 0.70]), np.array([0.02, 0.02, 0.02, 0.30])
    assert np.var(values, ddof=1) < np.mean(ses**2)
    pulled = scoring.shrink(list(values), list(ses))
    kept = (pulled[0] - pulled[1]) / 0.06
    between = kept * 0.0004 / (1 - kept)
    w = 1 / (between + ses**2)
    centre = np.average(values, weights=w)
    assert w @ (values - centre) ** 2 == pytest.approx(3, abs=1e-6)
    assert pulled == pytest.approx(centre + (values - centre) * between / (between + ses**2), abs=1e-9)
    assert kept > 0.8 and abs(pulled[3] - centre) < 0.05 * abs(values[3] - centre)


def test_many_precise_trials_that_are_alike_do_not_hide_the_good_ones() -> None:
    pulled = scoring.shrink([0.5, 0.5, 0.5, 0.75, 0.76, 0.95], [0.001, 0.001, 0.001, 0.02, 0.02, 0.03])
    assert pulled.argmax() == 5 and pulled[5] > 0.9


def test_shrunk_values_choose_better_than_the_trials_own() -> None:
    """Of 20 trials, some collapsed and noisy, the first by shrunk value is truly better than the first by value."""
    rng = np.random.default_rng(0)
    by_shrunk, by_value = [], []
    for _ in range(300):
        bad = rng.random(20) < 0.15
        truth = rng.normal(0, 0.02, 20) - 0.15 * bad
        ses = np.where(bad, 0.15, rng.choice([0.02, 0.04], 20))
        seen = truth + rng.normal(0, ses)
        by_shrunk.append(truth[scoring.shrink(list(seen), list(ses)).argmax()])
        by_value.append(truth[seen.argmax()])
    assert np.mean(by_shrunk) > np.mean(by_value) + 0.03
    assert np.mean(by_shrunk) > 0.015, "what a search that flattens every difference would not reach (.007)"


def test_diagnostics_by_hand() -> None:
    labels = np.array([0, 0, 1, 1], np.int32)
    student = np.array([[2, 0], [0, 2], [0, 2], [2, 0]], np.float32)
    weak = np.array([[2, 0], [0, 2], [2, 0], [0, 2]], np.float32)
    found = scoring.diagnostics([student], [weak], labels)
    assert found["agreement"][0] == pytest.approx(0.5)
    assert found["errors_copied"][0] == pytest.approx(0.5), "of weak errors (rows 1, 2) the student repeats row 1"
    confidence = 1 / (1 + math.exp(-2))
    assert found["ece"][0] == pytest.approx(abs(0.5 - confidence))
    assert scoring.auroc(np.array([0.1, 0.4, 0.35, 0.8], np.float32), labels) == pytest.approx(0.75)
    assert scoring.auroc(np.zeros(4, np.float32), labels) == pytest.approx(0.5), "ties count half"
