"""Digits debate: one judge, its games, what they come to and the page that shows them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from aar.oversight import digits
from aar.oversight.digits import Digits, Game, SparseJudge
from aar.report import debate_figures, debate_rows, write_debate
from aar.report._debate import Figure
from tests.test_cli import aar

K = 4


@pytest.fixture(scope="module")
def played() -> tuple[list[Game], Digits]:
    known, asked = digits.load()
    return list(digits.games(known, asked, K, 0)), asked


@pytest.fixture(scope="module")
def found(played: tuple[list[Game], Digits]) -> dict[tuple[str, str], Figure]:
    return {(f.protocol, f.side): f for f in debate_figures(played[0], played[1].labels)}


def test_the_two_halves_share_no_image() -> None:
    known, asked = digits.load()
    assert (len(known.labels), len(asked.labels)) == (1078, 719)
    assert known.pixels.max() == 1 and known.pixels.min() == 0
    assert {p.tobytes() for p in known.pixels}.isdisjoint({p.tobytes() for p in asked.pixels})


def test_hidden_pixels_never_reach_the_judge() -> None:
    known, asked = digits.load()
    judge = SparseJudge(Digits(known.pixels[:100], known.labels[:100]), K, 0)
    rng = np.random.default_rng(0)
    shown = rng.random(asked.pixels.shape) < 0.1
    other = np.where(shown, asked.pixels, rng.random(asked.pixels.shape).astype(np.float32))
    assert np.array_equal(judge(asked.pixels, shown), judge(other, shown))
    assert not np.array_equal(judge(asked.pixels, shown), judge(asked.pixels, ~shown))


def test_only_non_zero_pixels_are_revealed_k_of_them(played: tuple[list[Game], Digits]) -> None:
    games, asked = played
    for game in games:
        order = game.transcript.order
        assert order.shape == (719, K), game.protocol
        assert (asked.pixels[np.arange(719)[:, None], order] > 0).all(), game.protocol


def test_debate_helps_this_judge_about_as_much_as_the_papers(found: dict[tuple[str, str], Figure]) -> None:
    assert 0.38 < found["random", ""].accuracy < 0.56, "the paper: .482"
    assert 0.76 < found["precommit", "both"].accuracy < 0.92, "the paper: .852"
    assert found["consultancy", "honest"].accuracy > 0.98 and found["consultancy", "liar"].accuracy < 0.02
    assert found["two claims", ""].high < found["debate", "both"].low
    assert found["precommit", "both"].accuracy < found["debate", "both"].accuracy, "nine lies are harder than one"
    assert found["no precommit", "both"].accuracy < found["precommit", "both"].accuracy


def test_figures_are_those_of_the_games(
    played: tuple[list[Game], Digits], found: dict[tuple[str, str], Figure]
) -> None:
    games, asked = played
    own = {(g.protocol, g.side): (g.transcript.verdict == asked.labels).mean() for g in games}
    assert {key: f.accuracy for key, f in found.items() if f.side != "both"} == pytest.approx(own)
    for protocol in ("debate", "precommit", "no precommit"):
        both = found[protocol, "both"]
        honest, liar = own[protocol, "honest"], own[protocol, "liar"]
        assert both.accuracy == pytest.approx((honest + liar) / 2)
        assert both.bias is not None and both.bias.value == pytest.approx(honest - liar)
        assert both.bias.low <= both.bias.value <= both.bias.high
    assert all(f.low <= f.accuracy <= f.high for f in found.values())
    assert found["consultancy", "liar"].ece == pytest.approx(1, abs=0.15), "sure, and wrong"
    assert (found["debate", "liar"].ece or 0) < 0.1 and found["precommit", "liar"].ece is None


def test_the_worst_of_nine_games_is_told(played: tuple[list[Game], Digits]) -> None:
    games, asked = played
    for game in games:
        truth, lie = game.transcript.claims.T
        assert (truth == asked.labels).all() and (lie != truth).all()
    one = next(g.transcript for g in games if (g.protocol, g.side) == ("debate", "liar"))
    nine = next(g.transcript for g in games if (g.protocol, g.side) == ("precommit", "liar"))
    assert (nine.margins[:, -1] <= one.margins[:, -1] + 1e-6).all(), "that one lie is among the nine"


def test_rows_and_page_hold_every_game_and_who_showed_what(played: tuple[list[Game], Digits], tmp_path: Path) -> None:
    games, asked = played
    page = tmp_path / "debate.html"
    write_debate(games, asked, debate_figures(games, asked.labels), page)
    rows = list(debate_rows(games, asked.labels))
    assert len(rows) == len(games) * len(asked.labels)
    row = next(r for r in rows if (r["protocol"], r["side"], r["image"]) == ("debate", "liar", 0))
    told = next(g.transcript for g in games if (g.protocol, g.side) == ("debate", "liar"))
    assert row["revealed"] == told.order[0].tolist() and row["by"] == ["liar", "honest"] * 2
    assert row["truth"] == asked.labels[0] and row["lie"] == told.claims[0, 1]
    assert row["right"] is (row["verdict"] == row["truth"])
    text = page.read_text()
    assert "paper" in text and "the judge says" in text and "<script" not in text
    assert {p.name for p in tmp_path.iterdir()} == {"accuracy.svg", "belief.svg", "debate.html"}


def test_games_are_the_same_when_unpacked(played: tuple[list[Game], Digits]) -> None:
    for a, b in zip(played[0], digits.unpacked(digits.packed(played[0])), strict=True):
        assert (a.protocol, a.side, a.k, a.seed, a.wide) == (b.protocol, b.side, b.k, b.seed, b.wide)
        assert all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in zip(a.transcript, b.transcript, strict=True))


def test_the_command_is_a_run_that_goes_on_and_refuses_what_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("oversight", "debate", "--k", "2", "--seeds", 2, "--json", "--workspace", tmp_path)
    real, judges = digits.games, list[int]()

    def stops(known: Digits, asked: Digits, k: int, seed: int) -> Iterator[Game]:
        judges.append(seed)
        if len(judges) == 2:
            raise KeyboardInterrupt
        return real(known, asked, k, seed)

    monkeypatch.setattr(digits, "games", stops)
    stopped = aar(*words)
    assert stopped.code != 0 and judges == [0, 1]
    told = aar(*words)
    found = json.loads(told.out)
    assert told.code == 0 and judges == [0, 1, 1], "the first judge's games are there already"
    assert found["plan"] == {"task": "digits", "k": [2], "seeds": 2}
    names = {row["protocol"] for row in found["table"]}
    assert {"random, 2 pixels", "debate, both orders, 2 pixels", "consultancy, liar adviser, 2 pixels"} <= names
    assert aar(*words).code == 0 and judges == [0, 1, 1]
    shown = json.loads(aar("status", found["id"], "--json", "--workspace", tmp_path).out)
    assert shown["status"] == "complete"
    files = {Path(f).name for f in found["files"]}
    assert files == {"rows.jsonl", "table.json", "debate.html"}
    for wrong, why in (
        (("--task", "letters"), "no such file; give a file of JSON lines, or digits, known"),
        (("--k", "0"), "1 to 64"),
        (("--k", "six"), "whole number of pixels"),
    ):
        refused = aar("oversight", "debate", *wrong, "--workspace", tmp_path)
        assert refused.code == 2 and why in refused.err
