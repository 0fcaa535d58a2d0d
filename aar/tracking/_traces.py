"""A trial's conversation as a trace in MLflow, made of the ledger's rows after the fact.

Ids are hashes of what the trace is about, so that sending it again changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from aar.ledger import TrialRow
from aar.ledger.records import Row
from aar.tracking._text import plain

if TYPE_CHECKING:
    from mlflow.entities import Span, TraceInfo

NAME_LENGTH, PREVIEW_LENGTH = 200, 900
log = logging.getLogger(__name__)


class Step(NamedTuple):
    """One span: times in unix seconds, `trouble` what was wrong with it ("" for nothing)."""

    name: str
    kind: str
    start: float
    end: float
    inputs: Any
    outputs: Any
    trouble: str
    attributes: Mapping[str, Any]


def steps(turns: Sequence[Row]) -> list[Step]:
    """Model answers and tool calls of one conversation (`Ledger.turns`), in order.

    An answer's input is what was said since the answer before it; the conversation is the same for all.
    """
    about = _about(turns)
    out: list[Step] = []
    unheard: list[dict[str, Any]] = []
    calls: dict[str, Mapping[str, Any]] = {}
    before = turns[0]["at"] if turns else 0.0
    for r in turns:
        body = r["body"]
        message = {k: v for k, v in body.items() if k in ("role", "content", "tool_calls", "tool_call_id")}
        if r["role"] == "assistant":
            calls |= {c["id"]: c["function"] for c in body.get("tool_calls", [])}
            said = {"choices": [{"index": 0, "message": message}]}
            out.append(Step("answer", "CHAT_MODEL", r["at"] - r["seconds"], r["at"], {"messages": unheard}, said,
                            body.get("trouble") or "", _cost(r, about)))  # fmt: skip
            unheard = []
        else:
            unheard.append(message)
        if r["role"] == "tool":
            call = calls.get(body["tool_call_id"], {})
            given = {"arguments": _read(str(call.get("arguments", "")))}
            out.append(Step(str(call.get("name") or "tool"), "TOOL", before, r["at"], given, body["content"],
                            body.get("trouble") or "", _cost(r, about)))  # fmt: skip
        before = r["at"]
    return out


def conversation(trial: TrialRow, turns: Sequence[Row], experiment: str, run: str) -> tuple[TraceInfo, list[Span]]:
    """The trace of a trial's conversation, and its spans: the trial over its answers and tool calls."""
    from mlflow.entities import Span, TraceInfo, TraceLocation, TraceState

    made = steps(turns)
    about = _about(turns)
    trace = _hash(experiment, run, trial.search, trial.number)[:32]
    start, end = turns[0]["at"], max(turns[-1]["at"], *(s.end for s in made), turns[0]["at"])
    itself = trial.author == "llm"
    asked = {"search": trial.search, "trial": f"t{trial.number}"} | about
    came = {
        "proposed": trial.label,
        "why": trial.rationale,
        "refute": trial.refute,
        "predicted_pgr": trial.predicted_pgr,
    }
    trouble = "" if itself else "the model proposed nothing that can be tried"
    root = Step(f"t{trial.number}", "AGENT", start, end, asked, came, trouble, {})
    top = _hash(trace, -1)[:16]
    spans = [_span(root, trace, top, None), *(_span(s, trace, _hash(trace, i)[:16], top) for i, s in enumerate(made))]
    info = TraceInfo(
        trace_id=f"tr-{trace}", trace_location=TraceLocation.from_experiment_id(experiment),
        request_time=int(start * 1000), execution_duration=int((end - start) * 1000),
        state=TraceState.OK if itself else TraceState.ERROR,
        request_preview=f"t{trial.number} of {trial.search}: what to try?",
        response_preview=plain(f"{trial.label}: {trial.rationale}", PREVIEW_LENGTH),
        trace_metadata={"mlflow.sourceRun": run, "mlflow.trace.session": trial.search},
        tags={"mlflow.traceName": plain(f"t{trial.number} {trial.label}", NAME_LENGTH), "aar.search": trial.search,
              "aar.trial": str(trial.number), "author": trial.author},
    )  # fmt: skip
    return info, [Span.from_dict(s) for s in spans]


def send(uri: str, trial: TrialRow, turns: Sequence[Row], experiment: str, run: str) -> None:
    """Write the trace, or write it again.

    Raises:
        MlflowException: the store is down or refuses it.
    """
    from mlflow.tracing.client import TracingClient

    info, spans = conversation(trial, turns, experiment, run)
    client = TracingClient(uri)
    try:
        client.log_spans(experiment, spans)
    except NotImplementedError as error:  # a server too old for spans: nothing will ever come of asking again
        log.info("tracking: no trace of %s t%s: %s", trial.search, trial.number, error)
        return
    client.start_trace(info)


def _span(step: Step, trace: str, number: str, parent: str | None) -> dict[str, Any]:
    """As `Span.from_dict` reads it: attributes are JSON, and nothing secret is in them."""
    told = {
        "mlflow.traceRequestId": f"tr-{trace}", "mlflow.spanType": step.kind, "mlflow.spanInputs": step.inputs,
        "mlflow.spanOutputs": step.outputs, **step.attributes,
    }  # fmt: skip
    if step.kind == "CHAT_MODEL":
        told["mlflow.message.format"] = "openai"
    code = "STATUS_CODE_ERROR" if step.trouble else "STATUS_CODE_OK"
    return {
        "trace_id": f"tr-{trace}", "span_id": number, "parent_span_id": parent, "name": step.name[:NAME_LENGTH],
        "start_time_unix_nano": int(step.start * 1e9), "end_time_unix_nano": int(step.end * 1e9),
        "status": {"code": code, "message": plain(step.trouble)},
        "attributes": {k: plain(json.dumps(v, ensure_ascii=False)) for k, v in told.items()}, "events": [],
    }  # fmt: skip


def _cost(row: Row, about: Mapping[str, Any]) -> dict[str, Any]:
    """Tokens, and dollars where the price is known; only then the model's name, from which MLflow guesses a price."""
    read, written = row["tokens_in"], row["tokens_out"]
    if not read and not written:
        return {}
    told: dict[str, Any] = {
        "mlflow.chat.tokenUsage": {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
    }
    if row["usd"] is None:
        return told | {"price": "unknown"}
    return told | {"mlflow.llm.cost": {"total_cost": row["usd"]}, "mlflow.llm.model": about.get("model", "")}


def _about(turns: Sequence[Row]) -> dict[str, Any]:
    """The model, which of several researchers it is, and which words it was given."""
    found = next((r["body"]["about"] for r in turns if r["body"].get("about")), None)
    return dict(found or {})


def _read(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _hash(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()
