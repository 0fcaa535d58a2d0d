"""What a cell trains: a search's own jobs on fewer rows, with looks along the way, or with a conflicting objective."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aar.runner.bench import Bench
from aar.runner.other_answers import reordered
from aar.runner.plan import Inputs, Planned, released
from aar.types import Unit

SHARES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75)
"""Where along training a student is looked at; the end is looked at anyway."""
CONFLICT = 0.5
"""Strength of the conflicting objective (that of Yang et al. 2024 in reward modelling, whose objective is another)."""


def along(planned: Planned) -> Planned:
    """The same students, which also predict dev at `SHARES` of their steps."""
    return planned._replace(spec=planned.spec.model_copy(update={"checkpoints": SHARES}))


def conflicted(planned: Planned) -> Planned:
    """The same students with the second objective."""
    return planned._replace(spec=planned.spec.model_copy(update={"conflict": CONFLICT}))


def order(bench: Bench) -> NDArray[np.int64]:
    """The transfer rows in the order in which an atlas takes them: drawn once for the task's splits."""
    problem = bench.problem
    rng = np.random.default_rng([problem.task.splits.seed, 0xA71A5])
    return rng.permutation(problem.prepared.counts["transfer"])


def cut(bench: Bench, planned: Planned, n: int) -> Planned:
    """The same job on the first `n` transfer rows in `order`: texts, true labels and weak answers alike.

    All rows: the job as it is, which a search has perhaps run before.
    """
    if n == bench.problem.prepared.counts["transfer"]:
        return planned
    store, rows = bench.problem.store, np.sort(order(bench)[:n])
    inputs = Inputs(dict(planned.inputs.files), dict(planned.inputs.released))

    def kept(data: bytes) -> str:
        digest = store.put(data)
        inputs.files[digest] = str(store.path(digest))
        return digest

    names, written = dict(planned.spec.inputs), bench.problem.task.kind == "generation"
    names["transfer.jsonl"] = kept(_lines(Path(inputs.files[names["transfer.jsonl"]]).read_bytes(), rows))
    if "transfer.labels" in names:
        labels = inputs.released[names["transfer.labels"]]
        names["transfer.labels"] = released(
            _lines(labels, rows) if written else np.frombuffer(labels, "<i4")[rows].tobytes(), inputs
        )
    units = []
    for unit in planned.units:
        own = {k: kept(reordered(bench, v, rows)) if k.startswith("weak") else v for k, v in unit.inputs.items()}
        units.append(Unit(seed=unit.seed, inputs=own))
    counts = {k: n if k == "transfer" else v for k, v in planned.spec.rows.items()}
    spec = planned.spec.model_copy(update={"inputs": names, "rows": counts})
    return Planned(spec, tuple(units), inputs)


def _lines(data: bytes, rows: NDArray[np.int64]) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join(lines[i] for i in rows)
