"""Whole searches on a tiny task with `fast_job.py` in place of training: here, or in processes that can be killed.

A `Child` is a real process that runs `aar ...`. It is forked from a server that has imported everything once, so that
it starts in no time. What it is to suffer (`FAULTS`) is patched into it: the product has no hooks for tests.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from aar.agent.researchers import Situation
from aar.ledger import Ledger
from aar.sandbox.process import ProcessSandbox
from aar.settings import Settings
from aar.tasks import load_task
from aar.types import Exit, Hypothesis, Launch, Recipe

FAST = (sys.executable, "-I", "-S", str(Path(__file__).with_name("fast_job.py")))
NO_TRACKING = "http://127.0.0.1:9"
"""Port 9 (discard) refuses at once: a tracking server that is down."""
SPLITS = {"weak_train": 300, "weak_val": 100, "transfer": 500, "dev": 600, "test": 800}
TASK = f"""
name: tiny
summary: polarity, as small as it goes
data: {{world: {{name: polarity}}}}
splits: {json.dumps(SPLITS)}
models:
  weak: {{tiny: {{layers: 1, width: 16, heads: 2}}, pool: last, max_length: 32}}
  strong: {{tiny: {{layers: 2, width: 32, heads: 4}}, pool: last, max_length: 32}}
training: {{weak: {{epochs: 1, lr: 3e-3}}, strong: {{epochs: 1, lr: 3e-3}}}}
seeds: {{screen: 1, full: 2, confirm: 2, baseline: 2}}
floor_gap: 0
limits: {{minutes: 10, memory: 2g}}
"""
VICTIM = 2
"""The trial at which a child's fault strikes."""
PRELOAD = [
    "pytest", "numpy", "scipy.stats", "optuna", "langgraph.graph", "langgraph.checkpoint.sqlite",
    "aar.cli.searching", "aar.cli.showing", "aar.cli.listing", "aar.report", "aar.runner.confirm",
]  # fmt: skip


def write_task(folder: Path, more: str = "") -> Path:
    """The tiny task as a file, with lines added to it."""
    path = folder / "tiny.yaml"
    path.write_text(TASK + more)
    return path


class Boxed(ProcessSandbox):
    """Says that it isolates: no code of a hypothesis is ever run by `fast_job.py`."""

    isolates = True

    def run(self, launch: Launch, cancel: threading.Event) -> Exit:
        """As a process, whatever the launch carries."""
        return super().run(launch.model_copy(update={"untrusted": False}), cancel)


def fast_sandbox(settings: object = None) -> tuple[ProcessSandbox, str]:
    """In place of `aar.sandbox.select.choose`."""
    return Boxed(command=FAST), "process: jobs of the tests"


def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait for a condition; fail when it does not come."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "the awaited condition did not come"
        time.sleep(0.01)


class Scripted:
    """A researcher that proposes these recipes, in this order."""

    name = "scripted"

    def __init__(self, recipes: Sequence[Recipe | Hypothesis]) -> None:
        self.recipes = recipes

    def propose(self, now: Situation) -> Hypothesis:
        """The next of them."""
        next_one = self.recipes[now.number - 1]
        if isinstance(next_one, Hypothesis):
            return next_one
        return Hypothesis(recipe=next_one, rationale="scripted", author="llm")


@contextmanager
def searching(
    folder: Path, recipes: Sequence[Recipe | Hypothesis] = (), slots: int = 1, url: str | None = None, **trouble: str
) -> Iterator[Searching]:
    """A workspace in `folder` whose searches run in this process; `trouble` is what goes wrong (`fast_job.py`)."""
    import aar.agent.run

    settings = Settings(
        workspace=folder / "ws", tracking_uri=NO_TRACKING, sandbox="process", slots=slots, database_url=url
    )
    ledger = Ledger(settings.ledger_url)
    settings.root.mkdir(parents=True, exist_ok=True)
    (settings.root / "trouble.json").write_text(json.dumps(trouble))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aar.agent.run, "choose", fast_sandbox)
        patch.setitem(vars(aar.agent.run)["RESEARCHERS"], "scripted", lambda: Scripted(recipes))
        yield Searching(settings, ledger)
    ledger.close()


