"""A search with a model that is killed in the middle of a conversation: no answer is paid for twice."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.agent.models import READY, Answer, proposal, scripted
from tests.loops import Child, ledger_of, outcome, write_task
from tests.oversight.chatserver import ChatServer, Json, calls, serving


def talk(trial: int, said: int, asked: Json) -> Answer:
    """Looks twice at once, notes something, proposes."""
    if said == 0:
        return calls(("journal", {}), ("note", {"text": f"t{trial} is about to be tried", "trials": [0]}))
    return calls(proposal("loss=logconf", f"loss.a=.{2 * trial}"))


class Place:
    """A workspace whose searches ask one server."""

    def __init__(self, folder: Path, server: ChatServer) -> None:
        folder.mkdir()
        self.folder, self.workspace, self.server = folder, folder / "ws", server
        self.task = write_task(folder)
        self.options = ["--workspace", str(self.workspace), "--sandbox", "process"]

    def run(self, fault: str | None = None, researchers: int = 1) -> int:
        words = [
            "--trials", "3", "--top", "1", "--no-controls", "--researcher", "llm", "--model", "openai:m",
            "--base-url", self.server.url, "--researchers", str(researchers),
        ]  # fmt: skip
        return Child(
            self.folder / "out", ["run", str(self.task), *words, *self.options], fault, OPENAI_API_KEY="k"
        ).end()

    def resume(self) -> int:
        return Child(self.folder / "out", ["resume", *self.options], OPENAI_API_KEY="k").end()

    @property
    def text(self) -> str:
        return (self.folder / "out").read_text()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], int]:
    """What a search that nobody kills comes to, and how many answers it asked for."""
    with serving(scripted(talk)) as server:
        place = Place(tmp_path_factory.mktemp("u") / "p", server)
        assert place.run() == 0, place.text
        assert "openai:m" in place.text and "price unknown" in place.text
        return outcome(place.workspace), len(paid(server))


def said(found: dict[str, Any]) -> tuple[Any, ...]:
    """What was proposed and noted, in any order of ends."""
    trials = [(t["number"], t["author"], t["label"], t["rationale"]) for t in found["trials"]]
    return found["status"], trials, sorted(f["text"] for f in found["findings"] if "about to be tried" in f["text"])


def paid(server: ChatServer) -> list[Json]:
    """Requests of conversations."""
    return [asked for asked in server.requests if asked["messages"][-1]["content"] != READY]


@pytest.mark.parametrize("researchers", [1, 3], ids=["alone", "three at once"])
@pytest.mark.parametrize("fault", ["opened", "answered", "acted", "accepted"])
def test_a_killed_conversation_goes_on_where_it_was(
    tmp_path: Path, undisturbed: tuple[dict[str, Any], int], fault: str, researchers: int
) -> None:
    with serving(scripted(talk)) as server:
        place = Place(tmp_path / "p", server)
        assert place.run(fault, researchers) == -signal.SIGKILL, place.text
        whole, count = undisturbed
        asked = len(paid(server))
        with ledger_of(place.workspace) as ledger:
            (row,) = ledger.searches()
            recorded = sum(1 for r in ledger.turns(row["id"]) if r["role"] == "assistant")
        assert place.resume() == 0, place.text
        assert len(paid(server)) - asked == count - recorded, "an answer that was recorded was asked for again"
        after = outcome(place.workspace)
        if researchers == 1:
            assert after == whole
        else:  # who of several is done first is anybody's guess, and races depend on it
            assert said(after) == said(whole)
        with ledger_of(place.workspace) as ledger:
            (row,) = ledger.searches()
            turns = ledger.turns(row["id"])
        assert [r["step"] for r in turns if r["trial"] == 2] == list(range(7)), "nothing is doubled, nothing is missing"
