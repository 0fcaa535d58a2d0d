"""Ledgers with made-up searches, written through the real `Ledger` and `Lease`. Plain functions, no fixtures.

`searched` writes a whole search; the smaller ones (`begin`, `trial`, `failure`, `confirmation`) make odd ones. Exact
accuracies end in `LEAK`, so that a test can look for them where only public values may be.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aar.ledger import Lease, Ledger
from aar.methods import NAIVE, PRESETS, fill, label, recipe_hash
from aar.tasks import load_task
from aar.types import ControlView, Exit, Finding, JobStatus, PublicScore, Recipe, TaskSpec, canonical_json

WEAK, CEILING, LEAK = 0.691, 0.901, 4.321e-7
DATA = hashlib.sha256(b"data").hexdigest()


def task() -> TaskSpec:
    """The shipped polarity task."""
    return load_task("polarity")[0]


def begin(ledger: Ledger, search: str, spec: TaskSpec | None = None, **plan: Any) -> None:
    """A running search without trials."""
    spec = spec or task()
    words = {
        "seed": 0, "trials": 20, "hours": None, "gpu_hours": None, "researcher": "optuna", "sandbox": "process",
        "slots": 1,
    }  # fmt: skip
    ledger.create_search(
        id=search, task=spec.name, data_digest=DATA, spec=canonical_json(spec), plan=canonical_json(words | plan)
    )


@contextmanager
def written(ledger: Ledger, search: str) -> Iterator[Lease]:
    """The search's lease."""
    with ledger.hold(search) as lease:
        yield lease


def score(
    pgr: float, n_seeds: int = 5, split: str = "dev", gap: bool = True, weak: float = WEAK, ceiling: float = CEILING
) -> PublicScore:
    """What the gate would let out for this true PGR."""
    half = 0.055 * (5 / n_seeds) ** 0.5
    accuracy = round(round((weak + pgr * (ceiling - weak)) / 0.005) * 0.005, 4)
    values = {"pgr": round(pgr, 3), "ci_low": round(pgr - half, 3), "ci_high": round(pgr + half, 3)}
    return PublicScore(
        split=split, accuracy=accuracy, accuracy_se=0.0042, weak=weak, ceiling=ceiling, n_seeds=n_seeds,
        reason=None if gap else "gap 0.012 is under the task's floor 0.05: ceiling and weak model are too close",
        diagnostics={
            "agreement": 0.88, "misfit": 0.21, "loss_gain": 0.31, "ece": 0.04, "ece_scaled": 0.02, "ece_weak": 0.06,
            "auroc": 0.93, "right_where_weak_right": 0.96, "right_where_weak_wrong": 0.52,
            "right_where_weak_unsure": 0.7, "errors_copied": round(0.8 - 0.5 * pgr, 2), "effective_sample": 1.0,
        },
        **(values if gap else dict.fromkeys(values, None)),
    )  # fmt: skip


def propose(
    lease: Lease, number: int, recipe: Recipe | None = None, author: str = "optuna", parent: int | None = None,
    preset: str | None = None, rationale: str = "the evidence so far says so", predicted: float | None = None,
    spec: TaskSpec | None = None, **more: Any,
) -> Recipe:  # fmt: skip
    """A proposed trial, `more` of its row; its filled recipe."""
    base = (spec or task()).training.strong
    filled = fill(recipe or Recipe(), base)
    lease.propose(
        number, status="proposed", author=author, preset=preset, parent=parent, recipe=canonical_json(filled),
        hash=recipe_hash(filled), label=label(filled, base), rationale=rationale, predicted_pgr=predicted,
        predicted_accuracy=None if predicted is None else round(WEAK + predicted * (CEILING - WEAK), 4), **more,
    )  # fmt: skip
    return filled


def job(lease: Lease, number: int | None, seeds: list[int], kind: str = "transfer", points: int = 50) -> None:
    """One job that went well, with a unit and a falling loss for each seed."""
    keys = [digest(lease.search, number, kind, s) for s in seeds]
    attempt = f"{kind}-{digest(lease.search, number, seeds)[:12]}-0"
    lease.start_attempt(attempt, kind, keys, number)
    units = []
    for key, seed in zip(keys, seeds, strict=True):
        losses = [0.25 + 0.45 / (1 + i / 6) + seed % 7 / 500 for i in range(points)]
        curve = [{"step": 5.0 * i, "loss": loss, "examples_s": 1800.0} for i, loss in enumerate(losses)]
        units.append({
            "key": key, "kind": kind, "seed": seed, "outputs": canonical_json({"dev": digest(key, "dev")}),
            "seconds": 6.0, "curve": canonical_json(curve),
        })  # fmt: skip
    spend = {"trial": number, "kind": kind, "seconds": 6.0 * len(seeds), "gpu_seconds": 0.0}
    done = Exit(status=JobStatus.OK, code=0, seconds=6.0 * len(seeds), log_tail="done\n")
    lease.finish_attempt(attempt, "ok", canonical_json(done), units, spend, tainted=kind == "ceiling")


