"""What is done with parameter spaces, and the class every part derives from. No torch, no optuna."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from aar.types import AarError, Choice, Float, Int, Space, TaskKind, Training, Value

__all__ = ["Choice", "Float", "Int", "PartInfo", "Space", "checked", "resolve", "short", "span", "tidy"]


def resolve(name: str, space: Space, base: Training) -> Space:
    """The space with the task's own strong training filled in where the space refers to it."""
    if isinstance(space, Float) and space.relative:
        own = float(getattr(base, name))
        return Float(low=tidy(space.low * own), high=tidy(space.high * own), default=own, log=space.log)
    if isinstance(space, Float) and space.inherit:
        given = float(getattr(base, name))
        return Float(low=min(space.low, given), high=max(space.high, given), default=given, log=space.log)
    if isinstance(space, Int) and space.inherit:
        own_int = int(getattr(base, name))
        return Int(low=min(space.low, own_int), high=max(space.high, own_int), default=own_int, log=space.log)
    if isinstance(space, Choice) and space.inherit:
        own_value: Value = getattr(base, name)
        options = space.options if own_value in space.options else (*space.options, own_value)
        return Choice(options=options, default=own_value)
    return space


def tidy(value: float) -> float:
    """Three significant digits: what a person reads, what a recipe stores, what a duplicate is compared by."""
    return float(f"{value:.3g}")


def checked(where: str, space: Space, value: Value) -> Value:
    """`value` in the space's own type.

    Raises:
        AarError: wrong type or out of range; the message gives the range.
    """
    if isinstance(space, Choice):
        for option in space.options:
            if option == value and isinstance(option, bool) == isinstance(value, bool):
                return option
        raise AarError(f"{where}: {value!r} is not one of {', '.join(map(str, space.options))}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
        raise AarError(f"{where}: {value!r} is not a number; give {space.low:g} to {space.high:g}")
    if isinstance(space, Int) and value != int(value):
        raise AarError(f"{where}: {value!r} is not a whole number; give {space.low} to {space.high}")
    if not space.low <= value <= space.high:
        raise AarError(f"{where}: {value!r} is out of range; give {space.low:g} to {space.high:g}")
    return int(value) if isinstance(space, Int) else float(value)


def span(space: Space) -> str:
    """The range as a person reads it."""
    if isinstance(space, Choice):
        return "|".join(map(str, space.options))
    times = "×" if isinstance(space, Float) and space.relative else ""
    return f"{short(space.low)}{times}–{short(space.high)}{times}"


def short(value: Value) -> str:
    """A number the way the tables print it: `.75`, `3e-05`, `12`."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    text = f"{value:.3g}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


class PartInfo:
    """What every part says of itself; a subclass in one slot's file adds what it does.

    `space` holds the searched parameters; `paper` the source; `not_for` the kinds of task that it cannot serve, with
    the reason. The class docstring is the summary.
    """

    name: ClassVar[str]
    space: ClassVar[dict[str, Space]] = {}
    paper: ClassVar[str] = ""
    not_for: ClassVar[Mapping[TaskKind, str]] = {}

    @classmethod
    def summary(cls) -> str:
        """First line of the docstring."""
        return (cls.__doc__ or "").strip().splitlines()[0]
