from __future__ import annotations

import http.server
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aar.sandbox import doctor
from aar.sandbox.doctor import Check, diagnose
from aar.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(workspace=tmp_path / "ws", tracking_uri=None, database_url=None, image="aar-none:0")


def named(settings: Settings) -> dict[str, Check]:
    return {check.name: check for check in diagnose(settings)}


@pytest.fixture
def server() -> Iterator[str]:
    """A tracking server's address; only /health answers 200."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listener.server_port}"
        listener.shutdown()


def test_it_looks_at_everything_and_makes_nothing(settings: Settings) -> None:
    checks = named(settings)
    wanted = {"python", "cores", "memory", "torch", "engine", "image", "gpu", "disk", "ledger", "tracking", "hub"}
    assert wanted <= set(checks)
    assert all(check.value for check in checks.values())
    assert not settings.root.exists()


def test_every_fault_has_advice_and_nothing_sound_has(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(doctor, "ENOUGH_DISK", 1 << 60)
    monkeypatch.setattr(doctor, "ENOUGH_MEMORY", 1 << 60)
    monkeypatch.setattr(doctor, "LIBRARIES", ("pydantic", "no-such-library"))
    settings.root.mkdir()
    (settings.root / "ledger.db").write_text("this is no database, however long one looks at it" * 10)
    checks = named(
        settings.model_copy(update={"tracking_uri": "http://127.0.0.1:9", "sandbox": "docker"}),
    )
    faults = {name for name, check in checks.items() if check.ok is False}
    assert faults == {"memory", "no-such-library", "engine", "image", "disk", "ledger", "tracking"}
    for name, check in checks.items():
        assert bool(check.advice) == (check.ok is not True), name


def test_no_engine_is_a_fault_only_where_docker_is_demanded(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert named(settings)["engine"].ok is None
    assert named(settings.model_copy(update={"sandbox": "docker"}))["engine"].ok is False


def test_a_tracking_server_is_asked(settings: Settings, server: str) -> None:
    assert named(settings.model_copy(update={"tracking_uri": server}))["tracking"].ok is True
    bad = named(settings.model_copy(update={"tracking_uri": f"{server}/other"}))["tracking"]
    assert bad.ok is False
    assert "404" in bad.value or "Not Found" in bad.value


def test_passwords_are_not_shown(settings: Settings) -> None:
    secret = {"tracking_uri": "http://me:hunter2@127.0.0.1:9", "database_url": "postgresql://me:hunter2@db/aar"}
    text = "".join(check.model_dump_json() for check in diagnose(settings.model_copy(update=secret)))
    assert "hunter2" not in text
    assert "postgresql://db/aar" in text


def test_a_sound_ledger_is_sound(settings: Settings) -> None:
    settings.root.mkdir()
    connection = sqlite3.connect(settings.root / "ledger.db")
    connection.execute("create table searches (id text)")
    connection.close()
    assert named(settings)["ledger"].ok is True


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
def test_a_missing_image_names_the_command(settings: Settings) -> None:
    checks = named(settings)
    assert checks["engine"].ok is True
    assert (checks["image"].ok, checks["image"].advice) == (None, "aar sandbox build")


@pytest.mark.docker
def test_a_stale_image_is_a_fault(settings: Settings, image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "source_digest", lambda: "other")
    check = named(settings.model_copy(update={"image": image}))["image"]
    assert check.ok is False
    assert "stale" in check.value
