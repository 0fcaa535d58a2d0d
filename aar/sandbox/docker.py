"""Jobs in hardened containers, through docker-py: what a job sees is its inputs, its outputs and nothing else.

A container has a name made from the attempt, so a second run of the attempt (after a timed-out `create`, or a killed
loop) finds it: a living one is watched on, a finished one collected. It is removed only after its verdict and log are
stored in the job folder.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aar.sandbox.container import container_name, container_options, memory_in_use, verdict
from aar.sandbox.engine import errors
from aar.sandbox.folder import first_start, locked, read_exit, write_exit
from aar.sandbox.outputs import create_outputs
from aar.sandbox.protocol import LOG_BYTES, SandboxError
from aar.types import Exit, JobStatus, Launch

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

COLLECT_WITHIN = 86_400.0
ENGINE_GONE = 30.0
CREATED_WITHIN = 10.0


class DockerSandbox:
    """Runs `command /job` in a container of `image`. Needs an engine on this machine, for it binds local files."""

    name = "docker"
    isolates = True

    def __init__(self, image: str, client: DockerClient | None = None, command: Sequence[str] | None = None) -> None:
        self.image = image
        self.command = list(command or ("python3", "-m", "aar.train"))
        self._client = client

    @property
    def client(self) -> DockerClient:
        """The engine's client, connected on first use."""
        if self._client is None:
            import docker

            with errors("connect"):
                self._client = docker.from_env(timeout=30)
        return self._client

    def run(self, launch: Launch, cancel: threading.Event) -> Exit:
        """See `aar.sandbox.protocol.Sandbox.run`."""
        folder = Path(launch.folder)
        try:
            return self._run(launch, folder, cancel)
        except OSError as err:
            raise SandboxError(f"{launch.attempt}: {err}") from err

    def alive(self, attempt: str, folder: str) -> bool:
        """True while the attempt's container runs."""
        container = self._find(attempt)
        return container is not None and container.attrs["State"]["Running"]

    def reap(self, search: str) -> int:
        """Kill this search's containers past their deadline; remove those nobody collected within a day after it.

        A killed one stays, so that whoever watches or resumes its attempt still reads its end.
        """
        count = 0
        with errors("list containers"):
            found = self.client.containers.list(
                all=True, filters={"label": f"aar.search={search}"}, ignore_removed=True
            )
        for container in found:
            late = time.time() - _deadline(container)
            if late > 0 and container.status in ("running", "paused"):
                self._kill(container)
                count += 1
            elif late > COLLECT_WITHIN:
                self._remove(container)
                count += 1
        return count

    def _run(self, launch: Launch, folder: Path, cancel: threading.Event) -> Exit:
        done = read_exit(folder)
        if done is not None:
            with suppress(SandboxError):
                self._remove(self._find(launch.attempt))
            return done
        with locked(folder):
            container = self._started(launch, folder, cancel)
        if isinstance(container, Exit):
            return container
        deadline = _deadline(container)
        state, stop, peak = self._watch(container, deadline, cancel)
        self._keep_log(container, folder)
        end = write_exit(folder, verdict(state, stop, launch, deadline, peak))
        self._remove(container)
        return end

    def _started(self, launch: Launch, folder: Path, cancel: threading.Event) -> Container | Exit:
        """The attempt's container, made and started if need be; or why there is none."""
        container = self._find(launch.attempt)
        if container is None or container.attrs["State"]["Status"] == "created":
            if cancel.is_set():
                return Exit(status=JobStatus.KILLED, reason="cancelled before it started")
            deadline = first_start(folder) + launch.seconds if container is None else _deadline(container)
            if time.time() >= deadline:
                self._remove(container)
                reason = "its container is gone or never started, and its deadline has passed"
                return write_exit(folder, Exit(status=JobStatus.INFRA, reason=reason))
            container = container or self._create(launch, folder, deadline)
        if container.labels.get("aar.folder") != str(folder.absolute()):
            raise SandboxError(
                f"container {container.name} belongs to {container.labels.get('aar.folder')}, not to {folder}; "
                f"remove it: docker rm -f {container.name}"
            )
        if container.attrs["State"]["Status"] == "created":
            with errors(f"start {container.name}"):
                container.start()
        return container

    def _find(self, attempt: str) -> Container | None:
        import docker.errors

        with errors(f"look for {container_name(attempt)}"):
            try:
                return self.client.containers.get(container_name(attempt))
            except docker.errors.NotFound:
                return None

    def _create(self, launch: Launch, folder: Path, deadline: float) -> Container:
        """A new container, or the one a former `create` made after its answer was given up."""
        import docker.errors
        import requests

        create_outputs(launch)
        options = container_options(launch, folder, deadline)
        with errors(f"create {container_name(launch.attempt)}"):
            try:
                return self.client.containers.create(self.image, entrypoint=self.command, **options)
            except docker.errors.APIError as err:
                if err.status_code != 409:
                    raise
                failure: Exception = err
            except requests.exceptions.RequestException as err:
                failure = err
            give_up = time.monotonic() + CREATED_WITHIN
            while (container := self._find(launch.attempt)) is None:
                if time.monotonic() > give_up:
                    raise failure
                time.sleep(0.2)
            return container

    def _watch(
        self, container: Container, deadline: float, cancel: threading.Event
    ) -> tuple[dict[str, Any], Exit | None, int | None]:
        """Wait for its end: (State as inspected, why we stopped it, peak memory)."""
        import docker.errors

        stop: Exit | None = None
        peak: int | None = None
        pause, answered = 0.01, time.monotonic()
        while True:
            try:
                with errors(f"inspect {container.name}"):
                    container.reload()
                answered = time.monotonic()
            except SandboxError as err:
                if isinstance(err.__cause__, docker.errors.NotFound) or time.monotonic() > answered + ENGINE_GONE:
                    raise
            state = container.attrs["State"]
            if state["Status"] in ("exited", "dead"):
                return state, stop, peak
            if stop is None and cancel.is_set():
                stop = Exit(status=JobStatus.KILLED, reason="cancelled")
                self._kill(container)
            elif stop is None and time.time() >= deadline:
                stop = Exit(status=JobStatus.TIMEOUT)
                self._kill(container)
            peak = max(peak or 0, memory_in_use(str(container.id), state["Pid"])) or None
            rest = min(pause, max(0.001, deadline - time.time())) if stop is None else 0.02
            if stop is None:
                cancel.wait(rest)
            else:
                time.sleep(rest)
            pause = min(0.25, pause * 1.2)

    def _keep_log(self, container: Container, folder: Path) -> None:
        with errors(f"read the log of {container.name}"):
            log = container.logs(stdout=True, stderr=True)
        fd = os.open(folder / "out" / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(fd, "wb") as file:
            file.write(log[-LOG_BYTES:])

    def _kill(self, container: Container) -> None:
        import docker.errors

        with errors(f"kill {container.name}"):
            try:
                container.kill()
            except docker.errors.APIError as err:
                if err.status_code not in (404, 409):
                    raise

    def _remove(self, container: Container | None) -> None:
        import docker.errors

        if container is None:
            return
        with errors(f"remove {container.name}"):
            try:
                container.remove(v=True, force=True)
            except docker.errors.APIError as err:
                if err.status_code not in (404, 409):
                    raise


def _deadline(container: Container) -> float:
    return float(container.labels.get("aar.deadline", "inf"))
