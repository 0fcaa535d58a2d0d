"""What a sandbox keeps in a job folder so that any later process can go on: first start, verdict, mounts.

    FOLDER/started   unix seconds of the attempt's first start: the deadline counts from here, over any resume
    FOLDER/exit      the verdict, as JSON of `aar.types.Exit` without the log; once there, the attempt never runs again

Neither is ever visible inside a container. The process sandbox's job could write them: it claims no isolation.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from aar.sandbox.outputs import tail
from aar.sandbox.protocol import SandboxError
from aar.types import Exit, JobStatus, Launch


def started(folder: Path) -> float | None:
    """Unix seconds of the first start, None before it."""
    try:
        return float((folder / "started").read_text())
    except (FileNotFoundError, ValueError):
        return None


def first_start(folder: Path) -> float:
    """Unix seconds of the first start; this one, when there was none before."""
    began = started(folder)
    if began is None:
        began = time.time()
        _replace(folder / "started", repr(began))
    return began


def write_exit(folder: Path, end: Exit) -> Exit:
    """Store the verdict for good; it comes back with the log's tail as `read_exit` would give it."""
    _replace(folder / "exit", end.model_copy(update={"log_tail": ""}).model_dump_json())
    return end.model_copy(update={"log_tail": tail(folder)})


def read_exit(folder: Path) -> Exit | None:
    """The stored verdict with the log's tail, None while there is none. A damaged one reads as `infra`."""
    try:
        text = (folder / "exit").read_text(errors="replace")
    except FileNotFoundError:
        return None
    try:
        end = Exit.model_validate_json(text)
    except ValidationError:
        end = Exit(status=JobStatus.INFRA, reason=f"{folder / 'exit'} is damaged: {text[:80]!r}")
    return end.model_copy(update={"log_tail": tail(folder)})


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the job folder's lock for a moment, waiting for whoever has it."""
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def mounts(launch: Launch) -> dict[str, Path]:
    """`launch.mounts`, checked: names relative and not inside one another, sources absolute and present.

    Raises:
        SandboxError: names the mount and what is wrong with it.
    """
    checked: dict[str, Path] = {}
    for name, source in sorted(launch.mounts.items()):
        path = PurePosixPath(name)
        if not name or path.is_absolute() or ".." in path.parts or str(path) != name:
            raise SandboxError(f"mount {name!r}: give a plain relative path under in/")
        inside = next((other for other in checked if PurePosixPath(other) in path.parents), None)
        if inside is not None:
            raise SandboxError(f"mount {name!r}: lies inside mount {inside!r}")
        if not os.path.isabs(source) or not os.path.exists(source):
            raise SandboxError(f"mount {name!r}: {source} does not exist or is no absolute path")
        checked[name] = Path(source)
    return checked


def threads(launch: Launch) -> str:
    """How many CPU threads the job's libraries may start."""
    return str(max(1, int(launch.cpus)))


def _replace(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old content or all of the new, even after a power cut."""
    part = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    with part.open("x") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
