from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest import FixtureRequest as Request

from aar.sandbox import process
from aar.sandbox.contract import HANG, SNIPPET, SandboxContract, until
from aar.sandbox.folder import locked, read_exit, started
from aar.sandbox.process import ProcessSandbox
from aar.sandbox.protocol import PROGRESS_BYTES, Sandbox, SandboxError
from aar.types import JobStatus, Launch


class TestProcess(SandboxContract):
    def make(self) -> Sandbox:
        return ProcessSandbox(command=(sys.executable, *SNIPPET))

    def supervisor(self, launch: Launch) -> int:
        """The process id of the attempt's supervisor."""
        ((pid, _),) = process._jobs(launch.attempt, supervisors=True)
        return pid

    def test_limits_and_session(self, sandbox: Sandbox, launch: Callable[..., Launch], request: Request) -> None:
        before = resource.getrlimit(resource.RLIMIT_CORE)
        request.addfinalizer(lambda: resource.setrlimit(resource.RLIMIT_CORE, before))
        resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
        code = (
            "import resource as r\n"
            "tell(file=r.getrlimit(r.RLIMIT_FSIZE), core=r.getrlimit(r.RLIMIT_CORE)[0], sid=os.getsid(0),\n"
            "    open=r.getrlimit(r.RLIMIT_NOFILE)[1], stdin=os.readlink('/proc/self/fd/0'), cwd=os.getcwd())"
        )
        job = launch(code)
        seen = self.facts(sandbox, job)
        assert seen["file"] == [PROGRESS_BYTES] * 2
        assert (seen["core"], seen["stdin"]) == (0, "/dev/null")
        assert seen["open"] <= 4096
        assert seen["sid"] != os.getsid(0)
        assert seen["cwd"] == f"{job.folder}/tmp"
        assert not Path(seen["cwd"]).exists(), "scratch is left behind"

    def test_the_environment_is_these_names_and_no_more(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        known = (
            "PATH HOME TMPDIR LANG LC_CTYPE OMP_NUM_THREADS MKL_NUM_THREADS HF_HUB_OFFLINE TOKENIZERS_PARALLELISM "
            "PYTHONHASHSEED PYTHONSAFEPATH PYTHONUNBUFFERED PYTHONPATH CUDA_VISIBLE_DEVICES AAR_JOB_ATTEMPT "
            "AAR_JOB_SEARCH AAR_JOB_DEADLINE"
        )
        seen = self.facts(sandbox, launch("tell(names=list(os.environ), gpus=os.environ['CUDA_VISIBLE_DEVICES'])"))
        assert set(seen["names"]) <= set(known.split())
        assert seen["gpus"] == ""
        asked = launch("tell(gpus=os.environ['CUDA_VISIBLE_DEVICES'])")
        given = self.facts(sandbox, asked.model_copy(update={"gpus": 2, "cards": ("3", "1")}))
        assert given["gpus"] == "3,1"

    def test_a_program_that_is_not_there(self, launch: Callable[..., Launch]) -> None:
        end = self.run(ProcessSandbox(command=("/nowhere/python",)), launch(""))
        assert (end.status, end.code) == (JobStatus.FAILED, 127)
        assert "could not start '/nowhere/python'" in end.log_tail

    def test_an_orphan_ends_at_its_deadline_with_nobody_watching(self, launch: Callable[..., Launch]) -> None:
        job = launch("tell()\n" + HANG, seconds=1.5)
        self.host_dies(job)
        until(lambda: (Path(job.folder) / "exit").exists())
        end = read_exit(Path(job.folder))
        assert end is not None
        assert end.status is JobStatus.TIMEOUT

    def test_a_killed_supervisor_is_nobodys_result_and_takes_the_job_along(
        self, sandbox: Sandbox, launch: Callable[..., Launch]
    ) -> None:
        job = launch("if os.fork() == 0:\n    tell()\n    os.setsid()\n" + HANG)

        def kill() -> None:
            until((Path(job.folder) / "out" / "facts").exists)
            until((Path(job.folder) / "out" / "facts").read_text)
            os.kill(self.supervisor(job), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        end = self.run(sandbox, job)
        killer.join()
        assert end.status is JobStatus.INFRA
        assert "supervisor" in end.reason
        until(lambda: not list(process._jobs(job.attempt)))
        assert self.run(sandbox, job) == end

    def test_a_job_dies_with_its_supervisor_though_no_host_is_left(self, launch: Callable[..., Launch]) -> None:
        job = launch("tell()\n" + HANG)
        self.host_dies(job)
        os.kill(self.supervisor(job), signal.SIGKILL)
        until(lambda: not list(process._jobs(job.attempt)))

    def test_a_sigkill_of_unknown_origin_is_nobodys_result(
        self, sandbox: Sandbox, launch: Callable[..., Launch]
    ) -> None:
        end = self.run(sandbox, launch("os.kill(os.getpid(), 9)"))
        assert (end.status, end.code) == (JobStatus.INFRA, 137)

    def test_one_that_vanished_runs_again_in_what_is_left_of_its_time(
        self, sandbox: Sandbox, launch: Callable[..., Launch]
    ) -> None:
        job = launch(HANG, seconds=60.0)
        (Path(job.folder) / "started").write_text(repr(time.time() - 59))
        assert self.run(sandbox, job).status is JobStatus.TIMEOUT

    def test_one_that_vanished_and_is_late_is_nobodys_result(
        self, sandbox: Sandbox, launch: Callable[..., Launch]
    ) -> None:
        job = launch("tell()", seconds=60.0)
        (Path(job.folder) / "started").write_text(repr(time.time() - 61))
        end = self.run(sandbox, job)
        assert end.status is JobStatus.INFRA
        assert "vanished" in end.reason
        assert not (Path(job.folder) / "out").exists()

    def test_a_damaged_verdict_is_nobodys_result(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        job = launch("tell()")
        (Path(job.folder) / "exit").write_text('{"status": "splendid"}')
        end = self.run(sandbox, job)
        assert end.status is JobStatus.INFRA
        assert "splendid" in end.reason

    def test_a_lock_that_a_stranger_holds(
        self, sandbox: Sandbox, launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(process, "GRACE", 0.05)
        job = launch("tell()", seconds=0.1)
        with locked(Path(job.folder)):
            (Path(job.folder) / "started").write_text(repr(time.time()))
            with pytest.raises(SandboxError, match="lock is held, but by none of its processes"):
                sandbox.run(job, threading.Event())

    def test_reap_kills_a_supervisor_that_hangs(
        self, sandbox: Sandbox, launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(process, "GRACE", 0.0)
        job = launch("tell()\n" + HANG, seconds=2.0)
        self.host_dies(job)
        os.kill(self.supervisor(job), signal.SIGSTOP)
        assert sandbox.reap(job.search) == 0
        until(lambda: time.time() > (started(Path(job.folder)) or 0) + 2)
        assert sandbox.reap(job.search) >= 1
        until(lambda: not sandbox.alive(job.attempt, job.folder))
        until(lambda: not list(process._jobs(job.attempt)))

    def test_a_folder_that_cannot_be_prepared_is_nobodys_result(
        self, sandbox: Sandbox, launch: Callable[..., Launch]
    ) -> None:
        job = launch("tell()")
        (Path(job.folder) / "out").write_text("a file where the folder should be")
        with pytest.raises(SandboxError, match=job.attempt):
            sandbox.run(job, threading.Event())
