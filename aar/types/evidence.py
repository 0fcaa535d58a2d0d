"""What leaves scoring, and what was learnt."""

from __future__ import annotations

from aar.types._word import Word


class SliceView(Word):
    """An arm's accuracy on the `rows` rows of a split where `column` has this value, beside its weak model and ceiling.

    `se` is that of the rounded accuracy and the slice's size. `weak` is None where provided labels do not cover them.
    """

    column: str
    value: str
    rows: int
    accuracy: float
    se: float
    weak: float | None
    ceiling: float


class PublicScore(Word):
    """What leaves scoring, each value rounded by its own noise. See `scoring.public_view`."""

    split: str
    accuracy: float
    accuracy_se: float
    weak: float | None
    ceiling: float | None
    pgr: float | None
    ci_low: float | None
    ci_high: float | None
    reason: str | None = None
    n_seeds: int
    weak_se: float | None = None
    ceiling_se: float | None = None
    diagnostics: dict[str, float] = {}
    slices: tuple[SliceView, ...] = ()


class ControlView(Word):
    """What a control came to, through the gate: a recipe (`t7`, `naive`; "" for none) with something taken from it.

    `low`, `high`: the range of its single runs. `difference`: its accuracy less that of `against`, with the 95 %
    interval. `words` says what it shows, or why it could not be run; `flag` what is wrong with the result, if anything.
    """

    name: str
    recipe: str
    words: str
    flag: str | None = None
    accuracy: float | None = None
    accuracy_se: float | None = None
    low: float | None = None
    high: float | None = None
    n_runs: int = 0
    against: str = ""
    difference: tuple[float, float, float] | None = None


class AuditView(Word):
    """One check of a confirmed trial with its figures in words; `passed` is None where it could not be made."""

    name: str
    words: str
    passed: bool | None = None


class Finding(Word):
    """What was learnt, in a sentence, with the trials it rests on."""

    text: str
    trials: tuple[int, ...] = ()
