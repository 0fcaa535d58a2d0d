"""A trial's conversation as an MLflow trace: whole, linked, once, without secrets, and never in the way."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from aar.ledger import Ledger
from aar.report import write_report
from aar.settings import Settings
from aar.tracking import Mirror
from aar.tracking._text import hidden
from aar.tracking._traces import conversation, steps
from tests.ledgers import propose, score, score_trial, written
from tests.tracking.store import SEARCH, all_again, client, one_trial, run_of

KEY = "sk-planted-0123456789abcdef"
PASSWORD = "correct horse battery"


def talk(ledger: Ledger, trial: int = 1, author: str = "llm", usd: float | None = 0.002) -> None:
    """A conversation of two answers about a trial: a tool with what a log leaked, then a proposal."""

    def call(number: str, name: str, args: dict[str, Any]) -> dict[str, Any]:
        return {"id": number, "type": "function", "function": {"name": name, "arguments": json.dumps(args)}}

    about = {"model": "openai:gpt-4.1-mini", "voice": 0, "words": "abc"}
    leaked = f"log: OPENAI_API_KEY={KEY}, DB_PASSWORD={PASSWORD}, http://me:{PASSWORD.replace(' ', '')}@db.example/x"
    calls = [call("a", "journal", {"limit": 3}), call("b", "rm", {})]
    rows: list[tuple[str, dict[str, Any]]] = [
        ("system", {"content": "rules", "about": about}), ("user", {"content": f"begin; {leaked}", "about": about}),
        ("assistant", {"content": f"my key is {KEY}", "tool_calls": calls, "trouble": ""}),
        ("tool", {"content": leaked, "tool_call_id": "a", "trouble": ""}),
        ("tool", {"content": "no tool 'rm'", "tool_call_id": "b", "trouble": "unknown tool"}),
        ("assistant", {"content": "", "tool_calls": [call("c", "propose", {"why": KEY})], "trouble": ""}),
        ("tool", {"content": "accepted", "tool_call_id": "c", "trouble": ""}),
    ]  # fmt: skip
    with written(ledger, SEARCH) as lease:
        for i, (role, body) in enumerate(rows):
            cost = {"tokens_in": 700, "tokens_out": 30, "usd": usd, "seconds": 1.5} if role == "assistant" else {}
            lease.turn(trial, i, role, {"role": role} | body, **cost)


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("DB_PASSWORD", PASSWORD)


def traces(settings: Settings) -> list[Any]:
    mlflow = client(settings)
    experiment = mlflow.get_experiment_by_name("aar/polarity")
    return list(mlflow.search_traces(locations=[experiment.experiment_id]))


def test_a_conversation_is_a_trace_of_its_answers_and_tools_linked_to_its_run(
    settings: Settings, ledger: Ledger
) -> None:
    one_trial(ledger, author="llm", rationale="it should help", predicted=0.5)
    talk(ledger)
    Mirror(ledger, settings).drain()
    (trace,) = traces(settings)
    assert trace.info.tags["mlflow.traceName"] == "t1 logconf a=.75" and trace.info.state == "OK"
    assert (trace.info.tags["aar.search"], trace.info.tags["aar.trial"]) == (SEARCH, "1")
    assert trace.info.trace_metadata["mlflow.sourceRun"] == run_of(settings, 1).info.run_id
    root, *spans = sorted(trace.data.spans, key=lambda s: (s.parent_id is not None, s.end_time_ns))
    assert root.parent_id is None and {s.parent_id for s in spans} == {root.span_id}
    assert (root.name, root.span_type, root.outputs["proposed"]) == ("t1", "AGENT", "logconf a=.75")
    assert [(s.name, s.span_type) for s in spans] == [
        ("answer", "CHAT_MODEL"), ("journal", "TOOL"), ("rm", "TOOL"), ("answer", "CHAT_MODEL"), ("propose", "TOOL"),
    ]  # fmt: skip
    first, journal, rm, second, proposal = spans
    assert [m["role"] for m in first.inputs["messages"]] == ["system", "user"]
    assert first.inputs["messages"][0] == {"role": "system", "content": "rules"}, "as OpenAI has them, and no more"
    assert first.attributes["mlflow.message.format"] == "openai"
    assert [m["role"] for m in second.inputs["messages"]] == ["tool", "tool"], "what was new"
    assert first.outputs["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "journal"
    assert journal.inputs == {"arguments": {"limit": 3}} and journal.outputs.startswith("log:")
    assert (rm.status.status_code, rm.status.description) == ("ERROR", "unknown tool")
    assert {s.status.status_code for s in spans if s is not rm} == {"OK"}
    at = {r["step"]: r["at"] for r in ledger.turns(SEARCH, 1)}
    assert first.end_time_ns == int(at[2] * 1e9) and first.start_time_ns == int((at[2] - 1.5) * 1e9)
    assert journal.start_time_ns == first.end_time_ns and proposal.end_time_ns == int(at[6] * 1e9) == root.end_time_ns
    assert trace.info.token_usage == {"input_tokens": 1400, "output_tokens": 60, "total_tokens": 1460}
    assert trace.info.cost["total_cost"] == pytest.approx(0.004)


def test_a_price_that_is_unknown_stays_so(settings: Settings, ledger: Ledger) -> None:
    one_trial(ledger, author="llm")
    talk(ledger, usd=None)
    Mirror(ledger, settings).drain()
    (trace,) = traces(settings)
    assert trace.info.cost is None and trace.info.token_usage["input_tokens"] == 1400
    assert {s.attributes.get("price") for s in trace.data.spans if s.span_type == "CHAT_MODEL"} == {"unknown"}


def test_sent_again_it_is_the_same_trace(settings: Settings, ledger: Ledger) -> None:
    one_trial(ledger, author="llm")
    talk(ledger)

    def everything() -> list[Any]:
        with closing(sqlite3.connect(settings.root / "mlflow.db")) as db:
            info = "request_id, timestamp_ms, execution_time_ms, status, request_preview, response_preview, total_cost"
            asked = (f"{info} from trace_info", "* from trace_tags", "* from spans")  # MLflow counts writings, too
            return [sorted(map(repr, db.execute(f"select {what}"))) for what in asked]

    Mirror(ledger, settings).drain()
    before = everything()
    all_again(ledger)
    Mirror(ledger, settings).drain()
    assert everything() == before and len(traces(settings)) == 1


def test_a_conversation_that_came_to_nothing_says_so(settings: Settings, ledger: Ledger) -> None:
    one_trial(ledger, author="optuna", rationale="instead of the model (it proposed nothing that can be tried): x")
    talk(ledger)
    Mirror(ledger, settings).drain()
    (trace,) = traces(settings)
    assert trace.info.state == "ERROR"
    (root,) = (s for s in trace.data.spans if s.parent_id is None)
    assert root.status.description == "the model proposed nothing that can be tried"


def test_no_secret_reaches_a_trace(settings: Settings, ledger: Ledger) -> None:
    one_trial(ledger, author="llm", rationale=f"because of {KEY}")
    talk(ledger)
    Mirror(ledger, settings).drain()
    (trace,) = traces(settings)
    whole = trace.to_json()
    assert "[hidden]" in whole and "begin" in whole
    for secret in (KEY, PASSWORD, PASSWORD.replace(" ", "")):
        assert secret not in whole
    kept = b"".join(path.read_bytes() for path in settings.root.glob("mlflow.db*"))
    assert KEY.encode() not in kept, "in no note or tag either"
    assert "because of [hidden]" in run_of(settings, 1).data.tags["mlflow.note.content"].replace("\\", "")
    page = write_report(ledger, settings, SEARCH).read_text(encoding="utf-8")
    assert KEY not in page and "because of [hidden]" in page


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("key sk-abcdefghijklmnop.", "key [hidden]."),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer [hidden]"),
        ("postgres://me:pass@db/x", "postgres://[hidden]@db/x"),
        ("task-sst2-with-long-names, risk-taking-students", "task-sst2-with-long-names, risk-taking-students"),
    ],
)
def test_what_looks_like_a_key_is_hidden_wherever_it_comes_from(text: str, left: str) -> None:
    assert hidden(text) == left


def test_a_trace_that_is_refused_waits_with_its_trial_and_nothing_else_does(
    settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracing.client import TracingClient

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("gone")

    one_trial(ledger, author="llm")
    with written(ledger, SEARCH) as lease:
        propose(lease, 2)
        score_trial(lease, 2, score(0.3))
    talk(ledger)
    with monkeypatch.context() as patch:
        patch.setattr(TracingClient, "log_spans", refuse)
        with pytest.raises(Exception, match="refused 1 of 3 runs; first: polarity-k3f9 t1: gone"):
            Mirror(ledger, settings).drain()
    assert [r["trial"] for r in ledger.unsent()] == [1] and not traces(settings)
    Mirror(ledger, settings).drain()
    assert not ledger.unsent() and len(traces(settings)) == 1


def test_a_server_without_spans_gets_the_run_alone(
    settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracing.client import TracingClient

    def old(*_: object, **__: object) -> None:
        raise NotImplementedError("MLflow server version 3.1 is less than 3.4")

    one_trial(ledger, author="llm")
    talk(ledger)
    monkeypatch.setattr(TracingClient, "log_spans", old)
    Mirror(ledger, settings).drain()
    assert not ledger.unsent() and run_of(settings, 1).data.metrics["pgr"] == 0.71


def test_tools_begin_where_what_stood_before_them_ended(ledger: Ledger) -> None:
    one_trial(ledger, author="llm")
    talk(ledger)
    made = steps(ledger.turns(SEARCH, 1))
    assert [s.name for s in made] == ["answer", "journal", "rm", "answer", "propose"]
    assert made[2].start == made[1].end and made[4].start == made[3].end
    assert all(s.start <= s.end for s in made)


def test_what_costs_nothing_has_a_price_and_arguments_that_are_no_json_are_shown(ledger: Ledger) -> None:
    one_trial(ledger, author="llm")
    broken = {"id": "a", "type": "function", "function": {"name": "journal", "arguments": '{"limit": '}}
    with written(ledger, SEARCH) as lease:
        lease.turn(1, 0, "assistant", {"role": "assistant", "tool_calls": [broken]}, tokens_out=30, usd=0.0)
        lease.turn(1, 1, "tool", {"role": "tool", "content": "what?", "tool_call_id": "a"})
    answer, called = steps(ledger.turns(SEARCH, 1))
    assert answer.attributes["mlflow.llm.cost"] == {"total_cost": 0.0} and "price" not in answer.attributes
    assert called.inputs == {"arguments": '{"limit": '} and called.attributes == {}


def test_each_trial_of_each_run_has_a_trace_of_its_own(ledger: Ledger) -> None:
    one_trial(ledger, author="llm")
    talk(ledger)
    turns, trials = ledger.turns(SEARCH, 1), ledger.trials(SEARCH)
    made = {conversation(t, turns, "7", run)[0].trace_id for t in trials for run in ("r", "s")}
    assert len(made) == 2 * len(trials)
