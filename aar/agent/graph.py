"""The LangGraph graph: survey, hypothesise, review, submit, collect, reflect, decide, confirm, report.

State holds ids only; every node is idempotent and reads what it needs from the ledger. After a crash the graph
starts at `survey` again: the ledger, not the checkpoint, decides where the loop goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypedDict

from aar.agent.budget import Outlook, outlook
from aar.agent.inbox import MOST_WAITING, Inbox, hypothesis
from aar.agent.reasons import findings
from aar.agent.researchers import Later, Researcher, Situation, naive, preset_share
from aar.executor import Stopped
from aar.ledger import Heeding, TrialRow
from aar.methods import Able, fill, illegal, label, recipe_hash
from aar.runner.bench import Bench
from aar.runner.confirm import confirm
from aar.runner.trial import Runner
from aar.runner.units import orphans
from aar.types import AarError, Hypothesis, TrialStatus, canonical_json

ASIDE = (TrialStatus.WAITING, TrialStatus.REJECTED, TrialStatus.DUPLICATE)
"""Trials that no other trial is a repeat of."""


class State(TypedDict):
    """What LangGraph checkpoints: ids only."""

    search: str
    running: list[int]
    step: int


@dataclass
class Loop:
    """The nodes, over one bench. `voices` researchers think at once, also ahead of the slots."""

    bench: Bench
    runner: Runner
    researcher: Researcher
    report: Callable[[], None]
    inbox: Inbox
    confirm_top: int = 3
    controls: bool = True
    voices: int = 1
    clock: float = field(default_factory=time.monotonic)
    exhausted: bool = False
    settled: bool = False

    def trials(self) -> list[TrialRow]:
        """The search's trials now."""
        return self.bench.ledger.trials(self.bench.search)

    def survey(self, state: State) -> dict[str, Any]:
        """Baselines, and naive as trial 0. A search that was paused when its process ended stays so."""
        while self.inbox.paused:
            self._heed()
            self._wait(idle=True)
        self._heed()
        self.runner.baselines()
        if not self.trials():
            self._propose(0, naive())
        return {"running": sorted(self.bench.executor.running)}

    def begin(self, state: State) -> str:
        """On with the loop, unless the seal is open: a confirmation that was cut short is taken up."""
        return "confirm" if self.bench.ledger.opened(self.bench.search) else "hypothesise"

    def hypothesise(self, state: State) -> dict[str, Any]:
        """One proposal for each free slot, committed before anything is submitted; a person's come first.

        What takes thinking about is begun here and proposed when it is thought out.
        """
        executor = self.bench.executor
        for number, made in executor.thoughts().items():
            self._propose(number, made)
        self._heed()  # afterwards: a stop ends the search once nothing is thought about
        self.settled = True
        trials = self.trials()
        while self._free(trials) > 0 and not self._held():
            if trials[0].view is None and trials[0].status in (TrialStatus.PROPOSED, TrialStatus.RUNNING):
                break  # every reason and prediction is measured against naive: it goes first
            asked = self.inbox.proposal()
            waiting = sum(1 for t in trials if t.status is TrialStatus.WAITING)
            begun = self.bench.ledger.begun(self.bench.search)
            unfinished = [] if asked else [n for n in begun if n not in executor.thinking]
            if asked is None and not ((unfinished or self.left(trials)) and waiting < MOST_WAITING):
                break
            number = min(unfinished, default=1 + max([trials[-1].number, *begun, *executor.thinking]))
            now = self.situation(trials, number, begun=bool(unfinished))
            made = hypothesis(asked, now) if asked else self.researcher.propose(now)
            if made is None:
                self.exhausted = True
            if made is None or isinstance(made, Later):
                break
            self.settled = False
            if isinstance(made, Hypothesis):
                self._propose(number, made, {asked.id: f"t{number}"} if asked else None)
            else:
                executor.think(number, made)
            trials = self.trials()
        return {}

    def review(self, state: State) -> dict[str, Any]:
        """Illegal proposals are rejected, repeats become more seeds of what they repeat; both with a reason.

        What needs a person's leave waits for it.
        """
        first: dict[str, int] = {}
        task, lease, trials = self.bench.problem.task, self.bench.lease, self.trials()
        for t in trials:
            if t.status not in (TrialStatus.PROPOSED, *ASIDE):
                first.setdefault(t.hash, t.number)
        for t in trials:
            if t.status is not TrialStatus.PROPOSED:
                continue
            try:
                reason = illegal(fill(t.recipe, task.training.strong), Able.of(task))
            except AarError as error:
                reason = str(error)
            if reason is not None:
                now = time.time()
                lease.set_trial(t.number, mirror=True, status=TrialStatus.REJECTED, reason=reason, finished=now)
            elif self.inbox.waits(t):
                lease.set_trial(t.number, status=TrialStatus.WAITING)
            elif first.setdefault(t.hash, t.number) != t.number:
                lease.set_trial(t.number, status=TrialStatus.DUPLICATE, parent=first[t.hash])
        return {}

    def submit(self, state: State) -> dict[str, Any]:
        """Every trial that is not over and waits for nobody gets a slot; one that is under way is left alone.

        A repeat of a trial waits for its end: its seeds come after those.
        """
        trials = [] if self._held() else self.trials()
        over = {t.number for t in trials if t.finished is not None}
        for t in trials:
            early = t.status is TrialStatus.DUPLICATE and t.parent not in over
            if t.finished is None and t.status is not TrialStatus.WAITING and not early:
                self.bench.executor.submit(t.number, lambda n=t.number: self.runner.run(n))  # type: ignore[misc]
        return {"running": sorted(self.bench.executor.running)}

    def collect(self, state: State) -> dict[str, Any]:
        """Wait for at least one trial or thought to end, or for a message where only that can change anything."""
        waiting = any(t.status is TrialStatus.WAITING for t in self.trials())
        thinking = bool(self.bench.executor.thinking)
        self._wait(idle=self._held() or thinking or (self.settled and waiting), busy=thinking)
        return {"running": sorted(self.bench.executor.running)}

    def reflect(self, state: State) -> dict[str, Any]:
        """Account for time, publish the baselines once naive is known."""
        now = time.monotonic()
        self.bench.lease.spend("wall", now - self.clock)
        self.clock = now
        row = self.bench.ledger.search(self.bench.search)
        view = self.trials()[0].view
        if view is not None and row is not None and row["baselines"] is None:
            values = {
                "weak": view.weak, "weak_se": view.weak_se, "ceiling": view.ceiling, "ceiling_se": view.ceiling_se,
                "naive": view.accuracy, "naive_se": view.accuracy_se,
            }  # fmt: skip
            self.bench.lease.set_search(baselines=canonical_json(values))
        return {"step": state.get("step", 0) + 1}

    def decide(self, state: State) -> str:
        """On with the loop while there is budget or work under way; then confirm."""
        trials = self.trials()
        thinking = self.bench.executor.thinking or self.bench.ledger.begun(self.bench.search)
        busy = thinking or any(t.finished is None for t in trials)
        if busy or self.left(trials) or self.inbox.proposal() is not None or self._held():
            return "hypothesise"
        return "confirm"

    def confirm(self, state: State) -> dict[str, Any]:
        """The best on fresh seeds, the winner on the sealed split."""
        trials = self.trials()
        for finding in findings(trials):
            self.bench.lease.find(finding)
        if trials[0].status is TrialStatus.FAILED:
            raise AarError(f"naive training failed, so nothing can be measured: {trials[0].reason}")
        confirm(self.bench, self.runner, self.confirm_top, self.controls)
        now = time.monotonic()
        self.bench.lease.spend("wall", now - self.clock)
        self.clock = now
        return {}

    def finish(self, state: State) -> dict[str, Any]:
        """Mark the search complete and write its report."""
        self.bench.lease.lose_attempts()
        orphans(self.bench)
        self.bench.lease.set_search(self.inbox.leftover(), status="complete", reason=None, finished=time.time())
        self.report()
        return {}

    def situation(self, trials: list[TrialRow], number: int, begun: bool = False) -> Situation:
        """What a researcher is to know who is asked for trial `number`."""
        return Situation(
            self.bench.problem.task, trials, number, self.bench.seed, preset_share(self.inbox.budget.trials, number),
            steering=self.inbox.steering(), questions=self.inbox.questions(), budget=self.outlook(trials).words,
            free=len(self.bench.executor.thinking) < self.voices, begun=begun,
        )  # fmt: skip

    def outlook(self, trials: list[TrialRow]) -> Outlook:
        """What is left to spend, and how far it goes."""
        thinking = self.bench.executor.thinking
        return outlook(self.bench.ledger, self.bench.search, trials, time.monotonic() - self.clock, thinking)

    def left(self, trials: list[TrialRow]) -> bool:
        """Is there budget for one more trial, and something to try?"""
        return not self.exhausted and self.outlook(trials).one_more

    def _heed(self) -> None:
        """Act on messages.

        Raises:
            Stopped: the search was told to stop, and nothing runs that is to end by itself.
        """
        executor = self.bench.executor
        if executor.cancel.is_set() or (executor.closing.is_set() and not executor.running | executor.thinking):
            raise Stopped
        self.inbox.heed()

    def _held(self) -> bool:
        """Is nothing new to begin?"""
        return self.bench.executor.closing.is_set() or self.inbox.paused

    def _wait(self, idle: bool, busy: bool = False) -> None:
        began, busy = time.monotonic(), busy or bool(self.bench.executor.running)
        self.bench.executor.collect(idle)
        if not busy:
            self.clock += time.monotonic() - began  # waiting for a person is no work

    def _free(self, trials: list[TrialRow]) -> int:
        executor = self.bench.executor
        under_way = sum(1 for t in trials if t.finished is None and t.status is not TrialStatus.WAITING)
        return max(executor.slots, self.voices) - under_way - len(executor.thinking)

    def _propose(self, number: int, hypothesis: Hypothesis, heeding: Heeding | None = None) -> None:
        base, code = self.bench.problem.task.training.strong, hypothesis.code
        recipe = hypothesis.recipe if code is None else hypothesis.recipe.carrying(code)
        try:
            filled = fill(recipe, base)
            name = label(filled, base)
        except AarError:  # `review` rejects it, with the reason
            filled, name = recipe, "illegal"
        self.bench.lease.propose(
            number,
            heeding,
            written=[code if code is not None and w.digest == code.digest else w for w in recipe.written],
            review=hypothesis.review,
            status=TrialStatus.PROPOSED,
            author=hypothesis.author,
            preset=hypothesis.preset,
            parent=hypothesis.parent,
            recipe=canonical_json(filled),
            hash=recipe_hash(filled),
            label=name,
            rationale=hypothesis.rationale,
            predicted_accuracy=hypothesis.predicted_accuracy,
            predicted_pgr=hypothesis.predicted_pgr,
            predicted_low=hypothesis.predicted_low,
            predicted_high=hypothesis.predicted_high,
            refute=hypothesis.refute,
            shares=None if hypothesis.shares is None else canonical_json(hypothesis.shares),
        )


def compile_graph(loop: Loop, checkpointer: Any) -> Any:
    """The compiled graph. Invoke it with `durability="sync"`."""
    from langgraph.graph import END, START, StateGraph

    graph = StateGraph(State)
    for name in ("survey", "hypothesise", "review", "submit", "collect", "reflect", "confirm"):
        graph.add_node(name, getattr(loop, name))
    graph.add_node("report", loop.finish)
    graph.add_edge(START, "survey")
    graph.add_conditional_edges("survey", loop.begin, ["hypothesise", "confirm"])
    path = ["hypothesise", "review", "submit", "collect", "reflect"]
    for a, b in zip(path, path[1:], strict=False):
        graph.add_edge(a, b)
    graph.add_conditional_edges("reflect", loop.decide, ["hypothesise", "confirm"])
    graph.add_edge("confirm", "report")
    graph.add_edge("report", END)
    return graph.compile(checkpointer=checkpointer)
