"""Rows that cannot be used: left out, reported with their numbers, and too many stop the task."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from aar.data._rows import Place
from aar.types import AarError

LIMIT = 0.05
"""Share of bad rows in one source that is taken for slips; above it the task is taken to misread the data."""
SHOWN = 5


@dataclass
class BadRows:
    """Bad rows of one pool of `total` rows, by what is wrong with them."""

    total: int = 0
    found: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)

    def add(self, place: Place, why: str) -> None:
        """Note a row as bad."""
        source, unit, number = place
        self.found.setdefault((source, unit, why), []).append(number)

    def notes(self) -> list[str]:
        """One sentence for each source and fault, with row numbers."""
        return [
            f"{source}: {len(numbers)} bad rows left out: {why} ({_numbers(unit, numbers)})"
            for (source, unit, why), numbers in self.found.items()
        ]

    def demand_few(self) -> None:
        """Raise where more than LIMIT of the rows are bad.

        Raises:
            AarError: with every fault and the first row numbers.
        """
        bad = sum(len(set(numbers)) for numbers in self.found.values())
        if bad <= LIMIT * self.total:
            return
        faults = [f"{source}: {why} ({_numbers(unit, numbers)})" for (source, unit, why), numbers in self.found.items()]
        more = [f"and {len(faults) - SHOWN} faults more"] if faults[SHOWN:] else []
        raise AarError(
            f"{bad} of {self.total} rows are bad, more than {LIMIT:.0%}; correct them, or what the task says of them:"
            + "".join(f"\n  {line}" for line in [*faults[:SHOWN], *more])
        )


def _numbers(unit: str, numbers: Iterable[int]) -> str:
    """`lines 3, 8 and 12 more`."""
    rows = sorted(set(numbers))
    shown = ", ".join(map(str, rows[:SHOWN]))
    return f"{unit}{'s' if len(rows) > 1 else ''} {shown}" + (f" and {len(rows) - SHOWN} more" if rows[SHOWN:] else "")
