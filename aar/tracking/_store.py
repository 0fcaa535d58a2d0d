"""Where runs go: MLflow's settings for this process, the workspace's own store, and the command that serves it."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
import sqlite3
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from aar.settings import Settings
from aar.types import AarError

PROBE_SECONDS = 3.0
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
# By default one call to a dead server takes four minutes. The outbox is what retries here.
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}


def prepare_environment() -> None:
    """MLflow's settings for this process, before it is imported; what a person has set stays."""
    for name, value in {**QUIET, **PATIENCE}.items():
        os.environ.setdefault(name, value)


def is_server(uri: str) -> bool:
    """An MLflow server, rather than a database that this process writes itself."""
    return urlsplit(uri).scheme in ("http", "https")


def reachable(uri: str) -> str | None:
    """None if the tracking store answers, otherwise why not; within seconds."""
    parts = urlsplit(uri)
    if is_server(uri):
        try:
            with urllib.request.urlopen(uri.rstrip("/") + "/health", timeout=PROBE_SECONDS):
                return None
        except (OSError, ValueError) as error:
            return f"{_shown(uri)} does not answer: {error}"
    if parts.scheme == "sqlite":
        folder = Path(uri.removeprefix("sqlite:///")).parent
        while not folder.exists():
            folder = folder.parent
        return None if os.access(folder, os.W_OK) else f"{folder} cannot be written"
    if parts.hostname:
        try:
            socket.create_connection((parts.hostname, parts.port or 5432), PROBE_SECONDS).close()
        except OSError as error:
            return f"{_shown(uri)} does not answer: {error}"
    return None


def _shown(uri: str) -> str:
    """The address without a password."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def artifacts(settings: Settings) -> Path:
    """Where files of runs lie, unless a server keeps them."""
    return settings.folder("mlartifacts")


@contextlib.contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """An exclusive lock on a file, freed with the process. Without `wait`: False where another holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def ensure_store(settings: Settings) -> None:
    """The workspace's sqlite store exists and has its tables; one process makes them while others wait.

    Nothing to do where a server or another database is set: they look after themselves.
    """
    uri = settings.mlflow_uri
    if urlsplit(uri).scheme != "sqlite":
        return
    prepare_environment()
    with locked(settings.root / "mlflow.lock"):
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        path = Path(uri.removeprefix("sqlite:///"))
        path.parent.mkdir(parents=True, exist_ok=True)
        # A write-ahead log lets the UI read while runs are written, and costs a third of the disk flushes.
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        log = logging.getLogger("mlflow.store.db.utils")
        level = log.level
        log.setLevel(logging.WARNING)
        try:
            SqlAlchemyStore(uri, artifacts(settings).as_uri())
        finally:
            log.setLevel(level)


def serve_command(settings: Settings, port: int = 5000) -> list[str]:
    """The command that serves the workspace's store on this machine only. `ensure_store` first.

    Raises:
        AarError: tracking is a server already; the message says where to look.
    """
    uri = settings.mlflow_uri
    if is_server(uri):
        raise AarError(f"tracking is a server: open {uri} in a browser")
    # Jobs and telemetry of the server's own are of no use here and cost processes and connections.
    words = [f"{name}={value}" for name, value in QUIET.items()] + ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"]
    return [
        "env", *words, sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri,
        "--artifacts-destination", artifacts(settings).as_uri(), "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1",
    ]  # fmt: skip
