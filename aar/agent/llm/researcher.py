"""A language model as a researcher: reads the evidence, calls tools, proposes. Where it cannot, Optuna does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from aar.agent.llm.evidence import (
    PROMPTS,
    contrast_text,
    data,
    direction,
    family_text,
    shown,
    table,
    task_text,
)
from aar.agent.llm.model import Message, Model
from aar.agent.llm.protocols import PROTOCOLS
from aar.agent.llm.talk import STEPS, Talk
from aar.agent.llm.tools import TOOLS, Desk, Propose, Tool, hypothesis_of
from aar.agent.llm.writing import WRITING, drafts
from aar.agent.researchers import Situation, sampled
from aar.oversight import Speaker, SpeakerStopped
from aar.oversight.cache import Cached
from aar.oversight.chat import Chat
from aar.runner.bench import Bench
from aar.types import Hypothesis

TOOLBOX: dict[str, Tool] = {**TOOLS, **PROTOCOLS}
ASKED_AT_ONCE = 16
ALONE = "You are the only researcher."
AMONG = (
    "You are researcher {voice} of {voices}; they share the journal and the findings. Your direction: {direction}. "
    "Theirs: {others}."
)


class LLM:
    """Proposes out of a conversation with a model. `voices` researchers take turns, each with a direction of its own.

    A conversation that comes to nothing (refusals, no answers left, a server that keeps failing) is the model's
    failure and not the search's: Optuna proposes instead, and the reason says so. A request that the server will not
    answer at all (key, model) ends the search before it costs a trial.
    """

    name = "llm"

    def __init__(
        self, bench: Bench, model: Model, voices: int = 1, directions: Sequence[str] = (),
        afford: Callable[[], bool] = lambda: True,
    ) -> None:  # fmt: skip
        self.bench, self.model, self.voices, self.directions, self.afford = bench, model, voices, directions, afford

    def propose(self, now: Situation) -> Hypothesis:
        """What the model proposes, or Optuna with the reason why not."""
        talk = self.talk(now)
        try:
            ended = talk.run()
        except SpeakerStopped as error:
            return self._instead(now, str(error))
        if ended is None:
            return self._instead(now, "it proposed nothing that can be tried")
        return hypothesis_of(talk.desk, Propose.model_validate(ended["arguments"]))

    def talk(self, now: Situation) -> Talk:
        """The conversation about trial `now.number`, begun or not."""
        desk = Desk(now, self.bench.ledger, self.bench.lease, lambda: self.speaker, drafts)
        about = {"model": self.model.name, "voice": now.number % self.voices}
        return Talk(self.model, desk, self.tools, self.opening(now), about, afford=self.afford)

    @property
    def tools(self) -> dict[str, Tool]:
        """What the model may call here: code of its own only where a sandbox isolates it."""
        writes = self.bench.sandbox.isolates and self.bench.problem.task.kind != "generation"
        return {**TOOLBOX, **WRITING} if writes else TOOLBOX

    @cached_property
    def speaker(self) -> Speaker:
        """The same model for critiques and debates; what it once said there is remembered."""
        chat = Chat(self.model.model, base_url=self.model.base_url, pause=self.model.wait, timeout=self.model.limit)
        return Cached(chat, self.bench.problem.settings.folder("oversight") / "said.db", ASKED_AT_ONCE, self.model.stop)

    def opening(self, now: Situation) -> list[Message]:
        """The first two messages: the rules, and the state of the search."""
        findings = self.bench.ledger.findings(self.bench.search)
        noted = "\n".join(f"{f.text} ({', '.join(f't{n}' for n in f.trials)})" for f in findings[-12:])
        said = "".join(f"{data('steering', words)}\n" for words in now.steering)
        steering = (
            f"## The person who runs this search said (follow it where the rules allow)\n{said}\n" if said else ""
        )
        begin = PROMPTS["begin"].format(
            task=task_text(now.task, now.trials), who=self._who(now), table=table(shown(now.trials)),
            families=family_text(now.trials), contrasts=contrast_text(now.trials),
            findings=data("findings", noted or "none yet"), steering=steering, number=now.number, budget=now.budget,
        )  # fmt: skip
        return [
            {"role": "system", "content": PROMPTS["system"].format(steps=STEPS)},
            {"role": "user", "content": begin},
        ]

    def _who(self, now: Situation) -> str:
        ways = [direction(now.seed, v, now.trials, self.directions) for v in range(self.voices)]
        if self.voices == 1 and not self.directions:
            return ALONE
        voice = now.number % self.voices
        if self.voices == 1:
            return f"{ALONE} Your direction: {ways[0]}."
        others = "; ".join(way for v, way in enumerate(ways) if v != voice)
        return AMONG.format(voice=voice + 1, voices=self.voices, direction=ways[voice], others=others)

    def _instead(self, now: Situation, why: str) -> Hypothesis:
        made = sampled(now, "optuna")
        return made.model_copy(update={"rationale": f"instead of the model ({why}): {made.rationale}"})
