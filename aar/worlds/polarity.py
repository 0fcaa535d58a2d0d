"""Polarity: sentiment words, and negators that flip them.

A sentence has `length` tokens in 1..`max_clauses` clauses. Each clause holds one positive or negative word and,
with probability `negation`, a negator at most `scope` tokens before it, which flips it. The label is the sign of
the sum over clauses; ties are drawn again. A bag-of-words learner cannot see the flip: that is the gap. Outcome
words after a document are drawn by its class, the way a real corpus carries a concept without labelling it. A share
`laymen` of the documents is by authors who overlook negators: over one half, a language model's likeliest outcome is
what most people say and not what is true (Lin et al. 2021, TruthfulQA), while the minority still teaches what negators
do.
"""

from __future__ import annotations

from typing import ClassVar, Self, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from aar.reading.rows import Row, Side, texts_of
from aar.types import TaskKind, Word

SPECIALS = ("[PAD]", "[UNK]")


class Sentences(Word):
    """Sentences with a polarity, and their parameters. Defaults are those of the figures in docs/results.md."""

    length: int = Field(default=24, ge=4, le=512)
    fillers: int = Field(default=120, ge=1, le=10_000)
    polar: int = Field(default=20, ge=1, le=1_000, description="words of each sign")
    negators: int = Field(default=4, ge=1, le=100)
    outcomes: int = Field(default=4, ge=1, le=1_000, description="outcome words of each class")
    max_clauses: int = Field(default=3, ge=1, le=16)
    negation: float = Field(default=0.35, ge=0, le=1)
    scope: int = Field(default=3, ge=1, le=16)
    outcome_noise: float = Field(default=0.0, ge=0, le=0.5, description="chance that an outcome is of the other class")
    laymen: float = Field(default=0.0, ge=0, le=1, description="share of documents by authors who overlook negators")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.length // self.max_clauses <= self.scope:
            raise ValueError(
                f"{self.max_clauses} clauses of {self.scope + 1} tokens or more do not fit in length {self.length}"
            )
        return self

    def vocabulary(self) -> list[str]:
        """Tokens in id order."""
        words = [f"w{i}" for i in range(self.fillers)]
        words += [f"bad{i}" for i in range(self.polar)] + [f"good{i}" for i in range(self.polar)]
        words += [f"not{i}" for i in range(self.negators)]
        words += [f"loss{i}" for i in range(self.outcomes)] + [f"win{i}" for i in range(self.outcomes)]
        return [*SPECIALS, *words]

    def outcome_words(self) -> int:
        """Two outcome words close each document."""
        return 2

    def class_words(self) -> tuple[tuple[str, ...], ...]:
        """Losses follow what is negative or not as asked, wins the rest."""
        return tuple(f"loss{i}" for i in range(self.outcomes)), tuple(f"win{i}" for i in range(self.outcomes))

    def label(self, text: str) -> int:
        """The exact label of one sentence, from its words alone. 0 for a tie, which `generate` never gives."""
        return int(self.total(text) > 0)

    def total(self, text: str) -> int:
        """Sum over a sentence's words of good (1) and bad (-1), each turned round by a negator before it; 0: a tie."""
        words = text.split()
        total = 0
        for i, word in enumerate(words):
            sign = 1 if word.startswith("good") else -1 if word.startswith("bad") else 0
            negated = any(w.startswith("not") for w in words[max(0, i - self.scope) : i])
            total += -sign if negated else sign
        return total

    def well_formed(self, text: str) -> bool:
        """Whether it has a sentence's length and none but a sentence's words: no outcomes, nothing unknown."""
        words, known = text.split(), set(self.vocabulary()[len(SPECIALS) : self._first_outcome])
        return len(words) == self.length and known.issuperset(words)

    @property
    def attributes(self) -> tuple[str, ...]:
        """`negators`: how many flip a word, of a pair in both responses."""
        return ("negators",)

    def attribute(self, name: str, row: Row) -> str:
        """0, 1 or 2+."""
        assert name == "negators", name
        found = sum(word.startswith("not") for text in texts_of(row) for word in text.split())
        return str(found) if found < 2 else "2+"

    @overload
    def perturb(self, row: str, rng: np.random.Generator) -> str: ...

    @overload
    def perturb(self, row: tuple[Side, Side], rng: np.random.Generator) -> tuple[Side, Side]: ...

    def perturb(self, row: Row, rng: np.random.Generator) -> Row:
        """Fillers drawn anew, polar words and negators replaced by others of their class, all in their places."""
        if isinstance(row, str):
            return self._perturbed(row, rng)
        first, second = (Side(side.prompt, self._perturbed(side.answer, rng)) for side in row)
        return first, second

    def _perturbed(self, text: str, rng: np.random.Generator) -> str:
        kinds = {"good": self.polar, "bad": self.polar, "not": self.negators, "w": self.fillers}
        words = []
        for word in text.split():
            kind = word.rstrip("0123456789")
            words.append(f"{kind}{rng.integers(kinds[kind])}" if kind in kinds else word)
        return " ".join(words)

    @property
    def _filler_ids(self) -> tuple[int, int]:
        return len(SPECIALS), self._first_polar

    @property
    def _first_polar(self) -> int:
        return len(SPECIALS) + self.fillers

    @property
    def _first_negator(self) -> int:
        return self._first_polar + 2 * self.polar

    @property
    def _first_outcome(self) -> int:
        return self._first_negator + self.negators

    def _read(
        self, tokens: NDArray[np.int64], labels: NDArray[np.int32], rng: np.random.Generator
    ) -> NDArray[np.int32]:
        """Each sentence's polarity (n,) as the author of its document reads it.

        To a layman a sentence may be a tie; he then guesses, for to tell the truth he would have to heed negators.
        """
        if not self.laymen:
            return labels
        polar = (tokens >= self._first_polar) & (tokens < self._first_negator)
        naive = (polar * np.where(tokens < self._first_polar + self.polar, -1, 1)).sum(1)
        guess = rng.integers(0, 2, len(labels))
        layman = rng.random(len(labels)) < self.laymen
        return np.where(layman, np.where(naive == 0, guess, naive > 0), labels).astype(np.int32)

    def _outcomes(self, labels: NDArray[np.int32], rng: np.random.Generator) -> NDArray[np.int64]:
        """Two outcome words (n, 2) of each class."""
        flip = rng.random((len(labels), 2)) < self.outcome_noise
        side = labels[:, None] ^ flip.astype(np.int32)
        first = self._first_outcome + side * self.outcomes
        return np.asarray(first + rng.integers(0, self.outcomes, (len(labels), 2)))

    def _draw(self, n: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        parts: list[tuple[NDArray[np.int64], NDArray[np.int32]]] = []
        have = 0
        while have < n:
            tokens, totals = self._candidates(max(64, 2 * (n - have)), rng)
            kept = totals != 0
            parts.append((tokens[kept], (totals[kept] > 0).astype(np.int32)))
            have += int(kept.sum())
        return np.concatenate([p[0] for p in parts])[:n], np.concatenate([p[1] for p in parts])[:n]

    def _candidates(self, n: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        tokens = rng.integers(*self._filler_ids, (n, self.length))
        clauses = rng.integers(1, self.max_clauses + 1, n)
        totals = np.zeros(n, dtype=np.int64)
        rows = np.arange(n)
        for c in range(self.max_clauses):
            here = clauses > c
            width = self.length // clauses
            # A word stands at least `scope` tokens into its clause, so that no negator reaches a neighbour's word.
            at = c * width + self.scope + (rng.random(n) * (width - self.scope)).astype(np.int64)
            positive = rng.integers(0, 2, n)
            word = self._first_polar + positive * self.polar + rng.integers(0, self.polar, n)
            negated = rng.random(n) < self.negation
            before = at - rng.integers(1, self.scope + 1, n)
            negator = self._first_negator + rng.integers(0, self.negators, n)
            tokens[rows[here], at[here]] = word[here]
            both = here & negated
            tokens[rows[both], before[both]] = negator[both]
            totals += np.where(here, (2 * positive - 1) * np.where(negated, -1, 1), 0)
        return tokens, totals

    def _texts(self, tokens: NDArray[np.int64]) -> list[str]:
        words = np.array(self.vocabulary())
        return [" ".join(row) for row in words[tokens].tolist()]


class Polarity(Sentences):
    """Which polarity has the sentence?"""

    kind: ClassVar[TaskKind] = "classification"

    @property
    def classes(self) -> tuple[str, ...]:
        """Two classes, by the sign of the sentence."""
        return ("negative", "positive")

    def generate(self, n: int, seed: int) -> tuple[list[str], NDArray[np.int32]]:
        """`n` sentences and their labels; a pure function of (parameters, n, seed)."""
        tokens, labels = self._draw(n, np.random.default_rng([seed, 1]))
        return self._texts(tokens), labels

    def documents(self, n: int, seed: int) -> list[str]:
        """`n` sentences, each followed by two outcome words of the class that its author reads."""
        rng = np.random.default_rng([seed, 2])
        tokens, labels = self._draw(n, rng)
        outcome = self._outcomes(self._read(tokens, labels, rng), rng)
        return self._texts(np.concatenate([tokens, outcome], axis=1))
