"""Align jobs out of a policy, a judge and rows of feedback; what they wrote, read back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from aar.data import ResolvedModel
from aar.ledger import UnitRow
from aar.oversight.rewards import Floats
from aar.reading.sampled import sampled_of
from aar.runner.declared import told
from aar.runner.launcher import Launcher
from aar.runner.plan import Inputs, Planned, model_inputs
from aar.runner.units import ensure
from aar.sandbox.image import source_digest
from aar.types import Align, JobKind, JobSpec, Unit, ZeroShot, look

Rows = Sequence[Mapping[str, Any]]


class Judge(NamedTuple):
    """Who gives the feedback: a model with pre-trained weights, and how it is asked."""

    model: ResolvedModel
    vocabulary: tuple[str, str] | None
    weights: str | None
    asked: ZeroShot


class Wrote(NamedTuple):
    """What a policy wrote at one look, `samples` to each prompt: whole texts, log-ratios (n,), rewards (k, n)."""

    texts: list[str]
    answers: list[str]
    ratio: Floats
    rewards: Floats


@dataclass
class Aligner:
    """A policy to be trained. `weights` (a digest) are a tiny one's pre-training, and its reference throughout."""

    at: Launcher
    model: ResolvedModel
    vocabulary: tuple[str, str] | None
    weights: str | None

    def run(
        self, align: Align, seeds: Sequence[int], *, rows: Mapping[int, Rows] | None = None,
        prompts: Sequence[str] = (), judge: Judge | None = None, start: Mapping[int, str] | None = None,
        rewards: Mapping[int, Sequence[str]] | None = None, held: Mapping[int, Sequence[str]] | None = None,
    ) -> dict[int, UnitRow]:  # fmt: skip
        """The job's units by seed, from the cache or trained. `rows`, `start` (digest of weights to go on from),
        `rewards` (digests of reward models) and `held` (texts to be scored) are each seed's own.

        Raises:
            JobFailed: the job failed.
            Stopped: the run was told to stop.
        """
        inputs = Inputs({}, {})
        names = model_inputs(self.model, self.vocabulary, inputs)
        if self.weights is not None:
            names["weights"] = self._kept(self.weights, inputs)
        names["prompts.jsonl"] = self._lines([{"prompt": p} for p in prompts], inputs)
        if judge is not None:
            own = model_inputs(judge.model, judge.vocabulary, inputs)
            if judge.weights is not None:
                own["weights"] = self._kept(judge.weights, inputs)
            names |= {f"judge/{name}": digest for name, digest in own.items()}
        units = []
        for seed in seeds:
            files = {"train.jsonl": self._lines(rows[seed], inputs)} if rows else {}
            files |= {"start": self._kept(start[seed], inputs)} if start else {}
            files |= {f"reward{j}": self._kept(d, inputs) for j, d in enumerate(rewards[seed] if rewards else ())}
            files |= {"held.jsonl": self._lines([{"text": t} for t in held[seed]], inputs)} if held else {}
            units.append(Unit(seed=seed, inputs=files))
        counts = {"prompts": len(prompts)} | ({"held": len(held[seeds[0]])} if held else {})
        ref = self.model.ref.model_copy(update={"weights": self.weights is not None})
        spec = JobSpec(
            kind=JobKind.ALIGN, model=ref, align=align, inputs=names, rows=counts, source=source_digest(),
            judge=judge and judge.model.ref.model_copy(update={"weights": judge.weights is not None}),
            zero_shot=judge and judge.asked,
        )  # fmt: skip
        return ensure(self.at, Planned(spec, tuple(units), inputs))

    def wrote(self, unit: UnitRow, align: Align, prompts: Sequence[str], judged: bool, share: float = 1.0) -> Wrote:
        """What a unit's policy wrote to the job's prompts after this share of its steps."""
        rewards = told(JobSpec(kind=JobKind.ALIGN, model=self.model.ref, align=align)) + judged
        lines = self.at.store.path(unit.outputs[look(share)]).read_text(encoding="ascii").splitlines()
        samples = [sampled_of(json.loads(line), align.length, rewards) for line in lines]
        asked = [p for p in prompts for _ in range(align.samples)]
        each = np.array([s.rewards for s in samples], np.float64).reshape(len(samples), rewards)
        return Wrote(
            [p + s.text for p, s in zip(asked, samples, strict=True)], [s.text for s in samples],
            np.array([s.ratio for s in samples]), each.T,
        )  # fmt: skip

    def scores(self, unit: UnitRow) -> Floats:
        """A new reward model's rewards (n,) of the held texts."""
        return self.at.store.array(unit.outputs["scores"], 1)[:, 0].astype(np.float64)

    def counts(self, unit: UnitRow) -> tuple[int, int]:
        """Rows that a unit was given, and those that were short enough to be learnt from."""
        given, kept = self.at.store.array(unit.outputs["counts"], 2)[0]
        return int(given), int(kept)

    def _kept(self, digest: str, inputs: Inputs) -> str:
        inputs.files[digest] = str(self.at.store.path(digest))
        return digest

    def _lines(self, rows: Rows, inputs: Inputs) -> str:
        return self._kept(self.at.store.put("".join(json.dumps(row) + "\n" for row in rows).encode()), inputs)
