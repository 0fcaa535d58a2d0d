"""The loop itself, with quick jobs: budget, repeats, what is rejected, and how little it keeps beside the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver

from aar.agent.run import load, opened
from aar.ledger import Lease, TrialRow
from aar.methods import PRESETS, Able, fill, illegal, recipe_hash
from aar.runner.trial import Runner
from aar.types import Part, Recipe, TrialStatus
from tests.loops import Searching, launches, searching
from tests.test_ledger import fields

LOGCONF = Recipe(loss=Part(name="logconf"))
PRODUCT = Recipe(loss=Part(name="product"))
PROPOSED = [
    LOGCONF, LOGCONF, Recipe(loss=Part(name="logconf", params={"a": 0.5})), Recipe(), PRODUCT, PRODUCT,
    Recipe(loss=Part(name="logconf", params={"b": 1})), Recipe(targets=Part(name="harder")),
    Recipe(loss=Part(name="logconf", params={"a": 7})),
]  # fmt: skip


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Searching, str]]:
    """A search whose researcher repeats itself and proposes what cannot run; `product` always fails."""
    folder = tmp_path_factory.mktemp("repeated")
    with searching(folder, PROPOSED, product="crash") as here:
        search = here.create(folder, trials=len(PROPOSED), researcher="scripted", confirm_top=1)
        here.work(search)
        yield here, search


def trials(found: tuple[Searching, str]) -> list[TrialRow]:
    here, search = found
    return here.ledger.trials(search)


def test_a_repeat_becomes_more_seeds_of_what_it_repeats(repeated: tuple[Searching, str]) -> None:
    naive, original, second, third, again, *_ = trials(repeated)
    assert [t.status for t in (second, third, again)] == [TrialStatus.DUPLICATE] * 3
    assert [t.parent for t in (second, third, again)] == [1, 1, 0]
    gave = [(1, 2), (1, 3), (0, 2)]
    assert [t.reason for t in (second, third, again)] == [f"same recipe as t{n}: gave it seeds {s}" for n, s in gave]
    for t, seeds in ((original, 4), (naive, 3)):
        assert t.status is TrialStatus.COMPLETE and t.view is not None
        assert (t.n_seeds, t.view.n_seeds) == (seeds, seeds)
    assert all(t.view is None for t in (second, third, again)), "its evidence is its original's"
    here, search = repeated
    arms = {(s["arm"], s["seed"]) for s in here.ledger.scores(search, "dev")}
    assert {("t1", n) for n in range(4)} | {("weak", n) for n in range(4)} <= arms


def test_a_repeat_of_a_failure_costs_nothing(repeated: tuple[Searching, str]) -> None:
    failed, repeat = trials(repeated)[5:7]
    assert failed.status is TrialStatus.FAILED
    assert (repeat.status, repeat.reason) == (TrialStatus.DUPLICATE, "same recipe as t5")
    here, search = repeated
    assert here.ledger.attempts(search, trial=6) == []


def test_what_cannot_run_is_rejected_with_the_reason_and_the_search_goes_on(repeated: tuple[Searching, str]) -> None:
    here, search = repeated
    reasons = ("unknown parameter 'b'", "unknown part 'harder'", "out of range")
    for t, reason in zip(trials(repeated)[7:], reasons, strict=True):
        assert t.status is TrialStatus.REJECTED and reason in (t.reason or ""), t.reason
        assert t.finished is not None and t.view is None
        assert here.ledger.attempts(search, trial=t.number) == []
    row = here.ledger.search(search)
    assert row is not None and row["status"] == "complete"
    assert [c["trial"] for c in here.ledger.confirmations(search)] == [1]


def test_running_a_repeat_again_after_a_crash_adds_nothing(repeated: tuple[Searching, str]) -> None:
    here, search = repeated
    before, started = trials(repeated), len(launches(here.settings.root))
    with opened(here.ledger, here.settings, search) as bench:
        for number in (1, 2, 3, 4):
            Runner(bench).run(number)
    passing = {"finished", "seconds", "view"}  # the view's interval pools what later trials have shown since
    assert [t.model_dump(exclude=passing) for t in trials(repeated)] == [t.model_dump(exclude=passing) for t in before]
    assert len(launches(here.settings.root)) == started


def test_two_at_once_still_wait_for_naive_and_keep_to_the_budget(tmp_path: Path) -> None:
    with searching(tmp_path, slots=2) as here:
        search = here.create(tmp_path, trials=5, confirm_top=1)
        here.work(search)
        found = here.ledger.trials(search)
    assert [t.number for t in found] == [0, 1, 2, 3, 4, 5]
    assert [t.author for t in found] == ["preset", "preset", "preset", "optuna", "optuna", "optuna"]
    assert all(t.rationale for t in found)
    assert all(t.predicted_pgr is not None for t in found[1:]), "proposed before there was anything to predict from"
    assert found[0].predicted_pgr is None
    for t in found:
        under_way = [o.number for o in found if o.created < t.created < (o.finished or 0)]
        assert len(under_way) < 2, f"t{t.number} was proposed while {under_way} filled both slots"


def test_a_repeat_of_what_still_runs_gives_it_seeds_all_the_same(tmp_path: Path) -> None:
    with searching(tmp_path, [LOGCONF, LOGCONF, LOGCONF], slots=3) as here:
        search = here.create(tmp_path, trials=3, researcher="scripted", confirm_top=0)
        here.work(search)
        original, *repeats = here.ledger.trials(search)[1:]
        assert [t.reason for t in repeats] == [f"same recipe as t1: gave it seeds {s}" for s in (2, 3)]
        assert original.n_seeds == 4 and original.view is not None and original.view.n_seeds == 4


def test_after_the_seal_a_killed_confirmation_is_taken_up_and_nothing_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with searching(tmp_path, [LOGCONF, PRODUCT, Recipe(targets=Part(name="hard"))], slots=2) as here:
        search = here.create(tmp_path, trials=2, researcher="scripted", confirm_top=1)
        with monkeypatch.context() as patch:
            patch.setattr(Lease, "confirm", lambda *_: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                here.work(search)
        assert here.ledger.opened(search) and here.ledger.confirmations(search) == []
        here.ledger.post(search, "budget", {"trials": 9})
        with here.ledger.hold(search) as lease:  # left behind by a stop before `aar confirm`
            lease.turn(4, 0, "system", {"role": "system", "content": "x", "about": {"voice": 0}})
            lease.propose(3, **fields(3))
        here.ledger.post(search, "propose", {"recipe": Recipe(loss=Part(name="gce")).model_dump(mode="json")})
        here.work(search)
        row = here.ledger.search(search)
        assert row is not None and row["status"] == "complete" and len(here.ledger.confirmations(search)) == 1
        assert [t.status for t in here.ledger.trials(search)][3:] == [TrialStatus.PROPOSED]


def test_openings_are_counted_by_the_sealed_rows_whatever_else_a_task_says(tmp_path: Path) -> None:
    with searching(tmp_path) as here:
        one, other, elsewhere = (here.create(tmp_path, *sets) for sets in ((), ("splits.dev=299",), ("splits.seed=7",)))
        rows = {r["id"]: r["data_digest"] for r in here.ledger.searches()}
        assert len(set(rows.values())) == 3
        for search, count in ((one, 1), (other, 2), (elsewhere, 1)):
            with here.ledger.hold(search) as lease:
                assert lease.open_seal(1) == count
        assert here.ledger.openings(one) == 2


def test_checkpoints_hold_ids_only(tmp_path: Path) -> None:
    with searching(tmp_path) as here:
        search = here.create(tmp_path, "seeds.screen=2", trials=30, confirm_top=1)
        here.work(search)
        file = here.settings.root / "searches" / search / "graph.sqlite"
    with SqliteSaver.from_conn_string(str(file)) as saver:
        states = [c.checkpoint["channel_values"] for c in saver.list({"configurable": {"thread_id": search}})]
    assert states[0]["step"] > 30
    ids = {"search", "running", "step"}
    for state in states:
        assert {k for k in state if not k.startswith(("branch:", "__"))} <= ids
        assert state.get("search", search) == search and len(repr(state)) < 1000
    data = file.read_bytes()
    assert len(data) < 2 * 2**20
    assert b"logconf" not in data and b"rationale" not in data


def test_a_researcher_with_nothing_left_ends_the_search(tmp_path: Path) -> None:
    with searching(tmp_path, slots=2) as here:
        search = here.create(tmp_path, trials=500, researcher="presets", confirm_top=0)
        here.work(search)
        task, _ = load(here.ledger, search)
        legal = [p.recipe for p in PRESETS if not illegal(p.recipe, Able.of(task))]
        tried = [t.hash for t in here.ledger.trials(search)]
        assert len(tried) == len(set(tried)), "each once"
        assert set(tried) == {recipe_hash(fill(r, task.training.strong)) for r in legal}
        row = here.ledger.search(search)
        assert row is not None and row["status"] == "complete"
