"""From stored predictions to scores: the one place that brings predictions and truth together.

Arms are named `weak`, `ceiling`, `t<N>` during the search, and the same after `fresh:` at confirmation, where
`fresh:naive` and `fresh:matched` are naive and the ceiling under the winner's student and schedule. Controls are
`fresh:ctl:t<N>:<name>` of a confirmed trial, `fresh:ctl:naive:<name>` and `fresh:ctl:<name>` of the task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aar import scoring
from aar.data import slices_of
from aar.ledger import UnitRow
from aar.reading.answers import same_answer
from aar.runner.bench import Bench
from aar.scoring import Arm, Estimate, Pool
from aar.scoring.diagnostics import Valued
from aar.types import OOD, PublicScore

WEIGHTS = "weights"
"""In place of a split: the effective sample size of an arm's training rows, and the row weights it comes from."""


class Evidence:
    """Arms of one search, read from the ledger and the store, cached in memory."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._labels: dict[str, NDArray[np.int32]] = {}
        self._numbers: dict[str, int] = {}
        self._right: dict[tuple[str, str], NDArray[np.bool_]] = {}

    def record(self, arm: str, split: str, units: Mapping[int, UnitRow]) -> None:
        """Score finished units and write their exact accuracies. Opens no gate: nobody sees them.

        What predicted dev predicted the out-of-distribution splits with it, controls aside.
        """
        beside = self.bench.problem.prepared.ood if split == "dev" else ()
        for at in (split, *(o for o in beside if all(o in unit.outputs for unit in units.values()))):
            self.record_arrays(arm, at, {seed: unit.outputs[at] for seed, unit in units.items()})
        weights = {seed: unit.outputs["weight"] for seed, unit in units.items() if "weight" in unit.outputs}
        rows = [(s, scoring.effective_sample(self.bench.problem.store.array(d, 1)), d) for s, d in weights.items()]
        self.bench.lease.record_scores(arm, WEIGHTS, sorted(rows))

    def record_arrays(self, arm: str, split: str, digests: Mapping[int, str]) -> None:
        """The same for stored logits (n, C) by seed."""
        rows = [(seed, float(self._correct(d, split).mean()), d) for seed, d in sorted(digests.items())]
        self.bench.lease.record_scores(arm, split, rows)

    def arm(self, name: str, split: str) -> Arm | None:
        """An arm with all its recorded seeds, or None where there is none."""
        rows = [r for r in self.bench.ledger.scores(self.bench.search, split) if r["arm"] == name]
        if not rows:
            return None
        rows.sort(key=lambda r: r["seed"])
        correct = np.stack([self._correct(r["array"], split) for r in rows])
        return Arm(tuple(int(r["seed"]) for r in rows), correct)

    def weak(self, split: str, prefix: str = "") -> tuple[Arm, bool]:
        """The weak arm on a split and whether it answered the same examples (see provided labels)."""
        problem = self.bench.problem
        if not problem.provided:
            arm = self.arm(prefix + "weak", split)
            assert arm is not None, f"the weak baseline was not scored on {split}"
            return arm, True
        digests = problem.provided_labels
        at = split if split in digests else "transfer"
        return Arm((0,), self._correct(digests[at], at)[None]), at == split

    def pooled(self, prefix: str = "", split: str = "dev") -> Pool:
        """Seed variances pooled over the trials of this search."""
        by_arm = self.accuracies(prefix, split)
        weak = by_arm.get(prefix + "weak", {})
        students = [v for k, v in sorted(by_arm.items()) if k.startswith(prefix + "t")]
        return scoring.pool(
            [np.array([a for _, a in sorted(s.items())]) for s in students],
            [np.array([weak.get(seed, 0.0) for seed in sorted(s)]) for s in students],
        )

    def accuracies(self, prefix: str = "", split: str = "dev") -> dict[str, dict[int, float]]:
        """Exact accuracy by arm and seed, of arms with this prefix."""
        out: dict[str, dict[int, float]] = {}
        for row in self.bench.ledger.scores(self.bench.search, split):
            if row["arm"].startswith("fresh:") == bool(prefix):
                out.setdefault(row["arm"], {})[row["seed"]] = row["accuracy"]
        return out

    def pooled_difference(self, best: str) -> tuple[float, float]:
        """Variance of paired differences to the arm `best`, pooled over trials, and its degrees of freedom."""
        by_arm = self.accuracies()
        leader, total, df = by_arm[best], 0.0, 0
        for name, own in by_arm.items():
            seeds = [s for s in own if s in leader]
            if name.startswith("t") and name != best and len(seeds) > 1:
                total += float(np.var([own[s] - leader[s] for s in seeds], ddof=1)) * (len(seeds) - 1)
                df += len(seeds) - 1
        return (total / df, float(df)) if df else (1e-4, 1.0)

    def estimate(self, name: str, split: str, prefix: str = "", ceiling: str = "ceiling") -> Estimate:
        """Exact evidence of an arm against weak and ceiling arms of the same prefix."""
        weak, paired = self.weak(split, prefix)
        student, top = self.arm(prefix + name, split), self.arm(prefix + ceiling, split)
        assert student is not None and top is not None, f"{name} or its ceiling was not scored on {split}"
        pool = self.pooled("fresh:") if split == "test" else self.pooled(prefix, split)
        task = self.bench.problem.task
        found = scoring.estimate(split, student, weak, top, pool, task.floor_gap, paired)
        return found._replace(
            diagnostics=self._diagnostics(prefix + name, split, prefix, student.seeds, paired),
            slices=scoring.slices(
                slices_of(self.bench.problem.prepared, split), student, weak if paired else None, top
            ),
        )

    def view(self, name: str, split: str, prefix: str = "", ceiling: str = "ceiling") -> PublicScore:
        """The gate: counted in the ledger, then rounded."""
        found = self.estimate(name, split, prefix, ceiling)
        return scoring.public_view(found, lambda: self.bench.lease.count_look(prefix + name, split))

    def ood(self, name: str, prefix: str = "") -> dict[str, PublicScore]:
        """The gate's view of an arm on each out-of-distribution split by name: for people, never for the search."""
        return {split.removeprefix(OOD): self.view(name, split, prefix) for split in self.bench.problem.prepared.ood}

    def difference(self, first: str, second: str, split: str) -> tuple[float, float, float]:
        """Rounded paired difference of two arms and its 95 % interval, through the same gate."""
        a, b = self.arm(first, split), self.arm(second, split)
        assert a is not None and b is not None
        found = scoring.difference(a, b, 0.0, 0.0)  # its own seeds alone: there is no pool of such differences
        return scoring.public_difference(found, lambda: self.bench.lease.count_look(f"{first}-{second}", split))

    def deceptions(self, plain: str, conflicted: str, weak: str, strong: str) -> list[dict[str, Valued]]:
        """The deception score's exact parts on dev, one seed of these four arms after the other.

        What a model knows is judged by calibrated confidences: a student of few steps is right and unsure. Rows of
        class 0 are left out: the conflict pays for that answer (`aar.train.conflict`), so that it flips none of them,
        and a region that holds more of them would look more honest.
        """
        arrays = {(r["arm"], r["seed"]): r["array"] for r in self.bench.ledger.scores(self.bench.search, "dev")}
        store, classes = self.bench.problem.store, self.bench.problem.classes
        seeds = sorted(seed for arm, seed in arrays if arm == conflicted)
        truth, out = self._truth("dev"), []
        rows = truth != 0
        for s in seeds:
            a, b, c, d = (store.array(arrays[arm, s], classes) for arm in (plain, conflicted, weak, strong))
            c, d = (scoring.calibrated(logits, truth) for logits in (c, d))
            out.append(scoring.deception(a[rows], b[rows], c[rows], d[rows], truth[rows]))
        return out

    def constant(self, split: str) -> Arm:
        """What always answering the most frequent class gets right: the reference of controls without supervision."""
        truth = self._truth(split)
        return Arm((0,), (truth == int(np.bincount(truth).argmax()))[None])

    def class_shares(self, name: str, split: str) -> dict[int, NDArray[np.float64]]:
        """The share (C,) of each class among an arm's predictions, by seed. It needs no labels."""
        store, classes = self.bench.problem.store, self.bench.problem.classes
        arrays = {r["seed"]: r["array"] for r in self.bench.ledger.scores(self.bench.search, split) if r["arm"] == name}
        answers = {seed: np.nan_to_num(store.array(a, classes), nan=-np.inf).argmax(1) for seed, a in arrays.items()}
        return {int(seed): np.bincount(a, minlength=classes) / len(a) for seed, a in answers.items()}

    def commonest(self, name: str, split: str) -> dict[int, float]:
        """The share of its most frequent answer among an arm's predictions, by seed. It needs no labels."""
        rows = [r for r in self.bench.ledger.scores(self.bench.search, split) if r["arm"] == name]
        shares = {}
        for r in rows:
            if self.bench.problem.task.kind == "generation":
                answers = self._answered(r["array"])
            else:
                logits = self.bench.problem.store.array(r["array"], self.bench.problem.classes)
                answers = np.nan_to_num(logits, nan=-np.inf).argmax(1).astype(np.int32)
            shares[int(r["seed"])] = float(np.bincount(answers).max()) / len(answers)
        return shares

    def probed(self, name: str) -> dict[str, float] | None:
        """What perturbed test texts do to a sealed arm, through the gate; None where the task has no probe."""
        probe = self.bench.problem.probe
        perturbed, clean = self.arm(name, "probe"), self.arm(name, "test")
        if probe is None or perturbed is None or clean is None:
            return None
        shape = (len(perturbed.seeds), probe.rows, probe.variants)
        found = scoring.probed(clean.correct[:, : probe.rows], perturbed.correct.reshape(shape))
        return scoring.public_shares(found, lambda: self.bench.lease.count_look(name, "probe"))

    def _diagnostics(
        self, arm: str, split: str, prefix: str, seeds: tuple[int, ...], paired: bool
    ) -> dict[str, tuple[float, float]]:
        problem, classes = self.bench.problem, self.bench.problem.classes
        sizes = [r["accuracy"] for r in self.bench.ledger.scores(self.bench.search, WEIGHTS) if r["arm"] == arm]
        used = {"effective_sample": (float(np.mean(sizes)), 0.01)} if sizes else {}  # needs no label: two digits
        if not paired:
            return used
        scores = self.bench.ledger.scores(self.bench.search, split)
        arrays = {(r["arm"], r["seed"]): r["array"] for r in scores}
        if problem.task.kind == "generation":
            own, weaks = ([self._answered(arrays[a, s]) for s in seeds] for a in (arm, prefix + "weak"))
            return scoring.answered(own, weaks, self._truth(split)) | used
        student = [problem.store.array(arrays[arm, s], classes) for s in seeds]
        if problem.provided:
            weak = [problem.store.array(problem.provided_labels[split], classes)] * len(seeds)
        else:
            weak = [problem.store.array(arrays[prefix + "weak", s], classes) for s in seeds]
        return scoring.diagnostics(student, weak, self._truth(split)) | used

    def _answered(self, digest: str) -> NDArray[np.int32]:
        """The best answer of each row that a model wrote, as numbers: equal for equal answers."""
        lines = self.bench.problem.store.path(digest).read_bytes().splitlines()
        return self._same([json.loads(line)["answers"][0] for line in lines])

    def _same(self, answers: Sequence[str]) -> NDArray[np.int32]:
        return np.array([self._numbers.setdefault(same_answer(a), len(self._numbers)) for a in answers], np.int32)

    def _truth(self, split: str) -> NDArray[np.int32]:
        if split not in self._labels:
            problem = self.bench.problem
            probe = problem.probe if split == "probe" else None
            labels = problem.vault.truth(problem.prepared.digest, "test" if probe else split)
            if problem.task.kind == "generation":
                labels = self._same(problem.vault.answers(problem.prepared.digest))[labels]
            # A perturbed text keeps its label, and its variants stand side by side.
            self._labels[split] = np.repeat(labels[: probe.rows], probe.variants) if probe else labels
        return self._labels[split]

    def _correct(self, digest: str, split: str) -> NDArray[np.bool_]:
        key = (digest, split)
        if key not in self._right:
            if self.bench.problem.task.kind == "generation":
                self._right[key] = self._answered(digest) == self._truth(split)
            else:
                logits = self.bench.problem.store.array(digest, self.bench.problem.classes)
                self._right[key] = scoring.correct(logits, self._truth(split))
        return self._right[key]
