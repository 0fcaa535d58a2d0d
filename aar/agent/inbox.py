"""What people tell a search while it runs. Messages lie in the ledger; only the search's one writer acts on them.

A message is marked handled in the transaction that does what it asks, so that a kill neither loses nor doubles it. A
pause is the latest word about it in the ledger: it outlives the process that heard it.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Sequence

from sqlalchemy.exc import SQLAlchemyError

from aar.agent.budget import Budget, changed
from aar.agent.researchers import Situation, Steering, predicted
from aar.ledger import Message, TrialRow
from aar.runner.bench import Bench
from aar.types import Hypothesis, Recipe, TrialStatus, canonical_json

POLL_SECONDS = 0.5
MOST_WAITING = 3
"""Trials that may wait for a person's leave at once; with these nothing new is proposed."""
LEAVE = "may run"
SEEN = "seen"
ANSWERS = "answers: "
LATE = "too late: the search had ended"
APPROVALS = ("", "code", "all")


class Inbox:
    """The messages of one search, as its writer reads them."""

    def __init__(self, bench: Bench, approve: str = "") -> None:
        self.bench, self.approve = bench, approve
        stale = self._new("stop")
        if stale:  # they were for a process that is gone; whoever resumes wants the search to go on
            bench.lease.set_search(heeding=dict.fromkeys(stale, "the search was resumed after it"))

    def _new(self, *kinds: str) -> dict[int, Message]:
        found = self.bench.ledger.messages(self.bench.search, *kinds, unheeded=True)
        return {m.id: m for m in found}

    # ------------------------------------------------------------ hearing

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Wake up the loop for every message, and at once for a stop; also when the search is cancelled."""
        over = threading.Event()
        thread = threading.Thread(target=self._listen, args=(over,), name="inbox", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _listen(self, over: threading.Event) -> None:
        executor, last = self.bench.executor, 0
        while not over.wait(POLL_SECONDS):
            try:
                new = self._new()
            except SQLAlchemyError:  # the ledger cannot be read now; the next look may hear what this one did not
                new = {}
            for message in new.values():
                if message.kind == "stop":
                    (executor.cancel if message.payload.get("now") else executor.closing).set()
            if executor.cancel.is_set() or max(new, default=0) > last:
                executor.ring()
            last = max(last, *new, 0)

    def heed(self) -> None:
        """Act on what can be acted on at once: words, pauses, another budget, leave given and refused."""
        for number, message in self._new("steer", "pause", "unpause", "approve", "reject", "budget").items():
            if message.kind == "steer":
                self._answer(message)
            elif message.kind == "budget":
                plan = self._plan()
                told = changed(plan, message.payload)
                self.bench.lease.set_search({number: told}, plan=canonical_json(json.loads(plan) | message.payload))
            elif message.kind in ("approve", "reject"):
                self._decide(message)
            else:
                self.bench.lease.set_search(heeding={number: SEEN})

    def _answer(self, message: Message) -> None:
        """Words for the researcher; they answer what it had asked by then."""
        asked = {n: m for n, m in self._new("question").items() if n < message.id}
        outcome = ANSWERS + " ".join(m.payload["text"] for m in asked.values()) if asked else SEEN
        self.bench.lease.set_search(heeding={message.id: outcome} | dict.fromkeys(asked, message.payload["text"]))

    def _decide(self, message: Message) -> None:
        number, lease = int(message.payload["trial"]), self.bench.lease
        found = {t.number: t for t in self.bench.ledger.trials(self.bench.search)}.get(number)
        if found is None or found.status is not TrialStatus.WAITING:
            why = f"it is {found.status}" if found else "there is none"
            lease.set_search(heeding={message.id: f"t{number} does not wait: {why}"})
        elif message.kind == "approve":
            lease.set_trial(number, heeding={message.id: LEAVE}, status=TrialStatus.PROPOSED)
        else:
            why = message.payload.get("why") or ""
            reason = "rejected by a person" + (f": {why}" if why else "")
            lease.set_trial(
                number, mirror=True, heeding={message.id: reason}, status=TrialStatus.REJECTED, reason=reason,
                finished=time.time(),
            )  # fmt: skip

    def _plan(self) -> str:
        row = self.bench.ledger.search(self.bench.search)
        assert row is not None
        return str(row["plan"])

    # ------------------------------------------------------------ what was said

    @property
    def budget(self) -> Budget:
        """The budget as it is now."""
        return Budget.of(self._plan())

    @property
    def paused(self) -> bool:
        """Was a pause the last word?"""
        return paused(self.bench.ledger.messages(self.bench.search, "pause", "unpause"))

    def steering(self) -> tuple[Steering, ...]:
        """A person's words that were seen, oldest first; beside an answer stands what was asked."""
        seen = [m for m in self.bench.ledger.messages(self.bench.search, "steer") if m.handled is not None]
        return tuple(Steering(str(m.payload["text"]), asked_by(m)) for m in seen)

    def questions(self) -> tuple[str, ...]:
        """What the researcher asked and nobody has answered."""
        return tuple(m.payload["text"] for m in self._new("question").values())

    def proposal(self) -> Message | None:
        """The first recipe that a person proposed and that is no trial yet."""
        return next(iter(self._new("propose").values()), None)

    def waits(self, trial: TrialRow) -> bool:
        """Does this proposal need leave that it has not got? A person's own and naive need none."""
        asked = self.approve == "all" or (self.approve == "code" and written(trial.recipe))
        if not asked or trial.author == "human" or trial.number == 0:
            return False
        given = self.bench.ledger.messages(self.bench.search, "approve")
        return not any(m.payload["trial"] == trial.number and m.outcome == LEAVE for m in given)

    def leftover(self) -> dict[int, str]:
        """What nobody acted on, for the end of the search."""
        return dict.fromkeys(self._new(), LATE)


def paused(messages: Sequence[Message]) -> bool:
    """Is a pause the latest of these messages about one?"""
    said = [m.kind for m in messages if m.kind in ("pause", "unpause")]
    return bool(said) and said[-1] == "pause"


def asked_by(message: Message) -> str:
    """What a person's words answer; "" for nothing."""
    outcome = message.outcome or ""
    return outcome.removeprefix(ANSWERS) if outcome.startswith(ANSWERS) else ""


def written(recipe: Recipe) -> bool:
    """Does the recipe carry code?"""
    return bool(recipe.written)


def hypothesis(message: Message, now: Situation) -> Hypothesis:
    """A person's proposal, with what the evidence so far predicts of it."""
    why = message.payload.get("why")
    rationale = "asked for by a person" + (f": {why}" if why else "")
    recipe = Recipe.model_validate(message.payload["recipe"])
    return predicted(now, Hypothesis(recipe=recipe, rationale=rationale, author="human"))
