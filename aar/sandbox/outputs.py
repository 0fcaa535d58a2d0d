"""Files that a job wrote, read as if the job were hostile.

The host creates every output before the job starts and reads it after the job is gone. A name may have become a link,
a pipe or a device meanwhile, so each open refuses to follow links or to block, and demands a regular file with one
link and a size the declaration allows. Nothing here is unpickled, unpacked or executed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from aar.sandbox.protocol import LOG_TAIL_BYTES, PROGRESS_BYTES
from aar.types import Launch, Output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESERVED = ("progress.jsonl", "log")
_CHUNK = 1 << 20


class BadOutput(ValueError):
    """An output is missing, linked, not a file or of the wrong size: the job failed. The message says which and why."""


def create_outputs(launch: Launch) -> Path:
    """Make `FOLDER/out/` anew: one empty file per declared output, `progress.jsonl` and `log`.

    The files can be written by anyone who reaches them (the container's user has another uid), the folder only be
    entered by this user: a bind mount of a file reaches it, another user of the machine does not. Whatever a former
    start of the attempt left there is removed.

    Raises:
        ValueError: two outputs share a name, or one has a reserved name.
        OSError: the disk is full or the folder is not writable.
    """
    names = [output.name for output in launch.outputs]
    for name in names:
        if name in RESERVED or name in (".", "..") or names.count(name) > 1:
            raise ValueError(f"output {name!r}: reserved or declared twice; give another name")
    out = Path(launch.folder) / "out"
    if out.is_symlink():
        out.unlink()
    elif out.exists():
        shutil.rmtree(out)
    out.mkdir(mode=0o700, parents=True)
    for name in (*names, *RESERVED):
        fd = os.open(out / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.fchmod(fd, 0o666)
        os.close(fd)
    return out


def file_limit(launch: Launch) -> int:
    """Most bytes any one file of the job may hold: the RLIMIT_FSIZE of both sandboxes."""
    return max([PROGRESS_BYTES, *(output.byte_limit for output in launch.outputs)])


def written(folder: str | Path, output: Output) -> bool:
    """True when the job left anything under this name, good or bad. Ask it of outputs declared `optional`."""
    try:
        found = os.stat(Path(folder) / "out" / output.name, follow_symlinks=False)
    except OSError:
        return False
    return found.st_size > 0 or not stat.S_ISREG(found.st_mode)


def read_array(folder: str | Path, output: Output) -> NDArray[np.float32]:
    """A declared `array` output, float32 of `output.shape`. Values are not checked: NaN and inf pass.

    Raises:
        BadOutput: missing, linked, not a regular file, or not exactly `output.byte_limit` bytes.
    """
    import numpy as np

    with _opened(folder, output.name) as (file, size):
        if size != output.byte_limit:
            raise BadOutput(
                f"output {output.name}: {size} bytes; {output.byte_limit} declared (float32 {list(output.shape)})"
            )
        raw = file.read(size)
    if len(raw) != output.byte_limit:
        raise BadOutput(f"output {output.name}: shrank to {len(raw)} bytes while it was read")
    return np.frombuffer(bytearray(raw), dtype="<f4").astype(np.float32, copy=False).reshape(output.shape)


def read_jsonl(folder: str | Path, name: str, max_bytes: int) -> list[dict[str, Any]]:
    """The JSON objects in the first `max_bytes` of a file, one a line.

    Lines that are no JSON object are skipped (the last may be torn, or cut by the cap); NaN and infinities become None.

    Raises:
        BadOutput: missing, linked, or not a regular file.
    """
    with _opened(folder, name) as (file, _):
        raw = file.read(max_bytes)
    rows: list[dict[str, Any]] = []
    for line in raw.split(b"\n"):
        try:
            row = json.loads(line, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def copy_blob(folder: str | Path, output: Output, destination: str | Path) -> str:
    """Stream a declared `blob` into `destination` (replaced at once, parents made); its sha256 in hex.

    Raises:
        BadOutput: missing, empty, linked, not a regular file, or over `output.max_bytes`.
    """
    target = Path(destination)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part-{os.getpid()}-{os.urandom(4).hex()}")
    digest, count = hashlib.sha256(), 0
    try:
        with _opened(folder, output.name) as (file, _), part.open("xb") as copy:
            while chunk := file.read(_CHUNK):
                count += len(chunk)
                if count > output.max_bytes:
                    raise BadOutput(f"output {output.name}: over its limit of {output.max_bytes} bytes")
                digest.update(chunk)
                copy.write(chunk)
            copy.flush()
            os.fsync(copy.fileno())
        if count == 0:
            raise BadOutput(f"output {output.name}: empty; the job did not write it")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return digest.hexdigest()


def tail(folder: str | Path, n: int = LOG_TAIL_BYTES) -> str:
    """The last `n` bytes of the job's log as text, "" when there is none. Control characters are dropped."""
    try:
        with _opened(folder, "log") as (file, size):
            file.seek(max(0, size - n))
            text = file.read(n).decode("utf-8", errors="replace")
    except BadOutput:
        return ""
    return "".join(c for c in text if c in "\n\t" or c.isprintable())


@contextmanager
def _opened(folder: str | Path, name: str) -> Iterator[tuple[BinaryIO, int]]:
    """`out/NAME` open for reading, and its size."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        out = os.open(Path(folder) / "out", flags | os.O_DIRECTORY)
        try:
            fd = os.open(name, flags, dir_fd=out)
        finally:
            os.close(out)
    except OSError as err:
        what = {errno.ENOENT: "missing", errno.ELOOP: "a symbolic link", errno.ENXIO: "a socket"}
        raise BadOutput(f"output {name}: {what.get(err.errno or 0, err.strerror)}; a regular file is needed") from err
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise BadOutput(f"output {name}: not a regular file (mode {found.st_mode:o})")
        if found.st_nlink != 1:
            raise BadOutput(f"output {name}: has {found.st_nlink} links; 1 is needed")
        with open(fd, "rb", closefd=False) as file:
            yield file, found.st_size
    finally:
        os.close(fd)
