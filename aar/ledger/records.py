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


class Message(Word):
    """What a person told a search, or (`question`) the search a person; `outcome` is what came of it once handled."""

    id: int
    kind: str
    payload: dict[str, Any]
    at: float
    handled: float | None
    outcome: str | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Message:
        """From a database row."""
        fields = {k: row[k] for k in cls.model_fields}
        return cls.model_validate(fields | {"payload": json.loads(fields["payload"])})

    @property
    def words(self) -> str:
        """The message as one says it: `steered: try fewer epochs`, `proposed hard · logconf`, `paused`."""
        payload = self.payload
        said = {
            "steer": f"steered: {payload.get('text')}", "question": f"the researcher asks: {payload.get('text')}",
            "propose": f"proposed {payload.get('label')}", "approve": f"approved t{payload.get('trial')}",
            "reject": f"rejected t{payload.get('trial')}", "budget": "changed the budget",
            "pause": "paused", "unpause": "unpaused",
            "stop": "told to stop now" if payload.get("now") else "told to stop",
        }  # fmt: skip
        return said[self.kind] + (f" ({payload['why']})" if payload.get("why") else "")


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
