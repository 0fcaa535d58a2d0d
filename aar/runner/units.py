"""Units: computed once, shared by every trial, search and task that needs the same thing."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aar.executor import Stopped
from aar.ledger import LeaseLost, UnitRow
from aar.reading.answers import line_of_written, written_answers, written_of
from aar.reading.sampled import line_of_sampled, sampled_of
from aar.reading.spoken import line_of_spoken, spoken_of
from aar.runner.declared import outputs, told
from aar.runner.launcher import Launcher
from aar.runner.plan import Planned
from aar.runner.withheld import in_short
from aar.sandbox.outputs import BadOutput, copy_blob, read_array, read_jsonl, tail, written
from aar.sandbox.protocol import LOG_TAIL_BYTES, PROGRESS_BYTES, SandboxError
from aar.settings import write_whole
from aar.types import (
    TAINTED,
    AarError,
    Align,
    Exit,
    JobFile,
    JobKind,
    JobSpec,
    JobStatus,
    Launch,
    Output,
    Sampling,
    Unit,
    canonical_json,
    digest_of,
)

WAITS = (1.0, 10.0, 60.0)
"""Seconds before another try when the machinery failed; after the last the search stops, to be resumed."""
CURVE_POINTS = 50
SMOKE_SECONDS = 120.0
UNTAINTED = (
    JobKind.TRANSFER, JobKind.SMOKE, JobKind.PREDICT, JobKind.FEATURES, JobKind.ZERO_SHOT, JobKind.SPEAK,
)  # fmt: skip
SHOWN = re.compile(r"model|tokenizer|vocab\.txt|weights|transfer\.jsonl|features|zero_shot|weak\d+|prior|calibration")
"""Inputs of a job that runs a hypothesis's code: nothing that it is scored on."""


class JobFailed(Exception):
    """A job ended badly; `reason` says how, in a sentence."""

    def __init__(self, kind: JobKind, result: Exit) -> None:
        super().__init__(f"{kind} job {result.status}: {result.reason or f'exit code {result.code}'}")
        self.result = result

    @property
    def why(self) -> str:
        """The sentence with what everybody may read of the log of a job that ran a hypothesis's code."""
        short = in_short(self.result.log_tail)
        return f"{self}: {short}" if short else str(self)

    def told(self) -> str:
        """The sentence, and the end of the job's log."""
        return f"{self}\n{self.result.log_tail[-2000:]}".rstrip()


def ensure(at: Launcher, planned: Planned, trial: int | None = None) -> dict[int, UnitRow]:
    """The finished units by seed, from the cache or from one launch for all that are missing.

    Raises:
        JobFailed: the job crashed, timed out, ran out of memory or wrote bad outputs; it was recorded.
        Stopped: the search was told to stop.
    """
    spec = planned.spec
    keys = {unit.key(spec): unit for unit in planned.units}
    with contextlib.ExitStack() as stack:
        for key in sorted(keys):
            stack.enter_context(at.executor.lock(key))
        found = {key: row for key in keys if (row := cached(at, key)) is not None}
        missing = [unit for key, unit in keys.items() if key not in found]
        if missing:
            found |= _compute(at, planned, tuple(missing), trial)
    return {keys[key].seed: row for key, row in found.items()}


def cached(at: Launcher, key: str) -> UnitRow | None:
    """A finished unit whose files are all there."""
    row = at.ledger.unit(key)
    gone = row is not None and not all(at.store.has(d) for d in row.outputs.values())
    return None if gone else row


def _compute(at: Launcher, planned: Planned, units: tuple[Unit, ...], trial: int | None) -> dict[str, UnitRow]:
    spec = planned.spec
    _check_taint(at, planned, units)
    _check_code(planned, units)
    keys = [unit.key(spec) for unit in units]
    if spec.kind is JobKind.SMOKE and (end := _refused(at, keys)) is not None:
        raise JobFailed(spec.kind, end)
    for wait in (*WAITS, None):
        at.executor.begin()
        launch = _launch(at, planned, units, keys)
        at.lease.start_attempt(launch.attempt, spec.kind, keys, trial)
        try:
            result = _run(at, launch)
        except SandboxError as error:
            if wait is None:
                raise
            if at.executor.cancel.wait(wait):
                raise Stopped from error
            continue
        if result.status is JobStatus.KILLED and at.executor.cancel.is_set():
            cost = _cost(spec, launch, result, trial)
            at.lease.finish_attempt(launch.attempt, "stopped", canonical_json(result), [], cost, False)
            shutil.rmtree(launch.folder, ignore_errors=True)
            raise Stopped
        rows: list[dict[str, Any]] = []
        if result.status is JobStatus.OK:
            try:
                rows = _collect(at, spec, units, launch, result)
            except BadOutput as error:
                result = result.model_copy(update={"status": JobStatus.FAILED, "reason": str(error)})
        if not result.log_tail:
            result = result.model_copy(update={"log_tail": tail(launch.folder, LOG_TAIL_BYTES)})
        try:
            at.lease.finish_attempt(
                launch.attempt, result.status, canonical_json(result), rows, _cost(spec, launch, result, trial),
                tainted=spec.kind in TAINTED,
            )  # fmt: skip
        except LeaseLost:
            at.lease.stale_attempt(launch.attempt)
            raise
        shutil.rmtree(launch.folder, ignore_errors=True)
        if result.status is JobStatus.OK:
            done = {key: at.ledger.unit(key) for key in keys}
            return {key: row for key, row in done.items() if row is not None}
        if result.status is not JobStatus.INFRA:
            break
    raise JobFailed(spec.kind, result)


