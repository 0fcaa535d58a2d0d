"""Real jobs without a fresh interpreter each: forked from a process that has imported torch, for figures only.

`python tests/warm.py SOCKET JOB_DIR` is the client that stands in for `python -m aar.train JOB_DIR`. What a job does is
the same; what it may use of memory is not bounded.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def client(path: str, folder: str) -> int:
    """Have a job run with this process's streams; its exit code."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        socket.send_fds(s, [folder.encode()], [1, 2])
        return int(s.recv(16) or b"1")


def serve(path: str, ready: int) -> None:
    """Fork a job for each client, until killed; says on a pipe when it begins."""
    from pathlib import Path

    import torch
    import transformers.models.gpt2.modeling_gpt2

    import aar.train.start
    from aar.train.__main__ import run

    assert torch and transformers and aar.train.start
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        s.listen()
        os.close(ready)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            asked, _ = s.accept()
            if os.fork():
                asked.close()
                continue
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            data, fds, _, _ = socket.recv_fds(asked, 4096, 2)
            job = os.fork()
            if job:
                for fd in fds:
                    os.close(fd)
                asked.sendall(str(os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])).encode())
                os._exit(0)
            os.dup2(fds[0], 1)
            os.dup2(fds[1], 2)
            code = 1
            try:
                code = run(Path(data.decode()))
            except BaseException:
                import traceback

                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


@contextmanager
def warm(path: str) -> Iterator[tuple[str, ...]]:
    """The command that a process sandbox is given, while the server lives."""
    waits, ready = os.pipe()
    server = os.fork()
    if not server:
        serve(path, ready)
    os.close(ready)
    os.read(waits, 1)
    os.close(waits)
    try:
        yield (sys.executable, "-I", "-S", os.path.abspath(__file__), path)
    finally:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)


if __name__ == "__main__":
    sys.exit(client(sys.argv[1], sys.argv[2]))
