"""A chat model that may call tools: one call, bounded in tries and in time, with what it cost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aar.agent.llm.prices import Prices, load_prices
from aar.executor import Stopped
from aar.oversight.calling import insisting, tokens_of, whole
from aar.oversight.chat import client, text_of, where

Message = dict[str, Any]
"""As in OpenAI's protocol: role, content, tool_calls, tool_call_id. What the ledger keeps, and any client is sent."""
REFUSED, TRUNCATED, NO_TOOL = "refused", "cut off", "called no tool"
REFUSALS = {"content_filter", "refusal", "safety", "recitation", "prohibited_content", "guardrail_intervened"}
CUTS = {"length", "max_tokens", "model_length"}
"""How providers name the end of such an answer, in any case."""


class Said(NamedTuple):
    """An answer: its message, what is wrong with it ("" for nothing), and what it cost (`usd` None: no price known)."""

    message: Message
    trouble: str
    tokens_in: int
    tokens_out: int
    usd: float | None
    seconds: float


@dataclass
class Model:
    """A chat model by LangChain's name for it (`anthropic:...`, `openai:...`); with `base_url` a model of that server.

    A call that meets 408, 409, 429, 5xx, a broken connection, a broken answer, or takes over `limit` seconds in all
    (however slowly it trickles) is made again up to `retries` times, after 1, 2, 4, ... seconds or when the server
    asks for it. `cancel` ends any wait.

    Raises:
        AarError: the extra `chat` is not installed, or LangChain does not know the model.
    """

    model: str
    base_url: str | None = None
    limit: float = 300.0
    retries: int = 5
    max_tokens: int = 8192
    prices: Prices = field(default_factory=load_prices)
    cancel: threading.Event = field(default_factory=threading.Event)
    pause: Callable[[float], object] | None = None

    def __post_init__(self) -> None:
        """Find the model's client, and name the model without what a URL may hold of secrets."""
        self.name = f"{self.model}{where(self.base_url)}"
        self._client = client(self.model, self.base_url, self.limit)

    def say(self, messages: Sequence[Message], tools: Sequence[Message]) -> Said:
        """The next message of a conversation.

        Raises:
            Refused: the server will not answer this request however often it is sent (key, model, length).
            SpeakerStopped: it keeps failing.
            Stopped: `cancel` was set.
        """
        began = time.monotonic()
        bound = self._client.bind_tools(list(tools)) if tools else self._client
        asked: dict[str, Any] = {"max_tokens": self.max_tokens}
        if self.base_url is not None:  # other servers may know OpenAI's old name only
            asked["extra_body"] = dict(asked)
        reply = insisting(
            lambda: bound.invoke(list(messages), **asked), self.retries, self.pause or self.wait, self.name,
            limit=self.limit, check=self.stop,
        )  # fmt: skip
        message, trouble = message_of(reply)
        tokens_in, tokens_out = tokens_of(reply, len(json.dumps([*messages, *tools])), len(json.dumps(message)))
        usd = self.prices.usd(self.model, tokens_in, tokens_out)
        return Said(message, trouble, tokens_in, tokens_out, usd, time.monotonic() - began)

    def stop(self) -> None:
        """Leave when told to.

        Raises:
            Stopped: `cancel` was set.
        """
        if self.cancel.is_set():
            raise Stopped

    def wait(self, seconds: float) -> None:
        """Wait, unless told to stop.

        Raises:
            Stopped: `cancel` was set.
        """
        self.cancel.wait(seconds)
        self.stop()


def message_of(reply: Any) -> tuple[Message, str]:
    """LangChain's message in OpenAI's form, and what is wrong with it.

    Arguments that are no JSON become `{"unreadable": text}`: whoever is sent the conversation again can read that.
    """
    made = [(c["id"], c["name"], c["args"]) for c in reply.tool_calls]
    broken = [(c["id"], c["name"], {"unreadable": c["args"]}) for c in reply.invalid_tool_calls]
    ids = [number for number, _, _ in made + broken]
    named = len({*ids, None}) == len(ids) + 1  # some servers give calls no ids, or all the same
    calls = [
        _call(number if named else f"call_{i}", name, whole(json.dumps(args, ensure_ascii=False)))
        for i, (number, name, args) in enumerate(made + broken)
    ]
    text = text_of(reply)
    message: Message = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = calls
    about = reply.response_metadata
    ends = {str(about.get(name)).casefold() for name in ("finish_reason", "stop_reason", "stopReason", "done_reason")}
    if ends & REFUSALS or reply.additional_kwargs.get("refusal"):
        return message | {"content": text or whole(str(reply.additional_kwargs.get("refusal") or ""))}, REFUSED
    if ends & CUTS:
        return message, TRUNCATED
    return message, "" if calls else NO_TOOL


def _call(number: str | None, name: str | None, arguments: str) -> Message:
    return {"id": number, "type": "function", "function": {"name": name or "", "arguments": arguments}}
