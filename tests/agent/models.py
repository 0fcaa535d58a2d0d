"""Scripted chat models for tests: what they answer to a researcher's conversation."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from tests.oversight.chatserver import Json, Raw, calls, message

Answer = Json | Raw
READY = "Reply with the word ready."


def proposal(*settings: str, **more: Any) -> tuple[str, Json]:
    """A call of `propose`."""
    whole = {
        "settings": list(settings), "rationale": "because it should help here", "refute": "a PGR under .2",
        "predicted_pgr": 0.5, "predicted_low": 0.3, "predicted_high": 0.7,
    }  # fmt: skip
    return "propose", whole | more


def number_of(asked: Json) -> int:
    """The trial that a conversation is about."""
    found = re.search(r"Trial t(\d+) is yours", asked["messages"][1]["content"])
    assert found is not None, asked["messages"][1]["content"]
    return int(found[1])


def answers(asked: Json) -> int:
    """How many answers the model has given in this conversation."""
    return sum(1 for m in asked["messages"] if m["role"] == "assistant")


def last_words(asked: Json) -> str:
    """What the latest tool answered."""
    return str(next(m["content"] for m in reversed(asked["messages"]) if m["role"] == "tool"))


def scripted(by_trial: Callable[[int, int, Json], Answer]) -> Callable[[Json, int], Answer]:
    """A server's script out of (trial, answers so far, request) to answer."""

    def script(asked: Json, _: int) -> Answer:
        if asked["messages"][-1]["content"] == READY:
            return message("ready")
        return by_trial(number_of(asked), answers(asked), asked)

    return script


def fixed(proposals: Sequence[tuple[str, ...]]) -> Callable[[Json, int], Answer]:
    """Proposes these settings for t1, t2, ... at once."""
    return scripted(lambda trial, answers, asked: calls(proposal(*proposals[trial - 1])))


def garbage(asked: Json, before: int) -> Answer:
    """Never anything that can be used."""
    if asked["messages"][-1]["content"] == READY:
        return message("ready")
    return [
        message("I think that logconf is nice."), calls(("rm", {"path": "/"})), calls(("propose", '{"settings": [')),
        calls(("propose", {"settings": 7})), calls(proposal("loss=nonsense")), message(None, end="length"),
    ][before % 6]  # fmt: skip


def competent(trial: int, answers: int, asked: Json) -> Answer:
    """Begins with what the literature says, then reads the journal and moves the best trial's settings a step."""
    ideas = [("loss=logconf",), ("schedule.epochs=1",), ("loss=logconf", "schedule.epochs=1"), ("targets=hard",)]
    if trial <= len(ideas):
        return calls(proposal(*ideas[trial - 1]))
    if answers == 0:
        return calls(("journal", {"order": "best", "limit": 3}))
    if answers == 1:
        best = re.search(r"^\| t(\d+) ", last_words(asked), re.M)
        assert best is not None
        return calls(("trial", {"number": int(best[1])}))
    settings = dict(s.split("=", 1) for s in _settings_read(asked))
    step = answers - 2 + trial
    if settings.get("loss") == "logconf" and step % 2:
        a = float(settings.get("loss.a", 0.5))
        settings["loss.a"] = f"{min(max(a + (0.15 if step % 4 == 1 else -0.15), 0.0), 0.9):.2f}"
    elif step % 3 == 0:
        settings["schedule.epochs"] = str(1 + step % 3)
    else:
        lr = [0.5, 2.0, 0.7, 1.4][step % 4]
        settings["schedule.lr"] = f"{_rate(asked, settings) * lr:.3g}"
    return calls(proposal(*(f"{k}={v}" for k, v in settings.items())))


def _settings_read(asked: Json) -> list[str]:
    said = [m["content"] for m in asked["messages"] if m["role"] == "tool" and "\nsettings: " in m["content"]]
    line = next(line for line in said[-1].splitlines() if line.startswith("settings: "))
    words = line.removeprefix("settings: ").split()
    return [] if words == ["(naive)"] else words


def _rate(asked: Json, settings: dict[str, str]) -> float:
    return float(settings.get("schedule.lr", 1e-3))
