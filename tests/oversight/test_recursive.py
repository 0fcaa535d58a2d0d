"""Recursive reward modelling: known skills come out at every level, and what it is held against costs as much."""

from __future__ import annotations

import pytest
from scipy import stats

from aar.oversight import (
    Cast,
    Comparison,
    Debating,
    Outcome,
    Recursing,
    Scripted,
    Skill,
    known,
    majority,
    recursive,
)
from aar.scoring import measured

N = 1000
LAMP = Comparison(id="1", prompt="Which lamp?", answers=("left", "right"))


def calls(outcome: Outcome) -> int:
    return sum(cost.calls for cost in outcome.cost.values())


@pytest.mark.parametrize("eases", [0.1, 0.0, -0.1], ids=["parts are easier", "as hard", "harder"])
def test_accuracy_by_level_is_that_put_in(eases: float) -> None:
    skill = Skill(eases=eases, bias=0.05)
    comparisons, better, cast = known(N, skill, seed=1)
    for level in range(3):
        found = recursive(cast, comparisons, Recursing(level=level))
        m = measured(found.verdicts.p, better)
        assert m.accuracy.low <= skill.recursive(level) <= m.accuracy.high, f"level {level}"
        assert m.bias.value == pytest.approx(0.05) and m.abstained.value == 0
        assert calls(found) == N * (2, 1 + 3 * 2 + 2, 1 + 3 * (1 + 3 * 2 + 2) + 2)[level]
        assert found.cost["judge"].calls == N * (2 if level == 0 else 3)


def test_votes_cost_what_the_level_costs_and_are_right_as_often_as_their_number_says() -> None:
    skill = Skill()
    comparisons, better, cast = known(N, skill)
    for level in (1, 2):
        dear = recursive(cast, comparisons, Recursing(level=level))
        voted = majority(cast, comparisons, Debating(), calls(dear))
        draws = (3, 9)[level - 1]
        assert calls(voted) == 4 * draws * N and calls(dear) <= calls(voted) <= calls(dear) + 8 * N
        m = measured(voted.verdicts.p, better)
        assert m.accuracy.low <= stats.binom.sf(draws // 2, draws, skill.judge) <= m.accuracy.high
        assert m.abstained.value == 0, "an odd number has no tie"


def test_the_judge_reads_what_was_evaluated_and_for_whom_in_either_order() -> None:
    seen: list[str] = []

    def prefers(prompt: str, options: object) -> list[float]:
        if "An assistant's evaluation" in prompt:
            seen.append(prompt)
            return [0.5, 0.5]
        if "truer" in prompt:
            return [0.9, 0.1] if "Answer A:\n> left" in prompt else [0.1, 0.9]
        return [0.0, 0.0] if "shorter" in prompt else [0.6, 0.4]  # the last one only sees places

    asks = "- Which answer is truer?\n- Which answer is shorter?\n- Which is <v_quote>nicer</v_quote>?\n- Too many?"
    speaker = Scripted(lambda prompt, how: asks, prefers)
    found = recursive(Cast(speaker, speaker), [LAMP], Recursing(level=1))
    assert [(t.side, t.invalid) for t in found.transcripts[0].turns] == [(0, ""), (None, "no answer"), (None, "")]
    first, second = seen
    assert "evaluation, for answer A:\n> Which answer is truer?\n" in first and "for answer B" not in first
    assert "evaluation, for answer B:\n> Which answer is truer?\n" in second and "for answer A" not in second
    for prompt in seen:
        assert "for neither answer:\n> Which answer is shorter? (nothing was said)" in prompt
        assert "for neither answer:\n> Which is nicer?\n" in prompt, "marks of checked quotes are the judge's alone"
    assert found.models == {"judge": "scripted", "debater": "scripted"}


def test_assistants_may_be_another_speaker_and_a_judge_that_names_no_part_decides_alone() -> None:
    judge = Scripted(lambda prompt, how: "- Which is right in hue?", lambda prompt, options: [0.7, 0.3], "judge")
    helper = Scripted(lambda prompt, how: "no list", lambda prompt, options: [0.8, 0.2], "helper")
    found = recursive(Cast(judge, helper), [LAMP], Recursing(level=2))
    assert (found.cost["judge"].calls, found.cost["debater"].calls) == (3, 3), "the helper asked in vain for parts"
    alone = recursive(Cast(helper, judge), [LAMP], Recursing(level=2))
    assert alone.transcripts[0].turns == () and alone.cost["debater"].calls == 0
    assert not recursive(Cast(judge, helper), [], Recursing(level=2)).transcripts
