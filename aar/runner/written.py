"""Recipes with code of their own: tried on a few rows first, trained by one job, applied by another (rule 2).

The job that runs the code gets transfer texts and one seed's weak labels, and hands back weights. A `predict` job, in
which no such code runs, loads them into a model that the package builds, and sees what is predicted.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aar.ledger import UnitRow
from aar.methods import fill
from aar.methods.student import SCHEDULES, STUDENTS
from aar.runner.bench import STRONG, Bench
from aar.runner.few_shot import MODEL
from aar.runner.plan import Inputs, Planned, Planner
from aar.runner.units import JobFailed, cached, ensure
from aar.types import SLOTS, AarError, JobKind, JobSpec, ModelRef, Part, Recipe, Training, Unit

SMOKE_ROWS = 64
NEEDS_DOCKER = "code written by a hypothesis runs in the Docker sandbox only; get it with `aar sandbox build`"


def smoke(bench: Bench, recipe: Recipe, weights: str | None, weak: Mapping[str, str], trial: int) -> None:
    """Try a recipe's written parts on the first rows of the search's first seed: one epoch, everything else naive.

    Raises:
        AarError: the part is not fit to be trained with; the end of its log says why. Or there is no Docker sandbox.
    """
    if not bench.sandbox.isolates:
        raise AarError(NEEDS_DOCKER)
    try:
        ensure(bench, _few(bench, recipe, weights, weak), trial)
    except JobFailed as error:
        names = ", ".join(code.ref for code in recipe.written)
        raise AarError(f"{names} did not pass its smoke run on {SMOKE_ROWS} rows: {error.why}") from error


def students(bench: Bench, planned: Planned, trial: int | None) -> dict[int, UnitRow]:
    """Units of `planned`, whose recipe carries code: each seed trained in a sandbox of its own, then all predict.

    What was applied is not kept: a whole model for each seed of each trial would fill a disk.

    Raises:
        JobFailed: the code failed in training, or what it handed back does not fit the model.
    """
    learning = _learning(bench, planned)
    learnt: dict[int, UnitRow] = {}
    for unit in learning.units:
        before = bench.ledger.unit(unit.key(learning.spec))
        if before is not None and _applied(bench, planned._replace(units=(unit,)), before):
            learnt[unit.seed] = before
        else:
            learnt |= ensure(bench, learning._replace(units=(unit,)), trial)
    done = ensure(bench, _predicting(bench, planned, learnt), trial)
    for row in learnt.values():
        bench.store.drop(row.outputs["weights"])
    beside = {seed: {k: d for k, d in row.outputs.items() if k != "weights"} for seed, row in learnt.items()}
    return {seed: row.model_copy(update={"outputs": row.outputs | beside[seed]}) for seed, row in done.items()}


def _applied(bench: Bench, planned: Planned, learnt: UnitRow) -> bool:
    """Has this one seed predicted already what is planned?"""
    predicting = _predicting(bench, planned, {learnt.seed: learnt})
    return all(cached(bench, unit.key(predicting.spec)) for unit in predicting.units)


def _few(bench: Bench, recipe: Recipe, weights: str | None, weak: Mapping[str, str]) -> Planned:
    problem, seed = bench.problem, bench.seeds("search", 1)[0]
    own: dict[str, Part] = {slot: getattr(recipe, slot) for slot in SLOTS if getattr(recipe, slot).code is not None}
    base = problem.task.training.strong.model_copy(update={"epochs": 1})
    planned = Planner(problem).transfer([seed], Recipe(**own), False, weights, {seed: dict(weak)})
    rows = min(SMOKE_ROWS, planned.spec.rows["transfer"])
    texts = problem.prepared.text_file("transfer").read_bytes().splitlines(keepends=True)[:rows]
    text = problem.store.put(b"".join(texts))
    answers = problem.store.put(problem.store.array(weak["transfer"], problem.classes)[:rows].tobytes())
    files = planned.inputs.files | {digest: str(problem.store.path(digest)) for digest in (text, answers)}
    blind = _blind(planned.spec)
    few = {"kind": JobKind.SMOKE, "training": base, "recipe": fill(Recipe(**own), base), "rows": {"transfer": rows}}
    spec = blind.model_copy(update=few | {"inputs": blind.inputs | {"transfer.jsonl": text}})
    units = tuple(Unit(seed=u.seed, inputs=u.inputs | {"weak0": answers}) for u in planned.units)
    return Planned(spec, units, Inputs(files, {}))


def _learning(bench: Bench, planned: Planned) -> Planned:
    """The same students, who predict nothing and hand back weights."""
    spec = _blind(planned.spec)
    return planned._replace(spec=spec.model_copy(update={"handed": _most_bytes(bench, spec.model)}))


def _blind(spec: JobSpec) -> JobSpec:
    """A job without what it would be scored on."""
    hidden = {f"{split}.jsonl" for split in spec.predict} - {"transfer.jsonl"}
    given = {name: digest for name, digest in spec.inputs.items() if name not in hidden}
    rows = {"transfer": spec.rows["transfer"]}
    return spec.model_copy(update={"inputs": given, "rows": rows, "predict": ()})


def _predicting(bench: Bench, planned: Planned, learnt: Mapping[int, UnitRow]) -> Planned:
    """The job that applies weights: it has the model's own files and the texts, and no label of any kind."""
    spec, store = planned.spec, bench.problem.store
    assert spec.recipe is not None and spec.training is not None, "students have both"
    shown = (*MODEL, *(f"{split}.jsonl" for split in spec.predict))
    handed = {seed: row.outputs["weights"] for seed, row in learnt.items()}
    files = planned.inputs.files | {digest: str(store.path(digest)) for digest in handed.values()}
    job = JobSpec(
        kind=JobKind.PREDICT, task=spec.task, classes=spec.classes, model=spec.model,
        training=Training(lora=_effective(spec.recipe, spec.training).lora),
        inputs={name: digest for name, digest in spec.inputs.items() if name in shown},
        rows={split: spec.rows[split] for split in spec.predict}, predict=spec.predict, source=spec.source,
    )  # fmt: skip
    units = tuple(Unit(seed=u.seed, inputs={"student": handed[u.seed]}) for u in planned.units)
    return Planned(job, units, Inputs(files, {}))


def _effective(recipe: Recipe, base: Training) -> Training:
    """The schedule that a filled recipe's student runs under."""
    schedule = SCHEDULES[recipe.schedule.name].training(recipe.schedule.params, base)
    student = recipe.student
    return schedule if student.code else STUDENTS[student.name].training(student.params, schedule)


def _most_bytes(bench: Bench, ref: ModelRef) -> int:
    """Room for a model's weights: twice what it has, and some for a head, adapters and the file's own header."""
    model, spare = bench.problem.models[STRONG], 64 << 20
    if model.folder is not None:
        return 2 * sum(f.stat().st_size for f in model.folder.rglob("*.safetensors")) + spare
    assert ref.tiny is not None, "a model without a folder is built in the job"
    words = bench.problem.vocabulary_file(STRONG)
    tokens = len(Path(words[0]).read_bytes().splitlines()) if words else 1 << 17
    width = ref.tiny.width
    return 2 * 4 * width * (tokens + ref.max_length + 8 + ref.tiny.layers * (12 * width + 13)) + (4 << 20)
