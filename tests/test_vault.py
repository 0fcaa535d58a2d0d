from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest

from aar.types import TAINTED, AarError, JobKind
from aar.vault import Vault, VaultError

DIGEST = "ab" * 32
LABELS = np.array([0, 3, 1, 2], dtype=np.int32)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    vault = Vault(tmp_path / "vault")
    for split in ("weak_pool", "transfer", "dev", "test"):
        vault.seal(DIGEST, split, LABELS)
    return vault


def test_weak_and_ceiling_jobs_get_what_they_learn_from(vault: Vault) -> None:
    assert vault.release(DIGEST, JobKind.WEAK, "weak_pool").tolist() == LABELS.tolist()
    assert vault.release(DIGEST, JobKind.CEILING, "transfer").tolist() == LABELS.tolist()
    assert vault.release(DIGEST, JobKind.CONTROL, "transfer").tolist() == LABELS.tolist()
    assert vault.release(DIGEST, JobKind.CEILING, "transfer").dtype == np.int32


@pytest.mark.parametrize("kind", list(JobKind))
@pytest.mark.parametrize("split", ["weak_pool", "transfer", "dev", "test"])
def test_every_other_kind_and_split_is_refused(vault: Vault, kind: JobKind, split: str) -> None:
    if kind is JobKind.WEAK and split == "weak_pool" or kind in TAINTED and split == "transfer":
        return
    with pytest.raises(VaultError, match=f"a {kind} job asked for the labels of {split}"):
        vault.release(DIGEST, kind, split)


def test_the_error_is_a_permission_error_and_readable() -> None:
    assert issubclass(VaultError, PermissionError) and issubclass(VaultError, AarError)


def test_truth_reads_every_split(vault: Vault) -> None:
    for split in ("weak_pool", "transfer", "dev", "test"):
        assert vault.truth(DIGEST, split).tolist() == LABELS.tolist()


def test_other_users_are_kept_out_whatever_the_umask(tmp_path: Path) -> None:
    root = tmp_path / "vault"
    root.mkdir(mode=0o755)
    Vault(root).seal(DIGEST, "dev", LABELS)
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (root, root / DIGEST, root / DIGEST / "dev.i32")]
    assert modes == [0o700, 0o700, 0o600]


def test_sealing_again_is_nothing_and_other_labels_are_refused(vault: Vault) -> None:
    vault.seal(DIGEST, "dev", LABELS)
    with pytest.raises(VaultError, match="holds other labels"):
        vault.seal(DIGEST, "dev", LABELS[::-1])
    assert vault.truth(DIGEST, "dev").tolist() == LABELS.tolist()


@pytest.mark.parametrize(("digest", "split"), [("../" + DIGEST, "dev"), (DIGEST, "../dev"), (DIGEST, "weak_train")])
def test_names_cannot_leave_the_vault(vault: Vault, digest: str, split: str) -> None:
    with pytest.raises(VaultError, match="no labels are kept"):
        vault.truth(digest, split)


def test_absent_and_torn_labels_are_errors(vault: Vault) -> None:
    assert not vault.has("cd" * 32, "dev")
    with pytest.raises(VaultError, match="no such labels; prepare"):
        vault.truth("cd" * 32, "dev")
    (vault.root / DIGEST / "dev.i32").write_bytes(b"12345")
    with pytest.raises(VaultError, match="5 bytes are no int32 labels"):
        vault.truth(DIGEST, "dev")
