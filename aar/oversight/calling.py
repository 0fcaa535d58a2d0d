"""Calls of a chat server that may fail: what may work later is asked again, a bounded number of times."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from aar.oversight.speaker import SpeakerStopped
from aar.types import AarError

LONGEST_PAUSE = 60.0
R = TypeVar("R")


class Refused(AarError):
    """The server refuses a request itself: another try would be refused too."""


def insisting(
    ask: Callable[[], R], retries: int, pause: Callable[[float], object], name: str, hint: str = "",
    through: tuple[type[Exception], ...] = (),
) -> R:  # fmt: skip
    """What `ask` gives, asked again up to `retries` times where the same request may work later.

    `pause` waits between two tries; errors of `through` are the caller's own and pass.

    Raises:
        Refused: the server will not answer this request however often it is sent.
        SpeakerStopped: it keeps failing; `hint` ends the message.
    """
    for attempt in range(retries + 1):
        try:
            return ask()
        except through:
            raise
        except Exception as error:  # each provider's client has its own
            if not passing(error):
                raise Refused(f"{name}: {told(error)}") from None
            if attempt == retries:
                raise SpeakerStopped(f"{name}: {told(error)}, {attempt + 1} times in a row{hint}") from None
            seconds = wait_of(error, attempt)
        pause(seconds)
    raise AssertionError("every attempt returns or raises")


def passing(error: Exception) -> bool:
    """Whether the same request may work later."""
    code = getattr(error, "status_code", None)
    if isinstance(code, int):
        return code in (408, 409, 429) or code >= 500
    kinds = {kind.__name__ for kind in type(error).__mro__}
    broken = {"APIConnectionError", "APIResponseValidationError", "JSONDecodeError", "TransportError"}
    nothing = isinstance(error, TypeError) and "choices" in str(error)  # LangChain's word for an answer without any
    return nothing or isinstance(error, TimeoutError | ConnectionError) or bool(kinds & broken)


def wait_of(error: Exception, attempt: int) -> float:
    """Seconds until the next try: what the server asks for, else 1, 2, 4, ..., never over LONGEST_PAUSE."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        asked = float(headers.get("retry-after", ""))
    except ValueError:
        asked = 2.0**attempt
    return min(max(asked, 0.0), LONGEST_PAUSE)


def told(error: Exception) -> str:
    """An error in one line, without what it may hold of a key."""
    line = " ".join(str(error).split())[:300] or type(error).__name__
    for name, value in os.environ.items():
        if name.endswith("_KEY") and len(value) >= 8:
            line = line.replace(value, f"<{name}>")
    return line
