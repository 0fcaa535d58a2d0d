from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aar.sandbox.image import SOURCE_LABEL, source_digest
from aar.sandbox.select import choose
from aar.settings import Settings
from aar.types import AarError

if TYPE_CHECKING:
    from docker import DockerClient


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


@pytest.fixture
def labelled(engine: DockerClient) -> Iterator[Callable[[str], str]]:
    """Makes an empty image that says which source it was built from."""
    made: list[str] = []

    def make(source: str) -> str:
        empty = io.BytesIO()
        with tarfile.open(fileobj=empty, mode="w"):
            pass
        name = f"aar-test-label:{len(made)}"
        engine.api.import_image_from_data(
            empty.getvalue(),
            repository="aar-test-label",
            tag=str(len(made)),
            changes=[f"LABEL {SOURCE_LABEL}={source}"],
        )
        made.append(name)
        return name

    yield make
    for name in made:
        engine.images.remove(name)


def test_process_when_set() -> None:
    sandbox, reason = choose(Settings(sandbox="process"))
    assert sandbox.name == "process"
    assert reason.startswith("process:")


@pytest.mark.usefixtures("no_engine")
def test_auto_without_an_engine_is_process_and_names_the_command() -> None:
    sandbox, reason = choose(Settings(sandbox="auto"))
    assert (sandbox.name, sandbox.isolates) == ("process", False)
    assert "no Docker engine answered" in reason
    assert "`aar sandbox build`" in reason
    assert "\n" not in reason


@pytest.mark.usefixtures("no_engine")
def test_docker_demanded_without_an_engine_is_an_error() -> None:
    with pytest.raises(AarError, match=r"no Docker engine answered \(no socket /nowhere/docker.sock\)"):
        choose(Settings(sandbox="docker"))


def test_an_engine_on_another_machine_is_of_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    assert "an engine elsewhere" in choose(Settings(sandbox="auto"))[1]


def test_a_dead_socket_is_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "docker.sock"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    assert "Connection refused" in choose(Settings(sandbox="auto"))[1]


@pytest.mark.usefixtures("no_engine")
def test_choosing_without_an_engine_loads_neither_docker_nor_torch() -> None:
    code = (
        "import sys; from aar.settings import Settings; from aar.sandbox.select import choose; choose(Settings());"
        "print([name for name in ('docker', 'requests', 'torch', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.docker
def test_a_current_image_gets_docker(labelled: Callable[[str], str]) -> None:
    name = labelled(source_digest())
    for wanted in ("auto", "docker"):
        sandbox, reason = choose(Settings(sandbox=wanted, image=name))
        assert (sandbox.name, sandbox.isolates) == ("docker", True)
        assert name in reason


@pytest.mark.docker
def test_a_stale_image_is_not_used(labelled: Callable[[str], str]) -> None:
    name = labelled("0" * 64)
    sandbox, reason = choose(Settings(sandbox="auto", image=name))
    assert sandbox.name == "process"
    assert f"image {name} was built from other source" in reason
    with pytest.raises(AarError, match="built from other source; run `aar sandbox build`"):
        choose(Settings(sandbox="docker", image=name))


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
def test_an_image_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox, reason = choose(Settings(sandbox="auto", image="aar-none:0"))
    assert sandbox.name == "process"
    assert "image aar-none:0 is not built" in reason
