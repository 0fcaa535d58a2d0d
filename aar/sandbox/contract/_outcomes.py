"""How a job can end, what it hands back, what it is given."""

# ruff: noqa: D102 - each test is named by the sentence it checks
from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aar.sandbox.contract._bench import ARRAY, FACTS, HANG, Bench
from aar.sandbox.outputs import BadOutput, copy_blob, read_array, read_jsonl
from aar.sandbox.protocol import LOG_BYTES, PROGRESS_BYTES, Sandbox, SandboxError
from aar.types import JobStatus, Launch, Output


class Outcomes(Bench):
    """Every way a job ends is told apart, with its reason; nothing it writes surprises the reader."""

    def test_typed_outputs_arrive(self, sandbox: Sandbox, launch: Callable[..., Launch], tmp_path: Path) -> None:
        blob = Output(name="weights", kind="blob", max_bytes=1 << 20)
        job = launch(
            "import array\n"
            "put('numbers', array.array('f', [1, 2, 3, 4, 5, 6.5]).tobytes())\n"
            "put('weights', b'abc' * 1000)\n"
            "put('progress.jsonl', b'{\"step\": 1}\\nnot json\\n{\"step\": 2}\\n')\n"
            "tell(argv=sys.argv[1:], job_json=open(f'{JOB}/job.json').read())\n"
            "print('done and', 'dusted')\n",
            outputs=(FACTS, ARRAY, blob),
        )
        end = self.run(sandbox, job)
        assert (end.status, end.code, end.reason) == (JobStatus.OK, 0, "")
        assert "done and dusted" in end.log_tail
        np.testing.assert_array_equal(read_array(job.folder, ARRAY), np.array([[1, 2, 3], [4, 5, 6.5]], np.float32))
        assert read_jsonl(job.folder, "progress.jsonl", PROGRESS_BYTES) == [{"step": 1}, {"step": 2}]
        assert read_jsonl(job.folder, "facts", 1000)[0]["job_json"] == "{}"
        copy_blob(job.folder, blob, tmp_path / "blob")
        assert (tmp_path / "blob").read_bytes() == b"abc" * 1000

    def test_inputs_are_where_the_protocol_says(
        self, sandbox: Sandbox, launch: Callable[..., Launch], tmp_path: Path
    ) -> None:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "config.json").write_text("tiny")
        (tmp_path / "rows").write_text("good film")
        code = "tell(model=open(f'{JOB}/in/model/config.json').read(), rows=open(f'{JOB}/in/seed/0/rows').read())"
        mounts = {"model": str(tmp_path / "model"), "seed/0/rows": str(tmp_path / "rows")}
        assert self.facts(sandbox, launch(code, mounts=mounts)) == {"model": "tiny", "rows": "good film"}

    def test_a_missing_mount_is_nobodys_result(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        job = launch("tell()", mounts={"model": "/nowhere/model"})
        with pytest.raises(SandboxError, match="mount 'model'.*/nowhere/model"):
            sandbox.run(job, threading.Event())

    def test_nonzero_exit_is_failed_with_reason_and_log(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        end = self.run(sandbox, launch("print('loss is nan', file=sys.stderr)\nsys.exit(7)"))
        assert (end.status, end.code, end.reason) == (JobStatus.FAILED, 7, "exit code 7")
        assert "loss is nan" in end.log_tail

    def test_a_traceback_is_in_the_log(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        end = self.run(sandbox, launch("raise RuntimeError('shapes (2, 3) and (4,)')"))
        assert end.status is JobStatus.FAILED
        assert "RuntimeError: shapes (2, 3) and (4,)" in end.log_tail

    def test_a_crash_is_failed_and_names_the_signal(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        end = self.run(sandbox, launch("os.abort()"))
        assert (end.status, end.code) == (JobStatus.FAILED, 128 + signal.SIGABRT)
        assert "signal 6" in end.reason

    def test_an_allocation_the_job_reports_is_oom(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        assert self.run(sandbox, launch("sys.exit(3)")).status is JobStatus.OOM

    def test_a_hang_ends_at_the_deadline(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        end = self.run(sandbox, launch("os.fork()\nprint('hanging')\n" + HANG, seconds=1.5))
        assert end.status is JobStatus.TIMEOUT
        assert "deadline of 1.5 s" in end.reason
        assert "hanging" in end.log_tail

    def test_a_memory_hog_is_oom(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        code = "held = []\nfor _ in range(500): held.append(bytearray(os.urandom(1) * (8 << 20)))\n"
        end = self.run(sandbox, launch(code, memory_bytes=128 << 20))
        assert end.status is JobStatus.OOM
        assert "128 MiB" in end.reason

    def test_memory_and_seconds_are_measured(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        end = self.run(sandbox, launch("held = os.urandom(1) * (64 << 20)\ntime.sleep(1)"))
        assert end.peak_memory is not None
        assert 64 << 20 <= end.peak_memory < 128 << 20
        assert 1.0 <= end.seconds < 60

    def test_a_disk_hog_meets_the_file_limit(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        code = "with open(f'{JOB}/out/facts', 'wb') as file:\n    for _ in range(64): file.write(bytes(1 << 20))\n"
        job = launch(code)
        end = self.run(sandbox, job)
        assert end.status is JobStatus.FAILED
        assert "File too large" in end.log_tail
        assert (Path(job.folder) / "out" / "facts").stat().st_size <= PROGRESS_BYTES

    @pytest.mark.parametrize(
        "code",
        [
            "pass",
            "put('numbers', bytes(23))",
            "put('numbers', bytes(25))",
            "os.remove(path)",
            "os.remove(path); os.symlink('/etc/hostname', path)",
            "os.remove(path); os.link(f'{JOB}/out/facts', path)",
            "os.remove(path); os.mkfifo(path)",
            "os.remove(path); os.mkdir(path)",
            "import shutil; shutil.rmtree(f'{JOB}/out'); os.symlink('/etc', f'{JOB}/out')",
        ],
    )
    def test_a_bad_output_is_refused(self, code: str, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        body = f"path = f'{{JOB}}/out/numbers'\ntry:\n    {code}\nexcept OSError as err:\n    print(err)\n"
        job = launch(body, outputs=(FACTS, ARRAY))
        assert self.run(sandbox, job).status is JobStatus.OK
        with pytest.raises(BadOutput, match="output numbers"):
            read_array(job.folder, ARRAY)

    def test_the_log_is_capped_and_keeps_its_end(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        job = launch("for _ in range(4000): print('x' * 1000)\nprint('the last word')")
        end = self.run(sandbox, job)
        assert end.status is JobStatus.OK
        assert (Path(job.folder) / "out" / "log").stat().st_size <= LOG_BYTES
        assert end.log_tail.rstrip().endswith("the last word")
        assert len(end.log_tail) <= 8192

    def test_nothing_of_the_hosts_environment_gets_in(
        self, sandbox: Sandbox, launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HF_TOKEN", "AAR_TRACKING_URI", "MY_KEY"):
            monkeypatch.setenv(name, "do-not-leak")
        seen = self.facts(sandbox, launch("tell(**os.environ)", cpus=1.0))
        assert "do-not-leak" not in json.dumps(seen)
        assert (seen["HF_HUB_OFFLINE"], seen["OMP_NUM_THREADS"], seen["PYTHONHASHSEED"]) == ("1", "1", "0")
        assert seen["HOME"] == seen["TMPDIR"] != os.environ.get("HOME")
