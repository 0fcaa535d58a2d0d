"""Which sandbox a run gets, and why, in one line."""

from __future__ import annotations

from aar.sandbox.engine import image_info, no_engine
from aar.sandbox.image import SOURCE_LABEL, source_digest
from aar.sandbox.protocol import Sandbox
from aar.settings import Settings
from aar.types import AarError

BUILD = "aar sandbox build"


def choose(settings: Settings) -> tuple[Sandbox, str]:
    """The sandbox of `settings.sandbox` and the reason. `auto`: Docker when it is ready, otherwise process.

    Raises:
        AarError: `docker` is demanded and cannot be had.
    """
    from aar.sandbox.process import ProcessSandbox

    if settings.sandbox == "process":
        return ProcessSandbox(), "process: as set; no isolation"
    reason = not_ready(settings.image)
    if reason is None:
        from aar.sandbox.docker import DockerSandbox

        return DockerSandbox(settings.image), f"docker: image {settings.image}"
    if settings.sandbox == "docker":
        raise AarError(f"--sandbox docker: {reason}; run `{BUILD}`")
    return ProcessSandbox(), f"process: {reason}; no isolation; `{BUILD}` gets the Docker sandbox"


def not_ready(image: str) -> str | None:
    """Why the Docker sandbox cannot be used now, None when it can. Quick where there is no engine."""
    reason = no_engine()
    if reason:
        return reason
    found = image_info(image)
    if isinstance(found, str):
        return found
    if (found.get("Config", {}).get("Labels") or {}).get(SOURCE_LABEL) != source_digest():
        return f"image {image} was built from other source"
    return None
