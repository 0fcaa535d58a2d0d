"""Tools of a model: what they work with, how a client is told of them, how a call is answered."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.exc import SQLAlchemyError

from aar.agent.families import apart
from aar.agent.llm.model import Message
from aar.agent.researchers import Situation
from aar.executor import Stopped
from aar.ledger import Lease, LeaseLost, Ledger, TrialRow
from aar.oversight import Speaker
from aar.oversight.calling import told, whole
from aar.types import AarError, Recipe, Training, Written


class Args(BaseModel):
    """Arguments of a tool; its docstring is what the model reads."""

    model_config = ConfigDict(extra="forbid")


class Draft(NamedTuple):
    """A part that the model wrote, and what the review said of it."""

    code: Written
    review: str


class Claims:
    """Recipes that researchers of one search were granted: no two run the same, though both may still be talking."""

    def __init__(self) -> None:
        self._held: dict[int, Recipe] = {}
        self._lock = threading.Lock()

    def grant(self, trial: int, recipe: Recipe, base: Training, known: Collection[int] = ()) -> None:
        """Let `trial` have a recipe. What is `known` to be a trial by now is nobody's claim any more.

        Raises:
            AarError: another trial that is thought about was granted it, or nearly.
        """
        with self._lock:
            self._held = {other: held for other, held in self._held.items() if other not in known}
            for other, held in self._held.items():
                if other != trial and apart(recipe, held, base) is not None:
                    raise AarError(f"another researcher has just proposed nearly that, for t{other}: look elsewhere")
            self._held[trial] = recipe


@dataclass
class Desk:
    """What tools work with: the situation, the ledger and the right to write it, a speaker for protocols.

    `drafts` gives the parts that were written in this conversation, `claims` is shared with the other ones.
    """

    now: Situation
    ledger: Ledger
    lease: Lease
    speaker: Callable[[], Speaker]
    drafts: Callable[[Desk], list[Draft]] = lambda desk: []
    claims: Claims = field(default_factory=Claims)

    def look(self) -> None:
        """See what became of the search's trials meanwhile."""
        self.now = self.now._replace(trials=self.ledger.trials(self.lease.search))

    def accepted(self) -> list[tuple[str, Any, str]]:
        """Calls of this conversation whose tool had nothing against them: tool, arguments, answer."""
        calls: dict[str, Message] = {}
        out = []
        for row in self.ledger.turns(self.lease.search, self.now.number):
            body = row["body"]
            calls |= {call["id"]: call for call in body.get("tool_calls") or []}
            if row["role"] == "tool" and not body["trouble"]:
                made = calls[body["tool_call_id"]]["function"]
                out.append((made["name"], json.loads(made["arguments"]), body["content"]))
        return out

    def trial(self, number: int) -> TrialRow:
        """A trial of this search.

        Raises:
            AarError: there is none of that number.
        """
        for t in self.now.trials:
            if t.number == number:
                return t
        raise AarError(f"no trial t{number}; there are t0 to t{self.now.trials[-1].number}")


class Tool(NamedTuple):
    """A tool: its arguments, and what it answers.

    Raises:
        AarError: the arguments name what is not there; the message goes to the model.
    """

    args: type[Args]
    run: Callable[[Desk, Any], str]

    def told(self, name: str) -> Message:
        """The tool as a chat client is told of it."""
        schema = self.args.model_json_schema()
        schema.pop("title", None)
        about = " ".join((schema.pop("description", None) or "").split())
        return {"type": "function", "function": {"name": name, "description": about, "parameters": schema}}


def called(desk: Desk, call: Message, tools: Mapping[str, Tool]) -> tuple[str, str]:
    """What a tool answers, and what was wrong with the call ("" for nothing).

    Whatever a tool raises over its arguments is an answer too: a call is recorded before it is made, so that an error
    that ended the search here would end every resume of it.

    Raises:
        Stopped: the search was told to stop.
        LeaseLost: somebody else writes the search now.
        SQLAlchemyError: the ledger cannot be written.
    """
    name, arguments = call["function"]["name"], call["function"]["arguments"]
    if name not in tools:
        return f"no tool {name!r}; there are {', '.join(tools)}", "unknown tool"
    try:
        given = json.loads(arguments)
    except (ValueError, RecursionError):
        given = {"unreadable": arguments}
    if isinstance(given, dict) and set(given) == {"unreadable"}:
        return "the arguments are no JSON (cut off?); send the whole call again, shorter", "unreadable"
    try:
        args = tools[name].args.model_validate(given)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, e['loc'])) or name}: {e['msg']}" for e in error.errors()]
        return "; ".join(wrong[:6]), "wrong arguments"
    try:
        return whole(tools[name].run(desk, args)), ""
    except AarError as error:
        return whole(str(error)), "declined"
    except (Stopped, LeaseLost, SQLAlchemyError):
        raise
    except Exception as error:  # libraries under a tool raise what they like over what a model sends them
        return whole(f"{name} cannot do that: {type(error).__name__}: {told(error)}"), "declined"


def tools_told(tools: Mapping[str, Tool]) -> Sequence[Message]:
    """All tools as a chat client is told of them."""
    return [tool.told(name) for name, tool in tools.items()]
