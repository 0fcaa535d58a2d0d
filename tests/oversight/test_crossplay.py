"""Cross-play: known skills come out in order, at the shares put in, and intervals hold what they should."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from aar.oversight import Cast, Comparison, Debating, Scripted, Skill, debate, known
from aar.oversight.crossplay import cross_play
from aar.scoring import scores
from aar.scoring.crossplay import standings
from aar.scoring.verdicts import ELO, ratings
from tests.oversight.test_commands import oversight

N = 600
SKILLS = (0.2, 0.5, 0.8)
JUDGE = 0.6


def beats(honest: float, liar: float) -> float:
    """P(a debater of this skill, arguing for the right answer, beats one of that skill)."""
    return honest + (1 - honest) * (1 - liar) * JUDGE


def test_known_skills_come_out_in_order_and_at_the_shares_put_in() -> None:
    comparisons, better, cast = known(N, Skill(judge=JUDGE))
    debaters = [known(N, Skill(finds=s, fools=s))[2].debater for s in SKILLS]
    bouts = cross_play(cast.judge, debaters, comparisons, Debating(rounds=1))
    assert [(b.first, b.second) for b in bouts] == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    won = np.full((3, 3, N), 0.5)
    for b in bouts:
        won[b.first, b.second] = scores(b.outcome.verdicts.p, np.zeros(N, np.int64))
        assert set(b.outcome.cost) == {"judge", "debater", "opponent"}
        assert b.outcome.models["debater"] != b.outcome.models["opponent"]
        assert all(c.calls == N for r, c in b.outcome.cost.items() if r != "judge"), "each speaks for its own side"
    found = standings(won, better)
    assert found[0].elo.high < found[1].elo.low and found[1].elo.high < found[2].elo.low
    assert sum(s.elo.value for s in found) == pytest.approx(0, abs=1e-6)
    for i, s in enumerate(SKILLS):
        others = [x for j, x in enumerate(SKILLS) if j != i]
        honest, lying = np.mean([beats(s, x) for x in others]), np.mean([1 - beats(x, s) for x in others])
        assert found[i].honest.low <= honest <= found[i].honest.high
        assert found[i].lying.low <= lying <= found[i].lying.high
        assert found[i].won.value == pytest.approx((found[i].honest.value + found[i].lying.value) / 2)


def test_ratings_are_the_odds_put_in_and_their_interval_knows_that_bouts_share_questions() -> None:
    rng, strength = np.random.default_rng(0), np.array([-0.8, 0.0, 0.8])
    p = 1 / (1 + np.exp(strength[None, :] - strength[:, None]))
    n = 400
    alone = (rng.random((3, 3, n)) < p[:, :, None]).astype(np.float64)
    found = standings(alone, np.zeros(n, np.int64))
    for s, true in zip(found, strength * ELO, strict=True):
        assert s.elo.low <= true <= s.elo.high
    twice = alone.copy()
    for i, j in ((0, 1), (0, 2), (1, 2)):
        twice[j, i] = 1 - alone[i, j]  # the other order says the same again: as many debates, half the evidence
    for won, wider in ((alone, 1.0), (twice, math.sqrt(2))):
        wins = won.sum(2) + (1 - won).sum(2).T
        np.fill_diagonal(wins, 0)
        for s, fisher in zip(standings(won, np.zeros(n, np.int64)), ratings(wins), strict=True):
            assert s.elo.high - s.elo.low == pytest.approx(wider * (fisher.high - fisher.low), rel=0.15)


def test_who_never_loses_has_a_finite_rating_and_no_verdict_is_half_a_win() -> None:
    always = np.full((2, 2, 30), 0.5)
    always[0, 1], always[1, 0] = 1.0, 0.0
    best, worst = standings(always, np.zeros(30, np.int64))
    assert math.isfinite(best.elo.value) and best.elo.value == -worst.elo.value > 300 and best.won.value == 1
    won = np.full((2, 2, 400), 0.5)
    won[0, 1], won[1, 0, ::2], won[1, 0, 1::2] = 1.0, 1.0, 0.0
    ahead, _ = standings(won, np.zeros(400, np.int64))
    assert 2 * ahead.elo.value == pytest.approx(400 * math.log10(3), abs=1), "three of four, whichever answer it had"
    even = standings(np.full((2, 2, 30), 0.5), np.zeros(30, np.int64))
    assert [round(s.elo.value, 6) for s in even] == [0, 0] and even[0].won.value == 0.5


def test_each_side_hears_the_other_debater_and_speaks_as_itself() -> None:
    heard: list[tuple[str, str]] = []

    def voice(name: str) -> Scripted:
        def says(prompt: str, how: object) -> str:
            heard.append((name, prompt))
            return f"{name} spoke"

        return Scripted(says, name=name)

    asked = Comparison(id="1", prompt="?", answers=("left", "right"))
    for at_once in (True, False):
        heard.clear()
        cast = Cast(Scripted(), voice("one"), voice("two"))
        (transcript,) = debate(cast, [asked], Debating(rounds=2, simultaneous=at_once)).transcripts
        assert {(t.side, t.text) for t in transcript.turns} == {(0, "one spoke"), (1, "two spoke")}
        last = {name: prompt for name, prompt in heard}
        assert "You said:\n> one spoke" in last["one"] and "Your opponent said:\n> two spoke" in last["one"]
        assert "Your answer:\n> right" in last["two"] and "Your opponent said:\n> one spoke" in last["two"]


def test_the_command_rates_debaters(tmp_path: Path) -> None:
    said = oversight(tmp_path, "debate", "--task", "known", "--debaters", "0.2,0.8", "--rows", 200, "--json")
    told = json.loads(said[said.index("{") : said.rindex("}") + 1])
    low, high = told["table"]
    assert (low["debater"], high["debater"]) == ("0.2", "0.8") and low["Elo"]["high"] < high["Elo"]["low"]
    assert low["debates"] == 400 and any("judge's score" in note for note in told["notes"])
    names = {Path(f).name for f in told["files"]}
    assert {"1-against-2.html", "2-against-1.html", "rows.jsonl"} <= names
    for words, why in (
        (("--debaters", "0.2"), "give at least two, each once"),
        (("--debaters", "0.2,0.2"), "give at least two, each once"),
        (("--debaters", "0.2,me"), "with --task known a debater is a chance, 0 to 1"),
        (("--debaters", "0.2,1.5"), "with --task known a debater is a chance, 0 to 1"),
        (("--debaters", "0.2,0.8", "--helper", "chat:openai:m"), "with --debaters leave it out"),
    ):
        assert why in " ".join(oversight(tmp_path, "debate", "--task", "known", *words, code=2).split())
    assert "has no speakers" in oversight(tmp_path, "debate", "--debaters", "a,b", code=2)
