"""The graphs for LangGraph's own tools (`langgraph dev`, Studio), as `langgraph.json` names them.

They are those that `aar` runs, over the latest search in AAR_WORKSPACE. To be drawn they open nothing. Where a node
runs, the search is opened as `aar resume` opens it, with its lease, so that it has one writer; it is closed after the
last node or at the first error. All that matters is in the ledger: `aar resume` goes on after either.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, cast

from aar.agent.graph import Loop, compile_graph
from aar.agent.inbox import Inbox
from aar.agent.llm.talk import Talk
from aar.agent.run import Plan, latest, llm_of, load, loop_of, opened
from aar.ledger import Ledger
from aar.runner.bench import Bench
from aar.settings import Settings
from aar.types import AarError


def search() -> Any:
    """The loop: survey, hypothesise, review, submit, collect, reflect, confirm, report."""

    def make(bench: Bench, plan: Plan) -> Loop:
        return loop_of(plan, bench, Inbox(bench, plan.approve), lambda: None)

    return compile_graph(cast(Loop, _Opened(make, lambda node, answer: node == "finish")), None)


def conversation() -> Any:
    """The model's conversation about the search's next trial; what it proposes is there when the search goes on."""

    def make(bench: Bench, plan: Plan) -> Talk:
        if plan.model is None:
            raise AarError(f"search {bench.search} asks no model; start one with `aar run TASK --model PROVIDER:NAME`")
        trials = bench.ledger.trials(bench.search)
        if not trials:
            raise AarError(f"search {bench.search} has no trial yet; run the graph `search` first, or `aar resume`")
        loop = loop_of(plan, bench, Inbox(bench, plan.approve), lambda: None)
        begun = bench.ledger.begun(bench.search)
        now = loop.situation(trials, min(begun, default=trials[-1].number + 1), begun=bool(begun))
        talk = llm_of(plan, bench).talk(now)
        talk.begin()
        return talk

    return Talk.graph(cast(Talk, _Opened(make, lambda node, answer: node == "_act" and answer["over"])), None)


class _Opened:
    """Stands for a loop or a talk: what first runs opens the search, and what is `last` closes it."""

    def __init__(self, make: Callable[[Bench, Plan], Any], last: Callable[[str, Any], bool]) -> None:
        self._make, self._last = make, last
        self._held: contextlib.ExitStack | None = None
        self._real: Any = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            try:
                if self._held is None:
                    self._open()
                answer = getattr(self._real, name)(*given)
            except BaseException:
                self._close()
                raise
            if self._last(name, answer):
                self._close()
            return answer

        return run

    def _open(self) -> None:
        settings = Settings()
        self._held = contextlib.ExitStack()
        ledger = Ledger(settings.ledger_url)
        self._held.callback(ledger.close)
        chosen = latest(ledger)
        if chosen is None:
            raise AarError(f"no search in {settings.root} (AAR_WORKSPACE); `aar run TASK` starts one")
        bench = self._held.enter_context(opened(ledger, settings, chosen))
        self._real = self._make(bench, load(ledger, chosen)[1])

    def _close(self) -> None:
        if self._held is not None:
            self._held.close()
        self._held = self._real = None
