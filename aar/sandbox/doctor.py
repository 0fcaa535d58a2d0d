"""What this machine has for a search, and what to do about what it lacks. Looks only, starts nothing, quick."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from aar.sandbox.engine import engine_info, image_info, no_engine
from aar.sandbox.image import SOURCE_LABEL, source_digest
from aar.settings import Settings
from aar.types import Word

LIBRARIES = (
    "torch",
    "transformers",
    "peft",
    "optuna",
    "langgraph",
    "mlflow",
    "docker",
    "datasets",
    "pydantic",
    "numpy",
)
ENOUGH_MEMORY, ENOUGH_DISK = 4 * 2**30, 5 * 2**30


class Check(Word):
    """One thing looked at. `ok` is None where nothing is wrong but something could be had; `advice` says how."""

    name: str
    ok: bool | None
    value: str
    advice: str = ""


def diagnose(settings: Settings) -> list[Check]:
    """Every check, in the order a reader wants them. Takes under two seconds, each outside call at most one."""
    checks: list[Check] = []
    for look in (_machine, _libraries, _docker, _gpu, _workspace, _tracking, _hub):
        checks += look(settings)
    return checks


def _machine(settings: Settings) -> Iterator[Check]:
    version = platform.python_version()
    yield _judged("python", sys.version_info >= (3, 11), version, "needs Python 3.11 or newer")
    cores = len(os.sched_getaffinity(0))
    yield Check(name="cores", ok=True, value=f"{cores} ({settings.n_slots} slots of {settings.threads_for(0)} threads)")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield _judged("memory", memory >= ENOUGH_MEMORY, _gib(memory), "under 4 GiB: --set limits.memory=1g, one slot")


def _libraries(settings: Settings) -> Iterator[Check]:
    for name in LIBRARIES:
        try:
            yield Check(name=name, ok=True, value=importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Check(name=name, ok=False, value="missing", advice=f"pip install -c constraints.txt {name}")


def _docker(settings: Settings) -> Iterator[Check]:
    demanded = settings.sandbox == "docker"
    missing = no_engine()
    facts = engine_info() if missing is None else missing
    if isinstance(facts, str):
        start = "install one (Debian, Ubuntu: apt-get install docker.io), start it, then `aar sandbox build`"
        yield Check(name="engine", ok=False if demanded else None, value=facts, advice=start)
        yield Check(name="image", ok=False if demanded else None, value="unknown", advice="needs the engine")
        return
    yield Check(name="engine", ok=True, value=f"{facts['ServerVersion']}, cgroup v{facts.get('CgroupVersion', 1)}")
    found = image_info(settings.image)
    if isinstance(found, str):
        yield Check(name="image", ok=False if demanded else None, value=found, advice="aar sandbox build")
    else:
        label = (found["Config"].get("Labels") or {}).get(SOURCE_LABEL)
        size, fresh = f"{settings.image}, {found.get('Size', 0) / 1e9:.1f} GB", label == source_digest()
        value = size if fresh else f"{size}, stale: built from other source"
        yield _judged("image", fresh, value, "aar sandbox build")
    stopped = int(facts.get("ContainersStopped", 0))
    if stopped > 100:
        prune = "docker container prune --filter label=aar.search, once no search is to be resumed"
        yield Check(name="containers", ok=None, value=f"{stopped} stopped", advice=prune)


def _gpu(settings: Settings) -> Iterator[Check]:
    names = [
        line.partition(":")[2].strip()
        for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
        for line in path.read_text().splitlines()
        if line.startswith("Model:")
    ] or _nvidia_smi()
    if not names:
        yield Check(name="gpu", ok=None, value="none found", advice="jobs train on the CPU; nothing to do")
        return
    yield Check(name="gpu", ok=True, value=", ".join(names))
    if "+cpu" in importlib.metadata.version("torch"):
        yield Check(name="gpu torch", ok=False, value="a CPU build", advice="install the CUDA build of torch")
    facts = engine_info() if no_engine() is None else ""
    if isinstance(facts, dict):
        nvidia = "nvidia" in facts.get("Runtimes", {})
        how = "install nvidia-container-toolkit, run `nvidia-ctk runtime configure`, restart the engine"
        yield _judged("gpu in docker", nvidia, "runtime nvidia" if nvidia else "no runtime", how)


def _nvidia_smi() -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        answer = subprocess.run(query, capture_output=True, text=True, timeout=1.0, check=True)
    except subprocess.TimeoutExpired:
        return ["nvidia-smi does not answer within 1 s"]
    except (OSError, subprocess.CalledProcessError):
        return []
    return answer.stdout.split("\n")[:-1]


def _workspace(settings: Settings) -> Iterator[Check]:
    place = settings.root
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    yield _judged("disk", free >= ENOUGH_DISK, f"{_gib(free)} free at {settings.root}", "free 5 GiB, or --workspace")
    writable = os.access(place, os.W_OK)
    yield _judged("workspace", writable, str(settings.root), f"{place} is not writable: give another --workspace")
    yield _database("ledger", settings.ledger_url)


def _tracking(settings: Settings) -> Iterator[Check]:
    uri = settings.mlflow_uri
    if urlsplit(uri).scheme not in ("http", "https"):
        yield _database("tracking", uri)
        return
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=1.0) as answer:
            ok, value = answer.status == 200, f"{_public(uri)} answers {answer.status}"
    except (OSError, urllib.error.URLError, ValueError) as err:
        ok, value = False, f"{_public(uri)}: {getattr(err, 'reason', err)}"
    yield _judged("tracking", ok, value, "start the server (mlflow/README.md); searches go on and catch up later")


def _hub(settings: Settings) -> Iterator[Check]:
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "ON", "YES")
    how = "unset HF_HUB_OFFLINE to download, or give local copies: --set data.files..., models.strong.path"
    yield (
        Check(name="hub", ok=None, value="offline", advice=how)
        if offline
        else Check(name="hub", ok=True, value="online")
    )


def _database(name: str, url: str) -> Check:
    """A sqlite file is opened read-only; a server is only named, for asking it needs its driver."""
    parts = urlsplit(url)
    if not parts.scheme.startswith("sqlite"):
        driver = parts.scheme.partition("+")[2] or {"postgresql": "psycopg2", "mysql": "MySQLdb"}.get(parts.scheme, "")
        there = not driver or importlib.util.find_spec(driver) is not None
        return _judged(name, there, _public(url), f"its driver is missing: pip install {driver}")
    path = Path(parts.path.removeprefix("/"))
    if not path.exists():
        return Check(name=name, ok=True, value=f"{path} (made on first use)")
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.5)
        try:
            connection.execute("select count(*) from sqlite_master").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as err:
        return Check(name=name, ok=False, value=f"{path}: {err}", advice="restore it from a backup, or move it away")
    return Check(name=name, ok=True, value=str(path))


def _judged(name: str, ok: bool, value: str, advice: str) -> Check:
    return Check(name=name, ok=ok, value=value, advice="" if ok else advice)


def _public(url: str) -> str:
    """A URL without its user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
