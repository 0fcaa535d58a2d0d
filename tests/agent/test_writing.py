"""A model that writes code: told the rules, checked, reviewed, proposed, tuned later; none of it is run here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aar.methods import read_part
from aar.types import TrialStatus
from tests.agent.models import READY, Answer, answers, last_words, number_of, proposal
from tests.agent.test_llm import searched
from tests.loops import searching
from tests.oversight.chatserver import Json, calls, message, serving
from tests.written import MINE, mine


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-secret-key")


WHY = {"rationale": "louder gradients may help a timid student"}


def writer(talk: Callable[[int, int, Json], Answer], verdict: str, heard: list[str]) -> Callable[[Json, int], Answer]:
    """A model that writes, and that reviews what it wrote with this verdict."""

    def script(asked: Json, _: int) -> Answer:
        prompt = asked["messages"][-1]["content"]
        if prompt == READY:
            return message("ready")
        if asked["messages"][0]["role"] == "system":
            return talk(number_of(asked), answers(asked), asked)
        heard.append(prompt)
        if "Reply with exactly one" in prompt:
            return message(verdict, top={verdict: 0.9, {"pass": "reject", "reject": "pass"}[verdict]: 0.1})
        return message("It only scales the loss, which a rate does as well.")

    return script


def test_a_part_is_checked_reviewed_tried_and_tuned_by_later_trials(tmp_path: Path) -> None:
    def talk(trial: int, said: int, asked: Json) -> Answer:
        if trial == 1:
            return [
                calls(("part_rules", {}), ("write_part", {"source": MINE.replace("import torch", "import os"), **WHY})),
                calls(("write_part", {"source": MINE, **WHY})), calls(proposal(f"loss={mine().ref}", "loss.a=1.5")),
            ][said]  # fmt: skip
        if trial == 2:
            return calls(proposal(f"loss={mine().ref}", "loss.a=.8"))
        changed = {"source": MINE.replace("a * cross", "2 * a * cross"), "made_from": mine().ref, **WHY}
        child = read_part(changed["source"])
        return [calls(("write_part", changed)), calls(proposal(f"loss={child.ref}"))][said]

    heard: list[str] = []
    found = searched(tmp_path, writer(talk, "pass", heard), trials=3)
    rules, refused, accepted, _ = found.told(1)
    assert "A written part is one Python file" in rules and "import os: not allowed" in refused
    assert f"loss={mine().ref} can be proposed (reject 0.10)" in accepted
    assert "> It only scales the loss" in accepted
    first, tuned, child = found.trials[1:]
    assert [t.status for t in found.trials] == [TrialStatus.COMPLETE] * 4, [t.reason for t in found.trials]
    assert first.label == f"{mine().ref} a=1.5" and tuned.label == f"{mine().ref} a=.8"
    rows = {r["trial"]: r for r in found.parts.values()}
    assert set(rows) == {1, 3} and rows[1]["review"] == accepted and rows[1]["author"] == "llm"
    assert rows[3]["parent"] == mine().digest and "+        return weighted_mean(2 * a" in rows[3]["diff"]
    assert child.recipe.loss.name == read_part(MINE.replace("a * cross", "2 * a * cross")).ref
    assert "refutable" in heard[0] and "> PART = {" in heard[0], "principles, and the code as data"
    cost = [r["tokens_in"] for r in found.turns if r["role"] == "tool"]
    assert cost[:3] == [0, 0, 7 * 3], "a review and its verdict in both orders; what is refused unread costs nothing"


def test_what_the_review_rejects_is_not_tried(tmp_path: Path) -> None:
    def talk(trial: int, said: int, asked: Json) -> Answer:
        if said == 0:
            return calls(("write_part", {"source": MINE, **WHY}))
        if said == 1:
            assert "the review rejects it (reject 0.90)" in last_words(asked)
            return calls(proposal(f"loss={mine().ref}"))
        return calls(proposal("loss=logconf"))

    found = searched(tmp_path, writer(talk, "reject", []))
    assert "unknown part 'mine@" in found.told(1)[1]
    assert found.trials[1].label == "logconf" and not found.parts


def test_a_log_of_written_code_is_withheld_from_the_model(tmp_path: Path) -> None:
    """Such code sees single weak labels, and could word an error with them."""

    def talk(trial: int, said: int, asked: Json) -> Answer:
        if trial == 1:
            return [calls(("write_part", {"source": MINE, **WHY})), calls(proposal(f"loss={mine().ref}"))][said]
        return calls(("trial", {"number": 1})) if said == 0 else calls(proposal("loss=logconf"))

    with serving(writer(talk, "pass", [])) as server, searching(tmp_path, smoke="crash") as here:
        plan = {"researcher": "llm", "model": "openai:m", "base_url": server.url, "confirm_top": 0}
        search = here.create(tmp_path, trials=2, **plan)
        here.work(search)
        (attempt,) = here.ledger.attempts(search, trial=1)
        assert "about to fail" in attempt["exit"], "for people"
        told = next(r["body"]["content"] for r in here.ledger.turns(search, 2) if r["role"] == "tool")
        assert "smoke job failed: exit code 1: ValueError" in told and '<data name="log">' in told
        for asked in server.requests:
            assert "about to fail" not in str(asked) and "not a number" not in str(asked)


def test_the_same_code_with_another_comment_is_turned_away(tmp_path: Path) -> None:
    def talk(trial: int, said: int, asked: Json) -> Answer:
        source = f"{MINE}\n# {trial}\n"
        if said == 0:
            return calls(("write_part", {"source": source, **WHY}))
        return calls(proposal(f"loss={read_part(source).ref}") if said == 1 else proposal("loss=logconf"))

    found = searched(tmp_path, writer(talk, "pass", []), trials=2)
    assert "t1 (mine@" in found.told(2)[1] and "is the same: propose something else" in found.told(2)[1]
    assert [t.label.partition("@")[0] for t in found.trials[1:]] == ["mine", "logconf"]
