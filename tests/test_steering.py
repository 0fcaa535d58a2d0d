"""People and a running search: two terminals, one ledger. Nothing said is lost or done twice, whatever is killed."""

from __future__ import annotations

import itertools
import json
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from sqlalchemy.exc import OperationalError

from aar.agent.graph import Loop
from aar.agent.inbox import LATE, LEAVE, MOST_WAITING, Inbox
from aar.agent.researchers import Situation, Steering
from aar.agent.run import confirm_now, opened
from aar.cli.view import trial_line
from aar.executor import Executor, Stopped
from aar.ledger import Message
from aar.ledger.tables import spend
from aar.methods import fill, read_part
from aar.runner.trial import Runner
from aar.types import Hypothesis, Part, Recipe, TrialStatus
from tests import ledgers, loops
from tests.loops import VICTIM, launches, ledger_of, outcome, searching, until
from tests.rows import BASE, row
from tests.test_cli import Said, aar
from tests.test_faults import Place, assert_whole
from tests.written import MINE, mine

KILLED = -signal.SIGKILL


class Two(Place):
    """A search in one terminal, and another terminal beside it."""

    def tell(self, *words: str, code: int = 0) -> Said:
        """`aar WORDS` in the second terminal."""
        said = aar(*words, "--workspace", self.workspace)
        assert said.code == code, said
        return said

    def status(self) -> str:
        return aar("status", "--workspace", self.workspace).out

    def messages(self) -> list[Message]:
        with ledger_of(self.workspace) as ledger:
            return ledger.messages(ledger.searches()[0]["id"])

    def trials(self) -> list[tuple[int, str, str]]:
        """Number, author and status of each."""
        with ledger_of(self.workspace) as ledger:
            found = ledger.trials(ledger.searches()[0]["id"])
        return [(t.number, t.author, str(t.status)) for t in found]

    def rounds(self) -> int:
        """How often the loop has gone round."""
        with ledger_of(self.workspace) as ledger:
            return len(ledger.rows(spend, spend.c.kind == "wall"))

    def heard(self, *words: str) -> Said:
        """`aar WORDS`, waited for until the loop woke up for it: the only thing that could wake it here."""
        before = self.rounds()
        said = self.tell(*words)
        until(lambda: self.rounds() > before)
        return said

    def release(self, job: Path) -> None:
        (job / "hold").unlink()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    two = Two(tmp_path)
    yield two
    for child in two.children:  # one that waits for a person would wait for ever
        child.process.kill()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("undisturbed"))
    assert place.run().end() == 0
    return place


# ---------------------------------------------------------------- proposals


def asked_for(two: Two) -> None:
    """A person's recipe is a trial, once, the next after the victim, with the person's reason."""
    with ledger_of(two.workspace) as ledger:
        trials = ledger.trials(ledger.searches()[0]["id"])
    human = [t for t in trials if t.author == "human"]
    assert [(t.number, t.label, t.rationale) for t in human] == [
        (VICTIM + 1, "hard · product a=.75", "asked for by a person: a hunch")
    ]
    assert human[0].predicted_pgr is not None and human[0].status is TrialStatus.COMPLETE
    (message,) = two.messages()
    assert message.handled is not None and message.outcome == f"t{VICTIM + 1}"


@pytest.mark.parametrize("fault", ["hold", "take", "taken"])
def test_a_persons_recipe_is_next_and_neither_lost_nor_doubled(fault: str, two: Two) -> None:
    child = two.run(fault=fault)
    job = two.held()
    recipe = two.folder / "mine.yaml"
    recipe.write_text(yaml.safe_dump({"targets": "hard", "loss": {"name": "product", "params": {"a": 0.75}}}))
    said = two.tell("propose", str(recipe), "--why", "a hunch")
    assert "proposed hard · product a=.75" in said.out and "nothing runs it" not in said.out
    assert "proposed hard · product a=.75 (a hunch) not taken up yet" in two.status()
    two.release(job)
    if fault == "hold":
        assert child.end() == 0, child.text
        assert "proposed hard · product a=.75 (a hunch) → t3" in child.text
    else:
        assert child.end() == KILLED, child.text
        again = two.resume()
        assert again.end() == 0, again.text
    asked_for(two)
    assert_whole(two.workspace)


