"""The process sandbox's supervisor: starts one job, watches it, writes its verdict. Run as a script, never imported.

It is a process of its own so that a job outlives the host that started it (`kill -9` of the loop) and still ends at
its deadline with a durable verdict. It imports nothing but the standard library and runs under `python -I -S`, which
keeps its start at about 20 ms. Its one argument is a JSON object, see `aar.sandbox.process.ProcessSandbox`.

Memory is limited by looking, not by rlimits: RLIMIT_AS counts address space, of which torch and CUDA reserve many
times what they use, RLIMIT_DATA counts the same reservations once they are writable, and RLIMIT_RSS does nothing on
Linux. So the anonymous and shared memory of all descendants is summed 20 times a second, about 0.1 ms each. A job can
overshoot for one such interval; the kernel's own OOM killer is told to prefer the job over the host.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from typing import Any

INTERVAL = 0.05
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def main() -> None:
    """Run the job to its end; returns when the verdict is stored and no descendant is left."""
    spec: dict[str, Any] = json.loads(sys.argv[1])
    os.set_inheritable(spec["lock_fd"], False)
    wake = _wakeups()
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    log = Log(os.path.join(spec["folder"], "out", "log"), spec["log_bytes"])
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(read_end, False)
    kills, begun = _kernel_kills(), time.monotonic()
    pid = os.fork()
    if pid == 0:
        _become_job(spec, write_end, libc)
    os.close(write_end)
    end = _watch(pid, spec, log, read_end, wake)
    _kill_descendants()
    log.drain(read_end)
    if end["code"] == 128 + signal.SIGKILL and end["status"] == "infra" and _kernel_kills() > kills:
        end.update(status="oom", reason="killed by the kernel: the machine ran out of memory")
    end["seconds"] = round(time.monotonic() - begun, 3)
    if not end["peak_memory"]:
        end["peak_memory"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    _write(os.path.join(spec["folder"], "exit"), json.dumps(end))


class Log:
    """The job's stdout and stderr, capped: when the file is full its older half goes."""

    def __init__(self, path: str, limit: int) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        self.limit, self.size = limit, 0

    def drain(self, pipe: int) -> bool:
        """Copy what the pipe holds; False once its other end is closed."""
        while True:
            try:
                data = os.read(pipe, 1 << 16)
            except BlockingIOError:
                return True
            if not data:
                return False
            if self.size + len(data) > self.limit:
                kept = os.pread(self.fd, self.limit // 2, max(0, self.size - self.limit // 2))
                os.ftruncate(self.fd, 0)
                self.size = 0
                self._append(kept)
            self._append(data)
            if len(data) < 1 << 16:
                return True

    def _append(self, data: bytes) -> None:
        try:
            self.size += os.pwrite(self.fd, data, self.size)
        except OSError:
            pass  # a full disk costs the log, not the verdict


def _watch(pid: int, spec: dict[str, Any], log: Log, pipe: int, wake: int) -> dict[str, Any]:
    end: dict[str, Any] = {"status": "infra", "code": None, "reason": "", "peak_memory": 0}
    deadline = time.monotonic() + spec["deadline"] - time.time()
    sources, sample_at = [pipe, wake], time.monotonic() + INTERVAL
    while True:
        now = time.monotonic()
        ready, _, _ = select.select(sources, [], [], max(0.0, min(sample_at, deadline) - now))
        if pipe in ready and not log.drain(pipe):
            sources.remove(pipe)
        if wake in ready and signal.SIGTERM in os.read(wake, 4096):
            return {**end, "status": "killed", "reason": "cancelled"}
        code = _reap(pid)
        if code is not None:
            return {**end, **_verdict(code, spec["failures"])}
        now = time.monotonic()
        if now >= deadline:
            return {**end, "status": "timeout", "reason": f"over its deadline of {spec['seconds']:g} s"}
        if now >= sample_at:
            sample_at = now + INTERVAL
            used = sum(_memory(child) for child in _descendants())
            end["peak_memory"] = max(end["peak_memory"], used)
            if used > spec["memory_bytes"]:
                limit = spec["memory_bytes"] / 2**20
                reason = f"over its memory limit of {limit:.0f} MiB ({used / 2**20:.0f} MiB in use)"
                return {**end, "status": "oom", "reason": reason}


def _verdict(code: int, failures: dict[str, str]) -> dict[str, Any]:
    """Status and reason of an exit code as a shell gives it (128 + signal)."""
    if code == 0:
        return {"status": "ok", "code": 0}
    if str(code) in failures:
        return {"status": failures[str(code)], "code": code, "reason": f"the job reported it (exit code {code})"}
    if code == 128 + signal.SIGKILL:
        return {"status": "infra", "code": code, "reason": "killed by SIGKILL from outside the sandbox"}
    if code > 128:
        number = code - 128
        name = signal.Signals(number).name if number in set(signal.Signals) else "unknown"
        return {"status": "failed", "code": code, "reason": f"killed by signal {number} ({name})"}
    return {"status": "failed", "code": code, "reason": f"exit code {code}"}


def _become_job(spec: dict[str, Any], log: int, libc: Any) -> None:
    """In the forked child: limits, streams, then the job's own program. Never returns."""
    try:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        for limit, value in ((resource.RLIMIT_FSIZE, spec["file_bytes"]), (resource.RLIMIT_NOFILE, spec["open_files"])):
            hard = resource.getrlimit(limit)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(limit, (value, value))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
        os.chdir(spec["cwd"])
        os.execvpe(spec["command"][0], spec["command"], dict(os.environ))
    except BaseException as err:
        os.write(2, f"could not start {spec['command'][0]!r}: {err}\n".encode())
    finally:
        os._exit(127)


def _wakeups() -> int:
    """A descriptor that becomes readable, with the signal's number, on SIGTERM and SIGCHLD."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return read_end


def _reap(pid: int | None) -> int | None:
    """Collect every dead child (orphans come here too); the job's own exit code when it is among them."""
    code = None
    while True:
        try:
            dead, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if dead == 0:
            return code
        if dead == pid:
            code = os.waitstatus_to_exitcode(status)
            code = 128 - code if code < 0 else code


def _descendants() -> list[int]:
    """Every process below this one. As subreaper it also inherits those that broke away from their parents."""
    found, queue = [], [os.getpid()]
    while queue:
        parent = queue.pop()
        try:
            for thread in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{thread}/children", "rb") as file:
                    queue += (children := [int(pid) for pid in file.read().split()])
                    found += children
        except OSError:
            continue
    return found


def _memory(pid: int) -> int:
    """Bytes of anonymous and shared memory a process holds; mapped files are left out, they can be dropped."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = file.read().split(b"\n")
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith((b"RssAnon:", b"RssShmem:")))


def _kill_descendants() -> None:
    give_up = time.monotonic() + 10
    while (alive := _descendants()) and time.monotonic() < give_up:
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        _reap(None)
        time.sleep(0.002)


def _kernel_kills() -> int:
    """How often the kernel's OOM killer struck on this machine."""
    try:
        with open("/proc/vmstat", "rb") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(b"oom_kill "))
    except (OSError, StopIteration):
        return 0


def _write(path: str, text: str) -> None:
    part = f"{path}.{os.getpid()}"
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    os.write(fd, text.encode())
    os.fsync(fd)
    os.close(fd)
    os.rename(part, path)


if __name__ == "__main__":
    main()
