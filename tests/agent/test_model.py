"""One call of a chat model: bounded in tries and in time; and what tokens cost."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from aar.agent.llm.model import NO_TOOL, REFUSED, TRUNCATED, Model
from aar.agent.llm.prices import SHIPPED, load_prices
from aar.agent.run import Plan, model_of
from aar.executor import Stopped
from aar.oversight import SpeakerStopped
from aar.oversight.calling import Refused
from aar.types import AarError
from tests.agent.models import Answer
from tests.oversight.chatserver import Drip, Late, Raw, calls, error, message, serving

ASKED = [{"role": "user", "content": "well?"}]
TOOL = {"type": "function", "function": {"name": "look", "description": "d", "parameters": {"type": "object"}}}


def test_an_answer_that_trickles_or_never_comes_is_given_up_and_asked_for_again() -> None:
    never = threading.Event()
    waits: list[float] = []
    answers: list[Answer | Drip | Late] = [Drip(never), Late(never), message("here")]
    with serving(lambda asked, n: answers[n]) as server:
        model = Model("m", server.url, limit=0.4, pause=waits.append)
        said = model.say(ASKED, [])
        assert said.message["content"] == "here" and len(server.requests) == 3 and waits == [1.0, 2.0]
        with_none = Model("m", server.url, limit=0.4, retries=1, pause=waits.append)
        answers[:] = [Drip(never)] * 9
        with pytest.raises(SpeakerStopped, match="no answer within 0.4 s, 2 times in a row"):
            with_none.say(ASKED, [])
        never.set()


def test_a_stop_does_not_wait_for_an_answer_nor_for_the_next_try() -> None:
    never, cancel = threading.Event(), threading.Event()

    def script(asked: object, n: int) -> Late:
        cancel.set()
        return Late(never)

    with serving(script) as server:
        began = time.monotonic()
        with pytest.raises(Stopped):
            Model("m", server.url, cancel=cancel).say(ASKED, [])
        assert time.monotonic() - began < 60
        never.set()
    cancel.clear()

    def fails(asked: object, n: int) -> Raw:
        cancel.set()
        return error(500)

    with serving(fails) as server, pytest.raises(Stopped):
        Model("m", server.url, cancel=cancel).say(ASKED, [])


def test_a_request_that_is_refused_is_not_made_again() -> None:
    with serving(lambda asked, n: error(400, "context too long")) as server:
        with pytest.raises(Refused, match="context too long"):
            Model("m", server.url).say(ASKED, [])
        assert len(server.requests) == 1


def test_troubles_are_told_apart() -> None:
    answers = [
        message("I won't.", end="content_filter"), message("x", refusal="no"), message("half", end="length"),
        message("prose"), calls(("look", {})), calls(("look", "{")),
    ]  # fmt: skip
    with serving(lambda asked, n: answers[n]) as server:
        said = [Model("m", server.url).say(ASKED, [TOOL]) for _ in answers]
    assert [s.trouble for s in said] == [REFUSED, REFUSED, TRUNCATED, NO_TOOL, "", ""]
    assert said[5].message["tool_calls"][0]["function"]["arguments"] == '{"unreadable": "{"}'


def test_calls_without_ids_or_with_one_id_for_all_get_their_own() -> None:
    one = calls(("look", {}), ("look", {"x": 1}))
    for call in one["choices"][0]["message"]["tool_calls"]:
        call["id"] = "same"
    with serving(lambda asked, n: one) as server:
        said = Model("m", server.url).say(ASKED, [TOOL])
    ids = [c["id"] for c in said.message["tool_calls"]]
    assert len(set(ids)) == 2
    with serving(lambda asked, n: message("ok")) as server:
        answers = [{"role": "tool", "tool_call_id": i, "content": "seen"} for i in ids]
        assert Model("m", server.url).say([*ASKED, said.message, *answers], [TOOL]).message["content"] == "ok"
        assert [m.get("tool_call_id") for m in server.requests[0]["messages"][2:]] == ids


def test_a_model_is_charged_under_its_own_name_and_an_unknown_one_has_no_price(tmp_path: Path) -> None:
    prices = load_prices()
    assert prices.of("openai:gpt-4.1-mini-2025-04-14") == prices.models["openai:gpt-4.1-mini"]
    assert prices.usd("openai:gpt-4.1-mini", 1_000_000, 500_000) == pytest.approx(0.4 + 0.8)
    assert prices.of("anthropic:claude-haiku-4-5@20251001") == prices.models["anthropic:claude-haiku-4-5"]
    assert prices.of("anthropic:claude-3-5-haiku-latest") == prices.models["anthropic:claude-3-5-haiku"]
    others = ("gpt-5-pro", "gpt-4o-audio-preview", "gpt-4o-realtime-preview-2024-12-17", "gpt-5.1", "gpt-4.1-minix")
    assert {name: prices.of(f"openai:{name}") for name in others} == dict.fromkeys(others)
    assert prices.of("ollama:qwen") is None and prices.usd("ollama:qwen", 5, 5) is None
    assert prices.of("router/openai:gpt-4.1-mini") is None, "what it is sold for elsewhere is not known"
    own = tmp_path / "prices.yaml"
    own.write_text("date: 2026-11-01\nmodels: {local-7b: {in: 0, out: 2}}\n")
    assert load_prices(own).usd("local-7b", 10, 1_000_000) == 2
    with serving(lambda asked, n: message("ok")) as server:
        said = Model("local-7b", server.url, prices=load_prices(own)).say(ASKED, [])
    assert (said.tokens_in, said.tokens_out) == (7, 3) and said.usd == pytest.approx(6e-6)


def test_a_server_of_ones_own_is_not_charged_at_a_vendors_price(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    plan = Plan(model="openai:gpt-4.1-mini", base_url="http://127.0.0.1:9/v1")
    assert model_of(plan).prices.of("openai:gpt-4.1-mini") is None
    assert model_of(plan.model_copy(update={"base_url": None})).prices.of("openai:gpt-4.1-mini") is not None
    own = tmp_path / "prices.yaml"
    own.write_text("date: 2026-11-01\nmodels: {'openai:gpt-4.1-mini': {in: 0, out: 2}}\n")
    priced = model_of(plan.model_copy(update={"prices": str(own)})).prices.of("openai:gpt-4.1-mini")
    assert priced is not None and priced.written == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("date: 2026-11-01\n", "models"),
        ("models: {a: {in: -1, out: 0}}\ndate: 2026-01-01\n", "models.a.in"),
        ("models: {a: {in: 0, out: -1}}\ndate: 2026-01-01\n", "models.a.out"),
        ("\udcff", "not YAML"),
        ("a: [", "not YAML"),
    ],
)
def test_a_table_that_is_none_is_told(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(AarError, match=told):
        load_prices(path)
    with pytest.raises(AarError, match=str(SHIPPED)):
        load_prices(tmp_path / "none.yaml")
    assert isinstance(error(500), Raw)
