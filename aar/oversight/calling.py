"""Calls of a chat server that may fail: what may work later is asked again, a bounded number of times."""

from __future__ import annotations

import math
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from aar.oversight.speaker import SpeakerStopped
from aar.types import AarError

LONGEST_PAUSE = 60.0
LOOK_SECONDS = 0.2
LATER = (408, 409, 425, 429)
"""Of the 4xx those after which the same request may work later."""
CHARACTERS = 4
"""A token's, where a server does not count."""
R = TypeVar("R")


class Refused(AarError):
    """The server refuses a request itself: another try would be refused too. `status` is HTTP's."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


def insisting(
    ask: Callable[[], R], retries: int, pause: Callable[[float], object], name: str, hint: str = "",
    limit: float = 300.0, check: Callable[[], object] = lambda: None,
) -> R:  # fmt: skip
    """What `ask` gives, asked again up to `retries` times unless the server refuses the request itself.

    `pause` waits between two tries. One that takes over `limit` seconds, however slowly it trickles, counts as failed.
    What `check` raises while one waits ends it at once.

    Raises:
        Refused: the server will not answer this request however often it is sent.
        SpeakerStopped: it keeps failing; `hint` ends the message.
    """
    for attempt in range(retries + 1):
        check()
        found, error = _within(ask, limit, check)
        if error is None:
            return found  # type: ignore[return-value]
        status = status_of(error)
        if status is not None and 400 <= status < 500 and status not in LATER:
            raise Refused(f"{name}: {told(error)}", status) from None
        if isinstance(error, AarError):
            raise error
        if attempt == retries:
            raise SpeakerStopped(f"{name}: {told(error)}, {attempt + 1} times in a row{hint}") from None
        pause(wait_of(error, attempt))
    raise AssertionError("every attempt returns or raises")


def _within(ask: Callable[[], R], limit: float, check: Callable[[], object]) -> tuple[R | None, Exception | None]:
    """`ask` in a thread that is left alone when the time is up: clients bound a read, not an answer."""
    box: queue.Queue[tuple[R | None, Exception | None]] = queue.Queue()

    def run() -> None:
        try:
            box.put((ask(), None))
        except Exception as error:  # each provider's client has its own
            box.put((None, error))

    threading.Thread(target=run, name="model", daemon=True).start()
    give_up = time.monotonic() + limit
    while True:
        try:
            return box.get(timeout=min(LOOK_SECONDS, limit))
        except queue.Empty:
            check()
            if time.monotonic() > give_up:
                return None, TimeoutError(f"no answer within {limit:g} s")


def status_of(error: Exception) -> int | None:
    """HTTP's status behind an error, wherever a provider's client keeps it."""
    response = getattr(error, "response", None)
    amazon = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
    for code in (getattr(error, "status_code", None), getattr(response, "status_code", None), amazon,
                 getattr(error, "code", None)):  # fmt: skip
        if isinstance(code, int):
            return int(code)
    return None


def wait_of(error: Exception, attempt: int) -> float:
    """Seconds until the next try: what the server asks for, else 1, 2, 4, ..., never over LONGEST_PAUSE."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        asked = float(headers.get("retry-after", ""))
    except ValueError:
        asked = math.nan
    return min(asked if asked >= 0 else 2.0**attempt, LONGEST_PAUSE)


def tokens_of(reply: Any, asked: int, said: int) -> tuple[int, int]:
    """Tokens in and out as the server counts them; one for every few of the characters `asked` and `said` if not."""
    counted = getattr(reply, "usage_metadata", None) or {}
    both = counted.get("input_tokens") or 0, counted.get("output_tokens") or 0
    if min(both) < 0 or not any(both):
        return asked // CHARACTERS + 1, said // CHARACTERS + 1
    return both


def whole(text: str) -> str:
    """Text that can be sent and stored: halves of characters, which some models write, become `?`."""
    return text.encode("utf-8", "replace").decode()


def told(error: Exception) -> str:
    """An error in one line, without what it may hold of a key."""
    line = " ".join(str(error).split())[:300] or type(error).__name__
    for name, value in os.environ.items():
        if name.endswith("_KEY") and len(value) >= 8:
            line = line.replace(value, f"<{name}>")
    return line
