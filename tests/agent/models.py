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


IDEAS = (("loss=logconf",), ("targets=hard",), ("loss=logconf", "loss.a=.75", "targets=hard"), ("loss=product",))
MOVES: tuple[Callable[[dict[str, str]], dict[str, str]], ...] = (
    lambda s: {"loss": "logconf", "loss.a": f"{min(_number(s, 'loss.a', 0.5) + 0.15, 0.9):.2f}"},
    lambda s: {"loss": "logconf", "loss.a": f"{max(_number(s, 'loss.a', 0.5) - 0.15, 0.0):.2f}"},
    lambda s: {"schedule.lr": f"{_number(s, 'schedule.lr', 1e-4) * 2:.3g}"},
    lambda s: {"schedule.lr": f"{_number(s, 'schedule.lr', 1e-4) / 2:.3g}"},
    lambda s: {"schedule.epochs": "3"},
    lambda s: {"targets": "hard"},
    lambda s: {"schedule.epochs": "1"},
    lambda s: {"loss": "logconf", "loss.w": f"{0.3 - _number(s, 'loss.w', 0.1):.2f}"},
)


def competent(trial: int, answers: int, asked: Json) -> Answer:
    """Begins with what the literature says, then reads the journal and moves the best trial's settings a step.

    Where a step is turned away, it takes the next one.
    """
    if trial <= len(IDEAS) and answers == 0:
        return calls(proposal(*IDEAS[trial - 1]))
    told = [m["content"] for m in asked["messages"] if m["role"] == "tool"]
    journal = next((t for t in told if t.startswith("| trial |")), None)
    if journal is None:
        return calls(("journal", {"order": "best", "limit": 5}))
    best = re.findall(r"^\| t(\d+) ", journal, re.M)
    looked = [t for t in told if "\nsettings: " in t]
    if not looked:
        return calls(("trial", {"number": int(best[trial % min(2, len(best))])}))
    words = next(line for line in looked[-1].splitlines() if line.startswith("settings: ")).split()[1:]
    settings = dict(w.split("=", 1) for w in words if "=" in w)
    moved = settings | MOVES[(trial + answers) % len(MOVES)](settings)
    if moved.get("loss") != settings.get("loss"):  # another part has other parameters
        moved = {
            k: v for k, v in moved.items() if not k.startswith("loss.") or k in MOVES[(trial + answers) % 8](settings)
        }
    return calls(proposal(*(f"{k}={v}" for k, v in moved.items())))


def _number(settings: dict[str, str], name: str, default: float) -> float:
    return float(settings.get(name, default))
