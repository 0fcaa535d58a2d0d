from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from aar.settings import Settings
from aar.tasks import check_spec
from aar.types import TaskSpec

Row = Mapping[str, Any]
Write = Callable[[str, Iterable[Row]], str]
Spec = Callable[..., TaskSpec]

SIZES = {"weak_train": 40, "weak_val": 10, "transfer": 60, "dev": 30, "test": 30}
TINY = {"tiny": {"layers": 1, "width": 8, "heads": 2}}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(workspace=tmp_path / "workspace")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Rows to a JSON-lines file; its path."""

    def lines(name: str, rows: Iterable[Row]) -> str:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return lines


@pytest.fixture
def spec() -> Spec:
    """A checked task over the given `data` field, small splits, tiny models."""

    def make(
        data: dict[str, Any], splits: dict[str, Any] | None = None, weak: dict[str, Any] | None = None
    ) -> TaskSpec:
        raw = {
            "name": "made",
            "data": data,
            "splits": {**SIZES, **(splits or {})},
            "models": {"weak": weak or TINY, "strong": TINY},
        }
        return check_spec(TaskSpec.model_validate(raw))

    return make


def reviews(n: int, start: int = 0) -> list[dict[str, Any]]:
    """Rows with different texts, two classes in turn."""
    return [{"text": f"review number {i} of a film", "label": i % 2} for i in range(start, start + n)]
