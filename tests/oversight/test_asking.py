"""Active querying: who is asked about what, what an answer does, and what a person's file may not be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aar.oversight import Comparison, Debating, Outcome, Skill, Verdicts, debate, known
from aar.oversight.asking import confidence, least_sure, with_answers
from aar.runner.asking import query
from aar.scoring import mean_share, scores
from aar.types import AarError
from tests.test_cli import aar

P = np.array([[0.9, 0.8], [0.45, 0.5], [np.nan, 0.5], [0.3, 0.2], [0.6, 0.4]])
VERDICTS = Verdicts(P, np.full((5, 2), 0.1), ("", "", "no answer", "", ""))
ASKED = [
    Comparison(id=str(i), prompt=f"Which, {i}?", answers=("zebra", "ant"), source="Animals.") for i in range(5)
]  # fmt: skip


def outcome(verdicts: Verdicts = VERDICTS) -> Outcome:
    return Outcome("debate", (), tuple(range(5)), verdicts, {}, {}, "")


def test_the_least_margin_comes_first_and_no_answer_before_it() -> None:
    assert least_sure(VERDICTS, 5) == [2, 4, 1, 3, 0] and least_sure(VERDICTS, 2) == [2, 4]
    assert np.allclose(confidence(VERDICTS), [0.85, 0.525, np.nan, 0.75, 0.5], equal_nan=True)


def test_an_answer_takes_the_place_of_a_verdict_and_of_no_other() -> None:
    told = with_answers(VERDICTS, {2: 1, 0: 0})
    assert told.decided().tolist() == [0, 1, 1, 1, -1] and told.why == ("",) * 5
    assert told.p[0].tolist() == [1, 1] and told.p[2].tolist() == [0, 0] and not told.se[[0, 2]].any()
    assert np.array_equal(told.p[[1, 3, 4]], P[[1, 3, 4]]) and np.isnan(VERDICTS.p[2, 0]), "the old ones stay"


def test_a_person_sees_no_hint_fills_in_and_is_not_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "person.jsonl"
    first = query(outcome(), ASKED, 3, path)
    rows = [json.loads(line) for line in first.text.splitlines()]
    assert (first.asked, first.answered) == (3, 0) and first.outcome.verdicts.why[2] == "no answer"
    assert [row["id"] for row in rows] == ["1", "2", "4"], "in the questions' order, for it tells nothing"
    assert all(row["options"] == ["ant", "zebra"] and row["answer"] is None for row in rows)
    assert rows[0] == {
        "id": "1", "question": "Which, 1?", "options": ["ant", "zebra"], "source": "Animals.", "verdict": 0,
        "confidence": 0.525, "answer": None,
    }  # fmt: skip
    assert (rows[1]["verdict"], rows[1]["confidence"]) == (None, None) and rows[2]["verdict"] is None
    rows[0]["answer"], rows[1]["answer"] = 1, 0
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    second = query(outcome(), ASKED, 3, path)
    assert (second.asked, second.answered) == (3, 2) and second.text == path.read_text()
    assert second.outcome.verdicts.decided().tolist() == [0, 0, 1, 1, -1], "zebra is answer 0"
    more = query(outcome(), ASKED, 4, path)
    assert [json.loads(line)["id"] for line in more.text.splitlines()] == ["1", "2", "3", "4"]
    fewer = query(outcome(), ASKED, 1, path)
    assert (fewer.asked, fewer.answered) == (2, 2), "what was answered stays, and nothing is asked beyond the budget"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"answer": 2}, "line 1: answer input should be less than or equal to 1"),
        ({"answer": "ant"}, "line 1: answer input should be a valid integer"),
        ({"id": "9"}, "'9' with these options is no question of this run"),
        ({"options": ["zebra", "ant"]}, "'1' with these options is no question of this run"),
        ({"note": "?"}, "line 1: note extra inputs"),
    ],
)
def test_what_is_no_answer_is_named(tmp_path: Path, change: dict[str, object], told: str) -> None:
    path = tmp_path / "person.jsonl"
    rows = [json.loads(line) for line in query(outcome(), ASKED, 2, path).text.splitlines()]
    rows[0] = rows[0] | ({"id": "1"} if "id" not in change else {}) | change
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = told.replace("'1'", repr(rows[0]["id"]))
    with pytest.raises(AarError, match=told):
        query(outcome(), ASKED, 2, path)


def test_the_least_sure_are_worth_more_than_others_where_the_judge_is_calibrated() -> None:
    comparisons, better, cast = known(800, Skill(finds=0.0, confidence=None))
    found = debate(cast, comparisons, Debating(rounds=1)).verdicts
    asked = least_sure(found, 200)
    helped = mean_share(scores(with_answers(found, {i: int(better[i]) for i in asked}).p, better))
    others = mean_share(scores(with_answers(found, {i: int(better[i]) for i in range(200)}).p, better))
    # Calibrated between .5 and 1: a quarter that is wrong as often as those of .5 to .625, or as all are.
    assert helped.low <= 0.75 + 0.25 * (1 - 0.5625) <= helped.high
    assert others.low <= 0.75 + 0.25 * 0.25 <= others.high < helped.value


def test_the_command_asks_and_the_same_command_goes_on_with_the_answers(tmp_path: Path) -> None:
    words = ("debate", "--task", "known", "--rows", 60, "--rounds", 1, "--bound", 0.85, "--ask", 12, "--json")
    told = json.loads(aar("oversight", *words, "--workspace", tmp_path).out)
    by = {row["protocol"]: row for row in told["table"]}
    assert by["debate"]["abstained"]["value"] == 1, "the judge says .8 of everything, and the bound is .85"
    asking = by["debate, asking a person"]
    assert asking["asked"]["value"] == 0.2 and asking["answered"]["value"] == 0
    assert asking["score"]["value"] == 0.5 and "12 questions wait for a person" in " ".join(told["notes"])
    (path,) = (Path(f) for f in told["files"] if f.endswith("person.jsonl"))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    comparisons, better, _ = known(60, Skill())
    truth = {c.id: c.answers[int(b)] for c, b in zip(comparisons, better, strict=True)}
    path.write_text("".join(json.dumps(x | {"answer": x["options"].index(truth[x["id"]])}) + "\n" for x in lines))
    again = json.loads(aar("oversight", *words, "--workspace", tmp_path).out)
    asking = again["table"][-1]
    assert asking["asked"]["value"] == asking["answered"]["value"] == 0.2 and not any(
        "wait" in n for n in again["notes"]
    )
    assert asking["accuracy"]["value"] == 1 and asking["accuracy"]["n"] == 12
    assert asking["score"]["value"] == pytest.approx(0.2 + 0.8 * 0.5)
