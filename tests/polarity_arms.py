"""The recorded arms of the polarity task (see make_polarity_arms.py), and how intervals do on them.

python -m tests.polarity_arms        prints the two tables of docs/results.md
"""

from __future__ import annotations

import json

import numpy as np

from aar import scoring
from aar.scoring import Arm
from tests.make_polarity_arms import FILES

STUDENTS = ("soft", "hard", "logconf", "early")
ROWS = 2000


def arms() -> dict[str, Arm]:
    """Which test examples each arm got right on each seed, as recorded."""
    meta = json.loads((FILES / "polarity_arms.json").read_text())
    shape = (len(meta["arms"]), meta["seeds"], meta["examples"])
    bits = np.unpackbits(np.frombuffer((FILES / "polarity_arms.bin").read_bytes(), np.uint8), count=int(np.prod(shape)))
    every = bits.reshape(shape).astype(bool)
    return {name: Arm(tuple(range(meta["seeds"])), every[i]) for i, name in enumerate(meta["arms"])}


def coverage(k: int, how: str, draws: int = 300) -> dict[str, float]:
    """Share of draws whose 95 % interval at `k` seeds holds the truth, by student.

    A draw takes five baseline seeds and 2,000 examples; the truth is the mean over all recorded seeds and examples.
    `how`: `exact`, `public` (through the gate) or `bootstrap` (percentiles over seeds, what others report).
    """
    every = arms()
    means = {name: arm.accuracy.mean() for name, arm in every.items()}
    rng = np.random.default_rng(k)
    inside: dict[str, list[bool]] = {name: [] for name in STUDENTS}
    for _ in range(draws):
        seeds = rng.choice(len(every["weak"].seeds), 5, replace=False)
        rows = rng.choice(every["weak"].correct.shape[1], ROWS, replace=False)
        drawn = {n: Arm(tuple(range(5)), a.correct[np.ix_(seeds, rows)]) for n, a in every.items()}
        pool = scoring.pool([drawn[n].accuracy for n in STUDENTS], [drawn["weak"].accuracy] * len(STUDENTS))
        for name in STUDENTS:
            truth = (means[name] - means["weak"]) / (means["ceiling"] - means["weak"])
            low, high = _interval(how, drawn[name].at(range(k)), drawn["weak"], drawn["ceiling"], pool, rng)
            inside[name].append(bool(low <= truth <= high))
    return {name: float(np.mean(hits)) for name, hits in inside.items()}


def _interval(
    how: str, student: Arm, weak: Arm, ceiling: Arm, pool: scoring.Pool, rng: np.random.Generator
) -> tuple[float, float]:
    if how == "bootstrap":
        gap = ceiling.accuracy.mean() - weak.accuracy.mean()
        values = (student.accuracy - weak.at(student.seeds).accuracy) / gap
        means = values[rng.integers(0, len(values), (1000, len(values)))].mean(1)
        return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))
    e = scoring.estimate("dev", student, weak, ceiling, pool, 0.02)
    if how == "public":
        view = scoring.public_view(e, lambda: None)
        low, high = view.ci_low, view.ci_high
    else:
        _, low, high = scoring.pgr_exact(e)
    assert low is not None and high is not None
    return low, high


def main() -> None:
    """Print accuracy and PGR by arm, then coverage."""
    every = arms()
    gap = every["ceiling"].accuracy.mean() - every["weak"].accuracy.mean()
    n = len(every["weak"].seeds)
    print(
        f"| arm | accuracy, {n} seeds | sd | least | most | PGR | PGR, first 5 seeds |\n|---|---|---|---|---|---|---|"
    )
    for name, arm in every.items():
        a, w = arm.accuracy, every["weak"].accuracy
        five = (a[:5] - w[:5]).mean() / (every["ceiling"].accuracy[:5].mean() - w[:5].mean())
        cells = [f"{a.mean():.3f}", f"{a.std(ddof=1):.3f}", f"{a.min():.3f}", f"{a.max():.3f}"]
        print(f"| {name} | {' | '.join(cells)} | {(a - w).mean() / gap:.2f} | {five:.2f} |")
    print("\n| seeds | " + " | ".join(STUDENTS) + " | all, exact | all, through the gate | percentile bootstrap |")
    print("|---" * (len(STUDENTS) + 4) + "|")
    for k in (2, 3, 5):
        exact, public, boot = (coverage(k, how) for how in ("exact", "public", "bootstrap"))
        cells = [f"{exact[s]:.2f}" for s in STUDENTS]
        totals = [f"{np.mean(list(c.values())):.3f}" for c in (exact, public, boot)]
        print(f"| {k} | {' | '.join(cells)} | {' | '.join(totals)} |")


if __name__ == "__main__":
    main()
