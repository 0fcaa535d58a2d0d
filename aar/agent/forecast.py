"""`aar run --dry-run`: a 1 % pass end to end through the real sandbox, and what the whole would cost."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Iterator
from typing import NamedTuple

from aar.agent.run import Plan, create, opened
from aar.ledger import Ledger, UnitRow
from aar.methods import Int
from aar.methods.supervision.chain import Bootstrap
from aar.runner.bench import model_of
from aar.runner.controls import SHUFFLES
from aar.runner.trial import Runner
from aar.settings import Settings
from aar.types import ModelSpec, Pretrain, Recipe, TaskSpec

SHARE = 0.01
FEWEST_ROWS = 64
FULL_SHARE = 0.7
"""Share of trials that are assumed to get past the screen."""
TYPICAL_PGR_SD = 0.08
"""Seed standard deviation of PGR in published baselines: .05-.12."""
TYPICAL_GAP = 0.2
DISAGREE = 0.1
"""Share of examples on which two students of one task differ, for the example part of a difference."""


class Cost(NamedTuple):
    """Seconds of one job of one seed: to start it, and to train and predict at full size."""

    start: float
    work: float


def forecast(task: TaskSpec, settings: Settings, plan: Plan) -> Iterator[str]:
    """Lines that say what was run and what the search would take. Leaves nothing behind."""
    small = scaled(task)
    scratch = settings.model_copy(update={"workspace": settings.root / "dry-run", "database_url": None})
    shutil.rmtree(scratch.root, ignore_errors=True)
    ledger = Ledger(scratch.ledger_url)
    try:
        search = create(ledger, scratch, small, Plan(trials=1))
        with opened(ledger, scratch, search) as bench:
            runner = Runner(bench)
            seed = bench.seeds("search", 1)
            weak = {} if bench.problem.provided else runner.weak(seed)
            ceiling, student = runner.ceiling(seed), runner.students(Recipe(), seed)
            units = {"weak": weak, "ceiling": ceiling, "transfer": student}
            links = _links(runner, seed)
            pretrained = {role: _pretrained(runner, role) for role in bench.problem.models}
            yield f"dry run of {task.name}: {len(ledger.attempts(search))} jobs at 1 % ran to their end"
        costs = {kind: _cost(task, small, kind, next(iter(rows.values()))) for kind, rows in units.items() if rows}
        chain = [_cost(task, small, "chain", row) for row in links]
        once = sum(_pretrain_cost(task, role, unit) for role, unit in pretrained.items() if unit is not None)
    finally:
        ledger.close()
        shutil.rmtree(scratch.root, ignore_errors=True)
        with contextlib.suppress(OSError):  # a workspace that holds anything else stays
            settings.root.rmdir()
    yield from _lines(task, settings, plan, costs, chain, once)


def scaled(task: TaskSpec) -> TaskSpec:
    """The task at 1 %: rows, pre-training steps and documents; never fewer than a few batches."""
    s = task.splits
    rows = {name: _few(getattr(s, name)) for name in ("weak_train", "weak_val", "transfer", "dev", "test")}

    def shrink(plan: Pretrain | None) -> Pretrain | None:
        if plan is None:
            return None
        few = {"steps": max(5, int(plan.steps * SHARE)), "documents": max(256, int(plan.documents * SHARE))}
        return plan.model_copy(update=few)

    def small(model: ModelSpec) -> ModelSpec:
        return model.model_copy(update={"pretrain": shrink(model.pretrain)})

    m = task.models
    models = {"weak": small(m.weak), "strong": small(m.strong), "chain": tuple(map(small, m.chain))}
    ood = {name: o.model_copy(update={"rows": _few(o.rows)}) for name, o in task.ood.items()}
    splits = s.model_copy(update=rows)
    return task.model_copy(update={"splits": splits, "ood": ood, "models": m.model_copy(update=models)})


def _few(rows: int) -> int:
    return min(rows, max(FEWEST_ROWS, int(rows * SHARE)))


def _links(runner: Runner, seeds: list[int]) -> list[UnitRow]:
    """One unit of each of the chain's models that a recipe can use."""
    problem = runner.bench.problem
    if problem.provided or not problem.task.models.chain:
        return []
    space = Bootstrap.space["links"]
    assert isinstance(space, Int)
    links = min(len(problem.task.models.chain), space.high)
    labels = {seed: row.outputs["transfer"] for seed, row in runner.weak(seeds).items()}
    return [rows[seeds[0]] for rows in runner.chain(seeds, links, 1, labels)]


