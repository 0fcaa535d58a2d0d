"""Content addresses on disk: cached file hashes, and folders that appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from aar.settings import Settings


def file_digest(path: Path, settings: Settings) -> str:
    """sha256 of a file's content, remembered by (path, size, mtime) so that a big model is read once."""
    real = path.resolve()
    stat = real.stat()
    memo = settings.folder("cache") / "digests" / f"{hashlib.sha256(str(real).encode()).hexdigest()}.json"
    key = [stat.st_size, stat.st_mtime_ns]
    try:
        known = json.loads(memo.read_bytes())
        if known["key"] == key:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    with real.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    memo.parent.mkdir(exist_ok=True)
    write_whole(memo, json.dumps({"key": key, "sha256": digest}).encode())
    return digest


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a restart, sees all of it or nothing."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
    os.close(handle)
    write_synced(Path(temporary), content)
    os.replace(temporary, path)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file of mode 0644 through to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o644)


def folder_whole(target: Path, fill: Callable[[Path], None], replace: bool = False) -> None:
    """Fill a new folder and rename it to `target`. Who loses a race to the same content keeps the winner's.

    With `replace` a folder already at `target`, which the caller has found damaged, is moved away first.
    """
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".tmp-"))
    try:
        fill(temporary)
        temporary.chmod(0o755)
        if replace and target.exists():
            old = Path(tempfile.mkdtemp(dir=target.parent, prefix=".tmp-"))
            os.rename(target, old)
            shutil.rmtree(old, ignore_errors=True)
        try:
            os.rename(temporary, target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
