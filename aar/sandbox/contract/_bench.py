"""Running small snippets as jobs, and losing the host that started them."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aar.sandbox.outputs import read_jsonl
from aar.sandbox.protocol import Sandbox
from aar.types import Exit, JobStatus, Launch, Output

SNIPPET = ("-c", "import runpy, sys; runpy.run_path(sys.argv[1] + '/in/job.py', run_name='__main__')")
PRELUDE = """
import json, os, socket, sys, time
JOB = sys.argv[1]
def put(name, data):
    with open(f"{JOB}/out/{name}", "wb") as file:
        file.write(data)
def tell(**facts):
    put("facts", json.dumps(facts).encode() + b"\\n")
def gate():
    while not os.path.exists(f"{JOB}/in/gate/open"):
        time.sleep(0.01)
"""
HANG = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(60)\n"
FACTS = Output(name="facts", kind="jsonl", max_bytes=1 << 20)
ARRAY = Output(name="numbers", kind="array", shape=(2, 3))


def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait for a condition; fail when it does not come."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "the awaited condition did not come"
        time.sleep(0.02)


class Bench:
    """Fixtures and steps that the tests of the contract share."""

    def make(self) -> Sandbox:
        """A fresh sandbox object whose command ends in `SNIPPET`, as another process would make it."""
        raise NotImplementedError

    @pytest.fixture
    def sandbox(self) -> Sandbox:
        """The sandbox under test."""
        return self.make()

    @pytest.fixture
    def launch(self, tmp_path: Path) -> Callable[..., Launch]:
        """Makes a launch of a snippet; keyword arguments go to `Launch`. The gate starts closed."""

        def prepare(code: str, **fields: Any) -> Launch:
            attempt = f"contract-{uuid.uuid4().hex[:12]}"
            folder, source, gate = (tmp_path / attempt / name for name in ("job", "job.py", "gate"))
            folder.mkdir(parents=True)
            gate.mkdir()
            source.write_text(PRELUDE + code)
            (folder / "job.json").write_text("{}")
            mounts = {"job.py": str(source), "gate": str(gate), **fields.pop("mounts", {})}
            fields = {"outputs": (FACTS,), "seconds": 120.0, "memory_bytes": 256 << 20, "search": attempt, **fields}
            return Launch(attempt=attempt, folder=str(folder), mounts=mounts, **fields)

        return prepare

    def run(self, sandbox: Sandbox, launch: Launch) -> Exit:
        """Run to the end; nothing may be left alive."""
        end = sandbox.run(launch, threading.Event())
        assert not sandbox.alive(launch.attempt, launch.folder)
        return end

    def facts(self, sandbox: Sandbox, launch: Launch) -> dict[str, Any]:
        """Run a job that must succeed, and what it told."""
        end = self.run(sandbox, launch)
        assert end.status is JobStatus.OK, end
        return read_jsonl(launch.folder, "facts", 1 << 20)[0]

    def host_dies(self, launch: Launch) -> str:
        """Another host process starts the job and is killed with SIGKILL once the job told something; what it told."""
        facts = Path(launch.folder) / "out" / "facts"
        host = os.fork()
        if host == 0:
            try:
                self.make().run(launch, threading.Event())
            finally:
                os._exit(0)
        try:
            until(lambda: facts.exists() and facts.read_text().endswith("\n"))
        finally:
            os.kill(host, signal.SIGKILL)
            os.waitpid(host, 0)
        return facts.read_text()

    def open_gate(self, launch: Launch) -> None:
        """Let a job go on that waits in `gate()`."""
        (Path(launch.mounts["gate"]) / "open").touch()
