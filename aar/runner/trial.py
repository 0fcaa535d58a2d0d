"""One trial: screen seeds, race, full seeds, score, record. Idempotent: what the ledger holds is not done again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from aar import scoring
from aar.executor import Stopped
from aar.ledger import LeaseLost, TrialRow, UnitRow
from aar.methods import fill
from aar.runner import ai_feedback, written
from aar.runner.bench import STRONG, WEAK, Bench, chain_role
from aar.runner.critiques import criticised
from aar.runner.evidence import Evidence
from aar.runner.few_shot import answered, asking
from aar.runner.needs import Supervisors, needs, shots
from aar.runner.plan import Planned, Planner
from aar.runner.units import JobFailed, ensure
from aar.types import AarError, Recipe, TrialStatus, canonical_json

OVER = (TrialStatus.COMPLETE, TrialStatus.PRUNED, TrialStatus.FAILED, TrialStatus.REJECTED, TrialStatus.DUPLICATE)


class Runner:
    """Runs baselines and trials of one search on its bench."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.planner = Planner(bench.problem)
        self.evidence = Evidence(bench)

    # ------------------------------------------------------------ baselines

    def baselines(self) -> None:
        """Weak models and ceilings on the search's seeds, scored on dev; cached for every later search.

        Raises:
            AarError: the ceiling is not above the weak model, so no PGR can be measured.
            JobFailed: a baseline cannot be trained.
        """
        task = self.bench.problem.task
        seeds = self.bench.seeds("search", max(task.seeds.baseline, task.seeds.full))
        self.bench.executor.each([lambda r=role: self.weights(r) for role in (WEAK, STRONG)])  # type: ignore[misc]
        halves = [seeds[i :: self.bench.executor.slots] for i in range(self.bench.executor.slots)]
        works: list[Any] = []
        for part in filter(None, halves):
            if not self.bench.problem.provided:
                works.append(lambda part=part: self._score("weak", "dev", self.weak(part)))
            works.append(lambda part=part: self._score("ceiling", "dev", self.ceiling(part)))
        self.bench.executor.each(works)
        weak, _ = self.evidence.weak("dev")
        ceiling = self.evidence.arm("ceiling", "dev")
        assert ceiling is not None
        gap = float(ceiling.accuracy.mean() - weak.accuracy.mean())
        if gap <= 0:
            raise AarError(
                f"task {task.name}: the ceiling is not above the weak model on dev: "
                "there is nothing to recover; use a weaker weak model, a stronger strong one, or more transfer rows"
            )
        # Naive's students too, while all slots are free: trial 0 then finds them in the cache.
        self.bench.executor.each([lambda part=part: self.students(Recipe(), part, trial=0) for part in halves if part])  # type: ignore[misc]

    def weights(self, role: str) -> str | None:
        """Digest of a model's pre-trained weights, trained once; None where the task asks for none."""
        planned = self.planner.pretrain(role)
        return None if planned is None else ensure(self.bench, planned)[0].outputs["weights"]

    def weak(self, seeds: list[int], sealed: bool = False, trial: int | None = None) -> dict[int, UnitRow]:
        """Weak models of these seeds."""
        return ensure(self.bench, self.planner.weak(seeds, sealed, self.weights(WEAK)), trial)

    def ceiling(
        self,
        seeds: list[int],
        sealed: bool = False,
        recipe: Recipe | None = None,
        change: Callable[[Planned], Planned] = lambda planned: planned,
    ) -> dict[int, UnitRow]:
        """Ceilings of these seeds, under a recipe's student and schedule where given; `change` as for `students`."""
        return ensure(self.bench, change(self.planner.ceiling(seeds, sealed, self.weights(STRONG), recipe)))

    def students(
        self,
        recipe: Recipe,
        seeds: list[int],
        sealed: bool = False,
        trial: int | None = None,
        change: Callable[[Planned], Planned] = lambda planned: planned,
    ) -> dict[int, UnitRow]:
        """Students of a recipe on these seeds, and whatever models have to label for them first.

        `change` makes another job of the planned one: a control.
        """
        if self.bench.problem.provided:
            labels = {"transfer": self.bench.problem.provided_labels["transfer"]}
            weak = {seed: labels for seed in seeds}
        else:
            weak = self._supervision(recipe, seeds, sealed, trial)
        known = {}
        if "features" in needs(recipe):
            known["features"] = self.features(trial)
        if "zero_shot" in needs(recipe) and not shots(recipe):
            known["zero_shot"] = self.zero_shot(trial=trial).outputs["transfer"]
        planned = change(self.planner.transfer(seeds, recipe, sealed, self.weights(STRONG), weak, known))
        if shots(recipe):  # asked after the change: a control's prompts show the control's labels
            asked = ensure(self.bench, asking(self.bench.problem.task, planned, shots(recipe)), trial)
            planned = answered(self.bench.problem.store, planned, asked)
        return written.students(self.bench, planned, trial) if recipe.written else ensure(self.bench, planned, trial)

    def features(self, trial: int | None = None) -> str:
        """Digest of the strong model's features on the transfer texts, computed once."""
        return ensure(self.bench, self.planner.features(self.weights(STRONG)), trial)[0].outputs["features"]

    def zero_shot(self, sealed: bool = False, trial: int | None = None) -> UnitRow:
        """The strong model's own answers (logits by split) before any supervision, asked once.

        Raises:
            AarError: the task has no way to get them.
        """
        return ensure(self.bench, self.planner.zero_shot(sealed, self.weights(STRONG)), trial)[0]

    def _supervision(
        self, recipe: Recipe, seeds: list[int], sealed: bool, trial: int | None
    ) -> dict[int, dict[str, str]]:
        """Outputs of every weak model that these students need, by seed; a chain's last labels in their place."""
        who = Supervisors.of(fill(recipe, self.bench.problem.task.training.strong))
        rows = self.weak(who.weak_seeds(seeds), sealed, trial)
        if who.parts:
            rows |= ensure(self.bench, self.planner.specialists(seeds, who.parts, self.weights(WEAK)), trial)
        if who.relabelled:
            planned = self.planner.relabelled(seeds, recipe, self.weights(WEAK))
            if who.critique is not None:
                planned = criticised(self.bench, planned, who.critique, self.weights(STRONG), trial)
            rows |= ensure(self.bench, planned, trial)
        weak = {seed: row.outputs for seed, row in rows.items()}
        if who.feedback is not None:
            given = ai_feedback.labels(self.bench, self.weights(WEAK), seeds, who.feedback, trial)
            weak |= {seed: {"transfer": digest} for seed, digest in given.items()}
        for outputs in self.chain(seeds, who.links, who.folds, {s: weak[s]["transfer"] for s in seeds}, trial):
            weak |= {s: weak[s] | {"transfer": row.outputs["transfer"]} for s, row in outputs.items()}
        if who.links and self.bench.problem.task.kind == "generation":  # shares of the weak model's own candidates
            weak = {s: {name: digest for name, digest in own.items() if name != "prior"} for s, own in weak.items()}
        return weak

    def chain(
        self, seeds: list[int], links: int, folds: int, labels: dict[int, str], trial: int | None = None
    ) -> list[dict[int, UnitRow]]:
        """The first `links` models of the chain, each taught by the one before, the first by `labels`."""
        done: list[dict[int, UnitRow]] = []
        for link in range(links):
            planned = self.planner.link(link, seeds, folds, self.weights(chain_role(link)), labels)
            done.append(ensure(self.bench, planned, trial))
            labels = {seed: row.outputs["transfer"] for seed, row in done[-1].items()}
        return done

    # ------------------------------------------------------------ trials

    def run(self, number: int) -> None:
        """Run trial `number` to its end and record it. A failed job ends the trial, not the search."""
        bench = self.bench
        trial = bench.ledger.trial(bench.search, number)
        if trial.status in OVER and trial.status is not TrialStatus.DUPLICATE:
            return
        began = time.monotonic()
        try:
            if trial.status is TrialStatus.DUPLICATE:
                self._more_seeds(trial)
                return
            self._stages(trial)
        except JobFailed as error:
            bench.lease.set_trial(
                number, mirror=True, status=TrialStatus.FAILED, finished=time.time(),
                reason=error.why if trial.recipe.written else str(error),
                seconds=trial.seconds + time.monotonic() - began,
            )  # fmt: skip
        except (Stopped, LeaseLost):
            raise
        except AarError as error:
            self._over(number, status=TrialStatus.REJECTED, reason=str(error))

    def _stages(self, trial: TrialRow) -> None:
        bench, seeds = self.bench, self.bench.problem.task.seeds
        began = time.monotonic()
        bench.lease.set_trial(trial.number, status=TrialStatus.RUNNING)
        if trial.recipe.written:
            self._smoke(trial)
        naive = trial.number == 0
        full = bench.seeds("search", max(seeds.full, seeds.baseline) if naive else seeds.full)
        asked_for = naive or trial.author == "human"
        stages = [full] if asked_for or seeds.screen >= len(full) else [full[: seeds.screen], full]
        status, reason = TrialStatus.COMPLETE, None
        done: list[int] = []
        for stage in stages:
            self._score(f"t{trial.number}", "dev", self.students(trial.recipe, stage, trial=trial.number))
            done = stage
            if stage is not full and (loser := self._loses(trial)) is not None:
                status, reason = TrialStatus.PRUNED, loser
                break
        view = self.evidence.view(f"t{trial.number}", "dev")
        if reason is not None:
            reason = f"pruned after {len(done)} seeds: {reason}"
        bench.lease.set_trial(
            trial.number, mirror=True, ood=self.evidence.ood(f"t{trial.number}"), status=status, reason=reason,
            view=canonical_json(view), n_seeds=len(done),
            seconds=trial.seconds + time.monotonic() - began, finished=time.time(),
        )  # fmt: skip

    def _smoke(self, trial: TrialRow) -> None:
        """A trial of written code costs no seed before the code has shown itself on a few rows."""
        (seed,) = self.bench.seeds("search", 1)
        problem = self.bench.problem
        labels = problem.provided_labels if problem.provided else self.weak([seed], trial=trial.number)[seed].outputs
        weak = {name: digest for name, digest in labels.items() if name in ("transfer", "prior")}
        written.smoke(self.bench, trial.recipe, self.weights(STRONG), weak, trial.number)

    def _loses(self, trial: TrialRow) -> str | None:
        """Racing: why this trial cannot plausibly be the best, or None. Exact values decide, and only that is told."""
        complete = [
            t for t in self.bench.ledger.trials(self.bench.search)
            if t.status is TrialStatus.COMPLETE and t.number != trial.number
        ]  # fmt: skip
        if not complete:
            return None
        # Which of two leads is told with the reason: by public values, or an order that the gate rounds away would be.
        best = max(complete, key=lambda t: (t.view.accuracy if t.view else 0.0, -t.number)).number
        leader, own = self.evidence.arm(f"t{best}", "dev"), self.evidence.arm(f"t{trial.number}", "dev")
        assert leader is not None and own is not None
        if scoring.losing(own, leader, *self.evidence.pooled_difference(f"t{best}")):
            return f"under {scoring.PRUNE_BELOW:.0%} likely to beat t{best} on common seeds"
        return None

    def _more_seeds(self, trial: TrialRow) -> None:
        """A duplicate becomes further seeds of the trial it repeats."""
        bench = self.bench
        assert trial.parent is not None
        original = bench.ledger.trial(bench.search, trial.parent)
        if original.view is None:
            self._over(trial.number, reason=f"same recipe as t{original.number}")
            return
        # Which seeds this duplicate adds depends on its place in the ledger alone: a resume adds the same.
        earlier = [
            t for t in bench.ledger.trials(bench.search)
            if t.status is TrialStatus.DUPLICATE and t.parent == original.number
            and (t.created, t.number) < (trial.created, trial.number)
        ]  # fmt: skip
        step = bench.problem.task.seeds.screen
        full = max(bench.problem.task.seeds.full, bench.problem.task.seeds.baseline)
        start = full + step * len(earlier)
        if start + step > 100:
            self._over(trial.number, reason=f"same recipe as t{original.number}, which has all its seeds")
            return
        seeds = bench.seeds("search", step, start)
        if not bench.problem.provided:
            self._score("weak", "dev", self.weak(seeds, trial=trial.number))
        self._score(f"t{original.number}", "dev", self.students(trial.recipe, seeds, trial=trial.number))
        with bench.executor.lock(f"view of t{original.number}"):  # of two repeats that end together the last sees all
            view = self.evidence.view(f"t{original.number}", "dev")
            bench.lease.set_trial(
                original.number, mirror=True, ood=self.evidence.ood(f"t{original.number}"), view=canonical_json(view),
                n_seeds=view.n_seeds,
            )  # fmt: skip
        names = ", ".join(str(s) for s in seeds)
        self._over(trial.number, reason=f"same recipe as t{original.number}: gave it seeds {names}")

    def _over(self, number: int, **fields: Any) -> None:
        self.bench.lease.set_trial(number, mirror=True, finished=time.time(), **fields)

    def _score(self, arm: str, split: str, units: dict[int, UnitRow]) -> None:
        self.evidence.record(arm, split, units)
