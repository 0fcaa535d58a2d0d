"""Starting, resuming and ending a search: lease, sandbox, slots, graph, mirror, in that order."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aar.agent.budget import afford
from aar.agent.graph import Loop, State, compile_graph
from aar.agent.inbox import Inbox
from aar.agent.mixed import Mixed
from aar.agent.researchers import RESEARCHERS, Human, Presets, Researcher
from aar.executor import Executor, Stopped, stopping
from aar.ledger import LeaseLost, Ledger
from aar.runner.audit import protected, sealed
from aar.runner.bench import Bench, Problem
from aar.runner.confirm import candidates
from aar.runner.trial import Runner
from aar.runner.units import JobFailed, orphans
from aar.sandbox.select import choose
from aar.settings import Settings
from aar.tracking import Mirror
from aar.types import AarError, Recipe, TaskSpec, Word, canonical_json

if TYPE_CHECKING:
    from langgraph.checkpoint.sqlite import SqliteSaver

    from aar.agent.llm.model import Model
    from aar.agent.llm.researcher import LLM

WITH_MODEL = ("llm", "mixed")
"""Researchers that ask a model; mixed does without where there is none."""
NODES_PER_TRIAL = 6
OTHER_NODES = 100_000
"""Rounds of the loop that end no trial: one for each message."""
FLUSH_SECONDS = 60.0
PRUNE_EVERY = 100
"""Steps of the graph between two prunings of its checkpoints."""

Watch = Callable[[], contextlib.AbstractContextManager[Any]]
"""Something that looks on while a search is worked on: entered before, left after."""


class Plan(Word):
    """How a search was asked for; kept in the ledger, so that a resume asks for the same."""

    seed: int = 0
    trials: int | None = 20
    hours: float | None = None
    gpu_hours: float | None = None
    tokens: int | None = None
    usd: float | None = None
    researcher: str = "optuna"
    confirm_top: int = 3
    controls: bool = True
    recipe: Recipe | None = None
    presets: tuple[str, ...] = ()
    approve: str = ""
    model: str | None = None
    base_url: str | None = None
    voices: int = 1
    directions: tuple[str, ...] = ()
    prices: str | None = None
    experiment: str = ""
    sandbox: str = ""
    slots: int = 1
    code: str = ""
    protected: dict[str, str] = {}
    sealed: str = ""


def create(ledger: Ledger, settings: Settings, task: TaskSpec, plan: Plan) -> str:
    """Check and prepare the task, then record a new search; its id. Bad input leaves no search behind.

    Raises:
        AarError: the task, its data or its models are not usable.
    """
    problem = Problem.of(task, settings)
    plan = plan.model_copy(update={"code": problem.code, "protected": protected(problem), "sealed": sealed(problem)})
    alphabet = "abcdefghijkmnpqrstuvwxyz23456789"
    search = f"{task.name}-{''.join(secrets.choice(alphabet) for _ in range(4))}"
    ledger.create_search(
        id=search, task=task.name, data_digest=problem.prepared.digest, spec=canonical_json(task),
        plan=canonical_json(plan),
    )  # fmt: skip
    return search


def load(ledger: Ledger, search: str) -> tuple[TaskSpec, Plan]:
    """A recorded search's task and plan.

    Raises:
        AarError: there is no such search.
    """
    row = ledger.search(search)
    if row is None:
        known = ", ".join(r["id"] for r in ledger.searches()[:5]) or "none"
        raise AarError(f"no search {search!r} in {ledger.url}; latest: {known}")
    return TaskSpec.model_validate_json(row["spec"]), Plan.model_validate_json(row["plan"])


@contextlib.contextmanager
def opened(ledger: Ledger, settings: Settings, search: str) -> Iterator[Bench]:
    """A search's bench, held by this process alone.

    Raises:
        LeaseHeld: another process writes the search.
        AarError: the data changed since the search began, or a demanded sandbox is not there.
    """
    task, plan = load(ledger, search)
    problem = Problem.of(task, settings)
    row = ledger.search(search)
    assert row is not None
    if problem.prepared.digest != row["data_digest"]:
        raise AarError(
            f"search {search}: the task's data changed since it began ({row['data_digest'][:12]} then, "
            f"{problem.prepared.digest[:12]} now); put the files back, or start a new search"
        )
    if plan.code and problem.code != plan.code:
        raise AarError(
            f"search {search} began with other code or other model files ({plan.code[:12]} then, {problem.code[:12]} "
            "now): its trials could not be compared; go back to them, or start a new search (the cache is kept)"
        )
    sandbox, _ = choose(settings)
    slots, gpus = settings.slots_for(task.limits.gpus), task.limits.gpus
    if 0 < len(settings.cards) < gpus:
        raise AarError(
            f"limits.gpus: {gpus}, and there are {len(settings.cards)}: {', '.join(settings.cards)} (AAR_GPUS)"
        )
    with ledger.hold(search) as lease, Executor(slots, settings.cards) as executor:
        bench = Bench.of(problem, search, plan.seed, ledger, lease, sandbox, executor)
        sandbox.reap(search)
        orphans(bench)
        yield bench


def work(
    ledger: Ledger,
    settings: Settings,
    search: str,
    report: Callable[[], None],
    watch: Watch = contextlib.nullcontext,
) -> int:
    """Run a search from wherever the ledger says it is to its end; how many records still wait for tracking.

    Raises:
        Stopped: Ctrl-C, SIGTERM or `aar stop`; the ledger is whole and `aar resume` goes on.
        AarError: the search cannot go on; the reason is in the ledger too.
    """
    _, plan = load(ledger, search)
    with opened(ledger, settings, search) as bench:
        update = plan.model_copy(update={"sandbox": bench.sandbox.name, "slots": bench.executor.slots})
        bench.lease.set_search(status="running", reason=None, finished=None, plan=canonical_json(update))
        inbox = Inbox(bench, plan.approve)
        loop = loop_of(plan, bench, inbox, report)
        return _carry_out(bench, settings, inbox, lambda: _invoke(loop, settings, plan), watch)


def confirm_now(
    ledger: Ledger,
    settings: Settings,
    search: str,
    top: int,
    report: Callable[[], None],
    watch: Watch = contextlib.nullcontext,
) -> int:
    """Confirm the best `top` of a search that ended before it could; then it is complete. As `work` otherwise."""
    _, plan = load(ledger, search)
    with opened(ledger, settings, search) as bench:
        runner = Runner(bench)
        if not candidates(bench, runner, top):
            raise AarError(f"{search}: no complete trial to confirm; `aar resume {search}` goes on searching")
        update = plan.model_copy(update={"confirm_top": top})  # what a resume takes up
        bench.lease.set_search(status="running", reason=None, finished=None, plan=canonical_json(update))
        inbox = Inbox(bench, plan.approve)
        loop = Loop(bench, runner, RESEARCHERS["optuna"](), report, inbox, top, plan.controls)
        state: State = {"search": search, "running": [], "step": 0}

        def confirming() -> None:
            runner.baselines()
            loop.confirm(state)
            loop.finish(state)

        return _carry_out(bench, settings, inbox, confirming, watch)


def _carry_out(
    bench: Bench,
    settings: Settings,
    inbox: Inbox,
    do: Callable[[], None],
    watch: Watch,
) -> int:
    """Work that can be told to stop and is sent to tracking; how it ended is in the ledger."""
    ledger, search = bench.ledger, bench.search
    mirror = Mirror(ledger, settings)
    mirror.start()
    try:
        with stopping(bench.executor.cancel), inbox.listening(), watch():
            do()
    except Stopped:
        asked = {m.id: "stopped" for m in ledger.messages(search, "stop", unheeded=True)}
        reason = "stopped by aar stop" if asked else "stopped by hand"
        bench.lease.set_search(asked, status="stopped", reason=reason)
        raise
    except (AarError, JobFailed) as error:
        told = error.told() if isinstance(error, JobFailed) else str(error)
        bench.lease.set_search(status="failed", reason=told, finished=time.time())
        raise AarError(f"search {search}: {told}") from error
    except Exception as error:
        with contextlib.suppress(LeaseLost):
            bench.lease.set_search(status="stopped", reason=f"{type(error).__name__}: {error}")
        raise
    finally:
        bench.executor.cancel.set()  # whoever still talks to a model stops before the mirror is waited for
        waiting: int = mirror.stop(FLUSH_SECONDS)
    return waiting


def loop_of(plan: Plan, bench: Bench, inbox: Inbox, report: Callable[[], None]) -> Loop:
    """The loop that a plan asks for."""
    voices = plan.voices if plan.model is not None else 1
    return Loop(bench, Runner(bench), _researcher(plan, bench), report, inbox, plan.confirm_top, plan.controls, voices)


def _researcher(plan: Plan, bench: Bench) -> Researcher:
    if plan.recipe:
        return Human(plan.recipe)
    if plan.presets:
        return Presets(plan.presets)
    if plan.researcher not in WITH_MODEL:
        return RESEARCHERS[plan.researcher]()
    asked = llm_of(plan, bench) if plan.model is not None else None
    if plan.researcher == "mixed":
        return Mixed(asked)
    if asked is None:
        raise AarError("researcher llm: name its model, with --model PROVIDER:NAME or AAR_MODEL")
    return asked


def llm_of(plan: Plan, bench: Bench) -> LLM:
    """The researcher that asks a plan's model."""
    from aar.agent.llm.researcher import LLM

    def affordable() -> bool:
        return afford(bench.ledger, bench.search, max(0, len(bench.executor.thinking) - 1))

    model = model_of(plan, bench.executor.cancel)

    def pause(seconds: float) -> None:
        model.wait(seconds)
        bench.executor.begin()

    model.pause = pause
    return LLM(bench, model, plan.voices, plan.directions, affordable)


