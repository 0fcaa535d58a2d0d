"""Building the Docker sandbox's image: this package's wheel and a wheelhouse, installed without network.

Libraries are downloaded by the host's pip, with the host's own configuration, into a cache kept between builds; the
build itself sees files only. The image carries the digest of the source a job can reach, so that `aar.sandbox.select`
tells a stale image from a current one.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aar import __version__
from aar.sandbox.engine import no_engine
from aar.settings import data_dir
from aar.types import AarError

if TYPE_CHECKING:
    from docker import DockerClient

SOURCE_LABEL = "aar.source"
REGISTRY_BASE = "python:{python}-slim"
_REACHABLE = ("methods", "oversight", "reading", "train", "types", "worlds")
_ON_HOST = ("oversight/cache.py", "oversight/calling.py", "oversight/chat.py", "oversight/digits.py")
"""Of these rooms what no job imports: it may import what the image lacks, and changes no result."""
_PYTHON = "{}.{}".format(*sys.version_info)


@functools.cache
def source_digest() -> str:
    """sha256 of the source a job can reach (the rooms that `aar.train` imports): paths and contents."""
    return source_now()


def source_now() -> str:
    """The same, read again: it tells whether the source changed under a running process."""
    package = _package()
    digest = hashlib.sha256()
    for path in reachable():
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def reachable() -> list[Path]:
    """Every source file a job can reach, in order."""
    package = _package()
    files = [path for room in _REACHABLE for path in (package / room).rglob("*.py")]
    return sorted(path for path in files if path.relative_to(package).as_posix() not in _ON_HOST)


def build_image(
    tag: str,
    base_image: str | None = None,
    on_line: Callable[[str], None] = lambda line: None,
    client: DockerClient | None = None,
) -> str:
    """Build the image `tag`, telling `on_line` what happens; the image's id.

    Without `base_image`: a base made before by `sandbox/make-base-image`, else `python:X.Y-slim` from a registry, else
    `make-base-image` is run. The base's Python must be the host's X.Y, for the host downloads the wheels.

    Raises:
        AarError: no engine, no base, another Python in the base, a download or a build step failed.
    """
    import docker
    import docker.errors

    reason = no_engine()
    if client is None and reason:
        raise AarError(f"{reason}; install one (Debian, Ubuntu: apt-get install docker.io) and start it")
    client = client or docker.from_env(timeout=600)
    try:
        base = _base(client, base_image, on_line)
        _check_python(client, base)
        with tempfile.TemporaryDirectory(prefix="aar-image-") as context:
            fill_context(Path(context), on_line)
            former = {str(image.id) for image in client.images.list(filters={"reference": tag})}
            built = _build(client, Path(context), tag, base, on_line)
        for old in former - {built}:
            with contextlib.suppress(docker.errors.APIError):  # a container may still use it
                client.images.remove(old)
        return built
    except docker.errors.DockerException as err:
        raise AarError(f"building {tag}: {err}") from err


def fill_context(context: Path, on_line: Callable[[str], None] = lambda line: None) -> None:
    """Write what the Dockerfile copies: itself, requirements, constraints, the wheelhouse and this package's wheel."""
    for name in ("sandbox/Dockerfile", "sandbox/requirements.txt", "constraints.txt"):
        shutil.copy(data_dir() / name, context)
    house = wheelhouse(on_line)
    try:
        shutil.copytree(house, context / "wheels", copy_function=os.link)
    except OSError:
        shutil.copytree(house, context / "wheels", dirs_exist_ok=True)
    write_wheel(context)


def write_wheel(folder: Path) -> Path:
    """The wheel of this package as it lies here, written without a build tool. Equal sources give equal bytes."""
    package = _package()
    info = f"aar-{__version__}.dist-info"
    files = {
        f"aar/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.is_file() and not {"__pycache__", "_data"} & set(path.relative_to(package).parts)
    }
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: aar\nVersion: {__version__}\n".encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: aar\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = [f"{name},sha256={_urlsafe(content)},{len(content)}" for name, content in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    target = folder / f"aar-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, content)
    return target


