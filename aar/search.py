"""Optuna over the conditional recipe space, rebuilt from the ledger for every proposal.

Most proposals change one to three slots of the best trial or of naive and keep the rest: what such a trial shows can be
laid to what was changed, and a recipe has few moving parts unless they have earned their place.

The sampler's randomness depends on (search seed, trial index) only, so a killed and resumed search proposes what an
undisturbed one would. Objective: public accuracy, shrunk towards the common mean by its own noise. The only room
that imports optuna.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from aar.ledger import TrialRow
from aar.methods import PARTS, Able, Choice, Int, Space, fill, illegal, recipe_hash, spaces
from aar.scoring import shrink
from aar.types import SLOTS, Part, Recipe, TaskSpec, TrialStatus, Value, Written

if TYPE_CHECKING:
    import optuna

MEMORY = 300
"""Most trials the sampler is told: the best hundred and the latest; TPE looks at 25 good ones against the rest."""
BEST = 100
IMPORTANCE_FROM = 20
RIDGE = 1.0
FROM_BEST, FROM_NAIVE = 0.5, 0.25
"""How often a proposal begins from the best trial and from naive; else every slot is drawn."""
CHANGED = (1, 1, 2, 3)
"""How many slots it then changes: one of these."""


class Proposal(NamedTuple):
    """A filled and legal recipe, and the number of the trial it changes, if it keeps most of one."""

    recipe: Recipe
    parent: int | None


def propose(
    task: TaskSpec, trials: Sequence[TrialRow], seed: int, index: int, how: Literal["optuna", "random"] = "optuna"
) -> Proposal:
    """A recipe for trial `index`: a pure function of its arguments. `random` draws every slot, whatever was seen."""
    import optuna

    digest = hashlib.sha256(f"{seed}/{index}".encode()).digest()
    state = int.from_bytes(digest[:4], "big")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler: Any = (
            optuna.samplers.TPESampler(seed=state, n_startup_trials=5, constant_liar=True)
            if how == "optuna"
            else optuna.samplers.RandomSampler(seed=state)
        )
    told = trials if how == "optuna" else []
    study, values, tried = _study(task, told, sampler), objective(told), {t.hash for t in told}
    draw, inside, able = np.random.default_rng([state, 1]), space(task, told), Able.of(task)
    codes = written(told)
    while True:
        parent, kept = _kept(told, values, draw)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.sampler = optuna.samplers.PartialFixedSampler(kept, sampler) if kept else sampler
        trial = study.ask()
        recipe = fill(_ask(trial, inside, codes), task.training.strong)
        if illegal(recipe, able) is None and recipe_hash(recipe) not in tried:
            return Proposal(recipe, parent)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)


def _kept(
    trials: Sequence[TrialRow], values: dict[int, float], draw: np.random.Generator
) -> tuple[int | None, dict[str, Value]]:
    """The trial to begin from, by its objective, and the choices of it that stay; (None, {}) to draw everything."""
    chance, changed = draw.random(), draw.permutation(len(SLOTS))[: draw.choice(CHANGED)]
    if not values or chance >= FROM_BEST + FROM_NAIVE:
        return None, {}
    number = max(values, key=lambda n: (values[n], -n)) if chance < FROM_BEST else 0
    begin = next(t for t in trials if t.number == number)
    slots = {slot for i, slot in enumerate(SLOTS) if i not in changed}
    return number, {k: v for k, v in _params(begin.recipe).items() if k.partition(".")[0] in slots}


def objective(trials: Sequence[TrialRow]) -> dict[int, float]:
    """Shrunk public accuracy of every trial that has one, by number."""
    scored = [t for t in trials if t.view is not None and t.status in (TrialStatus.COMPLETE, TrialStatus.PRUNED)]
    values = shrink([t.view.accuracy for t in scored if t.view], [t.view.accuracy_se for t in scored if t.view])
    return {t.number: float(v) for t, v in zip(scored, values, strict=True)}


def predict(trials: Sequence[TrialRow], recipe: Recipe) -> float | None:
    """Accuracy a recipe should reach: ridge regression on which parts and how much of each parameter; None unscored."""
    values = {t.number: t.view.accuracy for t in trials if t.view is not None}
    scored = [t for t in _remembered(trials, values) if t.view is not None]
    if not scored:
        return None
    rows = [_features(t.recipe) for t in scored]
    names = sorted({name for row in rows for name in row})
    x = np.array([[row.get(name, 0.0) for name in names] for row in rows])
    y = np.array([t.view.accuracy for t in scored if t.view])
    spread = x.std(0) + 1e-9
    z = (x - x.mean(0)) / spread
    beta = np.linalg.solve(z.T @ z + RIDGE * np.eye(len(names)), z.T @ (y - y.mean()))
    given = _features(recipe)
    own = np.array([given.get(name, 0.0) for name in names])
    return float(np.clip(y.mean() + ((own - x.mean(0)) / spread) @ beta, 0, 1))


def importances(task: TaskSpec, trials: Sequence[TrialRow]) -> dict[str, float]:
    """Share of the objective's variance each choice explains (PED-ANOVA); empty under 20 scored trials."""
    import optuna

    if len(objective(trials)) < IMPORTANCE_FROM:
        return {}
    study = _study(task, trials, optuna.samplers.RandomSampler(seed=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(study)
    return {name: float(value) for name, value in found.items()}


def written(trials: Sequence[TrialRow]) -> dict[str, Written]:
    """The written parts of trials that were scored, by their names in recipes: what ran once may be tuned."""
    return {code.ref: code for t in trials if t.view is not None for code in t.recipe.written}


def space(task: TaskSpec, trials: Sequence[TrialRow] = ()) -> dict[str, dict[str, dict[str, Space]]]:
    """Slot -> part -> parameter -> space, for this task and after these trials: what the search may propose."""
    able = Able.of(task)
    out: dict[str, dict[str, dict[str, Space]]] = {}
    for slot in SLOTS:
        parts = [p for p in PARTS[slot] if illegal(Recipe(**{slot: Part(name=p)}), able) is None]
        whole = {name: spaces(slot, name, task.training.strong) for name in parts}
        out[slot] = {name: {k: _legal(slot, name, k, s, able) for k, s in own.items()} for name, own in whole.items()}
    for ref, code in written(trials).items():
        out[code.slot][ref] = dict(code.space)
    return out


def _legal(slot: str, name: str, key: str, space: Space, able: Able) -> Space:
    """A choice without the options that cannot run on this task."""
    if not isinstance(space, Choice):
        return space
    tried = [(o, Recipe(**{slot: Part(name=name, params={key: o})})) for o in space.options]
    return space.model_copy(update={"options": tuple(o for o, recipe in tried if illegal(recipe, able) is None)})


def _study(task: TaskSpec, trials: Sequence[TrialRow], sampler: Any) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    values = objective(trials)
    distributions = _distributions(space(task, trials))
    states = optuna.trial.TrialState
    for trial in _remembered(trials, values):
        params = {k: v for k, v in _params(trial.recipe).items() if k in distributions}
        failed = trial.status is TrialStatus.FAILED
        running = trial.number not in values and not failed
        try:
            frozen = optuna.trial.create_trial(
                params=params,
                distributions={k: distributions[k] for k in params},
                value=None if running or failed else values[trial.number],
                state=states.FAIL if failed else states.RUNNING if running else states.COMPLETE,
            )
        except ValueError:  # a person's value outside the searched range teaches the sampler nothing
            continue
        study.add_trial(frozen)
    return study


def _remembered(trials: Sequence[TrialRow], values: dict[int, float]) -> list[TrialRow]:
    others = (TrialStatus.PROPOSED, TrialStatus.WAITING, TrialStatus.RUNNING, TrialStatus.FAILED)
    told = [t for t in trials if t.number in values or t.status in others]
    if len(told) <= MEMORY:
        return told
    best = set(sorted(values, key=lambda n: -values[n])[:BEST])
    latest = {t.number for t in told[-(MEMORY - BEST) :]}
    return [t for t in told if t.number in best or t.number in latest]


def _distributions(inside: dict[str, dict[str, dict[str, Space]]]) -> dict[str, Any]:
    import optuna.distributions as d

    out: dict[str, Any] = {}
    for slot, parts in inside.items():
        if len(parts) > 1:
            out[slot] = d.CategoricalDistribution(list(parts))
        for name, params in parts.items():
            for key, s in params.items():
                where = f"{slot}.{name}.{key}"
                if isinstance(s, Choice):
                    out[where] = d.CategoricalDistribution(list(s.options))
                elif isinstance(s, Int):
                    out[where] = d.IntDistribution(s.low, s.high, log=s.log)
                else:
                    out[where] = d.FloatDistribution(s.low, s.high, log=s.log)
    return out


def _ask(trial: Any, inside: dict[str, dict[str, dict[str, Space]]], codes: dict[str, Written]) -> Recipe:
    def draw(name: str, s: Space) -> Value:
        value: Value
        if isinstance(s, Choice):
            value = trial.suggest_categorical(name, list(s.options))
        elif isinstance(s, Int):
            value = trial.suggest_int(name, s.low, s.high, log=s.log)
        else:
            value = trial.suggest_float(name, s.low, s.high, log=s.log)
        return value

    chosen: dict[str, Part] = {}
    for slot, parts in inside.items():
        part = trial.suggest_categorical(slot, list(parts)) if len(parts) > 1 else next(iter(parts))
        params = {key: draw(f"{slot}.{part}.{key}", s) for key, s in parts[part].items()}
        chosen[slot] = Part(name=part, params=params, code=codes.get(part))
    return Recipe(**chosen)


def _params(recipe: Recipe) -> dict[str, Value]:
    out: dict[str, Value] = {}
    for slot in SLOTS:
        part: Part = getattr(recipe, slot)
        out[slot] = part.name
        out |= {f"{slot}.{part.name}.{key}": value for key, value in part.params.items()}
    return out


def _features(recipe: Recipe) -> dict[str, float]:
    """One-hot parts, numeric parameters on their own scale (rates in log), choices one-hot."""
    out: dict[str, float] = {}
    for name, value in _params(recipe).items():
        if isinstance(value, str):
            out[f"{name}={value}"] = 1.0
        elif name.endswith(".lr") and float(value) > 0:
            out[name] = float(np.log(float(value)))
        else:
            out[name] = float(value)
    return out
