from __future__ import annotations

import hashlib
import os
import socket
import stat
from pathlib import Path

import numpy as np
import pytest

from aar.sandbox.outputs import (
    BadOutput,
    copy_blob,
    create_outputs,
    file_limit,
    read_array,
    read_jsonl,
    tail,
    written,
)
from aar.types import Launch, Output

ARRAY = Output(name="array", kind="array", shape=(2, 2))
BLOB = Output(name="blob", kind="blob", max_bytes=100)
ROWS = Output(name="rows", kind="jsonl", max_bytes=1000)


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    return Launch(attempt="abcd", search="s", folder=str(tmp_path), outputs=(ARRAY, BLOB, ROWS))


@pytest.fixture
def out(launch: Launch) -> Path:
    return create_outputs(launch)


def test_the_host_makes_every_file_and_nobody_else_can(out: Path) -> None:
    assert sorted(path.name for path in out.iterdir()) == ["array", "blob", "log", "progress.jsonl", "rows"]
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    for path in out.iterdir():
        assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_size) == (0o666, 0)


def test_a_restart_begins_with_empty_files(launch: Launch, out: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    (out / "array").unlink()
    (out / "array").symlink_to(precious)
    (out / "extra").write_text("x")
    create_outputs(launch)
    assert sorted(path.name for path in out.iterdir()) == ["array", "blob", "log", "progress.jsonl", "rows"]
    assert not (out / "array").is_symlink()
    assert precious.read_text() == "keep me"


@pytest.mark.parametrize("names", [("log",), ("progress.jsonl",), ("..",), ("a", "a")])
def test_names_that_cannot_be(launch: Launch, names: tuple[str, ...]) -> None:
    outputs = tuple(Output(name=name, kind="blob", max_bytes=1) for name in names)
    with pytest.raises(ValueError, match="reserved or declared twice"):
        create_outputs(launch.model_copy(update={"outputs": outputs}))


def test_the_file_limit_is_the_largest_declared(launch: Launch) -> None:
    huge = Output(name="huge", kind="array", shape=(1 << 20, 25))
    assert file_limit(launch.model_copy(update={"outputs": (ARRAY, huge)})) == 100 << 20
    assert file_limit(launch) == 8 << 20


def test_an_array_comes_back_exactly(launch: Launch, out: Path) -> None:
    values = np.array([[1.5, np.nan], [-np.inf, 3e-40]], dtype="<f4")
    (out / "array").write_bytes(values.tobytes())
    array = read_array(launch.folder, ARRAY)
    assert (str(array.dtype), array.shape) == ("float32", (2, 2))
    np.testing.assert_array_equal(array, values)
    array[0, 0] = 2.0


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_an_array_has_exactly_its_bytes(launch: Launch, out: Path, size: int) -> None:
    (out / "array").write_bytes(bytes(size))
    with pytest.raises(BadOutput, match=rf"output array: {size} bytes; 16 declared \(float32 \[2, 2\]\)"):
        read_array(launch.folder, ARRAY)


def _link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def _hard_link(path: Path) -> None:
    os.link(path.with_name("rows"), path)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda path: None, "missing"),
        (_link, "symbolic link"),
        (_hard_link, "2 links"),
        (_pipe, "not a regular file"),
        (_socket, "socket"),
        (Path.mkdir, "not a regular file"),
    ],
)
def test_whatever_is_no_plain_file_is_refused(
    launch: Launch, out: Path, tmp_path: Path, make: object, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("array", "blob"):
        (out / name).unlink()
    assert callable(make)
    make(out / "array")
    with pytest.raises(BadOutput, match=f"output array.*{word}"):
        read_array(launch.folder, ARRAY)
    make(out / "blob")
    with pytest.raises(BadOutput, match=f"output blob.*({word}|3 links)"):
        copy_blob(launch.folder, BLOB, tmp_path / "copy")
    with pytest.raises(BadOutput, match=f"output array.*({word}|3 links)"):
        read_jsonl(launch.folder, "array", 100)


def test_a_folder_swapped_for_a_link_is_refused(launch: Launch, out: Path, tmp_path: Path) -> None:
    (out / "array").write_bytes(bytes(16))
    out.rename(tmp_path / "elsewhere")
    out.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadOutput):
        read_array(launch.folder, ARRAY)


def test_json_lines_skip_what_is_bad_and_stop_at_the_cap(launch: Launch, out: Path) -> None:
    good = b'{"step": 1, "loss": NaN}\n'
    bad = b"\xff\xfe\n[1]\n3\nnull\n{\n" + b"[" * 5000 + b"\n" + b'{"n": ' + b"9" * 5000 + b"}\n"
    last = b'{"step": 2}\n'
    (out / "rows").write_bytes(good + bad + last + b'{"torn": ')
    whole = len(good + bad + last)
    assert read_jsonl(launch.folder, "rows", 1 << 20) == [{"step": 1, "loss": None}, {"step": 2}]
    assert read_jsonl(launch.folder, "rows", whole - 3) == [{"step": 1, "loss": None}]


def test_a_blob_is_copied_under_its_digest(launch: Launch, out: Path, tmp_path: Path) -> None:
    (out / "blob").write_bytes(b"x" * 100)
    target = tmp_path / "store" / "blob"
    assert copy_blob(launch.folder, BLOB, target) == hashlib.sha256(b"x" * 100).hexdigest()
    assert target.read_bytes() == b"x" * 100


@pytest.mark.parametrize(("size", "word"), [(0, "empty"), (101, "over its limit of 100 bytes")])
def test_a_refused_blob_leaves_nothing(launch: Launch, out: Path, tmp_path: Path, size: int, word: str) -> None:
    (out / "blob").write_bytes(bytes(size))
    with pytest.raises(BadOutput, match=word):
        copy_blob(launch.folder, BLOB, tmp_path / "store" / "blob")
    assert list((tmp_path / "store").iterdir()) == []


def test_written_tells_an_optional_output_that_came(launch: Launch, out: Path) -> None:
    assert not written(launch.folder, BLOB)
    (out / "blob").write_bytes(b"x")
    assert written(launch.folder, BLOB)
    (out / "blob").unlink()
    assert not written(launch.folder, BLOB)
    (out / "blob").symlink_to("/dev/null")
    assert written(launch.folder, BLOB), "a link must reach the reader that refuses it"


def test_the_tail_is_the_end_without_control_characters(launch: Launch, out: Path) -> None:
    assert tail(launch.folder) == ""
    (out / "log").write_bytes(b"a" * 10_000 + "\x1b[2Jé\x07\tlast\r\n".encode())
    assert tail(launch.folder, 13) == "[2Jé\tlast\n"
    assert len(tail(launch.folder)) <= 8192
    (out / "log").unlink()
    (out / "log").symlink_to("/etc/hostname")
    assert tail(launch.folder) == ""
