"""What is left to spend, by hand, with work in flight reserved; another budget on a resume; small checkpoints."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from aar.agent.budget import Outlook, afford, outlook
from aar.agent.graph import Loop
from aar.agent.inbox import Inbox
from aar.agent.run import Plan, _invoke, opened
from aar.ledger import Lease, Ledger
from aar.runner.trial import Runner
from aar.types import Recipe, TrialStatus, canonical_json
from tests.loops import Scripted, ledger_of, searching
from tests.test_ledger import fields

DONE: dict[str, Any] = {"status": TrialStatus.COMPLETE, "finished": 1.0}


@pytest.fixture
def lease(tmp_path: Path) -> Iterator[Lease]:
    with ledger_of(tmp_path) as ledger:
        ledger.create_search(id="s-1", task="t", data_digest="d", spec="{}", plan="{}")
        yield ledger.hold("s-1")


def under(lease: Lease, wall: float = 0.0, **budget: float) -> Outlook:
    """The outlook under a budget."""
    lease.set_search(plan=canonical_json(budget))
    return outlook(lease.ledger, "s-1", lease.ledger.trials("s-1"), wall)


def three_trials(lease: Lease) -> None:
    """Naive and baselines (1000 s); t1 and t2 over after 100 s and 200 s; t3 running. Jobs took a little less."""
    lease.propose(0, **fields(0))
    lease.set_trial(0, seconds=50.0, **DONE)
    lease.spend("wall", 1000.0)
    for number, seconds, job in ((1, 100.0, 90.0), (2, 200.0, 190.0), (3, 0.0, 50.0)):
        lease.propose(number, **fields(number))
        lease.spend("transfer", job, number, gpu_seconds=2 * job)
        if seconds:
            lease.set_trial(number, seconds=seconds, **DONE)
    lease.spend("wall", 240.0)


def test_an_outlook_by_hand(lease: Lease) -> None:
    three_trials(lease)
    now = under(lease, wall=60.0, trials=10, hours=1.0, gpu_hours=1.0)
    assert now.spent["trials"] == 3 and now.spent["hours"] == pytest.approx(1300 / 3600)
    assert now.spent["gpu_hours"] == pytest.approx(660 / 3600)
    # Finished trials took 150 s and 280 GPU seconds on average; t3 has had 50 s and 100 GPU seconds of that.
    nothing = {"trials": 0, "tokens": 0, "usd": 0}
    assert now.reserved == pytest.approx({"hours": 100 / 3600, "gpu_hours": 180 / 3600} | nothing)
    assert now.left == pytest.approx({"trials": 7, "hours": 2200 / 3600, "gpu_hours": (3600 - 840) / 3600})
    # 300 s of wall time since the first trial, for two finished: 150 s each. 7 trials; 2200 / 150; 2760 / 280.
    assert (now.more, now.limit) == (7, "trials")
    assert now.ends == pytest.approx(time.time() + 8 * 150, abs=5)
    assert now.words.startswith(
        "left: 7 trials, 0.61 hours, 0.77 GPU hours; at this pace 7 more trials (trials), until"
    )
    assert re.search(r"until about \w{3} \d\d \w{3} \d\d:\d\d$", under(lease, trials=9999).words), "another day"
    assert (under(lease, wall=60.0, gpu_hours=1.0).more, under(lease, wall=60.0, hours=1.0).more) == (10, 15)


def test_what_runs_counts_as_spent_when_one_more_is_decided(lease: Lease) -> None:
    three_trials(lease)
    assert under(lease, gpu_hours=841 / 3600).one_more and not under(lease, gpu_hours=840 / 3600).one_more
    assert under(lease, hours=1341 / 3600).one_more and not under(lease, hours=1340 / 3600).one_more
    lease.set_trial(3, **DONE, seconds=60.0)
    assert under(lease, gpu_hours=700 / 3600).one_more, "what has ended reserves nothing"
    lease.propose(4, **fields(4))
    lease.set_trial(4, status=TrialStatus.WAITING)
    assert under(lease, gpu_hours=700 / 3600).one_more, "nor does what waits for a person"
    over = under(lease, trials=3)
    assert (over.more, over.ends) == (0, None) and over.words.endswith("nothing more begins (trials)")


def test_what_is_reserved_is_never_less_than_nothing_and_hours_of_trials_side_by_side_are_the_longest(
    lease: Lease,
) -> None:
    three_trials(lease)
    lease.set_trial(3, seconds=150.0, **DONE)
    lease.propose(4, **fields(4))
    lease.set_trial(4, status=TrialStatus.REJECTED, finished=1.0)  # no trial took 0 seconds by being refused
    lease.propose(5, **fields(5))
    lease.spend("transfer", 400.0, 5, gpu_seconds=800.0)
    over = under(lease, gpu_hours=1.0)
    assert set(over.reserved.values()) == {0.0}, "it took longer than others already"
    for number, job in ((6, 30.0), (7, 60.0)):
        lease.propose(number, **fields(number))
        lease.spend("transfer", job, number, gpu_seconds=job)
    # Finished ones took 150 s and (180 + 380 + 100) / 3 GPU seconds.
    reserved = under(lease).reserved
    assert [reserved[k] for k in ("hours", "gpu_hours")] == pytest.approx([120 / 3600, (190 + 160) / 3600])


def test_before_anything_has_ended_nothing_is_forecast(lease: Lease) -> None:
    lease.propose(0, **fields(0))
    now = under(lease, trials=5)
    assert (now.more, now.ends, now.one_more) == (None, None, True) and now.words == "left: 5 trials"
    assert under(lease).one_more and under(lease).words == "no budget is set"


def test_tokens_and_dollars_are_the_sum_over_turns(lease: Lease) -> None:
    three_trials(lease)
    assert (under(lease, trials=10, usd=0.0).more, under(lease, trials=10, usd=1.0).limit) == (0, "trials")
    lease.turn(1, 0, "assistant", {}, tokens_in=900, tokens_out=100, usd=0.5)
    lease.turn(1, 1, "tool", {})
    lease.turn(2, 0, "assistant", {}, tokens_in=400, tokens_out=100, usd=None)
    now = under(lease, tokens=3000, usd=2.0)
    assert (now.spent["tokens"], now.spent["usd"]) == (1500, 0.5)
    assert (now.more, now.limit, now.left["usd"]) == (3, "tokens", 1.5), "500 tokens a trial"
    assert "left: 1500 tokens, $1.50" in now.words
    spent = under(lease, tokens=1000, usd=0.25)
    assert "left: 0 tokens, $0.00; nothing more begins (" in spent.words
    assert "; what is under way ends about " in spent.words
    cases: list[tuple[dict[str, float], bool]] = [
        ({"tokens": 1500}, False), ({"tokens": 1501}, True), ({"usd": 0.5}, False), ({}, True),
    ]  # fmt: skip
    for budget, enough in cases:
        assert under(lease, **budget).one_more is enough is afford(lease.ledger, "s-1"), budget
    lease.turn(2, 1, "assistant", {}, usd=0.1)
    dear = under(lease, usd=1.0)
    assert (dear.more, dear.limit) == (2, "usd"), "20 cents a trial, whatever sums of fractions leave over"


def test_what_is_thought_about_is_reserved_as_what_runs_is(lease: Lease) -> None:
    three_trials(lease)
    lease.set_trial(3, seconds=150.0, **DONE)
    for trial, tokens, usd in ((1, 900, 0.2), (2, 1100, 0.4), (4, 300, 0.4)):
        lease.turn(trial, 0, "assistant", {}, tokens_in=tokens - 100, tokens_out=100, usd=usd)
    now = under(lease, trials=5)
    # t4 is no trial yet: conversations that are over cost 1000 tokens and $.30, trials 150 s and 220 GPU seconds.
    expected = {"trials": 1, "hours": 150 / 3600, "gpu_hours": 220 / 3600, "tokens": 700, "usd": 0}
    assert now.reserved == pytest.approx(expected) and now.left == {"trials": 1} and now.spent["trials"] == 3
    assert not under(lease, trials=4).one_more and not under(lease, tokens=3000).one_more
    assert under(lease, tokens=3001).one_more and under(lease, usd=1.01).one_more
    two = outlook(lease.ledger, "s-1", lease.ledger.trials("s-1"), thinking=(4, 5))
    assert two.reserved["trials"] == 2 and two.reserved["tokens"] == 1700


@pytest.mark.parametrize(("slots", "hours"), [(1, 300), (2, 150), (3, 150), (None, 150)])
def test_what_waits_for_a_slot_takes_its_time_after_what_runs(lease: Lease, slots: int | None, hours: float) -> None:
    three_trials(lease)
    lease.set_trial(3, seconds=150.0, **DONE)
    for number in (4, 5):
        lease.propose(number, **fields(number))
    now = under(lease, hours=9.0, **({} if slots is None else {"slots": slots}))
    assert now.reserved["hours"] == pytest.approx(hours / 3600)


def test_an_answer_is_afforded_with_those_that_others_wait_for(lease: Lease) -> None:
    lease.turn(1, 0, "assistant", {}, tokens_in=90, tokens_out=10, usd=1.0)
    lease.turn(1, 1, "tool", {})
    lease.turn(2, 0, "assistant", {}, tokens_in=290, tokens_out=10, usd=2.0)
    cases: list[tuple[dict[str, float], int, bool]] = [
        ({"tokens": 401}, 0, True), ({"tokens": 600}, 1, False), ({"tokens": 601}, 1, True), ({"usd": 6.0}, 2, False),
        ({"usd": 6.1}, 2, True),
    ]  # fmt: skip
    for budget, others, enough in cases:
        lease.set_search(plan=canonical_json(budget))
        assert afford(lease.ledger, "s-1", others) is enough, (budget, others)


def test_another_budget_is_recorded_and_kept(tmp_path: Path) -> None:
    with searching(tmp_path) as here:
        search = here.create(tmp_path, trials=1, confirm_top=0)
        here.ledger.post(search, "budget", {"trials": 3, "hours": 8.0})
        here.work(search)
        assert [t.number for t in here.ledger.trials(search)] == [0, 1, 2, 3]
        (message,) = here.ledger.messages(search)
        assert message.outcome == "trials 1 → 3, hours none → 8"
        row = here.ledger.search(search)
        assert row is not None
        plan = Plan.model_validate_json(row["plan"])
        assert (plan.trials, plan.hours, plan.confirm_top) == (3, 8.0, 0)


# ---------------------------------------------------------------- checkpoints


class Instant:
    """A runner whose trials are over at once."""

    def __init__(self, ledger: Ledger, lease: Lease) -> None:
        self.ledger, self.lease = ledger, lease

    def baselines(self) -> None:
        pass

    def run(self, number: int) -> None:
        self.lease.set_trial(number, status=TrialStatus.COMPLETE, finished=time.time(), seconds=0.1)


def checkpoints(folder: Path, loops: int) -> int:
    """Bytes of the checkpoints that `loops` rounds of the real graph leave, log and all."""
    with searching(folder) as here:
        search = here.create(folder, trials=loops, researcher="scripted", confirm_top=0)
        with opened(here.ledger, here.settings, search) as bench:
            runner = cast(Runner, Instant(here.ledger, bench.lease))
            researcher = Scripted([Recipe()] * loops)
            loop = Loop(bench, runner, researcher, lambda: None, Inbox(bench), confirm_top=0)
            _invoke(loop, here.settings, Plan(trials=loops))
        assert len(here.ledger.trials(search)) == loops + 1
        files: list[Any] = list((here.settings.root / "searches" / search).iterdir())
        return sum(file.stat().st_size for file in files)


def test_checkpoints_do_not_grow_with_the_search(tmp_path: Path) -> None:
    few, more = (checkpoints(tmp_path / str(n), n) for n in (40, 160))
    print(f"40 loops: {few / 2**10:.0f} KiB, 160 loops: {more / 2**10:.0f} KiB")
    assert more < 1.2 * few < 2**20


@pytest.mark.slow
def test_after_a_thousand_loops_checkpoints_are_small(tmp_path: Path) -> None:
    size = checkpoints(tmp_path, 1000)
    print(f"1000 loops: {size / 2**20:.2f} MiB")
    assert size < 20 * 10**6
