"""A language model as a researcher: reads the evidence, calls tools, proposes. Where it cannot, Optuna does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from aar.agent.llm.evidence import (
    DIRECTIONS,
    PROMPTS,
    contrast_text,
    data,
    direction,
    family_text,
    line,
    person,
    shown,
    table,
    task_text,
)
from aar.agent.llm.looking import LOOKING
from aar.agent.llm.model import Message, Model
from aar.agent.llm.proposing import PROPOSING, Propose, hypothesis_of
from aar.agent.llm.protocols import PROTOCOLS
from aar.agent.llm.talk import STEPS, Talk
from aar.agent.llm.tools import Claims, Desk, Tool, tools_told
from aar.agent.llm.writing import WRITING, drafts
from aar.agent.researchers import Later, Situation, Thought, sampled
from aar.methods import signatures
from aar.oversight import Speaker, SpeakerStopped
from aar.oversight.cache import Cached
from aar.oversight.calling import Refused
from aar.oversight.chat import Chat
from aar.oversight.constitution import load_constitution
from aar.runner.bench import Bench
from aar.types import AarError, Hypothesis, digest_of

TOOLBOX: dict[str, Tool] = {**LOOKING, **PROTOCOLS, **PROPOSING}
ASKED_AT_ONCE = 16
KEY = (401, 402, 403, 404)
"""What a server says to a wrong key, an empty account, a wrong name: no other question would be answered either."""


@cache
def digest() -> str:
    """Which words models are given: prompts, directions, tools, how a part is written, principles of research."""
    told = tools_told({**TOOLBOX, **WRITING})
    return digest_of([PROMPTS, DIRECTIONS, told, signatures(), load_constitution("research").digest])[:12]


class LLM:
    """Proposes out of conversations with a model: of `voices` researchers, each with a direction of its own and a
    thread of its own; they share the journal, the findings and the queue of trials.

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
        self.claims = Claims()

    def propose(self, now: Situation) -> Hypothesis | Thought | Later:
        """What the model proposes, or Optuna with the reason why not: at once only where it has been said already."""
        if not now.free:
            return Later()
        talk = self.talk(now)
        talk.begin()
        ended = talk.ended()
        return (lambda: self._thought(talk)) if ended is None else self._said(talk, ended)

    def _thought(self, talk: Talk) -> Hypothesis:
        try:
            ended = talk.run()
        except SpeakerStopped as error:
            return self._instead(talk, str(error))
        except Refused as error:  # of this conversation (its length, its contents) or of any
            if error.status in KEY or not self.bench.ledger.talked(self.bench.search)["answers"]:
                raise
            return self._instead(talk, str(error))
        if ended is None:
            why = "it proposed nothing that can be tried" if self.afford() else "its tokens or dollars are spent"
            return self._instead(talk, why)
        return self._said(talk, ended)

    def _said(self, talk: Talk, ended: Message) -> Hypothesis:
        try:
            return hypothesis_of(talk.desk, Propose.model_validate(ended["arguments"]))
        except AarError as error:  # accepted once; what it stands on is not what it was
            return self._instead(talk, str(error))

    def talk(self, now: Situation) -> Talk:
        """The conversation about trial `now.number`, begun or not."""
        bench, voice = self.bench, self._voice(now)
        desk = Desk(now, bench.ledger, bench.lease, cache(self.speaker), drafts, self.claims)
        about = {"model": self.model.name, "voice": voice, "words": digest()}
        return Talk(
            self.model, desk, self.tools, self.opening(now, voice), about, afford=self.afford,
            before=bench.executor.begin,
        )  # fmt: skip

    def _voice(self, now: Situation) -> int:
        """Who talks about this trial: who does already, else, of those who are free, who has talked least."""
        spoke = self.bench.ledger.voices(self.bench.search)
        if now.number in spoke:
            return spoke[now.number]
        busy = {spoke[number] for number in self.bench.executor.thinking}
        free = [v for v in range(self.voices) if v not in busy]
        return min(free, key=lambda v: sum(1 for other in spoke.values() if other == v))

    @property
    def tools(self) -> dict[str, Tool]:
        """What the model may call here: code of its own only where a sandbox isolates it."""
        writes = self.bench.sandbox.isolates and self.bench.problem.task.kind != "generation"
        return {**TOOLBOX, **WRITING} if writes else TOOLBOX

    def speaker(self) -> Speaker:
        """The same model for a conversation's critiques and debates; what it once said there is remembered."""
        model = self.model
        chat = Chat(model.model, model.base_url, timeout=model.limit, pause=model.wait, check=model.stop)
        said = self.bench.problem.settings.folder("oversight") / "said.db"
        return Cached(chat, said, ASKED_AT_ONCE, self.bench.executor.begin)

    def opening(self, now: Situation, voice: int = 0) -> list[Message]:
        """The first two messages: the rules, and the state of the search."""
        findings = self.bench.ledger.findings(self.bench.search)
        noted = "\n".join(f"{f.text} ({', '.join(f't{n}' for n in f.trials)})" for f in findings[-12:])
        begin = PROMPTS["begin"].format(
            task=task_text(now.task, now.trials), who=self._who(now, voice), table=table(shown(now.trials)),
            families=family_text(now.trials), contrasts=contrast_text(now.trials),
            findings=data("findings", noted or "none yet"), steering=self._steering(now), number=now.number,
            budget=now.budget,
        )  # fmt: skip
        return [
            {"role": "system", "content": PROMPTS["system"].format(steps=STEPS)},
            {"role": "user", "content": begin},
        ]

    def _steering(self, now: Situation) -> str:
        """A person's words, which are for the model, and beside each what it had asked, which is not."""
        said = [person(s.words) + (f"\n{data('asked', s.asked)}" if s.asked else "") for s in now.steering]
        return PROMPTS["steering"].format(said="\n".join(said)) + "\n\n" if said else ""

    def _who(self, now: Situation, voice: int) -> str:
        ways = [line(direction(now.seed, v, now.trials, self.directions)) for v in range(self.voices)]
        if self.voices == 1 and not self.directions:
            return PROMPTS["alone"]
        if self.voices == 1:
            return f"{PROMPTS['alone']} Your direction: {ways[0]}."
        others = "; ".join(way for v, way in enumerate(ways) if v != voice)
        return PROMPTS["among"].format(voice=voice + 1, voices=self.voices, direction=ways[voice], others=others)

    def _instead(self, talk: Talk, why: str) -> Hypothesis:
        talk.desk.look()
        made = sampled(talk.desk.now, "optuna")
        return made.model_copy(update={"rationale": f"instead of the model ({why}): {made.rationale}"})