class Searching(NamedTuple):
    """Where searches run in this process."""

    settings: Settings
    ledger: Ledger

    def create(self, folder: Path, *sets: str, **plan: Any) -> str:
        """A new search on the tiny task; its id."""
        from aar.agent.run import Plan, create

        return create(self.ledger, self.settings, load_task(write_task(folder), sets)[0], Plan(**plan))

    def work(self, search: str) -> None:
        """Run it to its end."""
        from aar.agent.run import work

        work(self.ledger, self.settings, search, lambda: None)


# ---------------------------------------------------------------- what a search left


@contextmanager
def ledger_of(workspace: Path) -> Iterator[Ledger]:
    """A workspace's ledger."""
    ledger = Ledger(f"sqlite:///{workspace / 'ledger.db'}")
    yield ledger
    ledger.close()


def outcome(workspace: Path) -> dict[str, Any]:
    """All that a search found out, without ids, times and costs: equal for equal searches."""
    with ledger_of(workspace) as ledger:
        (row,) = ledger.searches()
        search = row["id"]
        passing = {"search", "seconds", "created", "finished"}
        scores = [(s["arm"], s["split"], s["seed"], s["accuracy"], s["array"]) for s in ledger.scores(search)]
        return {
            "status": row["status"], "baselines": row["baselines"], "scores": sorted(scores),
            "trials": [t.model_dump(mode="json", exclude=passing) for t in ledger.trials(search)],
            "confirmed": [(c["trial"], c["views"]) for c in ledger.confirmations(search)],
            "findings": [f.model_dump() for f in ledger.findings(search)],
        }  # fmt: skip


def launches(workspace: Path) -> list[dict[str, Any]]:
    """Every start of a job, as the job itself noted it."""
    path = workspace / "launches.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# ---------------------------------------------------------------- searches in processes of their own


class Child:
    """`aar ARGV` in a process of its own, its output in a file."""

    def __init__(self, out: Path, argv: Sequence[str], fault: str | None = None, **env: str) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOAD)
        self.out = out
        self.process = context.Process(target=_child, args=(str(out), list(argv), fault, env))
        self.process.start()

    @property
    def text(self) -> str:
        """What it has printed so far, on stdout and stderr."""
        return self.out.read_text() if self.out.exists() else ""

    def end(self) -> int:
        """Wait for it; its exit code, negative for the signal that killed it."""
        self.process.join(120)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            raise AssertionError(f"still running after two minutes:\n{self.text}")
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)


def _child(out: str, argv: list[str], fault: str | None, env: dict[str, str]) -> None:
    file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.environ.update({"AAR_SLOTS": "1", "AAR_TRACKING_URI": NO_TRACKING, **env})
    import aar.agent.run
    import aar.cli.searching
    from aar.cli import main

    vars(aar.agent.run)["choose"] = vars(aar.cli.searching)["choose"] = fast_sandbox
    if fault is not None:
        FAULTS[fault]()
    sys.argv = ["aar", *argv]
    main()


# ---------------------------------------------------------------- faults


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _before(owner: Any, name: str, strikes: Callable[..., bool]) -> None:
    real = getattr(owner, name)

    def patched(*args: Any, **kwargs: Any) -> Any:
        if strikes(*args, **kwargs):
            _die()
        return real(*args, **kwargs)

    setattr(owner, name, patched)


def _after(owner: Any, name: str, strikes: Callable[..., bool]) -> None:
    real = getattr(owner, name)

    def patched(*args: Any, **kwargs: Any) -> Any:
        result = real(*args, **kwargs)
        if strikes(*args, **kwargs):
            _die()
        return result

    setattr(owner, name, patched)


def _submit() -> None:
    """The victim's proposal is committed and its job not started."""
    from aar.executor import Executor

    _before(Executor, "submit", lambda self, trial, work: trial == VICTIM)


def _victims_job(
    on_start: Callable[[Path], None], after: Callable[[], None] = lambda: None,
    mine: Callable[[str, int | None], bool] = lambda kind, trial: kind == "transfer" and trial == VICTIM,
) -> None:  # fmt: skip
    """Act on the first job that is `mine` (the victim's own), before it starts and after the sandbox returned."""
    from aar.ledger import Lease

    real_start, real_run = Lease.start_attempt, ProcessSandbox.run
    marked: list[str] = []

    def start_attempt(self: Any, attempt: str, kind: str, keys: Any, trial: int | None) -> None:
        real_start(self, attempt, kind, keys, trial)
        if mine(kind, trial) and not marked:
            marked.append(attempt)

    def run(self: Any, launch: Any, cancel: threading.Event) -> Any:
        if launch.attempt not in marked:
            return real_run(self, launch, cancel)
        on_start(Path(launch.folder))
        result = real_run(self, launch, cancel)
        after()
        return result

    Lease.start_attempt = start_attempt  # type: ignore[method-assign]
    ProcessSandbox.run = run  # type: ignore[method-assign]


