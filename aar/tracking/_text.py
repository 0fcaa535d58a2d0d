"""Numbers and foreign text as people read them: in run notes and in the report."""

from __future__ import annotations

import os
import re

# Control characters, and those that change the direction or the visibility of what follows.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")

_SECRET_NAME = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.I)
_SECRETS = re.compile(
    r"\b(?:(?:sk|rk|pk|glpat|xox[a-z])-|(?:hf|gh[opsu])_|AKIA|AIza)[A-Za-z0-9_-]{12,}"
    r"|(?<=://)[^\s/:@]+:[^\s/@]+(?=@)|(?<=Bearer )\S{8,}"
)
SHORTEST_SECRET = 8


def hidden(text: str) -> str:
    """Text without secrets: values of environment variables named like keys, and what looks like a key or a login."""
    named = {v for k, v in os.environ.items() if _SECRET_NAME.search(k) and len(v) >= SHORTEST_SECRET}
    for value in sorted(named, key=len, reverse=True):
        text = text.replace(value, "[hidden]")
    return _SECRETS.sub("[hidden]", text)


def plain(text: str, limit: int | None = None) -> str:
    """Text that a job, a model or a person wrote, safe to send, to store and to lay out, at most `limit` long.

    Without control characters, and without secrets.
    """
    clean = _UNSEEN.sub("�", hidden(text).replace("\r\n", "\n")).encode("utf-8", "replace").decode()
    return clean if limit is None or len(clean) <= limit else clean[: limit - 1] + "…"


def number(value: float | None, digits: int = 2) -> str:
    """`.71`, `-.04`, `1.02`, `0`; a dash where there is none."""
    if not value:
        return "–" if value is None else "0"
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def interval(low: float | None, high: float | None, digits: int = 2) -> str:
    """`[.66, .76]`, or nothing where there is none."""
    return "" if low is None or high is None else f"[{number(low, digits)}, {number(high, digits)}]"
