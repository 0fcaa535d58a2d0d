"""One Settings model: where things live and how much may run at once.

Every field may come from the environment as `AAR_<FIELD>` (for example `AAR_TRACKING_URI`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from aar import __version__


class Settings(BaseSettings):
    """Workspace layout and executor settings."""

    model_config = SettingsConfigDict(env_prefix="AAR_", extra="ignore", frozen=True)

    workspace: Path = Path(".aar")
    database_url: str | None = None
    tracking_uri: str | None = None
    sandbox: Literal["auto", "docker", "process"] = "auto"
    image: str = f"aar-sandbox:{__version__}"
    slots: int = Field(default=0, ge=0, description="trials at once; 0: one per core, at most 8")
    threads: int = Field(default=0, ge=0, description="CPU threads a job uses; 0: cores / slots")
    model: str | None = None
    base_url: str | None = None
    prices: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @property
    def root(self) -> Path:
        """The workspace as an absolute path."""
        return self.workspace.expanduser().absolute()

    @property
    def ledger_url(self) -> str:
        """SQLAlchemy URL of the ledger."""
        return self.database_url or f"sqlite:///{self.root / 'ledger.db'}"

    @property
    def mlflow_uri(self) -> str:
        """MLflow tracking URI: a sqlite file in the workspace unless a server is set."""
        return self.tracking_uri or f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def n_slots(self) -> int:
        """Trials that run at once."""
        return self.slots or min(8, os.cpu_count() or 1)

    def slots_for(self, gpus: float) -> int:
        """Jobs that run at once where each asks for `gpus`: all get the machine's first GPUs, so one at a time."""
        return self.slots or (1 if gpus else self.n_slots)

    @property
    def n_threads(self) -> int:
        """CPU threads of one job."""
        return self.threads or max(1, (os.cpu_count() or 1) // self.n_slots)

    def folder(self, name: str) -> Path:
        """A folder of the workspace, made on first use."""
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path


def write_whole(path: Path, text: str) -> None:
    """Write a file so that whoever reads it finds the old text or the new one, never half of it."""
    write_whole_bytes(path, text.encode("utf-8"))


def write_whole_bytes(path: Path, data: bytes) -> None:
    """The same of bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(path.name + ".part")
    half.write_bytes(data)
    half.replace(path)


def data_dir() -> Path:
    """Where `tasks/`, `sandbox/` and `mlflow/` lie: inside an installed wheel, or the checkout's top."""
    packaged = Path(__file__).parent / "_data"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent
