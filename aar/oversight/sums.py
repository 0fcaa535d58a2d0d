"""Sums of several digits: questions that a small model answers only in parts, with truth that anybody can work out.

A model that has read sums of two numbers cannot add four digits. Taken apart, it can: that is what amplification is
measured on, and what it is distilled from (Christiano, Shlegeris and Amodei 2018).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from aar.oversight import prompts
from aar.oversight.speaker import Choices, Reply, Sampling, Speaker, Usage

DIGITS = 10
ASKED = re.compile(r"Question:\n> ([\d +]+=)")
NOTED = re.compile(r"> [\d +]+= (\d+)$", re.M)


def most(terms: int) -> int:
    """The largest sum of so many digits."""
    return (DIGITS - 1) * terms


def vocabulary(terms: int, end: str) -> list[str]:
    """Tokens in id order, for sums of so many digits; `end` closes a text."""
    return ["[PAD]", "[UNK]", *map(str, range(most(terms) + 1)), "+", "=", end]


def question(numbers: Sequence[int]) -> str:
    """Numbers as a question."""
    return " + ".join(map(str, numbers)) + " ="


def truth(asked: str) -> str:
    """The right answer."""
    return str(sum(map(int, re.findall(r"\d+", asked))))


def questions(terms: int, n: int, seed: int) -> list[str]:
    """n different questions of so many digits each, in random order.

    Raises:
        ValueError: there are not so many.
    """
    if n > DIGITS**terms:
        raise ValueError(f"{n} questions: there are only {DIGITS**terms} sums of {terms} digits")
    drawn = np.random.default_rng([seed, terms]).choice(DIGITS**terms, n, replace=False)
    return [question([int(i) // DIGITS**j % DIGITS for j in range(terms)]) for i in drawn]


def documents(terms: int, n: int, seed: int) -> list[str]:
    """n sums of two numbers with their answers, none larger than a half of `terms` digits comes to."""
    pairs = np.random.default_rng([seed, terms, 1]).integers(0, most(terms) // 2 + 1, (n, 2))
    return [f"{(asked := question([int(a), int(b)]))} {truth(asked)}" for a, b in pairs]


@dataclass
class Adding:
    """A model of sums as `aar.oversight.answers` asks: in the person's place a rule takes questions apart, in halves.

    It answers each part, and the sum of the parts' answers, in its own words: `3 + 5 =`. What cannot be halved, or has
    parts without a number for an answer, is answered as it stands.
    """

    speaker: Speaker
    name: str = ""
    usage: Usage = field(default_factory=Usage)

    def __post_init__(self) -> None:
        """What is said is the model's."""
        self.name, self.usage = f"halving {self.speaker.name}", self.speaker.usage

    def generate(self, asked: Sequence[str], how: Sampling) -> list[Reply]:
        """See `Speaker`."""
        rows = [i for i, prompt in enumerate(asked) if not _decomposes(prompt)]
        said = iter(self.speaker.generate([_plain(asked[i]) for i in rows], how) if rows else [])
        return [Reply(_halves(p)) if _decomposes(p) else next(said) for p in asked]

    def choose(self, asked: Sequence[str], options: Sequence[Sequence[str]]) -> Choices:
        """See `Speaker`."""
        return self.speaker.choose([_plain(prompt) for prompt in asked], options)


def _decomposes(prompt: str) -> bool:
    return "simpler questions" in prompt


def _sum(prompt: str) -> str:
    found = ASKED.search(prompt)
    assert found is not None, prompt
    return found[1]


def _halves(prompt: str) -> str:
    numbers = [int(x) for x in re.findall(r"\d+", _sum(prompt))]
    half = len(numbers) // 2
    return f"- {question(numbers[:half])}\n- {question(numbers[half:])}" if half > 1 else prompts.NOTHING


def _plain(prompt: str) -> str:
    """The question in the model's words: of its parts' answers where it has them all."""
    parts = prompt.count(f"{prompts.NOTES}:\n")
    noted = [int(x) for x in NOTED.findall(prompt)]
    return question(noted) if parts and len(noted) == parts else _sum(prompt)
