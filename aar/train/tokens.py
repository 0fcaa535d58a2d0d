"""Texts to token ids, once per split, and batches of similar length."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from aar.types import ModelRef

WORD = re.compile(r"\w+|[^\w\s]")


class Tokens(NamedTuple):
    """Ragged token ids: row i is `flat[start[i]:start[i+1]]`; `pad` fills a batch's short rows."""

    flat: NDArray[np.int64]
    start: NDArray[np.int64]
    pad: int

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row (n,)."""
        return np.diff(self.start)

    def take(self, rows: NDArray[np.int64]) -> Tokens:
        """Only these rows, in this order."""
        pieces = [self.flat[self.start[r] : self.start[r + 1]] for r in rows]
        start = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
        return Tokens(np.concatenate(pieces), start, self.pad)

    def batch(self, rows: NDArray[np.int64], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids (b, longest) and mask (b, longest) of `rows`, padded on the right."""
        lengths = self.lengths[rows]
        width = int(lengths.max())
        mask = np.arange(width)[None, :] < lengths[:, None]
        ids = np.full((len(rows), width), self.pad, dtype=np.int64)
        ids[mask] = self.flat[np.concatenate([np.arange(self.start[r], self.start[r + 1]) for r in rows])]
        return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


def read_texts(path: Path) -> list[str]:
    """The `text` of each JSON line."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


class Tokenizer:
    """A model's tokenizer: a Hugging Face folder, or a plain list of words."""

    def __init__(self, ref: ModelRef, inputs: Path) -> None:
        self.max_length, self.truncate = ref.max_length, ref.truncate
        self.words: dict[str, int] | None = None
        self.hf: Any = None
        if ref.tokenizer == "words":
            vocabulary = (inputs / "vocab.txt").read_text(encoding="utf-8").splitlines()
            self.words = {word: i for i, word in enumerate(vocabulary)}
            self.size = len(vocabulary)
        else:
            from transformers import AutoTokenizer

            folder = inputs / ("model" if ref.tokenizer == "own" else "tokenizer")
            self.hf = AutoTokenizer.from_pretrained(folder, local_files_only=True, truncation_side=ref.truncate)
            self.size = len(self.hf)

    def __call__(
        self, texts: list[str], room: int | None = None, keep: Literal["start", "end"] | None = None
    ) -> Tokens:
        """Tokenise all texts in one batch; an empty text becomes one unknown token.

        Rows of more than `room` tokens (default `max_length`) keep their first or their last ones: `keep`, or what the
        model's `truncate` leaves. Special tokens stay.
        """
        room = room or self.max_length
        end = keep == "end" if keep is not None else self.truncate == "left"
        if self.words is not None:
            unknown = self.words.get("[UNK]", 1)
            kept = slice(-room, None) if end else slice(room)
            ids = [[self.words.get(w, unknown) for w in WORD.findall(t.lower())][kept] for t in texts]
            pad = self.words.get("[PAD]", 0)
        else:
            self.hf.truncation_side = "left" if end else "right"
            ids = self.hf(texts, truncation=True, max_length=room, padding=False)["input_ids"]
            unknown = next(i for i in (self.hf.unk_token_id, self.hf.eos_token_id, 0) if i is not None)
            pad = next(i for i in (self.hf.pad_token_id, self.hf.eos_token_id, 0) if i is not None)
        ids = [row or [unknown] for row in ids]
        start = np.cumsum([0, *map(len, ids)], dtype=np.int64)
        flat = np.fromiter((i for row in ids for i in row), dtype=np.int64, count=int(start[-1]))
        return Tokens(flat, start, pad)

    def continuation(self, text: str) -> list[int]:
        """Ids of a text that goes on where another ended: nothing is added, nothing cut.

        Raises:
            ValueError: it has no token.
        """
        if self.words is not None:
            ids = [self.words.get(w, self.words.get("[UNK]", 1)) for w in WORD.findall(text.lower())]
        else:
            ids = self.hf(text, add_special_tokens=False)["input_ids"]
        if not ids:
            raise ValueError(f"{text!r} has no token")
        return ids


def epoch_batches(lengths: NDArray[np.int64], size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """One epoch: rows of similar length together, equal lengths in random order, batches in random order."""
    order = np.lexsort((rng.random(len(lengths)), lengths))
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    for b in rng.permutation(len(batches)):
        yield batches[b]


def prediction_batches(lengths: NDArray[np.int64], tokens_per_batch: int = 16_384) -> Iterator[NDArray[np.int64]]:
    """All rows once, longest first, as many a batch as `tokens_per_batch` padded tokens allow."""
    order = np.argsort(-lengths, kind="stable")
    i = 0
    while i < len(order):
        size = max(1, tokens_per_batch // int(lengths[order[i]]))
        yield order[i : i + size]
        i += size
