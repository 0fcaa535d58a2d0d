"""Parameter spaces as plain data."""

from __future__ import annotations

from typing import Literal

from aar.types._word import Value, Word


class Float(Word):
    """A real parameter in [low, high].

    `relative`: bounds and default multiply the task's own value of that name; `inherit`: the default is that value.
    """

    kind: Literal["float"] = "float"
    low: float
    high: float
    default: float
    log: bool = False
    relative: bool = False
    inherit: bool = False


class Int(Word):
    """A whole parameter in [low, high]. `inherit`: the default is the task's own value of that name."""

    kind: Literal["int"] = "int"
    low: int
    high: int
    default: int
    log: bool = False
    inherit: bool = False


class Choice(Word):
    """One of a few values. `inherit`: the default is the task's own value, which joins the options."""

    kind: Literal["choice"] = "choice"
    options: tuple[Value, ...]
    default: Value
    inherit: bool = False


Space = Float | Int | Choice
