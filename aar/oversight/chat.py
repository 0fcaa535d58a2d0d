"""A chat model as a Speaker, through LangChain: a hosted one, or any server that speaks OpenAI's protocol."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

from aar.oversight.calling import Refused, insisting, tokens_of, told, whole
from aar.oversight.speaker import (
    REFUSED,
    Choices,
    Reply,
    Sampling,
    Usage,
    options_each,
    preferences,
    reply_of,
)
from aar.types import AarError

INSTALL = "pip install 'aar[chat]'"
ASK = "Reply with exactly one of these and nothing else: {options}"
TOP = 20
"""Likeliest tokens asked for, where a server gives log-probabilities."""
AMBIGUOUS = 0.01
"""Probability on first tokens that begin several options, from which on a row is sampled instead."""
Preferred = tuple[list[float], float, list[float]]
"""Unnormalised probabilities (k,), mass, standard errors (k,)."""
T = TypeVar("T")
R = TypeVar("R")


@dataclass
class Chat:
    """A chat model by LangChain's name for it (`openai:gpt-4.1-mini`); with `base_url` a model of that server.

    To choose, a prompt ends with ASK and its options. Where the server gives log-probabilities (`logprobs`; None: where
    it does) the first token decides: a token, stripped and without regard to case, counts for the option that it
    equals, else for the one option that it begins. What is left of the probability, and what lies beyond the TOP
    likeliest tokens, is no option's: `mass` is less by it. Where over AMBIGUOUS of it begins several options, or
    without log-probabilities, `samples` replies are drawn at temperature 1: one counts where, less case, blanks and
    marks at its ends, it is an option; `se` are standard errors of the shares, smoothed by one count an option, so that
    a unanimous sample is not certain.

    At most `concurrency` requests are under way. One that meets 408, 409, 429, 5xx, a broken connection, a broken
    answer, or takes over `timeout` seconds in all is sent again up to `retries` times after 1, 2, 4, ... seconds, or
    when the server asks for it. What `check` raises ends any wait for an answer.
    Keys are read from the environment by LangChain (`OPENAI_API_KEY`, ...) and kept nowhere else.

    Raises:
        AarError: the extra `chat` is not installed, or LangChain does not know the model.
    """

    model: str
    base_url: str | None = None
    concurrency: int = 8
    timeout: float = 120.0
    retries: int = 5
    samples: int = 20
    logprobs: bool | None = None
    pause: Callable[[float], object] = time.sleep
    check: Callable[[], object] = lambda: None
    usage: Usage = field(default_factory=Usage)

    def __post_init__(self) -> None:
        """Name the speaker, without what a URL may hold of secrets, and find the model's client."""
        how = {None: "by logprobs if given, else ", True: "by logprobs, else ", False: ""}[self.logprobs]
        self.name = f"{self.model}{where(self.base_url)}, {how}{self.samples} samples"
        self._lock = threading.Lock()
        self._client = client(self.model, self.base_url, self.timeout)
        # Only OpenAI's protocol has `seed` and log-probabilities: other clients refuse what they do not know.
        self._openai = hasattr(self._client, "openai_api_base")
        self._gives = self.logprobs if self._openai else False

    def generate(self, prompts: Sequence[str], how: Sampling) -> list[Reply]:
        """See `Speaker`.

        Raises:
            AarError: the server refuses the request itself (key, model, length).
        """
        return self._each(lambda prompt: self._reply(prompt, how), prompts)

    def choose(self, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> Choices:
        """See `Speaker`.

        Raises:
            AarError: two options differ in case, blanks or marks only, or the server refuses the request itself.
        """
        k = options_each(prompts, options)
        for own in options:
            if len({plain(option) for option in own}) < k or not all(map(plain, own)):
                raise AarError(f"choose: {list(own)}: to a chat model two options are the same, or one is only marks")
        asked = [f"{p}\n\n{ASK.format(options=', '.join(o))}" for p, o in zip(prompts, options, strict=True)]
        both = list(zip(asked, options, strict=True))
        # One alone finds out whether the server gives log-probabilities.
        read = self._each(self._read_off, both[:1]) + self._each(self._read_off, both[1:])
        left = [i for i, row in enumerate(read) if row is None]
        drawn = iter(self._each(self._draw, [(*both[i], seed) for i in left for seed in range(self.samples)]))
        rows = [row or shares([next(drawn) for _ in range(self.samples)], k) for row in read]
        p, mass, se = (np.array([row[i] for row in rows], np.float64) for i in range(3))
        return preferences(p.reshape(-1, k), mass, se.reshape(-1, k))

    def _reply(self, prompt: str, how: Sampling) -> Reply:
        asked: dict[str, Any] = {"temperature": how.temperature, "max_tokens": how.max_tokens, "seed": how.seed}
        if how.top_p < 1:
            asked["top_p"] = how.top_p
        if how.stop:
            asked["stop"] = list(how.stop)
        said = self._ask(prompt, asked)
        text, end = text_of(said), said.response_metadata.get("finish_reason")
        reply = reply_of(text, prompt, end == "length")
        refused = end == "content_filter" or bool(said.additional_kwargs.get("refusal"))
        return reply._replace(invalid=REFUSED) if refused else reply

    def _read_off(self, row: tuple[str, Sequence[str]]) -> Preferred | None:
        """What the first token's log-probabilities say; None where they cannot."""
        if self._gives is False:
            return None
        prompt, options = row
        top = self._first_token(prompt)
        if top is None and self.logprobs:
            raise AarError(f"{self.name}: the server gives no log-probabilities; do not demand them (logprobs)")
        self._gives = top is not None
        p, ambiguous = by_first_token(top or [], options)
        return None if top is None or ambiguous > AMBIGUOUS else (p, min(1.0, sum(p)), [0.0] * len(p))

    def _first_token(self, prompt: str) -> list[tuple[str, float]] | None:
        """The likeliest first tokens of a reply with their probabilities; None where the server does not say."""
        asked = {"temperature": 0.0, "max_tokens": 1, "logprobs": True, "top_logprobs": TOP}
        try:
            said = self._ask(prompt, asked)
        except Refused as refused:
            if self._gives is None and "logprob" in str(refused):
                return None
            raise
        content = (said.response_metadata.get("logprobs") or {}).get("content") or []
        if not content or not content[0].get("top_logprobs"):
            return None
        return [(str(one["token"]), math.exp(one["logprob"])) for one in content[0]["top_logprobs"]]

    def _draw(self, row: tuple[str, Sequence[str], int]) -> int | None:
        """Which option one reply is, if any."""
        prompt, options, seed = row
        # A token is at least a byte of UTF-8, so that this many write any option and a mark behind it.
        room = 2 + max(len(option.encode()) for option in options)
        said = self._ask(prompt, {"temperature": 1.0, "max_tokens": room, "seed": seed})
        return {plain(option): i for i, option in enumerate(options)}.get(plain(text_of(said)))

    def _each(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """`work` of each item in order, several at once; the first error ends the rest."""
        with ThreadPoolExecutor(self.concurrency) as threads:
            futures = [threads.submit(work, item) for item in items]
            try:
                return [future.result() for future in futures]
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def _ask(self, prompt: str, asked: dict[str, Any]) -> Any:
        """LangChain's message.

        Raises:
            Refused: the server will not answer this request however often it is sent.
            SpeakerStopped: it keeps failing.
        """

        def ask() -> Any:
            with self._lock:
                self.usage.calls += 1
            return self._client.invoke([("user", prompt)], **self._spoken(asked))

        def pause(seconds: float) -> None:
            with self._lock:
                self.usage.retries += 1
            self.pause(seconds)

        kept = ". What was said is kept: the same command goes on from there once the server answers"
        said = insisting(ask, self.retries, pause, self.name, kept, self.timeout, self.check)
        tokens_in, tokens_out = tokens_of(said, len(prompt), len(text_of(said)))
        with self._lock:
            self.usage.tokens_in += tokens_in
            self.usage.tokens_out += tokens_out
        return said

    def _spoken(self, asked: dict[str, Any]) -> dict[str, Any]:
        if not self._openai:
            return {name: value for name, value in asked.items() if name != "seed"}
        # The client renames max_tokens to what OpenAI calls it now; other servers may know the old name only.
        return asked if self.base_url is None else asked | {"extra_body": {"max_tokens": asked["max_tokens"]}}


def client(model: str, base_url: str | None, timeout: float) -> Any:
    """LangChain's client of a model.

    Raises:
        AarError: a package is missing, or the model is not known.
    """
    try:
        from langchain.chat_models import init_chat_model
    except ImportError:
        raise AarError(f"a chat model needs the extra `chat`: {INSTALL}") from None
    given: dict[str, Any] = {"timeout": timeout, "max_retries": 0}
    if base_url is not None:
        given |= {"base_url": base_url, "model_provider": "openai"}
        if not os.environ.get("OPENAI_API_KEY"):
            given["api_key"] = "none"  # a local server asks for none, its client for some
    try:
        return init_chat_model(model, **given)
    except ImportError as error:
        raise AarError(f"chat model {model}: {error}; for OpenAI's protocol: {INSTALL}") from None
    except Exception as error:  # no key, an unknown provider, ...: each client has its own
        raise AarError(f"chat model {model}: {told(error)}") from None


def where(base_url: str | None) -> str:
    """Which server, for a name: no user, password or query."""
    if base_url is None:
        return ""
    parts = urlsplit(base_url)
    return f" at {parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path.rstrip('/')}"


def shares(drawn: Sequence[int | None], k: int) -> Preferred:
    """Preferences from which of k options each reply was, if any."""
    counts = [drawn.count(i) for i in range(k)]
    n = sum(counts)
    smooth = [(c + 1) / (n + k) for c in counts]
    se = [math.sqrt(p * (1 - p) / n) if n else 0.0 for p in smooth]
    return [c / len(drawn) for c in counts], n / len(drawn), se


def by_first_token(top: Sequence[tuple[str, float]], options: Sequence[str]) -> tuple[list[float], float]:
    """Each option's probability, and what lies on tokens that begin several."""
    names, p, ambiguous = [option.strip().casefold() for option in options], [0.0] * len(options), 0.0
    for token, share in top:
        begun = token.strip().casefold()
        equal = [i for i, name in enumerate(names) if name == begun]
        meant = equal or [i for i, name in enumerate(names) if begun and name.startswith(begun)]
        if len(meant) == 1:
            p[meant[0]] += share
        elif meant:
            ambiguous += share
    return p, ambiguous


def plain(text: str) -> str:
    """Without regard to case, blanks and marks at its ends."""
    told = text.casefold().strip()
    while told and not told[0].isalnum():
        told = told[1:]
    while told and not told[-1].isalnum():
        told = told[:-1]
    return told


def text_of(said: Any) -> str:
    """The text of a message, whatever blocks it is made of."""
    return whole(said.text if isinstance(said.text, str) else str(said.text()))
