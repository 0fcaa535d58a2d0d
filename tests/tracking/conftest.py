from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from aar.ledger import Ledger
from aar.settings import Settings
from aar.tracking import ensure_store


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables and nothing in them: making one takes seconds."""
    settings = Settings(workspace=tmp_path_factory.mktemp("empty"))
    ensure_store(settings)
    return settings.root / "mlflow.db"


@pytest.fixture
def settings(tmp_path: Path, empty_store: Path) -> Settings:
    with closing(sqlite3.connect(empty_store)) as old, closing(sqlite3.connect(tmp_path / "mlflow.db")) as new:
        old.backup(new)
    return Settings(workspace=tmp_path)


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    ledger = Ledger(settings.ledger_url)
    yield ledger
    ledger.close()
