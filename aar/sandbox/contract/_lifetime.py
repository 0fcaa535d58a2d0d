"""Cancelling, deadlines, and a host that dies while its job runs."""

# ruff: noqa: D102 - each test is named by the sentence it checks
from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aar.sandbox.contract._bench import HANG, Bench, until
from aar.sandbox.folder import started
from aar.sandbox.outputs import read_jsonl
from aar.sandbox.protocol import Sandbox
from aar.types import AarError, Exit, JobStatus, Launch


class Lifetime(Bench):
    """One attempt runs once, ends in time and leaves nothing, whoever watches it."""

    def test_cancel_kills(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        job, cancel = launch("tell()\n" + HANG), threading.Event()
        facts = Path(job.folder) / "out" / "facts"

        def press() -> None:
            until(lambda: facts.exists() and facts.read_text())
            cancel.set()

        finger = threading.Thread(target=press)
        finger.start()
        end = sandbox.run(job, cancel)
        finger.join()
        assert (end.status, end.reason) == (JobStatus.KILLED, "cancelled")
        assert not sandbox.alive(job.attempt, job.folder)

    def test_cancelled_before_its_start_it_can_still_run(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        job, cancel = launch("tell(ran=True)"), threading.Event()
        cancel.set()
        assert sandbox.run(job, cancel).status is JobStatus.KILLED
        assert self.facts(sandbox, job) == {"ran": True}

    def test_a_living_orphan_is_adopted_not_doubled(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        job = launch("tell(start=os.urandom(8).hex())\ngate()")
        before = self.host_dies(job)
        assert sandbox.alive(job.attempt, job.folder)
        self.open_gate(job)
        end = self.run(sandbox, job)
        assert end.status is JobStatus.OK
        assert (Path(job.folder) / "out" / "facts").read_text() == before

    def test_an_orphan_can_be_cancelled(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        job, cancel = launch("tell()\n" + HANG), threading.Event()
        self.host_dies(job)
        finger = threading.Timer(0.2, cancel.set)
        finger.start()
        end = sandbox.run(job, cancel)
        assert end.status is JobStatus.KILLED
        assert end.seconds > 0, "what it cost is not known"
        assert not sandbox.alive(job.attempt, job.folder)

    def test_the_deadline_counts_from_the_first_start(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        job = launch("tell()\n" + HANG, seconds=4.0)
        self.host_dies(job)
        until(lambda: time.time() > (started(Path(job.folder)) or 0) + 3.5)
        end = self.run(sandbox, job)
        assert end.status is JobStatus.TIMEOUT
        assert 3 < end.seconds < 6.5, "adoption gave the job a new deadline"

    def test_one_that_ended_unwatched_is_collected_not_run_again(
        self, sandbox: Sandbox, launch: Callable[..., Launch]
    ) -> None:
        job = launch("tell(start=os.urandom(8).hex())\ngate()\nprint('the end')\nsys.exit(5)")
        before = self.host_dies(job)
        self.open_gate(job)
        until(lambda: not sandbox.alive(job.attempt, job.folder))
        end = self.run(sandbox, job)
        assert (end.status, end.code) == (JobStatus.FAILED, 5)
        assert "the end" in end.log_tail
        assert self.run(self.make(), job) == end
        assert (Path(job.folder) / "out" / "facts").read_text() == before

    def test_nothing_a_job_started_outlives_it(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        job = launch(
            "import fcntl\n"
            "file = open(f'{JOB}/out/facts', 'r+')\n"
            "if os.fork() == 0:\n"
            "    os.setsid()\n"
            "    if os.fork() == 0:\n"
            "        fcntl.flock(file, fcntl.LOCK_EX)\n"
            "        file.write('{}'); file.flush()\n"
            "        while True: time.sleep(60)\n"
            "    os._exit(0)\n"
            "while not os.path.getsize(f'{JOB}/out/facts'): time.sleep(0.01)\n"
        )
        assert self.run(sandbox, job).status is JobStatus.OK
        with (Path(job.folder) / "out" / "facts").open() as file:
            assert file.read() == "{}"
            until(lambda: _free(file.fileno()), seconds=5)

    def test_reap_ends_only_what_is_late(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        late, early = launch("tell()\n" + HANG, seconds=1.5), launch("tell()\n" + HANG)
        early = early.model_copy(update={"search": late.search})
        for job in (late, early):
            self.host_dies(job)
        assert sandbox.reap("another-search") == 0
        until(lambda: sandbox.reap(late.search) or not sandbox.alive(late.attempt, late.folder))
        until(lambda: not sandbox.alive(late.attempt, late.folder))
        assert sandbox.alive(early.attempt, early.folder)
        assert self.run(sandbox, late).status is JobStatus.TIMEOUT
        cancel = threading.Event()
        cancel.set()
        sandbox.run(early, cancel)
        assert not sandbox.alive(early.attempt, early.folder)

    def test_two_run_side_by_side(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        jobs = [launch(f"tell(number={n})") for n in range(2)]
        ends: list[Exit] = []
        threads = [threading.Thread(target=lambda job=job: ends.append(self.run(sandbox, job))) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [end.status for end in ends] == [JobStatus.OK, JobStatus.OK]
        assert [read_jsonl(job.folder, "facts", 100)[0]["number"] for job in jobs] == [0, 1]

    def test_only_isolation_takes_code_written_by_a_hypothesis(
        self, sandbox: Sandbox, launch: Callable[..., Launch]
    ) -> None:
        job = launch("tell(ran=True)", untrusted=True)
        if sandbox.isolates:
            assert self.facts(sandbox, job) == {"ran": True}
        else:
            with pytest.raises(AarError, match="needs the Docker sandbox: run `aar sandbox build`"):
                sandbox.run(job, threading.Event())
            assert not (Path(job.folder) / "out").exists()


def _free(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True