def test_a_proposal_is_run_where_the_budget_is_used_up(two: Two) -> None:
    child = two.run("--trials", str(VICTIM), fault="hold")
    job = two.held()
    two.tell("propose", "--set", "targets=sharpen")
    two.release(job)
    assert child.end() == 0, child.text
    assert [author for _, author, _ in two.trials()] == ["preset", "preset", "optuna", "human"]
    with ledger_of(two.workspace) as ledger:
        search = ledger.searches()[0]["id"]
    assert "is complete" in two.tell("propose", search, "--recipe", "logconf", code=2).err


# ---------------------------------------------------------------- pause, stop


def test_a_pause_stays_a_pause_when_its_process_is_killed(two: Two, undisturbed: Place) -> None:
    child = two.run(fault="hold")
    job = two.held()
    two.heard("pause")
    assert "paused; aar unpause goes on" in two.status()
    assert "is paused already" in two.tell("pause", code=2).err
    two.release(job)
    until(lambda: two.trials()[VICTIM][2] == "complete")
    two.heard("steer", "think about epochs")  # it went round again, and began nothing
    assert len(two.trials()) == VICTIM + 1
    started = len(launches(two.workspace))
    child.signal(signal.SIGKILL)
    assert child.end() == KILLED
    assert "nothing runs it now: `aar resume" in two.tell("steer", "while nobody listens").out
    again = two.resume()
    until(lambda: all(m.handled for m in two.messages()))
    assert len(two.trials()) == VICTIM + 1 and len(launches(two.workspace)) == started, "resumed, and still paused"
    assert json.loads(two.tell("status", "--json").out)["paused"] is True
    two.tell("unpause")
    assert again.end() == 0, again.text
    assert [m.kind for m in two.messages()] == ["pause", "steer", "steer", "unpause"]
    assert_whole(two.workspace)
    assert outcome(two.workspace) == outcome(undisturbed.workspace), (
        "optuna reads no words, and a pause changes nothing"
    )


def test_a_gentle_stop_lets_the_running_trial_end(two: Two, undisturbed: Place) -> None:
    child = two.run(fault="hold")
    job = two.held()
    two.heard("stop")
    assert two.trials()[VICTIM][2] == "running"
    two.release(job)
    assert child.end() == 130, child.text
    assert "Go on with:" in child.text and "Traceback" not in child.text
    assert [status for *_, status in two.trials()] == ["complete"] * (VICTIM + 1), "it ended, and nothing came after"
    with ledger_of(two.workspace) as ledger:
        (row,) = ledger.searches()
        assert (row["status"], row["reason"]) == ("stopped", "stopped by aar stop")
    assert "nothing runs" in two.tell("stop", row["id"], code=2).err
    again = two.resume()
    assert again.end() == 0, again.text
    assert outcome(two.workspace) == outcome(undisturbed.workspace)
    assert len(launches(two.workspace)) == len(launches(undisturbed.workspace)), "nothing ran twice"


def test_stop_now_kills_what_runs(two: Two) -> None:
    child = two.run(fault="hold")
    job = two.held()
    two.tell("stop", "--now")
    assert child.end() == 130, child.text
    with ledger_of(two.workspace) as ledger:
        (row,) = ledger.searches()
        assert [a["status"] for a in ledger.attempts(row["id"]) if a["id"] == job.name] == ["stopped"]
    assert two.trials()[VICTIM][2] == "running", "neither a result nor a failure"
    assert two.resume().end() == 0
    assert_whole(two.workspace)


