"""Polarity preference: a prompt asks for a polarity, of two responses one has it.

A prompt is `prompt` tokens, the last a request word of one polarity. A response is a sentence of the polarity world.
Of each pair's responses one has the polarity that was asked for, the other does not; the side is drawn. Neither prompt
nor response tells alone which is better, and whoever is blind to negation is fooled here as in polarity.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from aar.reading.rows import Row, Side
from aar.types import TaskKind
from aar.worlds.polarity import Sentences


class PolarityPreference(Sentences):
    """Parameters of the language: those of polarity for the responses, and the prompts'."""

    kind: ClassVar[TaskKind] = "preference"

    prompt: int = Field(default=2, ge=1, le=64, description="tokens of a prompt")
    requests: int = Field(default=4, ge=1, le=1_000, description="request words of each polarity")
    unasked: float = Field(default=0.5, ge=0, le=1, description="share of documents whose prompt asks for nothing")

    @property
    def classes(self) -> tuple[str, ...]:
        """Which side is the better one."""
        return ("A", "B")

    def vocabulary(self) -> list[str]:
        """Polarity's tokens, then the request words."""
        asks = [f"blame{i}" for i in range(self.requests)] + [f"praise{i}" for i in range(self.requests)]
        return [*super().vocabulary(), *asks]

    def generate(self, n: int, seed: int) -> tuple[list[tuple[Side, Side]], NDArray[np.int32]]:
        """`n` pairs and which side is better, in half of them A; a pure function of (parameters, n, seed)."""
        rng = np.random.default_rng([seed, 3])
        bad, good = self._both(n, rng)
        asked = rng.integers(0, 2, n)
        labels = (rng.permutation(n) % 2).astype(np.int32)
        prompts = self._texts(self._prompts(asked, rng))
        first = self._texts(np.where((asked ^ labels)[:, None] == 1, good, bad))
        second = self._texts(np.where((asked ^ labels)[:, None] == 1, bad, good))
        return [(Side(p, a), Side(p, b)) for p, a, b in zip(prompts, first, second, strict=True)], labels

    @property
    def attributes(self) -> tuple[str, ...]:
        """Polarity's, and the polarity `asked` for."""
        return (*super().attributes, "asked")

    def attribute(self, name: str, row: Row) -> str:
        """`asked`: blame or praise."""
        if name != "asked":
            return super().attribute(name, row)
        assert not isinstance(row, str) and isinstance(row[0].prompt, str), row
        return row[0].prompt.split()[-1].rstrip("0123456789")

    def documents(self, n: int, seed: int) -> list[str]:
        """`n` prompts with one response each and two outcome words: `win` where its author finds the response as asked.

        A prompt that asks for nothing likes a positive response: without such documents no word goes with an outcome
        by itself, and what a tiny model would have to learn is a bare parity.
        """
        rng = np.random.default_rng([seed, 4])
        tokens, polarity = self._draw(n, rng)
        polarity = self._read(tokens, polarity, rng)
        asked = rng.integers(0, 2, n)
        prompts = self._prompts(asked, rng)
        silent = rng.random(n) < self.unasked
        prompts[silent, -1] = rng.integers(*self._filler_ids, int(silent.sum()))
        outcome = self._outcomes((polarity == np.where(silent, 1, asked)).astype(np.int32), rng)
        return self._texts(np.concatenate([prompts, tokens, outcome], axis=1))

    def better(self, row: tuple[Side, Side]) -> int:
        """The exact label of one pair, from its words alone."""
        prompt = row[0].prompt
        assert isinstance(prompt, str) and prompt == row[1].prompt, row
        asked = int(prompt.split()[-1].startswith("praise"))
        follows = [self.label(side.answer) == asked for side in row]
        assert sum(follows) == 1, row
        return follows.index(True)

    def _both(self, n: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`n` negative and `n` positive sentences as ids (n, length)."""
        tokens, labels = self._draw(2 * n + 64, rng)
        while min(labels.sum(), (1 - labels).sum()) < n:
            more, their = self._draw(n, rng)
            tokens, labels = np.concatenate([tokens, more]), np.concatenate([labels, their])
        return tokens[labels == 0][:n], tokens[labels == 1][:n]

    def _prompts(self, asked: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        fillers = rng.integers(*self._filler_ids, (len(asked), self.prompt - 1))
        first = len(super().vocabulary()) + asked * self.requests
        return np.concatenate([fillers, (first + rng.integers(0, self.requests, len(asked)))[:, None]], axis=1)
