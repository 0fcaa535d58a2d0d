"""The portfolio: which source the next trial comes from, by what each source's trials were worth so far.

A trial's credit is the share of the trials scored before it that it beats; one that was rejected, failed, or that its
source could not propose is worth 0. A source's shares are its chance of having the highest mean credit (Thompson 1933,
Beta posteriors over credits that fade with age), mixed with a floor, so that none is ever given up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from aar.agent.researchers import Later, Researcher, Situation, Thought, next_preset, sampled
from aar.ledger import TrialRow
from aar.ledger.journal import source
from aar.methods import PRESETS
from aar.types import Hypothesis

FLOOR = 0.1
FADE = 0.95
"""What a credit is worth for the next trial, of what it was worth for this one."""
DRAWS = 2_000


class Credit(NamedTuple):
    """What a source's trials were worth: their faded number, and their faded mean credit (None without trials)."""

    trials: float
    mean: float | None


def credits(trials: Sequence[TrialRow], sources: Sequence[str]) -> dict[str, Credit]:
    """Each source's credit so far. Naive and trials under way count for nobody."""
    before: list[float] = [t.view.accuracy for t in trials[:1] if t.view]
    totals = {name: (0.0, 0.0) for name in sources}
    for t in trials[1:]:
        if t.finished is None:
            continue
        worth = 0.0
        if t.view is not None:
            value = t.view.accuracy
            worth = float(np.mean([(value > b) + (value == b) / 2 for b in before])) if before else 0.5
            before.append(value)
        totals = {name: (n * FADE, total * FADE) for name, (n, total) in totals.items()}
        name = source(t)
        if name in totals:
            n, total = totals[name]
            totals[name] = (n + 1, total + (worth if t.author == name else 0.0))
    return {name: Credit(n, total / n if n else None) for name, (n, total) in totals.items()}


def shares(found: Mapping[str, Credit], state: Sequence[int]) -> dict[str, float]:
    """Probability of being asked next, by source; they sum to 1."""
    names, rng = list(found), np.random.default_rng(state)
    if len(names) == 1:
        return {names[0]: 1.0}
    worth = [(c.trials * (c.mean or 0.0), c.trials * (1 - (c.mean or 0.0))) for c in found.values()]
    draws = np.stack([rng.beta(1 + good, 1 + bad, DRAWS) for good, bad in worth])
    won = np.bincount(draws.argmax(0), minlength=len(names)) / DRAWS
    floor = min(FLOOR, 1 / len(names))
    return {name: round(float(floor + (1 - floor * len(names)) * w), 4) for name, w in zip(names, won, strict=True)}


class Mixed:
    """Presets, Optuna, random and, with a model, the model: shared out by evidence."""

    name = "mixed"

    def __init__(self, model: Researcher | None = None) -> None:
        self.model = model

    def propose(self, now: Situation) -> Hypothesis | Thought | Later | None:
        """A hypothesis of the source that the shares and the search seed choose, with both written to it.

        A model that is busy is not among them; one that began to talk about this trial goes on.
        """
        preset = next_preset(now._replace(presets=len(PRESETS)))
        model = ["llm"] if self.model and (now.free or now.begun) else []
        sources = [*(["preset"] if preset else []), "optuna", "random", *model]
        digest = hashlib.sha256(f"mixed/{now.seed}/{now.number}".encode()).digest()
        state = [int.from_bytes(digest[i : i + 4], "big") for i in (0, 4)]
        found = credits(now.trials, sources)
        chance = shares(found, state)
        p = np.array(list(chance.values()))
        chosen = sources[int(np.random.default_rng(state[::-1]).choice(len(sources), p=p / p.sum()))]
        if self.model is not None and now.begun:
            chosen = "llm"
        worth = {name: round(c.mean, 3) for name, c in found.items() if c.mean is not None}
        told = {"source": chosen, "shares": chance, "credit": worth}

        def with_shares(made: Hypothesis) -> Hypothesis:
            return made.model_copy(update={"shares": told})

        made: Hypothesis | Thought | Later | None
        if chosen == "llm":
            assert self.model is not None
            made = self.model.propose(now)
        elif chosen == "preset":
            made = preset
        else:
            made = sampled(now, "optuna" if chosen == "optuna" else "random")
        if made is None or isinstance(made, Later):
            return made
        if isinstance(made, Hypothesis):
            return with_shares(made)
        thought = made
        return lambda: with_shares(thought())