def test_a_stop_during_the_confirmation_ends_after_the_job_under_way(two: Two, undisturbed: Place) -> None:
    child = two.run(fault="hold controls")
    job = two.held()
    two.tell("stop")
    assert "told to stop not taken up yet" in two.status()
    started = len(launches(two.workspace))
    until((two.workspace / "closing").exists)  # heard: during a confirmation the loop goes round no more
    two.release(job)
    assert child.end() == 130, child.text
    assert len(launches(two.workspace)) == started, "no job was begun after it"
    with ledger_of(two.workspace) as ledger:
        (row,) = ledger.searches()
        assert not ledger.opened(row["id"])
        assert [a["status"] for a in ledger.attempts(row["id"]) if a["id"] == job.name] == ["ok"], "it was not killed"
    assert two.resume().end() == 0
    assert outcome(two.workspace) == outcome(undisturbed.workspace)


def test_a_stop_for_a_process_that_was_killed_does_not_stop_the_next(two: Two) -> None:
    child = two.run(fault="hold")
    job = two.held()
    two.heard("stop")
    child.signal(signal.SIGKILL)
    assert child.end() == KILLED
    two.release(job)
    again = two.resume()
    assert again.end() == 0, again.text
    assert [m.outcome for m in two.messages()] == ["the search was resumed after it"]
    assert_whole(two.workspace)


def test_a_resume_may_raise_the_budget(two: Two) -> None:
    assert two.run(fault="submit").end() == KILLED
    again = two.resume("--trials", "4")
    assert again.end() == 0, again.text
    assert len(two.trials()) == 5
    (message,) = two.messages()
    assert (message.kind, message.outcome) == ("budget", "trials 3 → 4")
    with ledger_of(two.workspace) as ledger:
        search = ledger.searches()[0]["id"]
    assert "has opened its seal: no budget lets it go on" in two.tell("resume", search, "--trials", "9", code=2).err
    assert len(two.messages()) == 1


# ---------------------------------------------------------------- leave


def test_a_trial_that_waits_says_where_its_code_is() -> None:
    waits = row(3, fill(Recipe().carrying(mine()), BASE), None).model_copy(update={"status": TrialStatus.WAITING})
    said = trial_line(waits)
    assert f"aar approve t3, or aar reject t3; its code: aar export-part {waits.search} 3 --source" in said
    assert "its code" not in trial_line(waits.model_copy(update={"recipe": Recipe()}))


def test_trials_wait_for_leave_through_a_kill(two: Two) -> None:
    child = two.run("--trials", "4", "--approve", "all")
    until(lambda: "baselines" in child.text)
    until(lambda: [s for *_, s in two.trials()].count("waiting") == MOST_WAITING)
    two.heard("steer", "hm")  # round again with everything waiting
    assert [s for *_, s in two.trials()] == ["complete"] + ["waiting"] * MOST_WAITING
    assert "waits for leave: aar approve t1" in two.status()
    child.signal(signal.SIGKILL)
    assert child.end() == KILLED
    assert "t0 of" in two.tell("approve", "t0", code=2).err
    two.tell("approve", "1")
    two.tell("reject", "t2", "--why", "too dear")
    again = two.resume()
    until(lambda: [s for *_, s in two.trials()].count("waiting") == 2 and len(two.trials()) == 5)
    assert "does not wait for leave; those that do: t3, t4" in two.tell("approve", "2", code=2).err
    two.tell("approve", "t3")
    two.tell("approve", "t4")
    assert again.end() == 0, again.text
    statuses = [s for *_, s in two.trials()]
    assert statuses[2] == "rejected" and set(statuses[:2] + statuses[3:]) <= {"complete", "pruned"}
    with ledger_of(two.workspace) as ledger:
        search = ledger.searches()[0]["id"]
        assert ledger.trial(search, 2).reason == "rejected by a person: too dear"
        assert ledger.attempts(search, trial=2) == [], "it never ran"


def test_while_code_waits_for_leave_the_rest_goes_on(two: Two) -> None:
    child = two.run("--approve", "code", fault="code")
    until(lambda: "baselines" in child.text)
    until(lambda: [s for *_, s in two.trials()[2:]].count("complete") + [
        s for *_, s in two.trials()[2:]].count("pruned") == 2)  # fmt: skip
    assert two.trials()[1] == (1, "preset", "waiting"), "choose another SEED: the first preset is logconf"
    two.heard("steer", "hm")
    with ledger_of(two.workspace) as ledger:
        assert ledger.searches()[0]["status"] == "running", "the confirmation waits for it too"
    two.tell("approve", "t1")
    assert child.end() == 0, child.text
    assert_whole(two.workspace)


