"""What one look tells of one label: the figures of docs/security.md, by `python -m tests.gate_figures`.

Two students that differ in their answers to one row of dev, five seeds each, are scored beside the same weak model and
ceiling. Told apart: how often a value differs between the two; told right and wrong: how often the sign of all
differences that rise with right answers gives the row's label away, or the other one.
"""

from __future__ import annotations

import numpy as np

from aar.scoring import Arm, Pool, diagnostics, estimate, public_view
from aar.types import PublicScore

SEEDS, REPEATS = 5, 150
RISING = ("loss_gain", "right_where_weak_right", "right_where_weak_wrong", "auroc")
LABELLESS = ("agreement", "misfit", "effective_sample")


def told(rng: np.random.Generator, rows: int, accuracy: float) -> tuple[bool, bool, bool, int]:
    """Do accuracy, PGR beside it, and all values differ; the sign of what rises, towards the label."""
    y = rng.integers(0, 2, rows).astype(np.int32)
    hard = rng.random(rows)

    def answers(right: float) -> np.ndarray:
        correct = (hard < right) ^ (rng.random((SEEDS, rows)) < 0.02)
        return np.where(correct, y, 1 - y)

    said = {"student": answers(accuracy), "weak": answers(0.71), "ceiling": answers(0.99)}
    margin = {name: rng.normal(1.5, 0.7, (SEEDS, rows)).clip(0.05) for name in said}
    row = int(rng.integers(rows))

    def look(answer: int) -> PublicScore:
        own = said | {"student": said["student"].copy()}
        own["student"][:, row] = answer
        student, weak, ceiling = (Arm(tuple(range(SEEDS)), own[name] == y) for name in ("student", "weak", "ceiling"))
        logits = {
            name: [
                np.stack([m * (a == 0), m * (a == 1)], 1).astype(np.float32)
                for m, a in zip(margin[name], own[name], strict=True)
            ]
            for name in ("student", "weak")
        }
        found = estimate("dev", student, weak, ceiling, Pool(2e-4, 2e-4, 12.0), 0.02)
        return public_view(found._replace(diagnostics=diagnostics(logits["student"], logits["weak"], y)), lambda: None)

    one, other = look(1), look(0)
    accuracies = [(v.accuracy, v.accuracy_se) for v in (one, other)]
    gaps = [(v.pgr, v.ci_low, v.ci_high) for v in (one, other)]
    shares = [{k: x for k, x in v.diagnostics.items() if k not in LABELLESS} for v in (one, other)]
    rises = [one.accuracy - other.accuracy, (one.pgr or 0) - (other.pgr or 0)]
    rises += [shares[0].get(name, 0) - shares[1].get(name, 0) for name in RISING]
    sign = int(np.sign(sum(np.sign(np.round(rises, 12)))))
    first = accuracies[0] != accuracies[1]
    second = first or gaps[0] != gaps[1]
    return first, second, second or shares[0] != shares[1], sign * (1 if y[row] == 1 else -1)


def main() -> None:
    """The table."""
    print("| dev rows | accuracy | accuracy tells them apart | with PGR | with diagnostics | told right | told wrong |")
    for rows in (700, 1500, 4000):
        for accuracy in (0.85, 0.97):
            rng = np.random.default_rng([rows, int(100 * accuracy)])
            found = np.array([told(rng, rows, accuracy) for _ in range(REPEATS)], float)
            ends = [float((found[:, 3] == sign).mean()) for sign in (1, -1)]
            print(f"| {rows} | {accuracy} | " + " | ".join(f"{v:.2f}" for v in [*found[:, :3].mean(0), *ends]) + " |")


if __name__ == "__main__":
    main()