def model_of(plan: Plan, cancel: threading.Event | None = None) -> Model:
    """The model that a search asks.

    Raises:
        AarError: the extra `chat` is not installed, the model is not known, or the price table is none.
    """
    from aar.agent.llm.model import Model
    from aar.agent.llm.prices import load_prices

    assert plan.model is not None
    prices = load_prices(Path(plan.prices) if plan.prices else None, plan.base_url)
    return Model(plan.model, plan.base_url, prices=prices, cancel=cancel or threading.Event())


def _invoke(loop: Loop, settings: Settings, plan: Plan) -> None:
    os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
    from langgraph.checkpoint.sqlite import SqliteSaver

    folder = settings.folder("searches") / loop.bench.search
    folder.mkdir(parents=True, exist_ok=True)
    limit = OTHER_NODES + NODES_PER_TRIAL * (plan.trials or 100_000)
    config = {"configurable": {"thread_id": loop.bench.search}, "recursion_limit": limit}
    with SqliteSaver.from_conn_string(str(folder / "graph.sqlite")) as saver:
        graph = compile_graph(loop, saver)
        start = {"search": loop.bench.search, "running": [], "step": 0}
        for n, _ in enumerate(graph.stream(start, config, durability="sync")):
            if n % PRUNE_EVERY == 0:
                prune(saver, loop.bench.search)


def prune(saver: SqliteSaver, thread: str) -> None:
    """Drop all checkpoints but the latest: none is ever read back (the saver's own `prune` is not written yet)."""
    with saver.cursor() as c:
        for table in ("checkpoints", "writes"):
            latest = "(SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = ?)"
            c.execute(f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_id < {latest}", (thread, thread))


def latest(ledger: Ledger, statuses: tuple[str, ...] = ()) -> str | None:
    """The newest search (of these statuses), or None."""
    for row in ledger.searches():
        if not statuses or row["status"] in statuses:
            return str(row["id"])
    return None
