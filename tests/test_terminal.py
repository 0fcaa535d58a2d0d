"""What models, jobs and people wrote reaches no terminal as an order to it: not the clipboard, not the screen."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from aar.cli import fail
from aar.cli.parts import export_part
from aar.cli.view import View
from aar.methods import file_of, parse, read_part
from aar.types import Recipe
from tests.ledgers import begin, failure, propose, score, score_trial, written
from tests.loops import ledger_of
from tests.test_cli import aar
from tests.written import MINE

PLANTED = "because \x1b]52;c;cm0gLXJmIC8=\x07\x1b[2J\x9b2J it helps"
SAID = "because \ufffd]52;c;cm0gLXJmIC8=\ufffd\ufffd[2J\ufffd2J it helps"


def test_the_live_view_and_the_status_pass_no_control_characters_on(tmp_path: Path) -> None:
    with ledger_of(tmp_path / "ws") as ledger:
        begin(ledger, "s")
        with written(ledger, "s") as lease:
            propose(lease, 0)
            score_trial(lease, 0, score(0.2))
            propose(lease, 1, Recipe.model_validate({"loss": {"name": "logconf"}}), "llm", rationale=PLANTED)
            propose(lease, 2, Recipe.model_validate({"loss": {"name": "product"}}), "llm")
            failure(lease, 2, PLANTED)
        for kind in ("steer", "question"):
            ledger.post("s", kind, {"text": PLANTED})
        out = io.StringIO()
        with View(ledger, "s", Console(file=out, force_terminal=True, width=400), tmp_path):
            pass
    said = aar("status", "s", "--workspace", tmp_path / "ws").out
    assert said.count(SAID) == 4 and "\x1b" not in said and "\x9b" not in said, said
    live = out.getvalue()
    assert SAID in live and [w for w in ("\x1b]52", "\x1b[2J", "\x9b", "\x07") if w in live] == []


def test_what_went_wrong_is_told_without_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fail(PLANTED)
    assert capsys.readouterr().err == f"aar: {SAID}\n"


def test_a_written_part_is_plain_on_a_terminal_and_itself_in_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    part = read_part(MINE.rstrip() + f"  # {PLANTED}\n")
    with ledger_of(tmp_path / "ws") as ledger:
        begin(ledger, "s")
        with written(ledger, "s") as lease:
            propose(lease, 0)
            with monkeypatch.context() as before:  # such letters are refused now; an older ledger may hold them
                before.setattr("aar.methods.static._letters", lambda source: ())
                propose(lease, 1, parse(None, [f"{part.slot}={part.ref}"], (part,)), "llm")
    export_part("s", 1, None, None, True, tmp_path / "ws")
    assert capsys.readouterr().out == file_of(part)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    export_part("s", 1, None, None, True, tmp_path / "ws")
    assert SAID in capsys.readouterr().out
