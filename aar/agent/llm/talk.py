"""A conversation about one trial: a LangGraph loop of model and tools whose memory is the ledger.

Every message is committed before the next is asked for. A process killed anywhere in it goes on, when it is resumed,
from the last message that was recorded: no answer is paid for twice, no tool that answered is called again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from aar.agent.llm.evidence import PROMPTS
from aar.agent.llm.model import NO_TOOL, REFUSED, TRUNCATED, Message, Model
from aar.agent.llm.tools import Desk, Tool, called, tools_told
from aar.oversight import Speaker

STEPS = 16
"""Answers of the model in one conversation."""
REFUSALS = 2
"""So many refusals end it."""
NUDGES = {NO_TOOL: PROMPTS["no_tool"], TRUNCATED: PROMPTS["truncated"], REFUSED: PROMPTS["refused"]}
MOST_CALLS = 8
"""Calls in one answer; what goes beyond is not made."""
TOO_MANY, SPENT = "too many calls", "spent"


class State(TypedDict):
    """What the graph carries: which trial, how many answers so far, whether it is over."""

    trial: int
    answers: int
    over: bool


@dataclass
class Talk:
    """One conversation: `opening` are its first messages, `ends` names the tools whose success ends it.

    `before` is called ahead of every answer and call: what it raises ends the conversation for now.
    """

    model: Model
    desk: Desk
    tools: Mapping[str, Tool]
    opening: Sequence[Message]
    about: Mapping[str, Any]
    ends: Sequence[str] = ("propose",)
    afford: Callable[[], bool] = lambda: True
    before: Callable[[], None] = lambda: None

    def run(self) -> Message | None:
        """The call that ended it (name and arguments), or None where it ran out of answers, refusals or money.

        Raises:
            SpeakerStopped: the model's server keeps failing.
            AarError: it refuses the request itself.
            Stopped: the search was told to stop.
        """
        self.begin()
        answers = sum(1 for r in self._rows() if r["role"] == "assistant")
        over = self.ended() is not None or (not self._open_calls() and self._spent(answers))
        start = {"trial": self.desk.now.number, "answers": answers, "over": over}
        self.graph().invoke(start, {"recursion_limit": 4 * STEPS + 10})
        return self.ended()

    def begin(self) -> None:
        """Record its first messages, unless they are."""
        for step, message in list(enumerate(self.opening))[len(self._rows()) :]:
            self.desk.lease.turn(self.desk.now.number, step, message["role"], message | {"about": self.about})

    def graph(self, checkpointer: Any = False) -> Any:
        """Think and act, in turns, until it is over."""
        from langgraph.graph import END, START, StateGraph

        graph = StateGraph(State)
        graph.add_node("think", self._think)
        graph.add_node("act", self._act)

        def begins(state: State) -> str:
            if state["over"]:
                return END
            return "act" if self._open_calls() else "think"

        graph.add_conditional_edges(START, begins, ["think", "act", END])
        graph.add_edge("think", "act")
        graph.add_conditional_edges("act", lambda s: END if s["over"] else "think", ["think", END])
        return graph.compile(checkpointer=checkpointer)

    def _think(self, state: State) -> State:
        """The model's next answer, recorded with what it cost."""
        self.before()
        rows = self._rows()
        messages = [_plain(r["body"]) for r in rows]
        nudge = self._nudge(rows, state["answers"])
        if nudge is not None:
            self.desk.lease.turn(self.desk.now.number, len(rows), "user", {"role": "user", "content": nudge})
            messages.append({"role": "user", "content": nudge})
        said = self.model.say(messages, tools_told(self.tools))
        self.desk.lease.turn(
            self.desk.now.number, len(messages), "assistant", said.message | {"trouble": said.trouble},
            tokens_in=said.tokens_in, tokens_out=said.tokens_out, usd=said.usd, seconds=said.seconds,
        )  # fmt: skip
        return {**state, "answers": state["answers"] + 1}

    def _act(self, state: State) -> State:
        """Each call of the last answer that has no answer yet is made, and its answer recorded."""
        for call in self._open_calls():
            if self.ended() is not None:
                break
            self.before()
            self.desk.look()
            speaker = self.desk.speaker()
            before = _used(speaker)
            text, trouble = self._answer(call)
            body = {"role": "tool", "tool_call_id": call["id"], "content": text, "trouble": trouble}
            tokens_in, tokens_out = (now - was for now, was in zip(_used(speaker), before, strict=True))
            usd = self.model.prices.usd(self.model.model, tokens_in, tokens_out) if tokens_in or tokens_out else None
            self.desk.lease.turn(
                self.desk.now.number, len(self._rows()), "tool", body,
                tokens_in=tokens_in, tokens_out=tokens_out, usd=usd,
            )  # fmt: skip
        return {**state, "over": self.ended() is not None or self._spent(state["answers"])}

    def _spent(self, answers: int) -> bool:
        """Are there no answers, no patience or no money left?"""
        refusals = sum(1 for r in self._rows() if r["body"].get("trouble") == REFUSED)
        return answers >= STEPS or refusals >= REFUSALS or not self.afford()

    def _answer(self, call: Message) -> tuple[str, str]:
        """What a call is answered, and what was wrong with it: made only where it is paid for."""
        if sum(1 for r in self._rows()[self._last_said() :] if r["role"] == "tool") >= MOST_CALLS:
            return f"at most {MOST_CALLS} calls in one answer; call it again if you still need it", TOO_MANY
        if call["function"]["name"] not in self.ends and not self.afford():
            return "the search's tokens or dollars are spent: nothing but a proposal is taken now", SPENT
        return called(self.desk, call, self.tools)

    def _nudge(self, rows: Sequence[Mapping[str, Any]], answers: int) -> str | None:
        last = rows[-1]
        trouble = last["body"].get("trouble") if last["role"] == "assistant" else None
        words = [NUDGES[trouble]] if trouble in NUDGES else []
        if answers == STEPS - 1:
            words.append(PROMPTS["last"])
        return " ".join(words) or None

    def _rows(self) -> list[Mapping[str, Any]]:
        return list(self.desk.ledger.turns(self.desk.lease.search, self.desk.now.number))

    def _open_calls(self) -> list[Message]:
        """Calls of the last answer that nobody answered."""
        rows, last = self._rows(), self._last_said()
        answered = {r["body"]["tool_call_id"] for r in rows[last + 1 :] if r["role"] == "tool"}
        return [c for c in rows[last]["body"].get("tool_calls", []) if c["id"] not in answered]

    def _last_said(self) -> int:
        """Where the model's last answer stands; the first message where there is none."""
        return max((i for i, r in enumerate(self._rows()) if r["role"] == "assistant"), default=0)

    def ended(self) -> Message | None:
        """The call that ended the conversation."""
        found = (m for m in self.desk.accepted() if m[0] in self.ends)
        return next(({"name": name, "arguments": args} for name, args, _ in found), None)


def _plain(body: Mapping[str, Any]) -> Message:
    """A message as a client is sent it."""
    return {k: v for k, v in body.items() if k in ("role", "content", "tool_calls", "tool_call_id")}


def _used(speaker: Speaker) -> tuple[int, int]:
    return speaker.usage.tokens_in, speaker.usage.tokens_out
