"""Speakers whose skill is known: what a protocol measures of them must come out at the values put in.

Each item's answer is one of two colours. The judge is right about it with a known probability; an honest speaker finds
the flaw of the other answer, and a lying one invents a convincing one, with known probabilities. Draws are hashes of
the item and what is drawn, so that nothing depends on the order of calls.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from aar.oversight.judge import Comparison
from aar.oversight.speaker import Sampling, Scripted
from aar.oversight.transcript import Cast
from aar.types import Word, digest_of

COLOURS = ("amber", "azure")
ITEM = re.compile(r"lamp (\d+)\b")
OWN = re.compile(r"(?:Your|Proposed) answer:\n> (\w+)")
SHOWN = re.compile(r"Answer A:\n> (\w+)\n\nAnswer B:\n> (\w+)")
FOUND, CLAIMED = "It is shown that the lamp is not {}.", "It is claimed that the lamp is not {}."
PART = re.compile(r"As to check ([\d.]+) of lamp \d+, which answer is right\? (?:Reply|Think|Write)")
EVALUATED = re.compile(r"^An assistant's evaluation, for answer ([AB]):", re.M)
ORDERS = re.compile(r"^Criticism, order", re.M)


class Skill(Word):
    """What the speakers can do, as probabilities.

    `judge`: right by itself, per draw of thoughts. `finds`: an honest turn shows the flaw of the wrong answer, once a
    transcript. `fools`: a lying turn convinces, where no flaw was shown. `confidence`: what the judge gives to what it
    holds for right; None: it varies between .5 and 1, and the judge is right exactly that often. `bias`: what it adds
    to the answer shown first. `abstains`: it has no answer; `silent`: a turn of a debater is empty. `eases`: how much
    likelier it is right about a part of a question than about the question. Helped by evaluations of parts, it decides
    as most of them do.
    """

    judge: float = Field(default=0.6, ge=0, le=1)
    finds: float = Field(default=0.7, ge=0, le=1)
    fools: float = Field(default=0.0, ge=0, le=1)
    confidence: float | None = 0.8
    bias: float = 0.0
    abstains: float = Field(default=0.0, ge=0, le=1)
    silent: float = Field(default=0.0, ge=0, le=1)
    eases: float = 0.0

    def expected(self) -> dict[str, float]:
        """Accuracy of each protocol on verdicts that were not abstained from, in expectation; `silent` being 0."""
        alone = self.judge if self.confidence is not None else 0.75
        lied_to = (1 - self.fools) * alone
        both = self.finds + (1 - self.finds) * lied_to
        advised = (self.finds + (1 - self.finds) * alone + lied_to) / 2
        return {
            "direct": alone, "debate": both, "double consultancy": both, "critique": both, "consultancy": advised,
        }  # fmt: skip

    def alone(self, depth: int = 0) -> float:
        """P(right by itself) about a part of a part of ... a question."""
        return min(1.0, max(0.0, self.judge + self.eases * depth))

    def recursive(self, level: int, branches: int = 3, depth: int = 0) -> float:
        """Accuracy of a judge of this level, in expectation: most of `branches` independent assistants are right."""
        if not level:
            return self.alone(depth)
        p = self.recursive(level - 1, branches, depth + 1)
        won = {k: math.comb(branches, k) * p**k * (1 - p) ** (branches - k) for k in range(branches + 1)}
        return sum(w if 2 * k > branches else w * self.alone(depth) * (2 * k == branches) for k, w in won.items())


def known(n: int, skill: Skill, seed: int = 0) -> tuple[list[Comparison], NDArray[np.int64], Cast]:
    """n comparisons, the better side of each (n,), and speakers of this skill."""
    truth = {i: COLOURS[int(_draw(seed, i, "truth") < 0.5)] for i in range(n)}
    swapped = [_draw(seed, i, "swapped") < 0.5 for i in range(n)]
    comparisons = [
        Comparison(
            id=str(i), prompt=f"Which colour has lamp {i}?", answers=(COLOURS[swapped[i]], COLOURS[not swapped[i]])
        )
        for i in range(n)
    ]  # fmt: skip
    better = np.array([c.answers.index(truth[i]) for i, c in enumerate(comparisons)], np.int64)

    def says(prompt: str, how: Sampling) -> str:
        item, own, part = _item(prompt), OWN.search(prompt), PART.search(prompt)
        if "simpler questions" in prompt:
            above = f"{part[1]}." if part else ""
            return "\n".join(f"- As to check {above}{i} of lamp {item}, which answer is right?" for i in range(1, 11))
        if own is None:  # the judge's thoughts, or a criticism of both answers
            order = len(ORDERS.findall(prompt)) + 1
            if "criticise" not in prompt:
                return f"Draw {how.seed} of my thoughts."
            return (
                FOUND.format(_other(truth[item]))
                if _draw(seed, item, "finds", order) < skill.finds
                else "No flaw that I see."
            )
        if _draw(seed, item, "silent", own[1], prompt) < skill.silent:
            return ""
        criticised = "Proposed answer" in prompt
        attacked = own[1] if criticised else _other(own[1])
        if attacked == truth[item]:
            return CLAIMED.format(attacked) if _draw(seed, item, "fools") < skill.fools else "Trust me."
        return FOUND.format(attacked) if _draw(seed, item, "finds") < skill.finds else "I am right."

    def prefers(prompt: str, options: Sequence[str]) -> Sequence[float]:
        item, found = _item(prompt), SHOWN.search(prompt)
        assert found is not None, prompt
        if _draw(seed, item, "abstains") < skill.abstains:
            return [0.0, 0.0]
        drawn = re.search(r"Draw (\d+) of", prompt)
        sure = 0.5 + _draw(seed, item, "sure") / 2 if skill.confidence is None else skill.confidence
        asked = PART.findall(prompt)  # the last one: what evaluations before it say was asked of others
        part = (asked[-1],) if asked else ()
        right = skill.alone(asked[-1].count(".") + 1 if asked else 0) if skill.confidence is not None else sure
        wrong, true = _other(truth[item]), truth[item]
        held = true if _draw(seed, item, "judge", drawn and drawn[1], *part) < right else wrong
        said = EVALUATED.findall(prompt)
        if said.count("A") != said.count("B"):
            held = found[1] if said.count("A") > said.count("B") else found[2]
        if CLAIMED.format(true) in prompt:
            held = wrong
        if FOUND.format(wrong) in prompt:
            held = true
        p = sure if found[1] == held else 1 - sure
        p = min(max(p + skill.bias, 0.001), 0.999)
        return [p, 1 - p]

    name = f"scripted:{seed}:{digest_of(skill)[:8]}"
    return comparisons, better, Cast(Scripted(says, prefers, name), Scripted(says, prefers, name))


def _draw(*of: object) -> float:
    """Uniform in [0, 1), the same for the same things."""
    return int.from_bytes(hashlib.sha256(repr(of).encode()).digest()[:8], "big") / 2**64


def _item(prompt: str) -> int:
    found = ITEM.search(prompt)
    assert found is not None, prompt
    return int(found[1])


def _other(colour: str) -> str:
    return COLOURS[1 - COLOURS.index(colour)]
