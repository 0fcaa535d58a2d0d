"""Jobs as subprocesses: limits, a deadline and a clean environment, but no isolation.

A job runs with this user's rights and can read, write and connect to whatever the user can. So only code that came
with this package runs here; hypothesis-supplied code is refused. A small supervisor (`_child.py`) stands between host
and job: it holds the lock on the job folder, ends the job at its deadline or memory limit, and stores the verdict,
with or without a living host.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aar.sandbox.folder import first_start, mounts, read_exit, started, threads, write_exit
from aar.sandbox.outputs import create_outputs, file_limit
from aar.sandbox.protocol import FAILURES, LOG_BYTES, SandboxError
from aar.types import AarError, Exit, JobStatus, Launch

SUPERVISOR = Path(__file__).with_name("_child.py")
OPEN_FILES = 4096
GRACE = 5.0
_POLL = 0.05


class ProcessSandbox:
    """Runs `command JOB_DIR` in a session of its own. `isolates` is False, and that is meant literally."""

    name = "process"
    isolates = False

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self.command = tuple(command or (sys.executable, "-m", "aar.train"))

    def run(self, launch: Launch, cancel: threading.Event) -> Exit:
        """See `aar.sandbox.protocol.Sandbox.run`."""
        if launch.untrusted:
            raise AarError(
                f"{launch.attempt}: code written by a hypothesis needs the Docker sandbox: run `aar sandbox build`"
            )
        folder = Path(launch.folder)
        try:
            lock = _lock(folder)
            stop: Exit | None = None
            if lock is None:
                lock, stop = _wait_for_other(launch, folder, cancel)
            try:
                return self._finish(launch, folder, cancel, lock, stop)
            finally:
                os.close(lock)
                shutil.rmtree(folder / "tmp", ignore_errors=True)
        except OSError as err:
            raise SandboxError(f"{launch.attempt}: {err}") from err

    def alive(self, attempt: str, folder: str) -> bool:
        """True while some supervisor holds the lock on the job folder."""
        try:
            fd = os.open(Path(folder) / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def reap(self, search: str) -> int:
        """Kill supervisors of this search that outlived their own deadline: they end jobs themselves, so rarely any."""
        late = []
        for pid, env in _jobs():
            if env.get("AAR_JOB_SEARCH") == search and time.time() > float(env["AAR_JOB_DEADLINE"]) + GRACE:
                late.append(pid)
        for pid in late:
            _signal(pid, signal.SIGKILL)
        return len(late)

    def _finish(self, launch: Launch, folder: Path, cancel: threading.Event, lock: int, stop: Exit | None) -> Exit:
        """With the lock in hand: the stored verdict, or a start and its verdict."""
        done = read_exit(folder)
        if done is not None:
            return done
        if stop is not None:
            return write_exit(folder, stop)
        _kill_jobs(launch.attempt)
        if cancel.is_set():
            return Exit(status=JobStatus.KILLED, reason="cancelled before it started")
        restart = started(folder) is not None
        deadline = first_start(folder) + launch.seconds
        if restart and time.time() >= deadline:
            reason = "vanished without a verdict (machine restarted?) and its deadline has passed"
            return write_exit(folder, Exit(status=JobStatus.INFRA, reason=reason))
        stop = self._supervise(launch, folder, deadline, cancel, lock)
        done = read_exit(folder)
        if done is None:
            _kill_jobs(launch.attempt)
        return done or write_exit(folder, stop)

    def _supervise(self, launch: Launch, folder: Path, deadline: float, cancel: threading.Event, lock: int) -> Exit:
        """Start the supervisor and wait for it; what to say if it dies without a verdict."""
        job = folder.absolute()
        create_outputs(launch)
        _link_inputs(launch, job)
        (job / "tmp").mkdir(exist_ok=True)
        spec = {
            "folder": str(job),
            "cwd": str(job / "tmp"),
            "command": [*self.command, str(job)],
            "deadline": deadline,
            "seconds": launch.seconds,
            "memory_bytes": launch.memory_bytes,
            "file_bytes": file_limit(launch),
            "open_files": OPEN_FILES,
            "log_bytes": LOG_BYTES,
            "lock_fd": lock,
            "failures": {str(code): status.value for code, status in FAILURES.items()},
        }
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SUPERVISOR), json.dumps(spec)],
            env=_environment(launch, job, deadline),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            pass_fds=(lock,),
        )
        stop = Exit(status=JobStatus.INFRA, reason="its supervisor ended without a verdict (killed, or a full disk)")
        told = 0.0
        while True:
            try:
                process.wait(timeout=0.1)
                return stop
            except subprocess.TimeoutExpired:
                asked = _asked_to_stop(launch, deadline, cancel)
            if asked is not None and not told:
                stop, told = asked, time.monotonic()
                process.send_signal(signal.SIGTERM)
            elif told and time.monotonic() > told + GRACE:
                process.kill()


def _wait_for_other(launch: Launch, folder: Path, cancel: threading.Event) -> tuple[int, Exit | None]:
    """Another start of this attempt is alive: wait for its lock under the same deadline; (lock, why it was stopped)."""
    stop: Exit | None = None
    told = 0.0
    while (lock := _lock(folder)) is None:
        asked = _asked_to_stop(launch, (started(folder) or time.time()) + launch.seconds, cancel)
        if asked is not None and not told:
            stop, told = asked, time.monotonic()
            for pid, _ in _jobs(launch.attempt, supervisors=True):
                _signal(pid, signal.SIGTERM)
        elif told and time.monotonic() > told + GRACE:
            _kill_jobs(launch.attempt)
        if told and time.monotonic() > told + 4 * GRACE:
            raise SandboxError(f"{launch.attempt}: {folder / 'lock'} is held, but by none of its processes")
        time.sleep(_POLL)
    return lock, stop


def _asked_to_stop(launch: Launch, deadline: float, cancel: threading.Event) -> Exit | None:
    """Why the host must end the job. The supervisor keeps the deadline itself: the host's is the second line."""
    if cancel.is_set():
        return Exit(status=JobStatus.KILLED, reason="cancelled")
    if time.time() > deadline + GRACE:
        return Exit(status=JobStatus.TIMEOUT, reason=f"over its deadline of {launch.seconds:g} s")
    return None


