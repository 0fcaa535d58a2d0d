"""A local model as a Speaker: each batch of prompts is one job in the sandbox, cached and charged like any other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from aar.data import ResolvedModel, resolve_model
from aar.data.models import context_of
from aar.ledger import UnitRow
from aar.methods.able import capped, mute
from aar.oversight.speaker import Choices, Floats, Reply, Usage, options_each, preferences, reply_of
from aar.reading.spoken import spoken_of
from aar.runner.bench import Bench
from aar.runner.launcher import Launcher
from aar.runner.plan import Inputs, Planned, model_inputs
from aar.runner.units import JobFailed, ensure
from aar.sandbox.image import source_digest
from aar.types import AarError, JobKind, JobSpec, ModelSpec, Sampling, Speak, Unit, digest_of

CONTEXT = 2048
"""Tokens that a model from a folder reads where nothing else is said and its own context is not smaller."""


@dataclass
class Local:
    """A causal language model in the sandbox.

    An option's score is the log-probability of all its tokens after the prompt; it is not asked to end there. `length`
    `sum` prefers by that, which is right for labels; `mean` by the mean of its tokens, for texts of unequal length.
    `mass` is the options' summed probability, at most 1, under either rule. Without a chat template an option follows
    the prompt after one blank (after a line's end: after none), and blanks at the prompt's end are dropped.

    With `chat` a prompt is a user's turn in the model's chat template; None: where it has one. A reply takes at most
    half of the context. A prompt that does not fit loses its beginning and is counted in `usage.trimmed`.

    Draws depend on seed and prompt, not on the rest of the batch; padding may still change the last bits of a sum.
    `trial` is the one of a search that the job is charged to. `start` (a digest): what an align job made
    of the model.
    """

    at: Launcher
    model: ResolvedModel
    label: str
    weights: str | None = None
    vocabulary: tuple[str, str] | None = None
    length: Literal["sum", "mean"] = "sum"
    chat: bool | None = None
    usage: Usage = field(default_factory=Usage)
    trial: int | None = None
    start: str | None = None

    def __post_init__(self) -> None:
        """Settle whether the model is talked to through its template, and what it is called."""
        self.chat = has_template(self.model) if self.chat is None else self.chat
        told = [self.model.ref, self.weights, self.vocabulary and self.vocabulary[1], self.chat, self.length]
        told += [] if self.start is None else [self.start]
        self.name = f"{self.label} {'chat' if self.chat else 'text'} {self.length} {digest_of(told)[:12]}"

    @classmethod
    def of_task(
        cls, bench: Bench, role: str, weights: str | None, length: Literal["sum", "mean"] = "sum",
        trial: int | None = None,
    ) -> Local:  # fmt: skip
        """A task's model before it is trained for the task; `weights` (a digest) are a tiny one's pre-training."""
        problem = bench.problem
        return cls(bench, problem.models[role], role, weights, problem.vocabulary_file(role), length, trial=trial)

    @classmethod
    def found(
        cls, at: Launcher, model: str, *, max_length: int | None = None, revision: str | None = None,
        length: Literal["sum", "mean"] = "sum", chat: bool | None = None,
    ) -> Local:  # fmt: skip
        """A Hugging Face folder, or a model of the hub by its name.

        Raises:
            AarError: it is not there, has no tokenizer or safetensors, or no language-model head.
        """
        place = {"path": model} if Path(model).is_dir() else {"hub": model}
        spec = ModelSpec(**place, revision=revision, max_length=max_length or 2)
        resolved = resolve_model(spec, spec, at.settings, "speaker")
        if why := mute(resolved.config()) or capped(resolved.config()):
            raise AarError(f"speaker: {model} {why}")
        if max_length is None:
            context = min(CONTEXT, context_of(_folder(resolved) / "config.json", "speaker") or CONTEXT)
            ref = resolved.ref.model_copy(update={"max_length": context})
            resolved = resolved.model_copy(update={"ref": ref})
        return cls(at, resolved, Path(model).name, length=length, chat=chat)

    def generate(self, prompts: Sequence[str], how: Sampling) -> list[Reply]:
        """See `Speaker`.

        Raises:
            AarError: the job failed; in a search JobFailed.
            Stopped: the run was told to stop.
        """
        if not prompts:
            return []
        asked = list(dict.fromkeys(prompts))
        unit = self._asked([{"prompt": prompt} for prompt in asked], Speak(sampling=how, chat=bool(self.chat)))
        lines = self.at.store.path(unit.outputs["replies"]).read_text(encoding="ascii").splitlines()
        said = {p: spoken_of(json.loads(line), how.max_tokens) for p, line in zip(asked, lines, strict=True)}
        self._count(len(asked), sum(s.read for s in said.values()), sum(s.wrote for s in said.values()))
        self.usage.trimmed += sum(s.trimmed > 0 for s in said.values())
        return [reply_of(said[p].text, p, said[p].cut) for p in prompts]

    def choose(self, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> Choices:
        """See `Speaker`.

        Raises:
            AarError: the job failed (in a search JobFailed), or an option does not fit into the model's context.
            Stopped: the run was told to stop.
        """
        k = options_each(prompts, options)
        if not prompts:
            return preferences(np.zeros((0, k)))
        rows = [(prompt, tuple(own)) for prompt, own in zip(prompts, options, strict=True)]
        asked = list(dict.fromkeys(rows))
        lines = [{"prompt": prompt, "options": list(own)} for prompt, own in asked]
        unit = self._asked(lines, Speak(options=k, chat=bool(self.chat)))
        logp, tokens = (self.at.store.array(unit.outputs[name], k).astype(np.float64) for name in ("logp", "tokens"))
        read = self.at.store.array(unit.outputs["read"], 2)
        if np.isnan(logp).any() or (logp > 1e-3).any():
            raise AarError(f"{self.name}: the model gave log-probabilities that are none; are its weights whole?")
        self._count(len(asked), int(read[:, 0].sum() + tokens.sum()), 0)
        self.usage.trimmed += int((read[:, 1] > 0).sum())
        place = {row: i for i, row in enumerate(asked)}
        of = [place[row] for row in rows]
        return scored(logp[of], tokens[of], self.length)

    def _asked(self, lines: Sequence[Mapping[str, object]], speak: Speak) -> UnitRow:
        inputs = Inputs({}, {})
        names = model_inputs(self.model, self.vocabulary, inputs)
        content = "".join(json.dumps(line) + "\n" for line in lines).encode()
        stored = {"prompts.jsonl": self.at.store.put(content)} | ({"weights": self.weights} if self.weights else {})
        stored |= {"start": self.start} if self.start else {}
        inputs.files.update({digest: str(self.at.store.path(digest)) for digest in stored.values()})
        spec = JobSpec(
            kind=JobKind.SPEAK, model=self.model.ref, inputs=names | stored, rows={"prompts": len(lines)}, speak=speak,
            source=source_digest(),
        )  # fmt: skip
        try:
            return ensure(self.at, Planned(spec, (Unit(seed=0),), inputs), self.trial)[0]
        except JobFailed as error:
            if isinstance(self.at, Bench):  # in a search it is the trial's failure, as any other job's
                raise
            raise AarError(f"{self.name}: {error.told()}") from error

    def _count(self, calls: int, read: int, wrote: int) -> None:
        self.usage.calls += calls
        self.usage.tokens_in += read
        self.usage.tokens_out += wrote


def scored(logp: Floats, tokens: Floats, length: Literal["sum", "mean"]) -> Choices:
    """Preferences from the log-probabilities (n, k) of options and how many tokens each has."""
    mass = np.minimum(np.exp(np.logaddexp.reduce(logp, axis=1)), 1.0)
    score = logp / tokens if length == "mean" else logp
    normal = score - np.logaddexp.reduce(score, axis=1, keepdims=True)
    return Choices(normal, mass, np.zeros_like(logp))


def has_template(model: ResolvedModel) -> bool:
    """Whether a model's folder comes with a chat template."""
    if model.ref.tokenizer != "own":
        return False
    return any(_templates(_folder(model)))


def _templates(folder: Path) -> Iterator[bool]:
    yield from (True for _ in folder.glob("chat_template*.jinja"))
    for config in folder.glob("tokenizer_config.json"):
        yield bool(json.loads(config.read_bytes()).get("chat_template"))


def _folder(model: ResolvedModel) -> Path:
    assert model.folder is not None, "a model with a tokenizer of its own has a folder"
    return model.folder
