"""Running an atlas: one process, one lease, the cells' jobs from the cache or trained."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from aar.atlas import estimate
from aar.atlas.cells import SHARES, along, conflicted, cut
from aar.atlas.grid import Cell, Grid
from aar.atlas.readouts import readouts
from aar.atlas.views import Arms, Atlas, cell_views
from aar.executor import Executor, Stopped, stopping
from aar.ledger import Ledger, UnitRow
from aar.runner.bench import STRONG, WEAK, Bench, Problem
from aar.runner.evidence import Evidence
from aar.runner.plan import Planned
from aar.runner.trial import Runner
from aar.runner.units import JobFailed, orphans
from aar.sandbox.select import choose
from aar.settings import Settings
from aar.types import AarError, Recipe, canonical_json, checkpoint, digest_of

Say = Callable[[str], None]


def chart(ledger: Ledger, settings: Settings, grid: Grid, say: Say) -> Atlas:
    """The atlas of a grid. What it came to before is read from the ledger; what a kill left undone is done.

    `say` is told each piece of work as it ends, from several threads.

    Raises:
        Stopped: Ctrl-C or SIGTERM; the same call goes on.
        LeaseHeld: another process is at this atlas.
        AarError: a model or the data is not usable, or a job failed; the rest is kept.
    """
    problems = [Problem.of(pair.task, settings) for pair in grid.pairs]
    data = problems[0].prepared.digest
    name = f"{grid.task.name}-atlas-{digest_of([grid, data, [p.code for p in problems]])[:6]}"
    ledger.begin_atlas(name, task=grid.task.name, data_digest=data, grid=canonical_json(grid))
    row = ledger.atlas(name)
    if row is not None and row["result"]:
        return Atlas.model_validate_json(row["result"])
    sandbox, _ = choose(settings)
    slots = settings.slots_for(grid.task.limits.gpus)
    with ledger.hold(name) as lease, Executor(slots, settings.cards) as executor:
        first = Bench.of(problems[0], name, grid.seed, ledger, lease, sandbox, executor)
        sandbox.reap(name)
        orphans(first)
        lease.set_atlas(status="running", reason=None)
        try:
            with stopping(executor.cancel):
                _train(grid, [_on(first, problem) for problem in problems], say)
        except Stopped:
            lease.set_atlas(status="stopped", reason="stopped by hand")
            raise
        except (AarError, JobFailed) as error:
            told = error.told() if isinstance(error, JobFailed) else str(error)
            lease.set_atlas(status="failed", reason=told)
            raise AarError(
                f"atlas {name}: {told}\nwhat was trained is kept: the same command tries the rest again"
            ) from error
        cells = cell_views(first, grid)
        spent = ledger.spent(name)
        atlas = Atlas(
            id=name, task=grid.task.name, seeds=grid.task.seeds.baseline, cells=tuple(cells),
            readouts=tuple(readouts(cells)), looks=int(spent["looks"]), job_seconds=round(spent["job_seconds"], 1),
        )  # fmt: skip
        lease.lose_attempts()
        lease.set_atlas(status="complete", reason=None, result=canonical_json(atlas), finished=time.time())
        return atlas


def _on(bench: Bench, problem: Problem) -> Bench:
    return dataclasses.replace(bench, problem=problem, limits=problem.task.limits)


def expect(grid: Grid, settings: Settings) -> Iterator[str]:
    """What the grid would take, in lines; trains nothing and records nothing.

    Raises:
        AarError: a model or the data is not usable.
    """
    yield from estimate.lines(grid, [Problem.of(pair.task, settings) for pair in grid.pairs], settings)


class _Job(NamedTuple):
    """What is recorded as an arm, in words, and how to get it."""

    arm: str
    words: str
    run: Callable[[], dict[int, UnitRow]]


def _train(grid: Grid, benches: list[Bench], say: Say) -> None:
    """Every job of the grid, each once, and its scores in the ledger."""
    runners, executor = [Runner(bench) for bench in benches], benches[0].executor

    def timed(words: str, work: Callable[[], object]) -> None:
        began = time.monotonic()
        work()
        say(f"{words}   {time.monotonic() - began:.0f} s")

    def record(job: _Job) -> None:
        units = job.run()
        with benches[0].scoring:
            _record(runners[0].evidence, job.arm, units)

    first = [partial(timed, f"pre-training {model}", work) for model, work in _pretraining(grid, runners)]
    executor.each(first)
    for jobs in (_models(grid, runners), _students(grid, runners)):
        executor.each([partial(timed, job.words, partial(record, job)) for job in jobs])


def _pretraining(grid: Grid, runners: list[Runner]) -> Iterator[tuple[str, Callable[[], object]]]:
    """The models to pre-train by name, each once."""
    seen = set()
    for runner, pair in zip(runners, grid.pairs, strict=True):
        for role, model in ((WEAK, pair.weak), (STRONG, pair.strong)):
            planned = runner.planner.pretrain(role)
            key = planned and planned.units[0].key(planned.spec)
            if key and key not in seen:
                seen.add(key)
                yield model, partial(runner.weights, role)


def _models(grid: Grid, runners: list[Runner]) -> list[_Job]:
    """Weak models, and ceilings at every N."""
    arms, jobs = Arms(grid), dict[str, _Job]()
    for cell in grid.cells():
        runner, pair, seeds = runners[cell.pair], grid.pairs[cell.pair], _seeds(grid, runners)
        for job in (
            _Job(arms.weak(cell), f"weak {pair.weak}", partial(runner.weak, seeds)),
            _Job(arms.ceiling(cell), f"ceiling {pair.strong}, N {cell.n}",
                 partial(runner.ceiling, seeds, change=_change(runner, cell))),
        ):  # fmt: skip
            jobs.setdefault(job.arm, job)
    return list(jobs.values())


def _students(grid: Grid, runners: list[Runner]) -> list[_Job]:
    """Naive students of every cell, and those with a conflicting objective."""
    arms, jobs = Arms(grid), []
    for cell in grid.cells():
        runner, pair = runners[cell.pair], grid.pairs[cell.pair]
        train = partial(runner.students, Recipe(), _seeds(grid, runners))
        where, looks = f"{pair.weak} > {pair.strong}, N {cell.n}", [along] if grid.curves else []
        jobs.append(_Job(arms.student(cell), f"students {where}", partial(train, change=_change(runner, cell, *looks))))
        if grid.deception:
            change = _change(runner, cell, conflicted)
            jobs.append(_Job(arms.conflicted(cell), f"students in conflict {where}", partial(train, change=change)))
    return jobs


def _seeds(grid: Grid, runners: list[Runner]) -> list[int]:
    return runners[0].bench.seeds("search", grid.task.seeds.baseline)


def _change(runner: Runner, cell: Cell, *more: Callable[[Planned], Planned]) -> Callable[[Planned], Planned]:
    """The cell's rows, then what else is asked of its students."""

    def change(planned: Planned) -> Planned:
        planned = cut(runner.bench, planned, cell.n)
        for step in more:
            planned = step(planned)
        return planned

    return change


def _record(evidence: Evidence, arm: str, units: dict[int, UnitRow]) -> None:
    """Score units at their end, and along training where they looked."""
    evidence.record_arrays(arm, "dev", {seed: unit.outputs["dev"] for seed, unit in units.items()})
    for share in SHARES:
        looks = {s: u.outputs[checkpoint(share)] for s, u in units.items() if checkpoint(share) in u.outputs}
        if looks:
            evidence.record_arrays(Arms.after(arm, share), "dev", looks)
