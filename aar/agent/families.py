"""Families of methods: what was tried how often, what to leave, what nearly repeats. Public values only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aar.ledger import TrialRow
from aar.ledger.journal import SCORED, family
from aar.methods import Choice, fill, spaces
from aar.methods.static import essence
from aar.types import SLOTS, Part, Recipe, Training, TrialStatus

BARREN = 3
"""A family is over-tried when its latest so many scored trials brought it no gain."""
NEAR = 0.05
"""Two values are near when they differ by under this share of their parameter's range (of its logarithm, where that
is how it is searched)."""


class Family(NamedTuple):
    """Trials that share their parts: how many were scored, the best accuracy and PGR, and the latest without a gain."""

    name: str
    trials: tuple[int, ...]
    accuracy: float
    pgr: float | None
    barren: int

    @property
    def over_tried(self) -> bool:
        """Is it time for something else?"""
        return self.barren >= BARREN


def families(trials: Sequence[TrialRow]) -> list[Family]:
    """Families of scored trials, most tried first."""
    groups: dict[str, list[TrialRow]] = {}
    for t in trials:
        if t.view is not None and t.status in SCORED:
            groups.setdefault(family(t.recipe), []).append(t)
    out = []
    for name, own in groups.items():
        values = [t.view.accuracy for t in own if t.view]
        best = max(range(len(own)), key=lambda i: values[i])
        view = own[best].view
        out.append(
            Family(name, tuple(t.number for t in own), values[best], view.pgr if view else None, len(own) - 1 - best)
        )
    return sorted(out, key=lambda f: (-len(f.trials), f.name))


def near(recipe: Recipe, trials: Sequence[TrialRow], base: Training) -> tuple[TrialRow, str] | None:
    """A trial that this recipe nearly repeats, and in what they differ ("" for nothing); None where there is none.

    Raises:
        AarError: the recipe is not one.
    """
    for t in trials:
        if t.status is not TrialStatus.REJECTED:
            moved = apart(recipe, t.recipe, base)
            if moved is not None:
                return t, moved
    return None


def apart(a: Recipe, b: Recipe, base: Training) -> str | None:
    """In what two recipes differ that nearly repeat each other ("" for nothing); None where they do not.

    Raises:
        AarError: one of them is none.
    """
    moved = _moved(fill(a, base), fill(b, base), base)
    return ", ".join(moved) if moved is not None and all(share < NEAR for share in moved.values()) else None


def _moved(a: Recipe, b: Recipe, base: Training) -> Mapping[str, float] | None:
    """Parameters in which two recipes differ, by what share of their range; None where parts or choices differ."""
    out: dict[str, float] = {}
    for slot in SLOTS:
        here: Part = getattr(a, slot)
        there: Part = getattr(b, slot)
        if not _same(here, there):
            return None
        for key, space in spaces(slot, here, base).items():
            x, y = here.params.get(key, space.default), there.params.get(key, space.default)
            if x == y:
                continue
            if isinstance(space, Choice) or isinstance(x, str) or isinstance(y, str):
                return None
            log = space.log and min(x, y, space.low) > 0
            low, high, u, v = (math.log(z) if log else float(z) for z in (space.low, space.high, x, y))
            out[f"{slot}.{key}"] = abs(u - v) / (high - low)
    return out


def _same(a: Part, b: Part) -> bool:
    """Are two parts one? Code that differs in comments, docstrings, layout or its name is the same code."""
    if a.code is None or b.code is None:
        return a.name == b.name
    return a.code.slot == b.code.slot and essence(a.code.source) == essence(b.code.source)