def _lock(folder: Path) -> int | None:
    """A descriptor that holds the job folder's lock, None while another process does."""
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def _link_inputs(launch: Launch, job: Path) -> None:
    """`in/` as links to the mounts: nothing here stops a job from writing through them."""
    checked = mounts(launch)
    shutil.rmtree(job / "in", ignore_errors=True)
    (job / "in").mkdir()
    for name, source in checked.items():
        (job / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (job / "in" / name).symlink_to(source)


def _environment(launch: Launch, job: Path, deadline: float) -> dict[str, str]:
    """The whole environment of a job. Only PATH and what finds GPU libraries come from the parent's."""
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(job / "tmp"),
        "TMPDIR": str(job / "tmp"),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": threads(launch),
        "MKL_NUM_THREADS": threads(launch),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONHASHSEED": "0",
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "AAR_JOB_ATTEMPT": launch.attempt,
        "AAR_JOB_SEARCH": launch.search,
        "AAR_JOB_DEADLINE": repr(deadline),
        "CUDA_VISIBLE_DEVICES": "",
    }
    home = Path(__file__).parents[2]
    if home.name not in ("site-packages", "dist-packages"):
        env["PYTHONPATH"] = str(home)
    if launch.gpus:
        del env["CUDA_VISIBLE_DEVICES"]
        kept = ("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "CUDA_HOME")
        env.update({name: os.environ[name] for name in kept if name in os.environ})
        if launch.cards:
            env["CUDA_VISIBLE_DEVICES"] = ",".join(launch.cards)
    return env


def _jobs(attempt: str | None = None, supervisors: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Living processes started by a process sandbox, by the marks in their environment: (pid, environment).

    Marks and not process ids from a file, because an id may have been given to somebody else meanwhile.
    """
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            pairs = Path("/proc", entry, "environ").read_bytes().split(b"\0")
            env = dict(pair.decode(errors="replace").partition("=")[::2] for pair in pairs if pair)
            if "AAR_JOB_DEADLINE" not in env or attempt not in (None, env.get("AAR_JOB_ATTEMPT")):
                continue
            if supervisors and str(SUPERVISOR).encode() not in Path("/proc", entry, "cmdline").read_bytes():
                continue
        except OSError:
            continue
        yield int(entry), env


def _kill_jobs(attempt: str) -> None:
    for pid, _ in _jobs(attempt):
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass
