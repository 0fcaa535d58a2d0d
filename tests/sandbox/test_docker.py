from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aar.sandbox.contract import HANG, SNIPPET, IsolationContract, until
from aar.sandbox.docker import DockerSandbox
from aar.sandbox.protocol import SandboxError
from aar.types import JobStatus, Launch

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

pytestmark = pytest.mark.docker


class Forgetful(DockerSandbox):
    """Does not see an existing container at first: what a `create` that timed out leaves to the next run."""

    looked = False

    def _find(self, attempt: str) -> Container | None:
        if not self.looked:
            self.looked = True
            return None
        return super()._find(attempt)


class TestDocker(IsolationContract):
    @pytest.fixture(autouse=True)
    def _image(self, image: str, engine: DockerClient) -> Iterator[None]:
        self.image, self.engine = image, engine
        yield
        left = engine.containers.list(all=True, filters={"label": "aar.search"}, ignore_removed=True)
        for container in left:
            if container.labels["aar.search"].startswith("contract-"):
                container.remove(v=True, force=True)

    def make(self) -> DockerSandbox:
        return DockerSandbox(self.image, command=("python3", *SNIPPET))

    def test_nothing_is_left_on_the_engine(self, sandbox: DockerSandbox, launch: Callable[..., Launch]) -> None:
        job = launch("tell()")
        self.run(sandbox, job)
        assert not self.engine.containers.list(all=True, filters={"label": f"aar.attempt={job.attempt}"})

    def test_a_container_whose_create_was_given_up_is_adopted(self, launch: Callable[..., Launch]) -> None:
        job = launch("tell(start=os.urandom(8).hex())")
        made = self.make()._create(job, Path(job.folder), deadline=2e9)
        forgetful = Forgetful(self.image, command=("/nowhere",))
        assert self.facts(forgetful, job)["start"]
        assert forgetful.looked
        assert not self.engine.containers.list(all=True, filters={"id": str(made.id)})

    def test_a_container_of_another_workspace_is_left_alone(
        self, sandbox: DockerSandbox, launch: Callable[..., Launch]
    ) -> None:
        mine, other = launch("tell()"), launch("tell()")
        sandbox._create(other, Path(other.folder), deadline=2e9)
        same_name = mine.model_copy(update={"attempt": other.attempt})
        with pytest.raises(SandboxError, match=f"belongs to {other.folder}"):
            sandbox.run(same_name, threading.Event())

    def test_a_missing_image_names_the_command(self, launch: Callable[..., Launch]) -> None:
        with pytest.raises(SandboxError, match="aar-none:0.*run `aar sandbox build`"):
            DockerSandbox("aar-none:0").run(launch("tell()"), threading.Event())

    def test_a_container_somebody_removed_is_nobodys_result(
        self, sandbox: DockerSandbox, launch: Callable[..., Launch]
    ) -> None:
        job = launch(HANG)

        def remove() -> None:
            until(lambda: sandbox.alive(job.attempt, job.folder))
            self.engine.containers.get(f"aar-{job.attempt}").remove(force=True)

        thief = threading.Thread(target=remove)
        thief.start()
        with pytest.raises(SandboxError, match=job.attempt):
            sandbox.run(job, threading.Event())
        thief.join()

    def test_a_sigkill_of_unknown_origin_is_nobodys_result(
        self, sandbox: DockerSandbox, launch: Callable[..., Launch]
    ) -> None:
        job = launch(HANG)

        def kill() -> None:
            until(lambda: sandbox.alive(job.attempt, job.folder))
            self.engine.containers.get(f"aar-{job.attempt}").kill()

        killer = threading.Thread(target=kill)
        killer.start()
        end = self.run(sandbox, job)
        killer.join()
        assert (end.status, end.code) == (JobStatus.INFRA, 137)

    def test_a_lost_container_past_its_deadline_is_nobodys_result(
        self, sandbox: DockerSandbox, launch: Callable[..., Launch]
    ) -> None:
        job = launch("tell()", seconds=60.0)
        (Path(job.folder) / "started").write_text("1000.0")
        end = self.run(sandbox, job)
        assert end.status is JobStatus.INFRA
        assert not (Path(job.folder) / "out").exists()

    def test_labels_say_whose_it_is_and_until_when(self, sandbox: DockerSandbox, launch: Callable[..., Launch]) -> None:
        job = launch("tell()\n" + HANG)
        self.host_dies(job)
        labels = self.engine.containers.get(f"aar-{job.attempt}").labels
        assert (labels["aar.search"], labels["aar.attempt"]) == (job.search, job.attempt)
        began = float((Path(job.folder) / "started").read_text())
        assert float(labels["aar.deadline"]) == began + job.seconds

    def test_the_images_own_libraries_work_in_there(
        self, sandbox: DockerSandbox, launch: Callable[..., Launch]
    ) -> None:
        code = (
            "import torch, transformers, peft, safetensors, tokenizers, pydantic, aar.types\n"
            "x = torch.ones(64, 64, requires_grad=True)\n"
            "(x @ x).sum().backward()\n"
            "tell(grad=float(x.grad.sum()), threads=torch.get_num_threads(), aar=aar.types.__file__)"
        )
        seen = self.facts(sandbox, launch(code, memory_bytes=2 << 30, cpus=1.0))
        assert seen["grad"] == 64 * 64 * 128
        assert seen["threads"] == 1
        assert seen["aar"].startswith("/opt/aar/")