def score_trial(
    lease: Lease, number: int, view: PublicScore, status: str = "complete", reason: str | None = None
) -> None:
    """A trial's end: exact scores, one look, the public view."""
    seeds = list(range(view.n_seeds))
    arm = f"t{number}"
    exact = [(s, view.accuracy + LEAK + s * 1e-3, digest(lease.search, number, s, "array")) for s in seeds]
    lease.record_scores(arm, "dev", exact)
    lease.count_look(arm, "dev")
    lease.set_trial(
        number, mirror=True, status=status, reason=reason, view=canonical_json(view), n_seeds=len(seeds),
        seconds=7.5 * len(seeds), finished=time.time(),
    )  # fmt: skip


def failure(lease: Lease, number: int, reason: str, log: str = "", status: str = "failed") -> None:
    """A proposed trial that failed in its job, or was rejected or a duplicate before it had one."""
    if status == "failed":
        attempt = f"transfer-{digest(lease.search, number, 'bad')[:12]}-0"
        lease.start_attempt(attempt, "transfer", [digest(lease.search, number, "bad")], number)
        bad = Exit(status=JobStatus.FAILED, code=1, reason=reason, seconds=2.0, log_tail=log)
        spend = {"trial": number, "kind": "transfer", "seconds": 2.0, "gpu_seconds": 0.0}
        lease.finish_attempt(attempt, "failed", canonical_json(bad), [], spend, tainted=False)
    lease.set_trial(number, mirror=True, status=status, reason=reason, finished=time.time(), seconds=2.0)


def baselines(lease: Lease, naive: float | None) -> None:
    """Weak and ceiling on five seeds, and the row's public baselines once naive is known."""
    for arm, kind, accuracy in (("weak", "weak", WEAK), ("ceiling", "ceiling", CEILING)):
        lease.record_scores(arm, "dev", [(s, accuracy + LEAK + s * 1e-3, digest(arm, s)) for s in range(5)])
        job(lease, None, list(range(5)), kind)
    if naive is not None:
        values = {
            "weak": WEAK, "weak_se": 0.004, "ceiling": CEILING, "ceiling_se": 0.003, "naive": naive, "naive_se": 0.004,
        }  # fmt: skip
        lease.set_search(baselines=canonical_json(values))


def control_views(number: int, flagged: bool = False) -> list[ControlView]:
    """The controls of a winner, its shuffles flagged or not; one could not be run."""
    high = 0.742 if flagged else 0.52
    flag = f"t{number} reaches .742 ± .03 on shuffled weak labels: what it learns does not come from them"
    shuffled = f"mean of 4 shuffles {str(high)[1:]} ± .03, single ones .04 to .96; the most frequent class alone .5"
    noise = ".93 ± .006 with errors at random in the same confusion matrix; their structure costs .1 [.08, .12]"
    length = "weak labels learnt from text length alone: .505 ± .008; the most frequent class alone .5"
    return [
        ControlView(name="shuffled", recipe=f"t{number}", words=shuffled, flag=flag if flagged else None, accuracy=high,
                    accuracy_se=0.03, low=0.04, high=0.96, n_runs=4, against="the most frequent class",
                    difference=(0.02, -0.05, 0.09)),
        ControlView(name="matched_noise", recipe=f"t{number}", words=noise, accuracy=0.93, accuracy_se=0.006, low=0.925,
                    high=0.935, n_runs=2, against=f"t{number}", difference=(0.1, 0.08, 0.12)),
        ControlView(name="shuffled", recipe="naive", words="could not be run: transfer job oom: <b>killed</b>"),
        ControlView(name="length_only", recipe="", words=length, accuracy=0.505, accuracy_se=0.008, low=0.505,
                    high=0.505, n_runs=1, against="the most frequent class", difference=(0.005, -0.02, 0.03)),
    ]  # fmt: skip


