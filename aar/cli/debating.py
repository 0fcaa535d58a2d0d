"""The command that measures debate by evidence."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from aar.cli.mapping import each
from aar.cli.overseeing import Cell, Result, perform
from aar.executor import Stopped
from aar.oversight import digits
from aar.report import debate_figures, debate_rows, write_debate
from aar.report._debate import Figure
from aar.runner.launcher import Launcher
from aar.sandbox.image import source_digest
from aar.scoring.verdicts import Share
from aar.settings import Settings, write_whole_bytes
from aar.types import AarError, digest_of

PIXELS = digits.SIDE**2
DEFAULT_K = (4, 6)


def debate(ks: Sequence[str], seeds: int, settings: Settings, as_json: bool) -> None:
    """Train judges, play every protocol, write rows and page; the table, or JSON. A judge's games are kept as played.

    Raises:
        AarError: a number of reveals that cannot be.
    """
    reveals = _reveals(ks)

    def work(run: Launcher, console: Console) -> Result:
        known, asked = digits.load()
        folder = Path(run.settings.folder("oversight")) / run.search / "games"
        played: list[digits.Game] = []
        for k in reveals:
            for seed in range(seeds):
                if run.executor.cancel.is_set():
                    raise Stopped
                played += _games(folder, known, asked, k, seed)
                console.print(f"  ✓ {k} pixels, judge {seed}", highlight=False)
        found = debate_figures(played, asked.labels)
        pages = {"debate.html": partial(write_debate, played, asked, found)}
        lines = [_cells(f, len(asked.labels)) for f in found]
        return Result(lines, debate_rows(played, asked.labels), pages=pages)

    perform("debate", {"task": "digits", "k": reveals, "seeds": seeds}, settings, as_json, work)


def _games(folder: Path, known: digits.Digits, asked: digits.Digits, k: int, seed: int) -> Sequence[digits.Game]:
    """All protocols under one judge: as kept by a run of this very code, or played."""
    own = Path(digits.__file__).read_text(encoding="utf-8")  # on the host only, and so not among a job's sources
    code = digest_of([source_digest(), own, version("scikit-learn"), version("numpy")])[:12]
    path = folder / f"k{k}-seed{seed}-{code}.games"
    if path.is_file():
        return digits.unpacked(path.read_bytes())
    played = list(digits.games(known, asked, k, seed))
    write_whole_bytes(path, digits.packed(played))
    return played


def _reveals(given: Sequence[str]) -> list[int]:
    for k in each(given):
        if not k.isdecimal() or not 1 <= int(k) <= PIXELS:
            raise AarError(f"--k {k}: must be a whole number of pixels, 1 to {PIXELS}")
    return list(dict.fromkeys(int(k) for k in each(given))) or list(DEFAULT_K)


def _cells(f: Figure, n: int) -> dict[str, Cell]:
    side = {"honest": ", honest first", "liar": ", liar first", "both": ", both orders"}.get(f.side, "")
    if f.protocol == "consultancy":
        side = f", {f.side} adviser"
    bias = None if f.bias is None else Share(*f.bias, n)
    return {
        "protocol": f"{f.protocol}{side}, {f.k} pixels", "right": Share(f.accuracy, f.low, f.high, n),
        "chance": f.chance, "ECE": f.ece, "honest first less liar first": bias,
    }  # fmt: skip