def _hold(folder: Path) -> None:
    (folder / "hold").touch()


def _job() -> None:
    """The victim's job is running; it goes on for as long as its folder holds `hold`."""

    def start(folder: Path) -> None:
        def watch() -> None:
            until(lambda: begun(folder))
            _die()

        _hold(folder)
        threading.Thread(target=watch, daemon=True).start()

    _victims_job(start)


def begun(folder: Path) -> bool:
    """Has the job in this folder written progress?"""
    progress = folder / "out" / "progress.jsonl"
    return progress.exists() and progress.stat().st_size > 0


def _result() -> None:
    """The victim's job has ended and nobody noted it."""
    _victims_job(lambda folder: None, _die)


def _record() -> None:
    """The victim is recorded and not yet mirrored."""
    from aar.ledger import Lease

    over = ("complete", "pruned")
    _after(Lease, "set_trial", lambda self, n, mirror=False, **fields: n == VICTIM and fields.get("status") in over)


def _fresh() -> None:
    """The first candidate's fresh seeds are scored and no winner is chosen."""
    from aar.ledger import Lease

    _after(Lease, "record_scores", lambda self, arm, split, rows: arm.startswith("fresh:t"))


def _seal() -> None:
    """The seal is open and nothing behind it is scored."""
    from aar.ledger import Lease

    _after(Lease, "open_seal", lambda self, trial: True)


def _taking(strike: Callable[..., None]) -> None:
    """The victim's job waits; then the loop dies beside the transaction that makes a trial of a person's proposal."""
    from aar.ledger import Lease

    _victims_job(_hold)
    strike(Lease, "propose", lambda self, number, heeding=None, **fields: bool(heeding))


def _controls() -> None:
    """The first control waits; the workspace gets a file `closing` once a stop was heard."""
    from aar.executor import Executor

    folders: list[Path] = []

    def start(folder: Path) -> None:
        _hold(folder)
        folders.append(folder)

    _victims_job(start, mine=lambda kind, _: kind == "control")
    real = Executor.ring

    def ring(self: Executor) -> None:
        real(self)
        if self.closing.is_set():
            (folders[0].parent.parent / "closing").touch()

    Executor.ring = ring  # type: ignore[method-assign]


def _code() -> None:
    """Every recipe with logconf counts as written code."""
    import aar.agent.inbox

    vars(aar.agent.inbox)["written"] = lambda recipe: recipe.loss.name == "logconf"


def _ended(kind: str, status: str = "ok") -> Callable[[], None]:
    """The first job of this kind is recorded, and nothing after it."""

    def strike() -> None:
        from aar.ledger import Lease

        def strikes(self: Any, attempt: str, *rest: Any, **fields: Any) -> bool:
            mine = [a for a in self.ledger.attempts(self.search, trial=1) if a["kind"] == kind]
            return any(a["id"] == attempt and a["status"] == status for a in mine)

        _after(Lease, "finish_attempt", strikes)

    return strike


def _turn(role: str, nth: int) -> None:
    """A message of the victim's conversation is recorded, and what follows from it is not."""
    from aar.ledger import Lease

    seen: list[int] = []

    def strikes(self: Any, trial: int, step: int, own: str, *_: Any, **__: Any) -> bool:
        if trial == VICTIM and own == role:
            seen.append(step)
        return len(seen) == nth

    _after(Lease, "turn", strikes)


FAULTS: dict[str, Callable[[], None]] = {
    "smoked": _ended("smoke"), "refused": _ended("smoke", "failed"), "learnt": _ended("transfer"),
    "applied": _ended("predict"),
    "submit": _submit, "job": _job, "result": _result, "record": _record, "fresh": _fresh, "seal": _seal,
    "hold": lambda: _victims_job(_hold), "hold controls": _controls,
    "take": lambda: _taking(_before), "taken": lambda: _taking(_after), "code": _code,
    "opened": lambda: _turn("system", 1), "answered": lambda: _turn("assistant", 1),
    "acted": lambda: _turn("tool", 1), "accepted": lambda: _turn("tool", 3),
}  # fmt: skip