def wheelhouse(on_line: Callable[[str], None] = lambda line: None) -> Path:
    """A folder with the wheels of everything in requirements.txt, downloaded once per set of versions.

    torch comes first, in the very build the host has (`2.13.0+cpu` stays that), so that nothing pulls another in.
    """
    requirements, constraints = data_dir() / "sandbox/requirements.txt", data_dir() / "constraints.txt"
    torch = f"torch=={importlib.metadata.version('torch')}"
    key = hashlib.sha256()
    for content in (requirements.read_bytes(), constraints.read_bytes(), torch.encode(), sys.version.encode()):
        key.update(hashlib.sha256(content).digest())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aar"
    house = cache / f"wheelhouse-{key.hexdigest()[:16]}"
    if house.is_dir():
        on_line(f"wheels: {house} (downloaded before)")
        return house
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wheelhouse-", dir=cache) as temporary:
        part = Path(temporary) / "wheels"
        download = [sys.executable, "-m", "pip", "download", "--only-binary=:all:", "--dest", str(part)]
        download += ["--constraint", str(constraints), "--progress-bar", "off", "--find-links", str(part)]
        part.mkdir()
        _run([*download, torch], on_line)
        _run([*download, torch, "--requirement", str(requirements)], on_line)
        if not house.exists():
            part.rename(house)
    return house


def _build(client: DockerClient, context: Path, tag: str, base: str, on_line: Callable[[str], None]) -> str:
    events: Iterator[dict[str, Any]] = client.api.build(
        path=str(context),
        tag=tag,
        buildargs={"BASE": base},
        labels={SOURCE_LABEL: source_digest(), "aar.version": __version__},
        network_mode="none",
        rm=True,
        forcerm=True,
        decode=True,
    )
    for event in events:
        if "error" in event:
            raise AarError(f"building {tag} on {base}: {event['error'].strip()}")
        for line in event.get("stream", "").splitlines():
            if line.strip():
                on_line(line.rstrip())
    return str(client.images.get(tag).id)


def _base(client: DockerClient, wanted: str | None, on_line: Callable[[str], None]) -> str:
    """The name of a base image that is present on the engine."""
    import docker.errors

    own = f"aar-base:{_release()}"
    candidates = [wanted] if wanted else [own, REGISTRY_BASE.format(python=_PYTHON)]
    for name in candidates:
        try:
            client.images.get(name)
            return name
        except docker.errors.ImageNotFound:
            pass
    name = candidates[-1]
    on_line(f"pulling {name}")
    try:
        client.images.pull(name)
        return name
    except docker.errors.DockerException as err:
        on_line(f"cannot pull {name}: {err}")
        if wanted:
            raise AarError(f"--base-image {name}: neither on this machine nor to be pulled: {err}") from err
    script = data_dir() / "sandbox" / "make-base-image"
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise AarError(
            f"no base image: {own} is not here and {name} cannot be pulled; make one from this machine's packages: "
            f"apt-get install debootstrap && sudo bash {script}"
        )
    on_line(f"making {own} with {script}")
    _run(["bash", str(script), own], on_line)
    return own


def _check_python(client: DockerClient, base: str) -> None:
    """Refuse a base whose python3 could not load wheels downloaded for the host's."""
    import docker.errors

    ask = ["python3", "-c", "import sys, venv, ensurepip; print('{}.{}'.format(*sys.version_info))"]
    container = client.containers.create(base, ask, entrypoint=[], network_mode="none")
    try:
        container.start()
        ended = container.wait()["StatusCode"]
        found = container.logs().decode(errors="replace").strip()
        if ended != 0:
            raise AarError(f"base image {base}: its python3 with venv does not run: {found[-300:]}")
    except docker.errors.APIError as err:
        raise AarError(f"base image {base}: its python3 with venv does not run: {err.explanation}") from err
    finally:
        container.remove(v=True, force=True)
    if found != _PYTHON:
        raise AarError(
            f"base image {base} has Python {found}, this host has {_PYTHON}, and wheels must fit both; "
            f"give --base-image one with Python {_PYTHON}, or run aar under Python {found}"
        )


def _run(command: list[str], on_line: Callable[[str], None]) -> None:
    """Run a program, handing on its lines.

    Raises:
        AarError: it failed; with its last lines.
    """
    lines: list[str] = []
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            on_line(lines[-1])
    if process.returncode:
        last = "\n".join(lines[-8:])
        raise AarError(f"{' '.join(command[:4])} ... ended with {process.returncode}:\n{last}")


def _release() -> str:
    """This machine's release name, as `make-base-image` uses it for its tag."""
    for line in Path("/etc/os-release").read_text().splitlines() if Path("/etc/os-release").exists() else ():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    return "bookworm"


def _package() -> Path:
    return Path(__file__).parents[1]


def _urlsafe(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
