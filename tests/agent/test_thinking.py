"""Several researchers at once: each conversation in a thread of its own, beside the trials that run."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aar.agent.graph import Loop
from aar.agent.llm.researcher import LLM
from aar.agent.llm.tools import Claims
from aar.executor import Executor, Stopped
from aar.runner.trial import Runner
from aar.types import AarError, Part, Recipe, TrialStatus
from tests.agent.models import Answer, fixed, proposal, scripted
from tests.agent.test_llm import searched
from tests.agent.test_researchers import now
from tests.loops import searching
from tests.oversight.chatserver import Json, calls, message, serving
from tests.rows import BASE, row

SECONDS = 60.0
IDEAS = [("loss=logconf",), ("loss=product",), ("targets=hard",), ("loss=logconf", "loss.a=.8")]


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-secret-key")


def test_several_researchers_talk_at_once_each_with_a_direction_of_its_own(tmp_path: Path) -> None:
    together = threading.Barrier(3)

    def script(trial: int, said: int, asked: Json) -> Answer:
        if trial <= 3:
            together.wait(SECONDS)  # broken where one waits for another
        return calls(proposal(*IDEAS[trial - 1]))

    found = searched(tmp_path, scripted(script), trials=4, voices=3, directions=("look at noise",))
    assert [t.status for t in found.trials] == [TrialStatus.COMPLETE] * 5 and found.trouble() == []
    opening = [r["body"]["content"] for r in found.turns if r["role"] == "user"]
    who = [next(line for line in text.splitlines() if line.startswith("You are researcher")) for text in opening]
    assert [w[:26] for w in who[:3]] == [f"You are researcher {v} of 3;" for v in (1, 2, 3)]
    assert "Your direction: look at noise." in who[0] and "look at noise" in who[1].split("Theirs:")[1]
    voices = [r["body"]["about"]["voice"] for r in found.turns if r["role"] == "system"]
    assert voices[:3] == [0, 1, 2] and len(voices) == 4


def test_a_trial_runs_while_the_model_thinks_about_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = threading.Event()
    real = Runner.run

    def run(self: Runner, number: int) -> None:
        real(self, number)
        if number == 1:
            ran.set()

    def script(trial: int, said: int, asked: Json) -> Answer:
        assert trial == 1 or ran.wait(SECONDS), "t1 waits for a conversation that is not its own"
        return calls(proposal(*IDEAS[trial - 1]))

    monkeypatch.setattr(Runner, "run", run)
    found = searched(tmp_path, scripted(script), trials=2, slots=2)
    assert [t.label for t in found.trials[1:]] == ["logconf", "product"]


@pytest.mark.parametrize("second", [("loss=logconf", "loss.a=.5"), ("loss=logconf", "loss.a=.51")])
def test_two_that_talk_at_once_are_not_granted_the_same_recipe(tmp_path: Path, second: tuple[str, ...]) -> None:
    together = threading.Barrier(2)

    def script(trial: int, said: int, asked: Json) -> Answer:
        if said == 0:
            together.wait(SECONDS)
            return calls(proposal(*(second if trial == 2 else ("loss=logconf", "loss.a=.5"))))
        return calls(proposal("targets=hard"))

    found = searched(tmp_path, scripted(script), trials=2, voices=2)
    assert sorted(t.label == "hard" for t in found.trials[1:]) == [False, True]
    (declined,) = [text for n in (1, 2) for text in found.told(n) if "accepted" not in text]
    assert (
        "another researcher has just proposed nearly that" in declined
        or "differs from it only" in declined
        or ("is the same" in declined)
    )


def test_a_conversation_sees_what_ended_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = threading.Event()
    real = Runner.run

    def run(self: Runner, number: int) -> None:
        real(self, number)
        if number == 1:
            ran.set()

    def script(trial: int, said: int, asked: Json) -> Answer:
        if trial == 1:
            return calls(proposal(*IDEAS[0]))
        if said == 0:
            assert ran.wait(SECONDS)
            return calls(("journal", {}))
        return calls(proposal(*IDEAS[1]))

    monkeypatch.setattr(Runner, "run", run)
    found = searched(tmp_path, scripted(script), trials=2, voices=2)
    opening = next(r["body"]["content"] for r in found.turns if r["trial"] == 2 and r["role"] == "user")
    assert "| t1 |" not in opening and "| t1 | complete |" in found.told(2)[0]


def test_a_persons_proposal_gets_a_number_of_its_own_beside_a_conversation(tmp_path: Path) -> None:
    def script(trial: int, said: int, asked: Json) -> Answer:
        here.ledger.post(search, "propose", {"recipe": Recipe.model_validate(hard).model_dump(mode="json")})
        return calls(proposal(*IDEAS[0]))

    hard: dict[str, Any] = {"targets": {"name": "hard"}}
    with serving(scripted(script)) as server, searching(tmp_path) as here:
        plan = {"researcher": "llm", "model": "openai:m", "base_url": server.url, "confirm_top": 0}
        search = here.create(tmp_path, trials=1, **plan)
        here.work(search)
        found = here.ledger.trials(search)
        assert [(t.number, t.author) for t in found] == [(0, "preset"), (1, "llm"), (2, "human")]


@pytest.mark.parametrize("answer", [calls(("journal", {})), message("prose")], ids=["a call", "no call"])
def test_a_stop_ends_a_conversation_after_its_answer_and_a_resume_takes_it_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    waits = threading.Event()
    collect = Executor.collect

    def collected(self: Executor, idle: bool = False) -> set[int]:
        if self.closing.is_set():
            waits.set()  # the loop has heard of the stop, and has nothing but this answer to wait for
        return collect(self, idle)

    def script(trial: int, said: int, asked: Json) -> Answer:
        if said == 0:
            here.ledger.post(search, "stop", {})
            waits.wait(SECONDS)
            return answer
        return calls(proposal(*IDEAS[0]))

    monkeypatch.setattr(Executor, "collect", collected)
    with serving(scripted(script)) as server, searching(tmp_path) as here:
        plan = {"researcher": "llm", "model": "openai:m", "base_url": server.url, "confirm_top": 0}
        search = here.create(tmp_path, trials=1, **plan)
        with pytest.raises(Stopped):
            here.work(search)
        assert [r["role"] for r in here.ledger.turns(search, 1)] == ["system", "user", "assistant"]
        assert len(here.ledger.trials(search)) == 1 and here.ledger.begun(search) == [1]
        here.work(search)
        assert len(server.requests) == 2, "the answer that came before the stop is not asked for again"
        assert [t.label for t in here.ledger.trials(search)][1:] == ["logconf"] and here.ledger.begun(search) == []


def test_what_was_thought_out_comes_before_what_another_thought_raised() -> None:
    with Executor(1) as executor:
        executor.think(3, lambda: 1 // 0)
        executor.think(2, lambda: "two")
        while not all(future.done() for future in executor._thinking.values()):
            executor.collect(idle=True)
        assert executor.thoughts() == {2: "two"}
        late = threading.Timer(SECONDS, executor.ring)
        late.start()
        executor.collect(idle=True)
        assert late.is_alive(), "who waits is woken for what is left"
        late.cancel()
        with pytest.raises(ZeroDivisionError):
            executor.thoughts()
        assert not executor.thinking
        executor.cancel.set()
        with pytest.raises(Stopped):
            executor.begin()


def test_a_claim_is_over_once_it_is_a_trial() -> None:
    claims, logconf = Claims(), Recipe(loss=Part(name="logconf"))
    claims.grant(5, logconf, BASE)
    with pytest.raises(AarError, match="for t5: look elsewhere"):
        claims.grant(6, logconf, BASE, {1, 2})
    claims.grant(6, logconf, BASE, {1, 5})  # what t5 came to is in the journal


@pytest.mark.parametrize("gives_up", [False, True], ids=["proposed", "gave up"])
def test_a_conversation_that_is_over_is_a_trial_after_a_crash_though_the_budget_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gives_up: bool
) -> None:
    def crashes(*_: Any) -> None:
        raise RuntimeError("crash")

    def script(trial: int, said: int, asked: Json) -> Answer:
        return calls(("journal", {})) if gives_up or said == 0 else calls(proposal(*IDEAS[0]))

    with serving(scripted(script)) as server, searching(tmp_path) as here:
        plan = {"researcher": "llm", "model": "openai:m", "base_url": server.url, "confirm_top": 0, "tokens": 15}
        search = here.create(tmp_path, trials=5, **plan)
        with monkeypatch.context() as patch:
            patch.setattr(
                "aar.agent.llm.researcher.LLM._instead" if gives_up else "aar.agent.llm.researcher.LLM._said", crashes
            )
            with pytest.raises(RuntimeError, match="crash"):
                here.work(search)
        assert here.ledger.begun(search) == [1] and len(server.requests) == 2
        here.work(search)
        assert [t.author for t in here.ledger.trials(search)] == ["preset", "optuna" if gives_up else "llm"]
        assert len(server.requests) == 2, "nothing more is asked"


def test_no_more_is_begun_than_the_budget_allows(tmp_path: Path) -> None:
    found = searched(tmp_path, fixed(IDEAS), trials=3, voices=16)
    assert [t.label for t in found.trials[1:]] == ["logconf", "product", "hard"], "no more than the budget"


def test_a_stop_that_ends_a_conversation_lets_the_running_trial_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, heard, given_up = threading.Event(), threading.Event(), threading.Event()
    ring, thoughts, trial = Executor.ring, Executor.thoughts, Runner.run

    def rung(self: Executor) -> None:
        ring(self)
        if self.closing.is_set():
            heard.set()

    def thought(self: Executor) -> dict[int, Any]:
        out = thoughts(self)
        if self.closing.is_set() and not self.thinking:
            given_up.set()
        return out

    def run(self: Runner, number: int) -> None:
        if number == 1:
            runs.set()
            assert given_up.wait(SECONDS)
        trial(self, number)

    def script(number: int, said: int, asked: Json) -> Answer:
        if number == 2:
            assert runs.wait(SECONDS)
            here.ledger.post(search, "stop", {})
            assert heard.wait(SECONDS)
            return calls(("journal", {}))
        return calls(proposal(*IDEAS[0]))

    for owner, name, new in ((Executor, "ring", rung), (Executor, "thoughts", thought), (Runner, "run", run)):
        monkeypatch.setattr(owner, name, new)
    with serving(scripted(script)) as server, searching(tmp_path, slots=2) as here:
        plan = {"researcher": "llm", "model": "openai:m", "base_url": server.url, "confirm_top": 0, "voices": 2}
        search = here.create(tmp_path, trials=2, **plan)
        with pytest.raises(Stopped):
            here.work(search)
        assert [t.status for t in here.ledger.trials(search)] == [TrialStatus.COMPLETE] * 2


def test_who_began_a_conversation_goes_on_with_it_and_the_most_silent_begins_the_next() -> None:
    ledger = SimpleNamespace(voices=lambda search: {1: 0, 2: 1, 3: 2, 4: 0, 5: 2})
    bench = SimpleNamespace(ledger=ledger, search="s", executor=SimpleNamespace(thinking={5}))
    researcher = LLM(cast(Any, bench), cast(Any, None), voices=4)
    assert [researcher._voice(now([], number=n)) for n in (3, 4, 6)] == [2, 0, 3]
    researcher.voices = 3
    assert researcher._voice(now([], number=6)) == 1, "0 has talked more, 2 talks"


def test_a_conversation_takes_the_place_of_its_trial() -> None:
    executor = SimpleNamespace(slots=2, thinking={3})
    nobody: Any = None
    loop = Loop(cast(Any, SimpleNamespace(executor=executor)), nobody, nobody, nobody, nobody, voices=3)
    running = row(1, Recipe()).model_copy(update={"status": TrialStatus.RUNNING, "finished": None})
    assert loop._free([row(0, Recipe(), 0.7)]) == 2 and loop._free([row(0, Recipe(), 0.7), running]) == 1
