"""The portfolio, the families it is to spread over, and several researchers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from aar.agent.families import families, near
from aar.agent.llm.evidence import DIRECTIONS, direction
from aar.agent.mixed import FLOOR, Credit, Mixed, credits, shares
from aar.agent.researchers import Situation, Thought
from aar.ledger import TrialRow
from aar.ledger.journal import PATIENCE, entropy, family, plateaus, source
from aar.types import Author, Hypothesis, Recipe, TrialStatus, Written, canonical_json
from tests.agent.models import garbage, proposal, scripted
from tests.agent.test_llm import searched
from tests.agent.test_researchers import NAIVE_ROW, now
from tests.oversight.chatserver import calls
from tests.rows import BASE, recipe, row
from tests.written import mine


def logconf(a: float) -> Recipe:
    return recipe(loss=("logconf", {"a": a}))


def of(number: int, name: Author, accuracy: float | None) -> TrialRow:
    return row(number, logconf(number / 100), accuracy, author=name)


def shared(mixed: Mixed, now: Situation) -> dict[str, Any]:
    made = mixed.propose(now)
    assert isinstance(made, Hypothesis) and made.shares is not None
    return dict(made.shares)


class Said:
    """A model that proposes this."""

    name = "llm"

    def propose(self, now: Situation) -> Hypothesis:
        return Hypothesis(recipe=recipe(loss="product"), rationale="said", author="llm")


def test_a_trial_is_worth_the_share_of_earlier_trials_that_it_beats() -> None:
    rows = [NAIVE_ROW, of(1, "optuna", 0.8), of(2, "llm", 0.7), of(3, "optuna", 0.75), of(4, "llm", None)]
    found = credits(rows, ["optuna", "llm", "random"])
    first, third = 1.0, 2 / 3
    weight = 0.95**2
    assert found["optuna"].mean == pytest.approx((first * weight + third) / (weight + 1))
    assert found["llm"].mean == 0.0, "it beat nothing, and then failed"
    assert found["random"] == Credit(0.0, None)


def test_what_the_model_could_not_propose_counts_against_it_and_for_nobody_else() -> None:
    told = canonical_json({"source": "llm", "shares": {}, "credit": {}})
    rows = [NAIVE_ROW, of(1, "optuna", 0.8).model_copy(update={"shares": told})]
    assert source(rows[1]) == "llm"
    found = credits(rows, ["optuna", "llm"])
    assert found["llm"].mean == 0.0 and found["optuna"] == Credit(0.0, None)


def test_shares_follow_the_credit_keep_the_floor_and_sum_to_one() -> None:
    found = {"optuna": Credit(8, 0.9), "llm": Credit(8, 0.2), "random": Credit(8, 0.2)}
    chance = shares(found, [1, 2])
    assert sum(chance.values()) == pytest.approx(1, abs=1e-3)
    assert chance["optuna"] > 0.75 and min(chance.values()) >= FLOOR
    assert shares(found, [1, 2]) == chance
    level = shares({name: Credit(0, None) for name in found}, [1, 2])
    assert all(abs(c - 1 / 3) < 0.03 for c in level.values()), "without evidence all the same"


def test_the_choice_depends_on_seed_and_number_alone_and_is_written_down() -> None:
    rows = [NAIVE_ROW, of(1, "optuna", 0.8), of(2, "llm", 0.9)]
    told = shared(Mixed(Said()), now(rows))
    assert told == shared(Mixed(Said()), now(list(rows)))
    assert set(told["shares"]) == {"preset", "optuna", "random", "llm"}
    assert set(shared(Mixed(None), now(rows))["shares"]) == {"preset", "optuna", "random"}
    asked = Counter(shared(Mixed(Said()), now(rows, number=n))["source"] for n in range(3, 63))
    assert set(asked) == {"preset", "optuna", "random", "llm"}, "none is given up"


def test_a_busy_model_is_not_asked_and_one_that_began_to_talk_goes_on() -> None:
    rows = [NAIVE_ROW, of(1, "optuna", 0.8)]
    busy = [shared(Mixed(Said()), now(rows, number=n)._replace(free=False)) for n in range(2, 40)]
    assert all(set(told["shares"]) == {"preset", "optuna", "random"} for told in busy)
    begun = [shared(Mixed(Said()), now(rows, number=n)._replace(begun=True)) for n in range(2, 20)]
    assert {told["source"] for told in begun} == {"llm"}


def test_shares_are_written_to_what_was_thought_out() -> None:
    class Thinks(Said):
        def propose(self, now: Situation) -> Thought:  # type: ignore[override]
            return lambda: super(Thinks, self).propose(now)

    thought = Mixed(Thinks()).propose(now([NAIVE_ROW])._replace(begun=True))
    assert callable(thought)
    made = thought()
    assert made.rationale == "said" and made.shares is not None and made.shares["source"] == "llm"


def test_a_mixed_search_logs_shares_and_credit_of_each_trial(tmp_path: Path) -> None:
    script = scripted(lambda trial, said, asked: calls(proposal("loss=logconf", f"loss.a=.{trial}")))
    found = searched(tmp_path, script, trials=8, researcher="mixed")
    told = [json.loads(t.shares or "{}") for t in found.trials[1:]]
    assert all(t["shares"] and t["source"] for t in told)
    assert {t.author for t in found.trials[1:]} >= {"llm"}
    assert any(t["credit"] for t in told[2:])


def test_a_garbage_model_costs_the_portfolio_its_share_and_no_more(tmp_path: Path) -> None:
    found = searched(tmp_path, garbage, trials=10, researcher="mixed")
    told = [json.loads(t.shares or "{}") for t in found.trials[1:]]
    asked = [t for t in told if t["source"] == "llm"]
    assert found.row is not None and found.row["status"] == "complete"
    assert all(t.view is not None or t.status is TrialStatus.FAILED for t in found.trials), "each trial was a real one"
    if asked:
        assert told[-1]["shares"]["llm"] <= told[0]["shares"]["llm"]


def test_families_are_named_by_what_is_not_naives_and_told_when_they_stop_paying() -> None:
    assert family(Recipe()) == "naive" and family(recipe(loss="logconf", targets="hard")) == "hard + logconf"
    rows = [NAIVE_ROW, *(of(i, "llm", 0.9 - i / 100) for i in range(1, 5))]
    (found,) = [f for f in families(rows) if f.name == "logconf"]
    assert found.trials == (1, 2, 3, 4) and found.barren == 3 and found.over_tried and found.accuracy == 0.89
    rows.append(of(5, "llm", 0.95))
    assert not families(rows)[0].over_tried


def test_entropy_is_zero_for_one_family_and_one_bit_for_two_alike() -> None:
    assert entropy([NAIVE_ROW]) is None
    assert entropy([NAIVE_ROW, of(1, "llm", 0.8), of(2, "llm", 0.8)]) == 0
    assert entropy([NAIVE_ROW, of(1, "llm", 0.8), row(2, recipe(loss="product"), 0.8)]) == pytest.approx(1.0)


def test_a_plateau_is_so_many_scored_trials_without_a_new_best_and_brings_a_new_direction() -> None:
    flat: Sequence[TrialRow] = [NAIVE_ROW, of(1, "llm", 0.9), *(of(i, "llm", 0.8) for i in range(2, 2 + PATIENCE))]
    assert plateaus(flat[:-1]) == 0 and plateaus(flat) == 1
    before = [direction(3, v, flat[:-1]) for v in range(4)]
    after = [direction(3, v, flat) for v in range(4)]
    assert (
        len(set(before)) == 4 and len(set(after)) == 4 and not any(a == b for a, b in zip(before, after, strict=True))
    )
    assert direction(3, 0, flat[:-1], ["mine"]) == "mine" and direction(3, 0, flat, ["mine"]) in DIRECTIONS
    assert direction(4, 0, flat) in DIRECTIONS


@pytest.mark.parametrize(
    ("a", "close"), [(0.5, True), (0.53, True), (0.56, False)], ids=["the same", "a little off", "a step off"]
)
def test_near_is_within_a_twentieth_of_the_range(a: float, close: bool) -> None:
    there = row(1, logconf(0.5), 0.8)
    assert (near(logconf(a), [there], BASE) is not None) == close
    assert near(recipe(loss="product"), [there], BASE) is None


def test_the_same_code_in_other_words_is_the_same_part_and_a_version_of_it_the_same_family() -> None:
    def of_code(code: Written, a: float = 1.0) -> Recipe:
        made = Recipe().carrying(code)
        return made.model_copy(update={"loss": made.loss.model_copy(update={"params": {"a": a}})})

    there = row(1, of_code(mine()), 0.8)
    for old, new in (
        ("import torch", "# again\nimport torch"), ('"""Cross-entropy, louder."""', '"""Something new."""'),
        ("    a = float", '    """It is new."""\n    a = float'), ("mean(a * cross", "mean((a)*cross"),
        ('"name": "mine"', '"name": "other"'), ("\n\n\ndef build", "\n\n\n\n\ndef build"),
    ):  # fmt: skip
        code = mine(old, new)
        assert code.digest != mine().digest
        assert near(of_code(code), [there], BASE) == (there, "")
        assert near(of_code(code, 1.05), [there], BASE) == (there, "loss.a")
        assert near(of_code(code, 1.5), [there], BASE) is None
    louder = mine("a * cross", "2 * a * cross")
    assert near(of_code(louder), [there], BASE) is None
    assert family(of_code(louder)) == family(of_code(mine())) == "loss.mine"
    assert family(of_code(mine('"name": "mine"', '"name": "other"'))) == "loss.other"
