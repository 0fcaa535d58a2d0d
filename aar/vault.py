"""Labels and true answers, outside every mount. Jobs get what their kind may learn from; the rest is for scoring.

The files are mode 0600 in a 0700 folder: that keeps other users out, not this one. What keeps jobs out is that
no part of the vault is ever mounted; a process sandbox, which claims no isolation, does not change that.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from aar.types import AarError, JobKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

SEALED = ("weak_pool", "transfer", "dev", "test")
OOD_SPLIT = re.compile(r"ood-[a-z0-9_]{1,12}")
RELEASED = {JobKind.WEAK: "weak_pool", JobKind.CEILING: "transfer", JobKind.CONTROL: "transfer"}


class VaultError(AarError, PermissionError):
    """Labels were asked for that this caller may not have, or that the vault does not hold."""


class Vault:
    """Labels by (data digest, split), each a raw little-endian int32 file.

    Of a generation task they number the rows of `answers.json`, the different true answers of all its splits.
    """

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
        self._keep(self._path(digest, split), labels.astype("<i4").tobytes())

    def seal_answers(self, digest: str, answers: Sequence[str]) -> None:
        """Store the different true answers of a generation task, which its labels number.

        Raises:
            VaultError: other answers are sealed under this digest.
        """
        self._keep(self._answers(digest), json.dumps(list(answers)).encode())

    def release_answers(self, digest: str, kind: JobKind, split: str) -> list[str]:
        """The true answer of each row that a job of this kind may learn from; the same rule as `release`."""
        labels, answers = self.release(digest, kind, split), self.answers(digest)
        return [answers[i] for i in labels.tolist()]

    def answers(self, digest: str) -> list[str]:
        """The different true answers, by label. For scoring and for showing a task to its owner; never for a job."""
        path = self._answers(digest)
        try:
            return [str(answer) for answer in json.loads(path.read_bytes())]
        except FileNotFoundError:
            raise VaultError(f"{path}: no such answers; prepare the task's data again") from None

    def _keep(self, path: Path, content: bytes) -> None:
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

    def fingerprint(self, digest: str) -> str:
        """sha256 over everything sealed under this digest, to tell whether it changed; for no job."""
        found = hashlib.sha256()
        for path in sorted((self.root / digest).iterdir()):
            found.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
        return found.hexdigest()

    def has(self, digest: str, split: str) -> bool:
        """Whether this split's labels are sealed."""
        return self._path(digest, split).is_file()

    def has_answers(self, digest: str) -> bool:
        """Whether a generation task's true answers are sealed."""
        return self._answers(digest).is_file()

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

    def _answers(self, digest: str) -> Path:
        return self._path(digest, SEALED[0]).with_name("answers.json")

    def _path(self, digest: str, split: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{64}", digest) or not (split in SEALED or OOD_SPLIT.fullmatch(split)):
            known = ", ".join([*SEALED, "ood-NAME"])
            raise VaultError(f"no labels are kept under {digest!r}, {split!r}; splits: {known}")
        return self.root / digest / f"{split}.i32"
