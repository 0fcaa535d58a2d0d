"""A search as one self-contained HTML page, and the rows of figures it comes down to.

The page shows public values only, says of every selected value that it flatters, and gives the reason wherever there is
no PGR. Foreign text (logs, rationales) is escaped; the page loads nothing and runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aar.ledger import Ledger
from aar.report._headline import Row, headline
from aar.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from aar.atlas import Atlas
    from aar.oversight import Comparison, Outcome
    from aar.oversight.digits import Digits, Game
    from aar.report._arms import Arms
    from aar.report._debate import Figure as DebateFigure
    from aar.runner.feedback import Feedback


def write_report(ledger: Ledger, settings: Settings, search: str) -> Path:
    """Write `reports/<search>.html` in the workspace and its charts as `reports/<search>/*.svg`; the page's path.

    The task goes beside it, `reports/<search>.yaml`, so that a claim can be run again.

    Raises:
        AarError: there is no such search.
    """
    from aar.report import _page  # drawing needs scipy and optuna; `aar status` asks for the headline only

    return _page.write(ledger, settings, search)


def write_atlas(atlas: Atlas, settings: Settings) -> Path:
    """Write `reports/<atlas>.html`, `.csv`, `.json` and `reports/<atlas>/*.svg` in the workspace; the page's path."""
    from aar.report import _atlas

    return _atlas.write(atlas, settings)


def debate_figures(games: Sequence[Game], labels: NDArray[np.int64]) -> list[DebateFigure]:
    """What debates on the same images came to, protocol by protocol, over the seeds of their judges."""
    from aar.report import _debate

    return _debate.figures(games, labels)


def debate_rows(games: Sequence[Game], labels: NDArray[np.int64]) -> Iterator[dict[str, object]]:
    """A row for each game on each image: claims, who revealed what, the judge's lean after each turn, the verdict."""
    from aar.report import _debate

    return _debate.rows(games, labels)


def write_debate(games: Sequence[Game], asked: Digits, found: Sequence[DebateFigure], path: Path) -> None:
    """Write a page of figures and transcripts, and its charts as `accuracy.svg` and `belief.svg` beside it."""
    from aar.report import _debate

    _debate.write(games, asked, found, path)


def write_transcripts(
    outcome: Outcome,
    comparisons: Sequence[Comparison],
    path: Path,
    better: Sequence[int] | NDArray[np.int64] | None = None,
    most: int = 20,
    bound: float = 0.5,
) -> Path:
    """Write the first `most` transcripts of a protocol as one self-contained page, an artifact for MLflow; its path.

    `better` marks the truly better answers, where a reader may know them.
    """
    from aar.report import _transcripts

    return _transcripts.write(outcome, comparisons, path, better, most, bound)


def write_gap(
    settings: Settings, oversight: float | None = None, capability: float | None = None, years: int = 5
) -> Path:
    """Write `reports/oversight-gap.html` and `.svg` from the workspace's sandwiches; the page's path.

    With growth rates of log-odds a year, `oversight` of the helped judge and `capability` of the strong one, the page
    has a projection.

    Raises:
        AarError: there is no sandwich, or one rate without the other.
    """
    from aar.report import _gap
    from aar.types import AarError

    if (oversight is None) != (capability is None):
        raise AarError("a projection needs both rates: --oversight and --capability")
    growth = None if oversight is None or capability is None else _gap.Growth(oversight, capability, years)
    return _gap.write(settings, growth)[0]


def compare(ledger: Ledger, searches: Sequence[str], different: bool = False) -> Arms:
    """Searches side by side, by who proposed: areas, confirmed values, costs, and a verdict with its interval.

    Searches of `different` settings are compared only where that is asked for.

    Raises:
        AarError: they cannot be compared.
    """
    from aar.report import _arms

    return _arms.arms(ledger, searches, different)


def write_arms(found: Arms, path: Path) -> Path:
    """Write a comparison's chart as an SVG file; its path."""
    from aar.report import _arms_chart
    from aar.report._svg import standalone
    from aar.settings import write_whole

    write_whole(path, standalone(_arms_chart.chart(found)))
    return path


def write_feedback(found: Feedback, path: Path) -> Path:
    """Write what a policy's training by feedback came to as one page, with its curve; the page's path."""
    from aar.report import _feedback

    return _feedback.write(found, path)


__all__ = [
    "Row",
    "compare",
    "debate_figures",
    "debate_rows",
    "headline",
    "write_arms",
    "write_atlas",
    "write_debate",
    "write_gap",
    "write_feedback",
    "write_report",
    "write_transcripts",
]
