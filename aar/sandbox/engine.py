"""The Docker engine on this machine: is one there, what images has it, and its errors in this project's words."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aar.sandbox.protocol import SandboxError

if TYPE_CHECKING:
    from docker import DockerClient

_SOCKET = "/var/run/docker.sock"


def no_engine() -> str | None:
    """Why no engine can be used, None when something listens. One connection, no library, quick either way."""
    address = os.environ.get("DOCKER_HOST") or f"unix://{_SOCKET}"
    parts = urlsplit(address)
    try:
        if parts.scheme == "unix":
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(1.0)
                connection.connect(parts.path)
        elif parts.hostname in ("localhost", "127.0.0.1", "::1"):
            socket.create_connection((parts.hostname, parts.port or 2375), timeout=1.0).close()
        else:
            return f"DOCKER_HOST is {address}: an engine elsewhere cannot bind this machine's files; unset it"
    except FileNotFoundError:
        return f"no Docker engine answered (no socket {parts.path})"
    except PermissionError:
        return f"no permission for the Docker engine's socket {parts.path} (add this user to the group docker)"
    except OSError as err:
        return f"no Docker engine answered at {address} ({err.strerror or err})"
    return None


def image_info(image: str) -> dict[str, Any] | str:
    """What the engine says about an image, or in words why it says nothing."""
    return _ask(lambda client: client.images.get(image).attrs, image)


def engine_info() -> dict[str, Any] | str:
    """What the engine says about itself, or in words why it says nothing."""
    return _ask(lambda client: client.info())


def _ask(question: Callable[[DockerClient], dict[str, Any]], image: str = "") -> dict[str, Any] | str:
    import docker
    import docker.errors
    import requests

    try:
        client = docker.from_env(timeout=5)
        try:
            return question(client)
        finally:
            client.close()
    except docker.errors.ImageNotFound:
        return f"image {image} is not built"
    except (docker.errors.DockerException, requests.exceptions.RequestException) as err:
        return f"the Docker engine does not answer properly ({err})"


@contextmanager
def errors(doing: str) -> Iterator[None]:
    """Turn the engine's and the connection's errors into SandboxError."""
    import docker.errors
    import requests

    try:
        yield
    except docker.errors.ImageNotFound as err:
        raise SandboxError(f"docker: {doing}: {err.explanation}; run `aar sandbox build`") from err
    except (docker.errors.DockerException, requests.exceptions.RequestException) as err:
        raise SandboxError(f"docker: {doing}: {err}") from err
