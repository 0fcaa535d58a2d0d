"""What the tests of the Docker sandbox need: an engine and the image. Without them they skip with the reason."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

pytest.register_assert_rewrite("aar.sandbox.contract")

from aar.sandbox.engine import image_info, no_engine  # noqa: E402
from aar.settings import Settings  # noqa: E402

if TYPE_CHECKING:
    from docker import DockerClient

REQUIRED = os.environ.get("AAR_REQUIRE_DOCKER") == "1"


def unless_docker(reason: str | None) -> None:
    """Skip for this reason, or fail where AAR_REQUIRE_DOCKER=1."""
    if reason and REQUIRED:
        pytest.fail(f"AAR_REQUIRE_DOCKER=1, but {reason}")
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def engine() -> DockerClient:
    """A client of the engine on this machine."""
    unless_docker(no_engine())
    import docker

    return docker.from_env(timeout=60)


@pytest.fixture(scope="session")
def image(engine: DockerClient) -> str:
    """The sandbox image's name; it is there."""
    name = Settings().image
    found = image_info(name)
    unless_docker(f"{found}; run `aar sandbox build`" if isinstance(found, str) else None)
    return name
