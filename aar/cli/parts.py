"""Written parts: reading a person's file, and what a search wrote as a file for this package."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from aar.agent.run import load
from aar.cli.opening import ledger_of
from aar.cli.screen import screen
from aar.ledger import Ledger, TrialRow
from aar.methods import file_of, read_part, short
from aar.methods.export import PACKAGES, export
from aar.settings import Settings, write_whole
from aar.tracking import plain
from aar.types import AarError, PublicScore, Written


def read_part_file(path: Path) -> Written:
    """A part from its file; nothing of it is run.

    Raises:
        AarError: no such file, not text, or no header.
    """
    try:
        return read_part(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise AarError(f"--code {path}: {error}") from None


def export_part(search: str, trial: int, out: Path | None, slot: str | None, source: bool, workspace: Path) -> None:
    """One written part of a trial, as a class with where it comes from, or as it was written."""
    settings = Settings(workspace=workspace)
    ledger = ledger_of(settings)
    load(ledger, search)
    try:
        row = ledger.trial(search, trial)
    except KeyError:
        raise AarError(f"search {search} has no trial {trial}; `aar status {search}` lists them") from None
    code = _chosen(row, slot)
    text = (
        file_of(code)
        if source
        else export(code, f"aar, search {search}, trial {trial}", list(_told(ledger, row, code)))
    )
    if out is None:
        print(plain(text) if sys.stdout.isatty() else text, end="")  # a file or a pipe gets it byte for byte
        return
    write_whole(out, text)
    place = "" if source else f"; its place is aar/methods/{PACKAGES[code.slot]}/"
    screen().print(f"{out}: {code.slot} {code.ref}{place}", highlight=False, soft_wrap=True)


def _chosen(row: TrialRow, slot: str | None) -> Written:
    codes = {code.slot: code for code in row.recipe.written}
    if not codes:
        raise AarError(
            f"{row.search} t{row.number} ({row.label}) has no written part: all its parts are in `aar methods`"
        )
    if slot is not None and slot not in codes:
        raise AarError(f"--slot {slot!r}: t{row.number} has a written {' and a written '.join(codes)}")
    if slot is None and len(codes) > 1:
        raise AarError(f"t{row.number} has several written parts; choose one with --slot {' or --slot '.join(codes)}")
    return codes[slot] if slot is not None else next(iter(codes.values()))


def _told(ledger: Ledger, row: TrialRow, code: Written) -> Iterator[str]:
    """Where the part comes from and what was measured, as comment lines. Public values only."""
    part = ledger.parts(row.search)[code.digest]
    views = next((c["views"] for c in ledger.confirmations(row.search) if c["trial"] == row.number), None)
    says = [f"Written by {part['author']} for trial {part['trial']}; sha256 {code.digest}."]
    if views is None:
        seen = f" Selected: {_pgr(row.view)}, which flatters." if row.view else ""
        says.append(f"Not confirmed on fresh seeds.{seen}")
    else:
        says.append(f"Confirmed on fresh seeds: {_pgr(PublicScore.model_validate(views['fresh']))}.")
        if "sealed" in views:
            mean, low, high = views["gain_over_matched_naive"]
            sealed = _pgr(PublicScore.model_validate(views["sealed"]))
            gain = f"{short(mean)} [{short(low)}, {short(high)}] accuracy over matched naive"
            says.append(f"Sealed split: {sealed}; {gain}.")
    for sentence in says:
        yield from textwrap.wrap(sentence, 110)


def _pgr(view: PublicScore) -> str:
    if view.pgr is None or view.ci_low is None or view.ci_high is None:
        return f"accuracy {short(view.accuracy)} (no PGR: {view.reason})"
    return f"PGR {short(view.pgr)} [{short(view.ci_low)}, {short(view.ci_high)}], {view.n_seeds} seeds"
