"""What polarity feedback is measured with: a judge, a policy that writes the world's sentences, prompts and truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aar import worlds
from aar.data import ResolvedModel
from aar.data.models import store_vocabulary
from aar.methods.able import zero_shot
from aar.runner.aligning import Aligner, Judge
from aar.runner.bench import Problem
from aar.runner.launcher import Launcher
from aar.runner.plan import Inputs, Planned, Planner
from aar.runner.units import ensure
from aar.sandbox.image import source_digest
from aar.types import AarError, JobKind, JobSpec, ModelRef, Pretrain, Tiny, Unit, canonical_json
from aar.worlds.polarity import Polarity

PROMPT_WORDS = 3
"""Of each sentence the first words are given: no sentiment stands there, but a negator may."""
SPARE = 4
"""Tokens that a policy may write beyond a sentence's length: what uses them is malformed."""
DOCUMENT_SEED = 90_013
END = "endoftext"
POLICY = Tiny(layers=2, width=64, heads=4)


@dataclass
class Ground:
    """The world, who judges its texts, and who writes them. `length`: the most tokens that a policy writes."""

    world: Polarity
    judge: Judge
    policy: Aligner

    @classmethod
    def of(cls, at: Launcher, problem: Problem, judge: str, documents: int, steps: int) -> Ground:
        """The task's own model of this role as the judge, and a policy; both pre-trained, or from the cache.

        Raises:
            AarError: the task's rows have no polarity.
            JobFailed: pre-training failed.
        """
        data, asked = problem.task.data.world, zero_shot(problem.task)
        world = data and worlds.get(data.name, data.params)
        if not isinstance(world, Polarity) or asked is None:
            raise AarError(f"task {problem.task.name}: its rows have no polarity; feedback is measured on `polarity`")
        planned = Planner(problem).pretrain(judge)
        weights = None if planned is None else ensure(at, planned)[0].outputs["weights"]
        told = Judge(problem.models[judge], problem.vocabulary_file(judge), weights, asked)
        return cls(world, told, _policy(at, world, documents, steps))

    @property
    def length(self) -> int:
        """Tokens that the policy may write, what closes a text included."""
        return self.world.length - PROMPT_WORDS + SPARE

    def prompts(self, seed: int, n: int) -> list[str]:
        """The first words of n sentences."""
        texts, _ = self.world.generate(n, seed)
        return [" ".join(text.split()[:PROMPT_WORDS]) for text in texts]


def _policy(at: Launcher, world: Polarity, documents: int, steps: int) -> Aligner:
    """A small language model of the world's sentences: no outcome word is ever read."""
    texts, _ = world.generate(documents, DOCUMENT_SEED)
    return policy(at, [*world.vocabulary(), END], texts, steps, world.length + 2 * SPARE)


def policy(
    at: Launcher, words: Sequence[str], texts: Sequence[str], steps: int, max_length: int, answers: int = 0
) -> Aligner:
    """A small language model of texts over `words`, each closed by `END`; pre-trained, or from the cache.

    The last `answers` words of a text, its end included, count for as much as all that stands before them and more.

    Raises:
        JobFailed: pre-training failed.
    """
    path, digest = store_vocabulary(words, at.settings)
    ref = ModelRef(tiny=POLICY, tokenizer="words", pool="last", max_length=max_length)
    stored = at.store.put("".join(canonical_json({"text": f"{t} {END}"}) + "\n" for t in texts).encode())
    spec = JobSpec(
        kind=JobKind.PRETRAIN, model=ref, pretrain=Pretrain(documents=len(texts), steps=steps, lr=3e-3),
        rows={"documents": len(texts)}, inputs={"vocab.txt": digest, "documents.jsonl": stored},
        outcome_words=answers, source=source_digest(),
    )  # fmt: skip
    inputs = Inputs({digest: str(path), stored: str(at.store.path(stored))}, {})
    weights = ensure(at, Planned(spec, (Unit(seed=0),), inputs))[0].outputs["weights"]
    return Aligner(at, ResolvedModel(ref=ref), (str(path), digest), weights)
