"""Other answers in place of the weak ones: what a control's student learns from, on dev alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from aar.runner.bench import Bench
from aar.runner.plan import Inputs, Planned, released
from aar.types import JobKind, Unit

Rows = NDArray[np.int64]


def shuffled(bench: Bench, planned: Planned, count: int) -> Planned:
    """`count` units, each a seed of `planned` with its weak answers permuted over rows, members of a group alike."""
    store = bench.problem.store
    inputs = Inputs(dict(planned.inputs.files), dict(planned.inputs.released))
    units = []
    for i, seed in enumerate(bench.seeds("confirm", count)):
        source = planned.units[i % len(planned.units)]
        order = np.random.default_rng([seed, 0x5AFE]).permutation(bench.problem.prepared.counts["transfer"])
        own = dict(source.inputs)
        for name in _answers(source):
            own[name] = store.put(reordered(bench, source.inputs[name], order))
            inputs.files[own[name]] = str(store.path(own[name]))
        units.append(Unit(seed=seed, inputs=own))
    return _on_dev(planned, JobKind.TRANSFER, units, inputs)


def reordered(bench: Bench, digest: str, order: Rows) -> bytes:
    """A model's stored answers, row `order[i]` in place i."""
    problem = bench.problem
    if problem.task.kind == "generation":
        lines = problem.store.path(digest).read_bytes().splitlines(keepends=True)
        return b"".join(lines[i] for i in order)
    return problem.store.array(digest, problem.classes)[order].tobytes()


def matched_noise(bench: Bench, planned: Planned) -> Planned:
    """Each seed with its weak answers permuted within every true class: made from truth, so a `control` job."""
    problem, inputs = bench.problem, Inputs(dict(planned.inputs.files), dict(planned.inputs.released))
    truth = problem.vault.release(problem.prepared.digest, JobKind.CONTROL, "transfer")
    units = []
    for source in planned.units:
        order = within_classes(truth, np.random.default_rng([source.seed, 0xC0DE]))
        own = dict(source.inputs)
        for name in _answers(source):
            answers = problem.store.array(source.inputs[name], problem.classes)[order]
            own[name] = released(answers.tobytes(), inputs)
        units.append(Unit(seed=source.seed, inputs=own))
    return _on_dev(planned, JobKind.CONTROL, units, inputs)


def self_training(bench: Bench, planned: Planned, answers: Mapping[str, str]) -> Planned:
    """Each seed with the strong model's own zero-shot answers, and without the class shares its supervisor measured."""
    inputs = Inputs(dict(planned.inputs.files), dict(planned.inputs.released))
    inputs.files[answers["transfer"]] = str(bench.problem.store.path(answers["transfer"]))
    units = []
    for source in planned.units:
        own = {name: digest for name, digest in source.inputs.items() if name != "prior"}
        units.append(Unit(seed=source.seed, inputs=own | dict.fromkeys(_answers(source), answers["transfer"])))
    return _on_dev(planned, JobKind.TRANSFER, units, inputs)


def renumbered(bench: Bench, planned: Planned) -> Planned:
    """Each seed with class c of its weak answers (and of the class shares) called c + 1, the last class called 0."""
    problem = bench.problem
    inputs = Inputs(dict(planned.inputs.files), dict(planned.inputs.released))
    units = []
    for source in planned.units:
        own = dict(source.inputs)
        for name in [*_answers(source), *({"prior"} & own.keys())]:
            answers = problem.store.array(source.inputs[name], problem.classes)
            own[name] = problem.store.put(np.roll(answers, 1, axis=-1).tobytes())
            inputs.files[own[name]] = str(problem.store.path(own[name]))
        units.append(Unit(seed=source.seed, inputs=own))
    return _on_dev(planned, JobKind.TRANSFER, units, inputs)


def within_classes(labels: NDArray[np.int32], rng: np.random.Generator) -> Rows:
    """A permutation of rows (n,) that moves each row among those of its class."""
    order = np.arange(len(labels))
    for c in np.unique(labels):
        rows = np.flatnonzero(labels == c)
        order[rows] = rng.permutation(rows)
    return order


def _answers(unit: Unit) -> Iterator[str]:
    return (name for name in unit.inputs if name.removeprefix("weak").isdigit())


def _on_dev(planned: Planned, kind: JobKind, units: list[Unit], inputs: Inputs) -> Planned:
    """These units, predicting dev only: no control needs the sealed split."""
    spec = planned.spec
    hidden = {f"{split}.jsonl" for split in spec.predict if split != "dev"}
    given = {name: digest for name, digest in spec.inputs.items() if name not in hidden}
    rows = {split: n for split, n in spec.rows.items() if f"{split}.jsonl" not in hidden}
    spec = spec.model_copy(update={"kind": kind, "inputs": given, "rows": rows, "predict": ("dev",)})
    return Planned(spec, tuple(units), inputs)
