"""Confirmation: the best few on fresh seeds, one winner chosen there, and only that one on the sealed split."""

from __future__ import annotations

from typing import Any

import numpy as np

from aar import scoring
from aar.ledger import TrialRow
from aar.runner.audit import audit
from aar.runner.bench import Bench
from aar.runner.controls import controls as run_controls
from aar.runner.trial import Runner
from aar.types import Recipe, TrialStatus

FRESH = "fresh:"


def candidates(bench: Bench, runner: Runner, top: int) -> list[TrialRow]:
    """The `top` complete trials (naive aside) by exact accuracy, shrunk; best first."""
    complete = [
        t for t in bench.ledger.trials(bench.search) if t.status is TrialStatus.COMPLETE and t.number > 0 and t.view
    ]
    if not complete:
        return []
    accuracies = runner.evidence.accuracies()
    exact = [float(np.mean(list(accuracies[f"t{t.number}"].values()))) for t in complete]
    values = scoring.shrink(exact, [t.view.accuracy_se for t in complete if t.view])
    return [complete[i] for i in np.argsort(-values, kind="stable")[:top]]


def confirm(bench: Bench, runner: Runner, top: int = 3, controls: bool = True) -> list[dict[str, Any]]:
    """Confirm the best; the views of each confirmed trial, the winner first.

    Fresh seeds mean fresh weak models too. Test inputs are mounted here and nowhere else, and only the winner's
    predictions on them (with its baselines') are ever scored. Naive and the ceiling run again under the winner's
    student and schedule: the headline is the gain over that matched naive. Controls (see `aar.runner.controls`) come
    before the seal is opened and decide nothing.
    """
    chosen = candidates(bench, runner, top)
    if not chosen:
        return []
    seeds = bench.seeds("confirm", bench.problem.task.seeds.confirm)
    evidence, slots = runner.evidence, bench.executor.slots
    parts = [p for i in range(slots) if (p := seeds[i::slots])]
    weak = [] if bench.problem.provided else [lambda p=p: runner.weak(p, sealed=True) for p in parts]
    bench.executor.each(weak)
    works: list[Any] = [lambda p=p: runner.ceiling(p, sealed=True) for p in parts]
    works += [lambda t=t, p=p: runner.students(t.recipe, p, sealed=True, trial=t.number) for t in chosen for p in parts]
    bench.executor.each(works)

    if not bench.problem.provided:
        evidence.record(FRESH + "weak", "dev", runner.weak(seeds, sealed=True))
    evidence.record(FRESH + "ceiling", "dev", runner.ceiling(seeds, sealed=True))
    students = {t.number: runner.students(t.recipe, seeds, sealed=True, trial=t.number) for t in chosen}
    for number, units in students.items():
        evidence.record(f"{FRESH}t{number}", "dev", units)
    exact = evidence.accuracies(FRESH)
    means = {t.number: float(np.mean(list(exact[f"{FRESH}t{t.number}"].values()))) for t in chosen}
    winner = max(chosen, key=lambda t: (means[t.number], -t.number))

    naive_recipe = Recipe(student=winner.recipe.student, schedule=winner.recipe.schedule)
    works = [lambda p=p: runner.students(naive_recipe, p, sealed=True) for p in parts]
    works += [lambda p=p: runner.ceiling(p, sealed=True, recipe=winner.recipe) for p in parts]
    bench.executor.each(works)
    naive = runner.students(naive_recipe, seeds, sealed=True)
    matched = runner.ceiling(seeds, sealed=True, recipe=winner.recipe)
    order = sorted(chosen, key=lambda t: (t is not winner, -means[t.number]))
    found = run_controls(bench, runner, order, seeds) if controls else {}
    openings = bench.lease.open_seal(winner.number)
    arms = {
        "ceiling": runner.ceiling(seeds, sealed=True), f"t{winner.number}": students[winner.number],
        "naive": naive, "matched": matched,
    }  # fmt: skip
    if not bench.problem.provided:
        arms["weak"] = runner.weak(seeds, sealed=True)
    for name, units in arms.items():
        for split in ("dev", "test"):
            evidence.record(FRESH + name, split, units)
        if all("probe" in unit.outputs for unit in units.values()):
            evidence.record(FRESH + name, "probe", units)

    confirmed = []
    for trial in order:
        views: dict[str, Any] = {
            "selected": trial.view, "fresh": evidence.view(f"t{trial.number}", "dev", FRESH),
            "controls": found.get(trial.number, []),
        }  # fmt: skip
        if trial is winner:
            name = f"t{trial.number}"
            views |= {
                "sealed": evidence.view(name, "test", FRESH),
                "sealed_matched": evidence.view(name, "test", FRESH, ceiling="matched"),
                "naive_sealed": evidence.view("naive", "test", FRESH),
                "gain_over_matched_naive": evidence.difference(FRESH + name, FRESH + "naive", "test"),
                "openings": openings,
                "ood": evidence.ood(name, FRESH),
                "naive_ood": evidence.ood("naive", FRESH),
                "probe": evidence.probed(FRESH + name),
                "naive_probe": evidence.probed(FRESH + "naive"),
            }
        views["audit"] = audit(bench, evidence, trial, views)
        bench.lease.confirm(trial.number, views)
        confirmed.append({"trial": trial.number, "views": views})
    return confirmed
