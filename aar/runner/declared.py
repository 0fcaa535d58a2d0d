"""The files that a launch must write, declared before it runs."""

from __future__ import annotations

from aar.methods.targets import Calibration
from aar.reading.answers import bytes_of, written_answers
from aar.reading.sampled import bytes_of_sampled
from aar.reading.spoken import bytes_of_spoken
from aar.types import UNTRAINED, JobKind, JobSpec, Output, Speak, Unit, checkpoint, look

BLOB_BYTES = 8 << 30


def outputs(spec: JobSpec, units: tuple[Unit, ...]) -> tuple[Output, ...]:
    """What a launch of these units must write."""
    out = []
    for unit in units:
        if spec.kind is JobKind.PRETRAIN:
            out.append(Output(name=f"u{unit.seed}.weights", kind="blob", max_bytes=BLOB_BYTES))
        if spec.kind is JobKind.FEATURES:
            out.append(Output(name=f"u{unit.seed}.features", kind="array", shape=(spec.rows["transfer"], spec.width)))
        if spec.speak is not None:
            out += _spoken(unit, spec.speak, spec.rows["prompts"])
        if spec.align is not None:
            out += _aligned(unit, spec)
        if spec.kind is JobKind.WEAK:
            out.append(Output(name=f"u{unit.seed}.prior", kind="array", shape=(spec.classes,)))
            if "val.labels" in unit.inputs and spec.task != "generation":
                size = Calibration.size(spec.classes)
                out.append(Output(name=f"u{unit.seed}.calibration", kind="array", shape=(size,)))
        if spec.kind in (JobKind.TRANSFER, JobKind.CONTROL) and "dev" in spec.predict:  # a chain's link is no result
            shape = (spec.rows["transfer"],)
            out.append(Output(name=f"u{unit.seed}.weight", kind="array", shape=shape, optional=True))
        if spec.handed is not None:
            out.append(Output(name=f"u{unit.seed}.weights", kind="blob", max_bytes=spec.handed))
            shape = (spec.rows["transfer"],)
            out.append(Output(name=f"u{unit.seed}.weight", kind="array", shape=shape, optional=True))
        looks, looked = map(checkpoint, spec.checkpoints), (spec.rows.get("dev", 0), spec.classes)
        out += [Output(name=f"u{unit.seed}.{look}", kind="array", shape=looked) for look in looks]
        for split in spec.predict:
            name, rows = f"u{unit.seed}.{split}", spec.rows[split]
            if spec.task == "generation":
                out.append(Output(name=name, kind="jsonl", max_bytes=bytes_of(rows, written_answers(split))))
            else:
                out.append(Output(name=name, kind="array", shape=(rows, spec.classes)))
    return tuple(out)


def _spoken(unit: Unit, speak: Speak, rows: int) -> list[Output]:
    if speak.sampling is not None:
        most = bytes_of_spoken(rows, speak.sampling.max_tokens)
        return [Output(name=f"u{unit.seed}.replies", kind="jsonl", max_bytes=most)]
    shapes = {"logp": (rows, speak.options), "tokens": (rows, speak.options), "read": (rows, 2)}
    return [Output(name=f"u{unit.seed}.{name}", kind="array", shape=shape) for name, shape in shapes.items()]


def _aligned(unit: Unit, spec: JobSpec) -> list[Output]:
    align, out = spec.align, []
    assert align is not None, "an align job"
    if align.method not in UNTRAINED:
        out.append(Output(name=f"u{unit.seed}.weights", kind="blob", max_bytes=BLOB_BYTES))
        out.append(Output(name=f"u{unit.seed}.counts", kind="array", shape=(2,)))
    if "held.jsonl" in unit.inputs:
        out.append(Output(name=f"u{unit.seed}.scores", kind="array", shape=(spec.rows["held"],)))
    if align.method != "reward":
        most = bytes_of_sampled(spec.rows["prompts"] * align.samples, align.length, told(spec))
        out += [Output(name=f"u{unit.seed}.{look(s)}", kind="jsonl", max_bytes=most) for s in align.looks]
    return out


def told(spec: JobSpec) -> int:
    """How many rewards an align job tells of each sample: its judge's, then its reward models'."""
    return (spec.judge is not None) + (spec.align.rewards if spec.align else 0)
