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
    gpus: str | None = Field(default=None, description="the GPUs that jobs are spread over, by CUDA's names")

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

    @property
    def cards(self) -> tuple[str, ...]:
        """The GPUs that jobs are spread over: those named, those this process may see, else all of the machine."""
        named = os.environ.get("CUDA_VISIBLE_DEVICES") if self.gpus is None else self.gpus
        if named is not None:
            return tuple(name.strip() for name in named.split(",") if name.strip())
        return tuple(str(i) for i in range(len(list(Path("/proc/driver/nvidia/gpus").glob("*")))))

    def slots_for(self, gpus: int) -> int:
        """Jobs that run at once where each asks for so many `gpus`: as many as the cards suffice for."""
        return self.slots or (max(1, len(self.cards) // gpus) if gpus else self.n_slots)

    def threads_for(self, gpus: int) -> int:
        """CPU threads of one job that asks for so many `gpus`: the cores, shared among those that run at once."""
        return self.threads or max(1, (os.cpu_count() or 1) // self.slots_for(gpus))

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