def test_who_needs_leave(tmp_path: Path) -> None:
    with searching(tmp_path) as here:
        search = here.create(tmp_path)
        with opened(here.ledger, here.settings, search) as bench:
            every, code, nobody = (Inbox(bench, which) for which in ("all", "code", ""))
            drawn, own, first = row(3), row(3, author="human"), row(0)
            brought = drawn.model_copy(update={"recipe": Recipe().carrying(read_part(MINE))})
            assert [every.waits(t) for t in (drawn, brought, own, first)] == [True, True, False, False]
            assert [code.waits(t) for t in (drawn, brought, own, first)] == [False, True, False, False]
            assert not nobody.waits(brought)


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    """The inbox of a search that `approve`s all, whose t1 and t2 wait for leave."""
    with ledger_of(tmp_path / "ws") as ledger:
        ledgers.begin(ledger, "polarity-k3f9")
        with ledger.hold("polarity-k3f9") as lease:
            for n in (0, 1, 2):
                ledgers.propose(lease, n)
            for n in (1, 2):
                lease.set_trial(n, status=TrialStatus.WAITING)
            ledger.mark_sent(r["id"] for r in ledger.unsent())
            yield Inbox(cast(Any, SimpleNamespace(ledger=ledger, lease=lease, search="polarity-k3f9")), "all")


def told(inbox: Inbox, kind: str, **payload: Any) -> str | None:
    """What came of a message."""
    inbox.bench.ledger.post(inbox.bench.search, kind, payload)
    inbox.heed()
    return inbox.bench.ledger.messages(inbox.bench.search)[-1].outcome


def test_only_what_waits_is_decided_and_only_once(inbox: Inbox) -> None:
    trials = {t.number: t for t in inbox.bench.ledger.trials(inbox.bench.search)}
    assert told(inbox, "approve", trial=7) == "t7 does not wait: there is none"
    assert told(inbox, "approve", trial=1) == LEAVE and not inbox.waits(trials[1]) and inbox.waits(trials[2])
    assert told(inbox, "reject", trial=1) == "t1 does not wait: it is proposed"
    assert told(inbox, "reject", trial=2) == "rejected by a person"
    assert [r["trial"] for r in inbox.bench.ledger.unsent() if r["trial"] is not None] == [2], (
        "a rejection is told to MLflow too"
    )
    assert told(inbox, "approve", trial=2) == "t2 does not wait: it is rejected"
    assert inbox.waits(trials[2]), "an approval that came to nothing gives no leave"
    assert inbox.bench.ledger.trial(inbox.bench.search, 2).status is TrialStatus.REJECTED


def test_words_answer_what_was_asked_before_them_and_are_shown_once_they_were_seen(inbox: Inbox) -> None:
    post = partial(inbox.bench.ledger.post, inbox.bench.search)
    post("steer", {"text": "shorter"})
    inbox.bench.lease.ask("More epochs?", 1)
    assert inbox.steering() == ()
    inbox.heed()
    assert (inbox.steering(), inbox.questions()) == ((Steering("shorter"),), ("More epochs?",))


def test_proposals_are_taken_up_in_the_order_they_came(inbox: Inbox) -> None:
    for why in ("one", "two"):
        inbox.bench.ledger.post(inbox.bench.search, "propose", {"recipe": {}, "why": why})
    first = inbox.proposal()
    assert first is not None and first.payload["why"] == "one"