def confirmation(
    lease: Lease, number: int, selected: PublicScore, fresh: float, sealed: float | None = None, flagged: bool = False
) -> None:
    """A confirmed trial; `sealed` makes it the winner, its shuffled control `flagged` or not."""
    views: dict[str, Any] = {"selected": selected, "fresh": score(fresh, weak=WEAK - 0.006, ceiling=CEILING - 0.001)}
    exact = [(500 + s, 0.8 + LEAK, digest(number, s, "fresh")) for s in range(5)]
    lease.record_scores(f"fresh:t{number}", "dev", exact)
    job(lease, number, [500 + s for s in range(5)])
    if sealed is not None:
        opened = lease.open_seal(number)
        views |= {
            "sealed": score(sealed, split="test"), "sealed_matched": score(sealed + 0.01, split="test"),
            "naive_sealed": score(0.24, split="test"),
            "gain_over_matched_naive": [round((sealed - low) * 0.21, 3) for low in (0.24, 0.3, 0.18)],
            "openings": opened, "controls": control_views(number, flagged),
            "probe": {"clean": 0.94, "perturbed": 0.935, "attack_success": 0.015},
            "naive_probe": {"clean": 0.74, "perturbed": 0.73, "attack_success": 0.09},
        }  # fmt: skip
    lease.confirm(number, views)


def searched(
    ledger: Ledger, search: str = "polarity-k3f9", trials: int = 14, confirm: int = 3, seed: int = 0,
    status: str = "complete", gap: bool = True, reason: str | None = None,
) -> str:  # fmt: skip
    """A whole search of naive and `trials` trials: presets, then drawn ones; some pruned, failed, repeated. Its id."""
    from aar.search import propose as draw

    rng, spec = random.Random(seed), task()
    base = spec.training.strong
    begin(ledger, search, trials=trials)
    with written(ledger, search) as lease:
        propose(lease, 0, author="preset", preset=NAIVE.name, rationale=NAIVE.why)
        job(lease, 0, list(range(5)))
        score_trial(lease, 0, score(0.25, gap=gap))
        baselines(lease, naive=0.745)
        best, top = 0, 0.25
        for n in range(1, trials + 1):
            preset = PRESETS[n] if n <= min(trials // 2, len(PRESETS) - 1) else None
            recipe = fill(preset.recipe if preset else draw(spec, [], seed, n, "random").recipe, base)
            truth = _truth(recipe)
            said = round(truth + rng.gauss(0, 0.12), 3) if n > 2 else None
            why = f"logconf beat xent by .09 [.03, .15] over 8 trials; next: t{best} with product for xent"
            why = f"{preset.why} ({preset.paper})" if preset else why
            author, parent = ("preset", None) if preset else ("optuna", best)
            propose(lease, n, recipe, author, parent, preset.name if preset else None, why, said)
            if n % 11 == 9:
                failure(lease, n, "transfer job oom: killed at 2.0 GiB", "step 120 loss 0.41\nKilled\n")
                continue
            if n % 13 == 12:
                failure(lease, n, f"same recipe as t{best}: gave it seeds 5, 6", status="duplicate")
                continue
            seen = truth + rng.gauss(0, 0.06)
            lost = seen < top - 0.3
            view = score(round(seen, 3), n_seeds=2 if lost else 5, gap=gap)
            job(lease, n, list(range(view.n_seeds)))
            why_not = f"pruned after 2 seeds: under 5% likely to beat t{best} on common seeds" if lost else None
            score_trial(lease, n, view, "pruned" if lost else "complete", why_not)
            if not lost and seen > top:
                best, top = n, seen
        complete = [t for t in ledger.trials(search) if t.number and t.status == "complete" and t.view]
        complete.sort(key=lambda t: -(t.view.accuracy if t.view else 0))
        truths = {t.number: round(_truth(t.recipe), 3) for t in complete[:confirm]}
        for t in complete[:confirm]:
            assert t.view is not None
            real, wins = truths[t.number], t.number == max(truths, key=lambda n: truths[n])
            confirmation(lease, t.number, t.view, real, round(real - 0.01, 3) if wins else None)
        numbers = tuple(t.number for t in complete[:6])
        lease.find(Finding(text="logconf beat xent by .094 [.031, .152] over 6 trials", trials=numbers))
        lease.find(Finding(text="predictions were off by .021 accuracy on average (bias +.004)", trials=numbers[:3]))
        lease.spend("wall", 40.0 * trials)
        finished = None if status == "running" else time.time()
        lease.set_search(status=status, reason=reason, finished=finished)
    return search


def digest(*parts: object) -> str:
    """A stand-in for a content address."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _truth(recipe: Recipe) -> float:
    gains = {"logconf": 0.22, "product": 0.1, "entropy": 0.02, "confidence_weighted": 0.05}
    value = 0.25 + gains.get(recipe.loss.name, 0.0)
    if recipe.loss.name == "logconf":
        value += 0.2 - 0.6 * abs(float(recipe.loss.params["a"]) - 0.75)
    value += {"hard": 0.02, "confident": -0.08}.get(recipe.targets.name, 0.0)
    value -= 0.3 if recipe.student.name == "linear_probe" else 0.0
    return value + (0.04 if recipe.supervision.name == "ensemble" else 0.0)