def _pretrained(runner: Runner, role: str) -> UnitRow | None:
    """The unit that pre-trained a model for the dry run, or None where there was none to pre-train or no use for it."""
    planned = runner.planner.pretrain(role)
    return None if planned is None else runner.bench.ledger.unit(planned.units[0].key(planned.spec))


def _rate(unit: UnitRow) -> float:
    """Examples a second, at its best: the first steps of a short job are slow."""
    return max((p["examples_s"] for p in unit.curve), default=100.0)


def _cost(task: TaskSpec, small: TaskSpec, kind: str, unit: UnitRow) -> Cost:
    rate = _rate(unit)
    plans = {"weak": task.training.weak, "chain": task.training.chain or task.training.strong}
    role = plans.get(kind, task.training.strong)

    def examples(t: TaskSpec) -> float:
        rows = t.splits.weak_train if kind == "weak" else t.splits.transfer
        scored = t.splits.dev + sum(ood.rows for ood in t.ood.values())
        seen = (scored if kind != "chain" else 0) + (t.splits.transfer if kind in ("weak", "chain") else 0)
        return rows * role.epochs + seen / 3  # a forward pass costs about a third of a step

    return Cost(max(0.0, unit.seconds - examples(small) / rate), examples(task) / rate)


def _pretrain_cost(task: TaskSpec, role: str, unit: UnitRow) -> float:
    plan = model_of(task, role).pretrain
    assert plan is not None, role
    return unit.seconds + plan.steps * plan.batch_size / _rate(unit)


def _lines(
    task: TaskSpec, settings: Settings, plan: Plan, costs: dict[str, Cost], chain: list[Cost], once: float
) -> Iterator[str]:
    seeds = task.seeds
    base = max(seeds.baseline, seeds.full)
    weak, ceiling, student = costs.get("weak", Cost(0, 0)), costs["ceiling"], costs["transfer"]

    def runs(cost: Cost, n: float, launches: float) -> float:
        return cost.work * n + cost.start * launches

    trial = runs(student, seeds.screen + FULL_SHARE * (seeds.full - seeds.screen), 1 + FULL_SHARE)
    fixed = once + runs(weak, base + seeds.confirm, 4) + runs(ceiling, base + 2 * seeds.confirm, 6)
    fixed += runs(student, base + (plan.confirm_top + 1) * seeds.confirm, 2 * (plan.confirm_top + 2))
    if plan.controls and seeds.controls:  # two of each confirmed recipe and of naive, self-training, renumbered
        recipes = plan.confirm_top + 1
        runs_of_each = max(SHUFFLES, seeds.controls) + seeds.controls
        fixed += runs(student, recipes * runs_of_each + plan.confirm_top * seeds.controls + 1, 3 * recipes + 1)
    fixed += sum(runs(link, base + seeds.confirm, 4) for link in chain)
    slots, gpus = settings.slots_for(task.limits.gpus), task.limits.gpus
    hours = plan.hours if plan.hours is not None else math.inf
    by_gpu = (math.inf if plan.gpu_hours is None else plan.gpu_hours) / max(gpus, 1e-9) / slots
    fit = min(hours, by_gpu) * 3600 * slots / trial
    trials = max(1, int(min(fit, math.inf if plan.trials is None else plan.trials)))
    job_seconds = fixed + trials * trial
    launches = 20 + trials * (1 + FULL_SHARE)
    yield f"  one seed      weak {sum(weak):.1f} s, ceiling {sum(ceiling):.1f} s, student {sum(student):.1f} s"
    if chain:
        yield f"  chain         {', '.join(f'{sum(c):.1f} s' for c in chain)} a seed, for all recipes that bootstrap"
    yield f"  trials        {trials}, about {trial:.0f} s each on one of {slots} slots"
    wall, share = job_seconds / slots / 3600, fixed / slots / 3600
    yield f"  time          {wall:.2f} h wall, of which baselines and confirmation {share:.2f} h"
    yield f"  GPU-hours     {job_seconds * gpus / 3600:.2f}"
    rows = task.splits.dev * 4 * 2
    disk = launches * seeds.full * rows + 10 * base * (task.splits.transfer + task.splits.dev + task.splits.test) * 8
    yield f"  disk          about {disk / 2**20:.0f} MiB of predictions, and the models"
    seed_part = TYPICAL_PGR_SD**2 / seeds.full
    example_part = DISAGREE / task.splits.dev / TYPICAL_GAP**2
    smallest = 2.8 * math.sqrt(2 * seed_part + example_part)
    yield (
        f"  could detect  a PGR difference of {smallest:.2f} between two trials at {seeds.full} seeds (80 % power; "
        f"seed sd {TYPICAL_PGR_SD} as published, gap {TYPICAL_GAP} assumed, {task.splits.dev} dev rows)"
    )
