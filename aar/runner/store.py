"""Content-addressed files: what jobs read and what they left. A file's name is its sha256."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class Store:
    """Files under `root/ab/abcd...`, written once, synced before they get their name."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Where the file of this digest lies (whether or not it does)."""
        return self.root / digest[:2] / digest

    def has(self, digest: str) -> bool:
        """Is it there?"""
        return self.path(digest).is_file()

    def put(self, data: bytes) -> str:
        """Store bytes; their sha256."""
        digest = hashlib.sha256(data).hexdigest()
        if not self.has(digest):
            with self.incoming() as file:
                file.write_bytes(data)
                self.adopt(file, digest)
        return digest

    def drop(self, digest: str) -> None:
        """Forget bytes that nobody will ask for again; a unit that left them would be computed anew."""
        self.path(digest).unlink(missing_ok=True)

    def incoming(self) -> _Incoming:
        """A place on the same file system to write a file that `adopt` then names."""
        return _Incoming(self.root)

    def adopt(self, file: Path, digest: str) -> None:
        """Give a finished file its name."""
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
        file.chmod(0o644)  # a container's user has another uid
        target = self.path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)

    def array(self, digest: str, columns: int) -> NDArray[np.float32]:
        """A float32 array stored raw, as (n, columns).

        Raises:
            FileNotFoundError: the file is gone from the store.
        """
        return np.frombuffer(self.path(digest).read_bytes(), "<f4").reshape(-1, columns)


class _Incoming:
    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix="incoming-", dir=root)
        os.close(handle)
        self.path = Path(name)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)