def _run(at: Launcher, launch: Launch) -> Exit:
    """The launch on the cards that are least in use; one that is taken over stays where it is."""
    noted = Path(launch.folder) / "cards.json"
    stays = noted.exists() and at.sandbox.alive(launch.attempt, launch.folder)
    with at.executor.cards(launch.gpus, json.loads(noted.read_text()) if stays else ()) as cards:
        if cards and not stays:
            write_whole(noted, json.dumps(cards))
        return at.sandbox.run(launch.model_copy(update={"cards": cards}), at.executor.cancel)


def _refused(at: Launcher, keys: list[str]) -> Exit | None:
    """How a smoke run of this search ended before, if it found the code unfit: it would find it so again."""
    ends = {JobStatus.FAILED, JobStatus.TIMEOUT, JobStatus.OOM}
    found = [a for a in at.ledger.attempts(at.search) if a["status"] in ends and json.loads(a["keys"]) == keys]
    return Exit.model_validate_json(found[-1]["exit"]) if found else None


def _check_taint(at: Launcher, planned: Planned, units: Sequence[Unit]) -> None:
    """Rule 1: nothing that was derived from labels a trial must not see goes into a trial, or into what feeds one."""
    spec, released = planned.spec, planned.inputs.released
    if spec.kind not in UNTAINTED:
        return
    for name, digest in [*spec.inputs.items(), *(item for u in units for item in u.inputs.items())]:
        if name.endswith(".labels") or digest in released or at.ledger.tainted(digest):
            raise AarError(f"refused: {name} ({digest[:12]}) carries ground truth and was about to enter a trial")


def _check_code(planned: Planned, units: Sequence[Unit]) -> None:
    """Rule 2: written code never sees what it is scored on, nor what another seed learns from."""
    spec = planned.spec
    if not spec.untrusted:
        return
    names = [*spec.inputs, *(name for unit in units for name in unit.inputs)]
    shown = [name for name in names if not SHOWN.fullmatch(name)]
    if shown or spec.predict or len(units) != 1 or spec.kind not in (JobKind.TRANSFER, JobKind.SMOKE):
        raise AarError(
            f"refused: a {spec.kind} job of {len(units)} seeds with {', '.join([*shown, *spec.predict]) or 'no split'} "
            "was about to run a hypothesis's code, which sees transfer texts and one seed's weak labels only"
        )


def _launch(at: Launcher, planned: Planned, units: tuple[Unit, ...], keys: list[str]) -> Launch:
    spec, settings, limits = planned.spec, at.settings, at.limits
    finished = [a for a in at.ledger.attempts(at.search) if a["status"] != "running" and json.loads(a["keys"]) == keys]
    attempt = f"{spec.kind.replace('_', '-')}-{digest_of([at.search, keys])[:12]}-{len(finished)}"
    folder = settings.folder("jobs") / attempt
    released = folder / "released"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # labels lie in it: not for other users of the machine
    released.mkdir(exist_ok=True)
    mounts: dict[str, str] = {}
    wanted = dict(spec.inputs) | {f"u{u.seed}/{name}": d for u in units for name, d in u.inputs.items()}
    for name, digest in wanted.items():
        if digest in planned.inputs.released:
            # Labels lie in the job's own folder and go with it: the shared store holds none.
            mounts[name] = str(_once(released / digest, planned.inputs.released[digest]))
        else:
            mounts[name] = planned.inputs.files[digest]
    seconds, gpus = limits.minutes * 60, limits.gpus
    threads = settings.threads_for(gpus)
    if spec.kind is JobKind.SMOKE:
        seconds = min(seconds, SMOKE_SECONDS)
    job = JobFile(spec=spec, units=units, threads=threads, device=settings.device, seconds=seconds)
    _once(folder / "job.json", canonical_json(job).encode())
    number, unit = int(limits.memory[:-1]), limits.memory[-1]
    return Launch(
        attempt=attempt, search=at.search, folder=str(folder), mounts=mounts, outputs=outputs(spec, units),
        seconds=seconds, memory_bytes=number << (30 if unit == "g" else 20), cpus=threads, gpus=gpus,
        untrusted=spec.untrusted,
    )  # fmt: skip


