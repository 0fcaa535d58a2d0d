"""Labels, outside every mount. Jobs get what their kind may learn from; the rest is for scoring.

The files are mode 0600 in a 0700 folder: that keeps other users out, not this one. What keeps jobs out is that
no part of the vault is ever mounted; a process sandbox, which claims no isolation, does not change that.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from aar.types import AarError, JobKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SEALED = ("weak_pool", "transfer", "dev", "test")
RELEASED = {JobKind.WEAK: "weak_pool", JobKind.CEILING: "transfer", JobKind.CONTROL: "transfer"}


class VaultError(AarError, PermissionError):
    """Labels were asked for that this caller may not have, or that the vault does not hold."""


class Vault:
    """Labels by (data digest, split), each a raw little-endian int32 file."""

    def __init__(self, root: Path) -> None:
        """Open the vault at `root`, made (0700) where absent."""
        self.root = root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)

    def seal(self, digest: str, split: str, labels: NDArray[np.int32]) -> None:
        """Store the labels (n,) of a split. Sealing the same again is nothing.

        Raises:
            VaultError: other labels are sealed under this digest and split.
        """
        path = self._path(digest, split)
        content = labels.astype("<i4").tobytes()
        if path.exists():
            if path.read_bytes() != content:
                raise VaultError(
                    f"{path}: holds other labels under the same digest; remove that folder and prepare again"
                )
            return
        path.parent.mkdir(mode=0o700, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")  # mode 0600
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)

    def has(self, digest: str, split: str) -> bool:
        """Whether this split's labels are sealed."""
        return self._path(digest, split).is_file()

    def release(self, digest: str, kind: JobKind, split: str) -> NDArray[np.int32]:
        """Labels (n,) int32 that a job of this kind may learn from: weak `weak_pool`; ceiling, control `transfer`.

        Raises:
            VaultError: any other kind or split.
        """
        if RELEASED.get(kind) != split:
            may = f"may have {RELEASED[kind]} only" if kind in RELEASED else "may have none"
            raise VaultError(f"a {kind} job asked for the labels of {split}; it {may}")
        return self._read(digest, split)

    def truth(self, digest: str, split: str) -> NDArray[np.int32]:
        """Labels (n,) int32 of any split. For scoring, and for showing a task to its owner; never for a job."""
        return self._read(digest, split)

    def _read(self, digest: str, split: str) -> NDArray[np.int32]:
        import numpy as np

        path = self._path(digest, split)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise VaultError(f"{path}: no such labels; prepare the task's data again") from None
        if not content or len(content) % 4:
            raise VaultError(f"{path}: {len(content)} bytes are no int32 labels; remove it and prepare again")
        return np.frombuffer(content, dtype="<i4").astype(np.int32)

    def _path(self, digest: str, split: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{64}", digest) or split not in SEALED:
            raise VaultError(f"no labels are kept under {digest!r}, {split!r}; splits: {', '.join(SEALED)}")
        return self.root / digest / f"{split}.i32"
