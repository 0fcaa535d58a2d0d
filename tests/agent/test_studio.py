"""`langgraph.json` names graphs that import, compile, draw without opening anything, and run as `aar` runs them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aar.agent.studio import conversation, search
from aar.types import AarError
from tests.agent.models import fixed, proposal, scripted
from tests.loops import Searching, searching
from tests.oversight.chatserver import Json, calls, serving

ROOT = Path(__file__).parent.parent.parent
NAMED: dict[str, str] = json.loads((ROOT / "langgraph.json").read_text())["graphs"]


@pytest.fixture(autouse=True)
def _place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-secret-key")
    monkeypatch.setenv("AAR_WORKSPACE", str(tmp_path / "ws"))


def created(here: Searching, folder: Path, trials: int = 1, **plan: Any) -> str:
    return here.create(folder, trials=trials, confirm_top=0, **plan)


@pytest.mark.parametrize("name", NAMED)
def test_each_graph_of_the_file_imports_compiles_and_draws_without_a_workspace(name: str, tmp_path: Path) -> None:
    path, _, factory = NAMED[name].partition(":")
    spec = importlib.util.spec_from_file_location("named", ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    make: Callable[[], Any] = getattr(module, factory)
    drawn = make().get_graph().draw_mermaid()
    nodes = {"search": ["survey", "hypothesise", "collect", "confirm", "report"], "conversation": ["think", "act"]}
    assert all(f"{node}({node})" in drawn for node in nodes[name]), drawn
    assert not (tmp_path / "ws").exists()


def test_the_search_graph_runs_the_latest_search_and_lets_it_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with searching(tmp_path) as here:
        monkeypatch.setenv("AAR_SANDBOX", "process")
        made = created(here, tmp_path)
        search().invoke({"search": made, "running": [], "step": 0}, {"recursion_limit": 100})
        row = here.ledger.search(made)
        assert row is not None and row["status"] == "complete"
        assert [str(t.status) for t in here.ledger.trials(made)] == ["complete", "complete"]
        here.ledger.hold(made)  # nobody else does


def test_what_was_said_in_the_conversation_graph_is_paid_for_once(tmp_path: Path) -> None:
    with serving(fixed([("loss=logconf",)])) as server, searching(tmp_path) as here:
        plan = {"researcher": "llm", "model": "openai:gpt-4.1-mini", "base_url": server.url}
        made = created(here, tmp_path, 0, **plan)
        with pytest.raises(AarError, match="has no trial yet"):
            conversation().invoke({"trial": 1, "answers": 0, "over": False})
        here.work(made)
        conversation().invoke({"trial": 1, "answers": 0, "over": False})
        said = here.ledger.turns(made, 1)
        assert [r["role"] for r in said] == ["system", "user", "assistant", "tool"] and len(server.requests) == 1
        with here.ledger.hold(made) as lease:
            row = here.ledger.search(made)
            assert row is not None
            lease.set_search(plan=json.dumps(json.loads(row["plan"]) | {"trials": 1}))
        here.work(made)
        (_, trial) = here.ledger.trials(made)
        assert (trial.author, trial.label) == ("llm", "logconf") and len(server.requests) == 1


def test_an_error_in_a_node_lets_the_search_go(tmp_path: Path) -> None:
    def script(trial: int, said: int, asked: Json) -> Any:
        return calls(proposal("loss=logconf"))

    with serving(scripted(script)), searching(tmp_path) as here:
        made = created(here, tmp_path, 0)
        here.work(made)
        graph = conversation()
        with pytest.raises(AarError, match="asks no model"):
            graph.invoke({"trial": 1, "answers": 0, "over": False})
        here.ledger.hold(made)
