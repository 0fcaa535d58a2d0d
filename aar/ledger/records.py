"""Rows of the ledger as typed records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from aar.types import Author, PublicScore, Recipe, TrialStatus, Word

Row = Mapping[str, Any]


class TrialRow(Word):
    """One trial as the ledger holds it. `view` is what the gate let out; exact scores are elsewhere."""

    search: str
    number: int
    status: TrialStatus
    author: Author
    preset: str | None
    parent: int | None
    recipe: Recipe
    hash: str
    label: str
    rationale: str
    predicted_accuracy: float | None
    predicted_pgr: float | None
    predicted_low: float | None = None
    predicted_high: float | None = None
    refute: str | None = None
    shares: str | None = None
    reason: str | None
    view: PublicScore | None
    n_seeds: int
    seconds: float
    created: float
    finished: float | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> TrialRow:
        """From a database row."""
        fields = dict(row)
        fields["recipe"] = _recipe(fields["recipe"])
        fields["view"] = _view(fields["view"]) if fields["view"] else None
        return cls.model_validate(fields)


@lru_cache(maxsize=16_384)
def _recipe(text: str) -> Recipe:
    return Recipe.model_validate_json(text)


@lru_cache(maxsize=16_384)
def _view(text: str) -> PublicScore:
    return PublicScore.model_validate_json(text)


class UnitRow(Word):
    """One finished unit: `outputs` maps an output's short name (`dev`, `weights`) to its sha256."""

    key: str
    kind: str
    seed: int
    outputs: dict[str, str]
    tainted: bool
    seconds: float
    curve: list[dict[str, float]]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> UnitRow:
        """From a database row."""
        fields = {k: row[k] for k in cls.model_fields}
        fields["outputs"] = json.loads(fields["outputs"])
        fields["curve"] = json.loads(fields["curve"])
        return cls.model_validate(fields)