def _once(path: Path, data: bytes) -> Path:
    """Write a file unless it is there: a living orphan of a killed loop may be reading it."""
    if not path.exists():
        new = path.with_name(path.name + ".new")
        new.write_bytes(data)
        new.chmod(0o644)
        new.replace(path)
    return path


def _collect(at: Launcher, spec: JobSpec, units: Sequence[Unit], launch: Launch, result: Exit) -> list[dict[str, Any]]:
    store = at.store
    by_name: dict[str, Output] = {o.name: o for o in launch.outputs}
    progress = read_jsonl(launch.folder, "progress.jsonl", PROGRESS_BYTES)
    rows = []
    for unit in units:
        digests = {}
        for name, output in by_name.items():
            prefix, _, short = name.partition(".")
            if prefix != f"u{unit.seed}" or (output.optional and not written(launch.folder, output)):
                continue
            if output.kind == "blob":
                with store.incoming() as file:
                    digests[short] = copy_blob(launch.folder, output, file)
                    store.adopt(file, digests[short])
            elif spec.speak and spec.speak.sampling:
                digests[short] = store.put(_replies(launch.folder, output, spec.rows["prompts"], spec.speak.sampling))
            elif spec.align is not None and output.kind == "jsonl":
                digests[short] = store.put(_samples(launch.folder, output, spec, spec.align))
            elif output.kind == "jsonl":
                digests[short] = store.put(_written(launch.folder, output, spec.rows[short], written_answers(short)))
            else:
                digests[short] = store.put(read_array(launch.folder, output).astype("<f4").tobytes())
        rows.append({
            "key": unit.key(spec), "kind": spec.kind, "seed": unit.seed, "outputs": canonical_json(digests),
            "seconds": result.seconds / len(units), "curve": canonical_json(curve(progress, unit.seed)),
        })  # fmt: skip
    return rows


def _written(folder: str, output: Output, rows: int, most: int) -> bytes:
    """The answers that a job wrote, one line for each row, written anew."""
    return _anew(folder, output, rows, lambda line: line_of_written(written_of(line, most)))


def _anew(folder: str, output: Output, rows: int, checked: Callable[[Any], str]) -> bytes:
    lines = read_jsonl(folder, output.name, output.max_bytes)
    if len(lines) != rows:
        raise BadOutput(f"output {output.name}: {len(lines)} lines of JSON; {rows} declared")
    try:
        return "".join(map(checked, lines)).encode()
    except ValueError as error:
        raise BadOutput(f"output {output.name}: {error}") from None


def _replies(folder: str, output: Output, rows: int, how: Sampling) -> bytes:
    """What a job's model replied, one line for each prompt, written anew."""
    return _anew(folder, output, rows, lambda line: line_of_spoken(spoken_of(line, how.max_tokens)))


def _samples(folder: str, output: Output, spec: JobSpec, align: Align) -> bytes:
    """What a job's policy wrote, one line for each sample, written anew."""
    rows, rewards = spec.rows["prompts"] * align.samples, told(spec)
    return _anew(folder, output, rows, lambda line: line_of_sampled(sampled_of(line, align.length, rewards)))


def curve(progress: Sequence[dict[str, Any]], seed: int) -> list[dict[str, float]]:
    """At most CURVE_POINTS of a seed's progress: step, loss, examples_s. What is not a finite number is left out."""
    points = []
    for line in progress:
        if line.get("seed") == seed and all(_number(line.get(k)) for k in ("step", "loss", "examples_s")):
            points.append({k: float(line[k]) for k in ("step", "loss", "examples_s")})
    every = max(1, -(-len(points) // CURVE_POINTS))
    return points[::-1][::every][::-1]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30


def _cost(spec: JobSpec, launch: Launch, result: Exit, trial: int | None) -> dict[str, Any]:
    seconds = result.seconds
    return {"trial": trial, "kind": spec.kind, "seconds": seconds, "gpu_seconds": seconds * launch.gpus}


def orphans(at: Launcher) -> list[str]:
    """Job folders of this search that a crash left behind and nothing will collect: removed; their names."""
    live = {a["id"] for a in at.ledger.attempts(at.search, "running")}
    known = {a["id"] for a in at.ledger.attempts(at.search)}
    removed = []
    for folder in sorted(Path(at.settings.folder("jobs")).iterdir()):
        if folder.name in known - live and not at.sandbox.alive(folder.name, str(folder)):
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder.name)
    return removed