def test_a_cancelled_search_that_waits_for_a_person_is_woken(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aar.agent.inbox.POLL_SECONDS", 0.01)
    rung = threading.Event()
    executor = SimpleNamespace(cancel=threading.Event(), closing=threading.Event(), ring=rung.set)
    vars(inbox.bench)["executor"] = executor
    with inbox.listening():
        executor.cancel.set()  # as Ctrl-C does, which posts nothing
        assert rung.wait(30)


def test_who_listens_outlives_an_error_of_the_database(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aar.agent.inbox.POLL_SECONDS", 0.01)
    rung, looks, real = threading.Event(), itertools.count(), inbox._new

    def new() -> dict[int, Message]:
        if next(looks) == 0:
            raise OperationalError("SELECT", {}, Exception("server closed the connection"))
        return real()

    monkeypatch.setattr(inbox, "_new", new)
    executor = SimpleNamespace(cancel=threading.Event(), closing=threading.Event(), ring=rung.set)
    vars(inbox.bench)["executor"] = executor
    inbox.bench.ledger.post(inbox.bench.search, "stop", {})
    with inbox.listening():
        assert rung.wait(30) and executor.closing.is_set()


def test_a_confirmation_by_hand_hears_a_stop_and_is_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with searching(tmp_path) as here:
        search = here.create(tmp_path, trials=1, confirm_top=0)
        here.work(search)
        asked = partial(confirm_now, here.ledger, here.settings, search, 1, lambda: None)

        def baselines(self: Runner) -> None:
            here.ledger.post(search, "stop", {})
            assert self.bench.executor.closing.wait(60)

        with monkeypatch.context() as patch:
            patch.setattr(Runner, "baselines", baselines)
            with pytest.raises(Stopped):
                asked()
        row = here.ledger.search(search)
        assert row is not None and (row["status"], row["reason"]) == ("stopped", "stopped by aar stop")
        asked()
        row = here.ledger.search(search)
        assert row is not None and row["status"] == "complete" and len(here.ledger.confirmations(search)) == 1


def test_waiting_for_a_person_is_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("aar.agent.graph.time.monotonic", lambda: clock[0])
    executor = SimpleNamespace(running=set(), collect=lambda idle: clock.__setitem__(0, clock[0] + 3600))
    bench: Any = SimpleNamespace(executor=executor)
    nobody = cast(Any, None)
    loop = Loop(bench, nobody, nobody, nobody, nobody, clock=clock[0])
    loop._wait(idle=True)
    assert loop.clock == clock[0], "an hour in which nothing ran"
    executor.running = {1}
    loop._wait(idle=False)
    assert clock[0] - loop.clock == 3600


# ---------------------------------------------------------------- words


class Listening:
    """Proposes, asks and is told in between; notes what it was shown."""

    name = "scripted"

    def __init__(self, here: loops.Searching, search: str, said: dict[int, str]) -> None:
        self.here, self.search, self.said = here, search, said
        self.shown: list[tuple[Any, tuple[str, ...]]] = []

    def propose(self, now: Situation) -> Hypothesis:
        self.shown.append((tuple(tuple(said) for said in now.steering), tuple(now.questions)))
        if now.number in self.said:
            self.here.ledger.post(self.search, "steer", {"text": self.said[now.number]})
        a = 0.3 + 0.1 * now.number
        return Hypothesis(recipe=Recipe(loss=Part(name="logconf", params={"a": a})), rationale="x", author="llm")


def test_words_are_shown_to_the_researcher_from_the_next_hypothesis_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import aar.agent.run as run

    with searching(tmp_path) as here:
        search = here.create(tmp_path, trials=3, researcher="scripted", confirm_top=0)
        with opened(here.ledger, here.settings, search) as bench:
            bench.lease.ask("Is a GPU coming?", 1)
        listening = Listening(here, search, {1: "no GPU; try <few> epochs", 2: "and hard labels"})
        vars(run)["RESEARCHERS"]["scripted"] = lambda: listening  # `searching` takes it away again
        here.work(search)
        answer = ("no GPU; try <few> epochs", "Is a GPU coming?")
        assert listening.shown == [
            ((), ("Is a GPU coming?",)), ((answer,), ()), ((answer, ("and hard labels", "")), ()),
        ]  # fmt: skip
        asked, first, second = here.ledger.messages(search)
        assert (asked.outcome, first.outcome, second.outcome) == (
            "no GPU; try <few> epochs", "answers: Is a GPU coming?", "seen",
        )  # fmt: skip
        report = here.settings.root / "reports" / f"{search}.html"
        monkeypatch.setenv("AAR_TRACKING_URI", loops.NO_TRACKING)
        assert aar("report", search, "--workspace", here.settings.root).code == 0
        page = report.read_text()
        assert "no GPU; try &lt;few&gt; epochs" in page and "the researcher asks: Is a GPU coming?" in page
        from aar.tracking._about import About
        from aar.tracking._notes import search_note

        assert "hard labels" in search_note(About(here.ledger, search))


def test_what_came_too_late_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Loop.confirm
    with searching(tmp_path) as here:
        search = here.create(tmp_path, trials=1, confirm_top=0)

        def confirm(self: Loop, state: Any) -> dict[str, Any]:
            here.ledger.post(search, "steer", {"text": "after the end"})
            return real(self, state)

        monkeypatch.setattr(Loop, "confirm", confirm)
        here.work(search)
        assert [m.outcome for m in here.ledger.messages(search)] == [LATE]


def test_an_open_question_is_shown_and_a_wordless_researcher_says_so(tmp_path: Path) -> None:
    with ledger_of(tmp_path / "ws") as ledger:
        search = ledgers.searched(ledger, trials=3, status="running")
        with ledgers.written(ledger, search) as lease:
            lease.ask("More epochs or fewer?", 4)
        assert "the researcher asks: More epochs or fewer?" in aar("status", "--workspace", tmp_path / "ws").out
        said = aar("steer", "fewer", "--workspace", tmp_path / "ws")
        assert said.code == 0 and f"{search}: answered" in said.out
        assert "note: researcher optuna has no model and reads no words" in said.out
        assert [m.kind for m in ledger.messages(search)] == ["question", "steer"]


# ---------------------------------------------------------------- bad input


BAD = {
    "empty": (["steer", "  "], "TEXT is empty"),
    "long": (["steer", "x" * 4001], "TEXT: 4001 characters; at most 4000"),
    "search": (["steer", "polarity-none", "hello"], "no search 'polarity-none'"),
    "nothing": (["propose"], "no recipe: give a YAML file"),
    "both": (["propose", "a.yaml", "--recipe", "logconf"], "give one of them"),
    "part": (["propose", "--set", "loss=logcomf"], "loss: unknown part 'logcomf' (did you mean 'logconf'?)"),
    "range": (["propose", "--recipe", "logconf", "--set", "loss.a=3"], "loss.logconf.a: 3 is out of range"),
    "illegal": (["propose", "--set", "student=dpo"], "not on task"),
    "seal": (["propose", "--recipe", "logconf"], "has opened its seal: nothing is tried after it"),
    "file": (["propose", "nowhere.yaml"], "nowhere.yaml: no such file"),
    "yaml": (["propose", "FILE:a: [b"], "not YAML"),
    "list": (["propose", "FILE:- logconf"], "want slots with parts"),
    "slot": (["propose", "FILE:los: logconf"], "'los' is no slot; slots: supervision"),
    "shape": (["propose", "FILE:loss: {part: logconf}"], "want name and params"),
    "code": (["propose", "--code", "FILE:" + MINE], "runs in the Docker sandbox only"),
    "trial": (["approve", "first"], "TRIAL 'first': want a trial's number"),
    "not waiting": (["reject", "t1"], "t1 of polarity-k3f9 does not wait for leave; none does"),
    "nobody": (["stop"], "nothing runs polarity-k3f9; `aar resume polarity-k3f9` would go on"),
    "not paused": (["unpause"], "is not paused"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_named_and_posts_nothing(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words, message = BAD[what]
    if words[-1].startswith("FILE:"):
        name = "r.py" if "--code" in words else "r.yaml"
        Path(name).write_text(words[-1].removeprefix("FILE:"))
        words = [*words[:-1], name]
    with ledger_of(tmp_path / "ws") as ledger:
        search = ledgers.searched(ledger, trials=3, status="running")
        said = aar(*words, "--workspace", tmp_path / "ws")
        assert said.code == 2 and message in " ".join(said.err.split()), said
        assert "Traceback" not in said.err
        assert ledger.messages(search) == []


def test_a_recipe_that_is_there_is_said_to_give_seeds_or_to_have_failed(tmp_path: Path) -> None:
    with ledger_of(tmp_path / "ws") as ledger:
        ledgers.begin(ledger, "polarity-k3f9")
        with ledger.hold("polarity-k3f9") as lease:
            for number, loss in enumerate(("xent", "logconf", "product", "gce")):
                ledgers.propose(lease, number, Recipe(loss=Part(name=loss)))
            ledgers.failure(lease, 2, "transfer job oom")
            ledgers.failure(lease, 3, "bad code", status="rejected")
            tell = partial(aar, "propose", "--workspace", tmp_path / "ws")
            said = tell("--set", "loss=logconf")
            assert said.code == 0 and "t1 is the same recipe: this gives it more seeds once it has ended" in said.out
            ledgers.score_trial(lease, 1, ledgers.score(0.5))
            assert "this gives it more seeds\n" in tell("--set", "loss=logconf").out
            failed = tell("--set", "loss=product")
            assert failed.code == 2 and "t2 is the same recipe and failed: transfer job oom; change" in failed.err
            assert "same recipe" not in tell("--set", "loss=gce").out, "it never ran"
        assert len(ledger.messages("polarity-k3f9")) == 3


def test_a_person_may_bring_code(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    with ledger_of(tmp_path / "ws") as ledger:
        ledgers.begin(ledger, "polarity-k3f9", sandbox="docker")
        words = ["propose", "--code", tmp_path / "mine.py", "--set", "loss.a=1.5", "--workspace", tmp_path / "ws"]
        said = aar(*words)
        assert said.code == 0, said
        (message,) = ledger.messages("polarity-k3f9")
        recipe = Recipe.model_validate(message.payload["recipe"])
        assert recipe.loss.params == {"a": 1.5} and recipe.written == (read_part(MINE),)
        assert message.words.startswith("proposed mine@")


def test_without_a_name_the_search_that_runs_is_meant(tmp_path: Path) -> None:
    with ledger_of(tmp_path) as ledger:
        for name in ("polarity-old1", "polarity-run1", "polarity-new1"):
            ledgers.searched(ledger, name, trials=1, status="running")
        with ledger.hold("polarity-run1"):
            aar("steer", "to the one that is held", "--workspace", tmp_path)
        aar("steer", "to the latest", "--workspace", tmp_path)
        for name in ("polarity-run1", "polarity-new1"):
            assert len(ledger.messages(name)) == 1, name
        with ledgers.written(ledger, "polarity-new1") as lease:
            lease.set_search(status="complete")
        said = aar("steer", "polarity-new1", "x", "--workspace", tmp_path)
        assert said.code == 2 and "is complete: nothing listens" in said.err


# ---------------------------------------------------------------- slots


def test_a_bell_wakes_who_waits_and_is_rung_once() -> None:
    with Executor(1) as executor:
        assert executor.collect() == set(), "with nothing to wait for it does not wait"
        threading.Timer(0.0, executor.ring).start()
        assert executor.collect(idle=True) == set()
        gate = threading.Event()
        executor.submit(1, gate.wait)  # type: ignore[arg-type]
        executor.ring()
        executor.ring()
        assert executor.collect() == set() and executor.running == {1}
        threading.Timer(0.0, gate.set).start()
        assert executor.collect() == {1}


def test_a_closing_executor_begins_only_what_a_running_trial_needs() -> None:
    with Executor(2) as executor:
        executor.closing.set()
        executor.submit(1, executor.begin)
        assert executor.collect() == {1}
        with pytest.raises(Stopped):
            executor.begin()
        with pytest.raises(Stopped):
            executor.each([executor.begin])
