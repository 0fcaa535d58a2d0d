"""A job that asks a causal language model: what it replies to prompts, and which of several options would follow."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from aar.reading.scribe import NO_END, Scribe
from aar.reading.spoken import Spoken, line_of_spoken, longest
from aar.train.feedback.policy import restore
from aar.train.generation import TOKENS_PER_BATCH, Writer, causal_model, parted
from aar.train.job import Job
from aar.train.tokens import prediction_batches, ragged, scribe_of
from aar.types import Sampling, Unit

MARK = "\ue000aar\ue000"
"""Stands for a prompt where a chat template is cut open."""


class Asked(NamedTuple):
    """A prompt's ids as the model reads it, and how many of its tokens are left out at its beginning."""

    ids: list[int]
    trimmed: int


class SpeakingJob(Job):
    """`in/prompts.jsonl` holds `{"prompt": text}` and, to choose, `"options": [texts]` a line.

    `in/start`: weights that an align job left of the model.
    """

    def __init__(self, folder: Path, progress: TextIO) -> None:
        super().__init__(folder, progress)
        self.scribe = scribe_of(self.spec.model, self.inputs)
        half = self.device.type == "cuda" and self.spec.model.tiny is None
        dtype = torch.bfloat16 if half else torch.float32
        lm = causal_model(self.spec.model, self.inputs, self.scribe.size, dtype)
        if (self.inputs / "start").exists():
            restore(lm, load_file(self.inputs / "start"))
        self.lm = lm.to(self.device).eval()

    def run(self) -> None:
        """Every unit asks the same prompts: there is one."""
        with (self.inputs / "prompts.jsonl").open(encoding="ascii") as lines:
            rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
        speak = self.spec.speak
        if speak is None:
            raise ValueError("a speak job needs speak")
        for unit in self.file.units:
            if speak.sampling is not None:
                self._reply(unit, [row["prompt"] for row in rows], speak.sampling, speak.chat)
            else:
                self._choose(unit, [row["prompt"] for row in rows], [row["options"] for row in rows], speak.chat)

    def _reply(self, unit: Unit, prompts: Sequence[str], how: Sampling, chat: bool) -> None:
        room = self.spec.model.max_length
        most = min(how.max_tokens, max(1, room // 2))
        asked = [asked_as(self.scribe, prompt, room - most, chat) for prompt in prompts]
        seeds = [seed_of(how.seed, prompt) for prompt in prompts]
        said = replies(self.lm, self.scribe, [one.ids for one in asked], seeds, how, most)
        lines = []
        for one, ids in zip(asked, said, strict=True):
            text, ended = self.scribe.decoded(ids), self.scribe.end in ids
            stops = [text.index(stop) for stop in how.stop if stop in text]
            kept = text[: min(stops, default=len(text))][: longest(how.max_tokens)]
            cut = not ended and not stops
            wrote = ids.index(self.scribe.end) + 1 if ended else len(ids) - filled(ids, self.scribe.pad)
            lines.append(line_of_spoken(Spoken(kept, cut, len(one.ids), wrote, one.trimmed)))
        self._write(f"u{unit.seed}.replies", "".join(lines).encode())

    def _choose(self, unit: Unit, prompts: Sequence[str], options: Sequence[Sequence[str]], chat: bool) -> None:
        room, texts, counts, read = self.spec.model.max_length, [], [], []
        for prompt, row in zip(prompts, options, strict=True):
            before, told = (prompt, [o.strip() for o in row]) if chat else continued(prompt, row)
            ids = self.scribe.ids(told)
            most = max(map(len, ids))
            if most >= room or not min(map(len, ids)):
                raise ValueError(f"an option of {most} tokens (or of none) in a context of {room}: raise max_length")
            asked = asked_as(self.scribe, before, room - most, chat)
            texts += [[*asked.ids, *(~i for i in one)] for one in ids]
            counts.append([len(one) for one in ids])
            read.append([len(asked.ids), asked.trimmed])
        logp = scores(Writer(*parted(self.lm), 1), texts, self.scribe.pad)
        for name, values in (("logp", logp), ("tokens", np.array(counts)), ("read", np.array(read))):
            self._write(f"u{unit.seed}.{name}", values.astype("<f4").tobytes())


def asked_as(scribe: Scribe, prompt: str, room: int, chat: bool) -> Asked:
    """A prompt as at most `room` tokens: it loses its own beginning, never what a chat template puts around it."""
    if not chat:
        ids = scribe.ids([prompt])[0] or [scribe.unknown]
        kept = ids[-max(1, room - len(scribe.before)) :]
        return Asked([*scribe.before, *kept], len(ids) - len(kept))
    whole = scribe.ids([templated(scribe, prompt)])[0]
    if len(whole) <= room:
        return Asked(whole, 0)
    parts = templated(scribe, MARK).split(MARK)
    (head, tail), ids = scribe.ids([parts[0], parts[-1]]), scribe.ids([prompt.strip()])[0]
    kept = ids[-max(1, room - len(head) - len(tail)) :]
    return Asked([*head, *kept, *tail], len(ids) - len(kept))


def templated(scribe: Scribe, prompt: str) -> str:
    """A prompt as a user's turn, up to where the assistant begins."""
    turns = [{"role": "user", "content": prompt}]
    return str(scribe.hf.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def continued(prompt: str, options: Sequence[str]) -> tuple[str, list[str]]:
    """A prompt without blanks at its end, options with one before them (none where the prompt ends a line)."""
    before = prompt.rstrip(" ")
    blank = "" if before.endswith("\n") or not before else " "
    return before, [blank + option.strip() for option in options]


@torch.inference_mode()
def scores(writer: Writer, texts: Sequence[Sequence[int]], pad: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Log-probability (n,) of the ids below zero (~id) of each text, given what stands before them."""
    tokens, device = ragged(texts, pad), writer.head.weight.device
    out = np.empty(len(texts), np.float64)
    for rows in prediction_batches(tokens.lengths, TOKENS_PER_BATCH):
        out[rows] = writer.said(*tokens.batch(rows, device))[0].double().cpu().numpy()
    return out


@torch.inference_mode()
def replies(
    lm: Any, scribe: Scribe, prompts: Sequence[list[int]], seeds: Sequence[int], how: Sampling, most: int
) -> list[list[int]]:
    """At most `most` ids after each prompt, drawn token by token; what follows an end of text is no reply."""
    out: list[list[int]] = [[]] * len(prompts)
    config = GenerationConfig(
        max_new_tokens=most, do_sample=False, num_beams=1, use_cache=True, pad_token_id=scribe.pad,
        eos_token_id=None if scribe.end == NO_END else scribe.end,
    )  # fmt: skip
    for rows in prediction_batches(np.array([len(p) for p in prompts]) + most, TOKENS_PER_BATCH):
        width = max(len(prompts[r]) for r in rows)
        ids = torch.tensor([[scribe.pad] * (width - len(prompts[r])) + prompts[r] for r in rows])
        mask = torch.tensor([[0] * (width - len(prompts[r])) + [1] * len(prompts[r]) for r in rows])
        said = lm.generate(
            input_ids=ids.to(lm.device), attention_mask=mask.to(lm.device), generation_config=config,
            logits_processor=LogitsProcessorList([Drawing(how, [seeds[r] for r in rows], scribe.never)]),
            stopping_criteria=StoppingCriteriaList([Stopping(how.stop, scribe, width)]),
        )  # fmt: skip
        for r, own in zip(rows, said[:, width:].tolist(), strict=True):
            out[r] = own
    return out


def filled(ids: Sequence[int], pad: int) -> int:
    """How many pads stand at the end: a row that is done waits for the others of its batch."""
    return next((n for n, one in enumerate(reversed(ids)) if one != pad), len(ids))


def seed_of(seed: int, prompt: str) -> int:
    """A row's own randomness: it depends on nothing else in its batch."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{prompt}".encode()).digest()[:7])


class Drawing(LogitsProcessor):  # type: ignore[misc]
    """Scores whose largest is a draw: log-probabilities at a temperature, within `top_p`, plus Gumbel noise.

    Each row draws from a generator of its own.
    """

    def __init__(self, how: Sampling, seeds: Sequence[int], never: Sequence[int]) -> None:
        self.how, self.never = how, list(never)
        self.rows = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """(b, V) scores of the next token."""
        scores = scores.float()
        scores[:, self.never] = -math.inf
        if self.how.temperature == 0:
            return scores
        log_p = (scores / self.how.temperature).log_softmax(-1)
        ordered, index = log_p.sort(-1, descending=True)
        beyond = ordered.exp().cumsum(-1) - ordered.exp() >= self.how.top_p
        log_p = log_p.masked_fill(beyond.scatter(-1, index, beyond), -math.inf)
        noise = torch.stack([-torch.empty(log_p.shape[1]).exponential_(generator=row).log() for row in self.rows])
        drawn: Tensor = log_p + noise.to(log_p.device)
        return drawn


class Stopping(StoppingCriteria):  # type: ignore[misc]
    """A row is done when what it said holds one of the texts that end a reply."""

    def __init__(self, stop: Sequence[str], scribe: Scribe, width: int) -> None:
        self.stop, self.scribe, self.width = stop, scribe, width

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        """(b,): done?"""
        if not self.stop:
            return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        said = [self.scribe.decoded(row) for row in input_ids[:, self.width :].tolist()]
        done = [any(stop in text for stop in self.stop) for text in said]
        return torch.tensor(done, dtype=torch.bool, device=input_ids.device)
