"""Job specs out of a task: which inputs a job gets. Pure but for reading digests; rule 1 is kept here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aar.data import ResolvedModel, rows_of, text_parts, weak_draw
from aar.methods import fill
from aar.methods.able import NO_ZERO_SHOT, zero_shot
from aar.reading.answers import answer_lines
from aar.reading.rows import Row, line_of, texts_of
from aar.runner.bench import STRONG, WEAK, Problem, chain_role
from aar.runner.needs import MEMBER_STRIDE, Supervisors, needs, unshown
from aar.sandbox.image import source_digest
from aar.types import AarError, JobKind, JobSpec, Recipe, Unit


class Inputs(NamedTuple):
    """Where the content behind digests lies: `files` host paths by digest, `released` label bytes by digest."""

    files: dict[str, str]
    released: dict[str, bytes]


class Planned(NamedTuple):
    """A job spec, its units, and where their inputs are."""

    spec: JobSpec
    units: tuple[Unit, ...]
    inputs: Inputs


def model_inputs(model: ResolvedModel, vocabulary: tuple[str, str] | None, inputs: Inputs) -> dict[str, str]:
    """A model's files by their names in a job; `vocabulary`: path and digest of its `vocab.txt`, where it has one."""
    names, digest = {}, model.ref.digest
    for name, folder in (("model", model.folder), ("tokenizer", model.tokenizer_folder)):
        if folder is not None and digest:
            names[name] = digest
            inputs.files[digest] = str(folder)
    if vocabulary is not None:
        names["vocab.txt"] = vocabulary[1]
        inputs.files[vocabulary[1]] = vocabulary[0]
    return names


class Planner:
    """Specs and units for one problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._rows: list[Row] | None = None
        self._parts: dict[int, NDArray[np.int64]] = {}

    def pretrain(self, role: str) -> Planned | None:
        """The job that pre-trains a tiny model, or None where there is nothing to pre-train. Always seed 0."""
        plan = self.problem.spec_of(role).pretrain
        if plan is None or role not in self.problem.models:
            return None
        inputs = Inputs({}, {})
        names = self._model_inputs(role, inputs) | {
            "documents.jsonl": self._stored(self.problem.documents(role), inputs)
        }
        ref = self.problem.models[role].ref.model_copy(update={"weights": False})
        spec = JobSpec(
            kind=JobKind.PRETRAIN, task=self.problem.task.kind, classes=self.problem.classes, model=ref,
            pretrain=plan, inputs=names,
            rows={"documents": plan.documents}, outcome_words=self.problem.outcome_words, source=source_digest(),
        )  # fmt: skip
        return Planned(spec, (Unit(seed=0),), inputs)

    def weak(self, seeds: list[int], sealed: bool, weights: str | None) -> Planned:
        """Weak models: each seed with its own draw of the weak pool; labels of that draw only."""
        return self._weak(seeds, ["transfer", *self._scored(sealed)], weights)

    def _weak(self, seeds: list[int], splits: list[str], weights: str | None) -> Planned:
        inputs = Inputs({}, {})
        names = self._model_inputs(WEAK, inputs, weights)
        spec = self._predicting(JobKind.WEAK, WEAK, names, splits, inputs)
        spec = spec.model_copy(update={"training": self.problem.task.training.weak})
        return Planned(spec, tuple(self._weak_unit(seed, inputs) for seed in seeds), inputs)

    def specialists(self, seeds: list[int], parts: int, weights: str | None) -> Planned:
        """Weak models of one part of the weak pool each: members 1..`parts` of these seeds. They label, no more."""
        planned = self._weak([], ["transfer"], weights)
        units = [
            self._weak_unit(seed + MEMBER_STRIDE * (j + 1), planned.inputs, self._part(parts) == j)
            for seed in seeds for j in range(parts)
        ]  # fmt: skip
        return planned._replace(units=tuple(units))

    def relabelled(self, seeds: list[int], recipe: Recipe, weights: str | None) -> Planned:
        """Weak models of these seeds that label as a recipe's supervision says. They label, no more."""
        planned = self._weak(seeds, ["transfer"], weights)
        recipe = fill(Recipe(supervision=recipe.supervision), self.problem.task.training.weak)
        return planned._replace(spec=planned.spec.model_copy(update={"recipe": recipe}))

    def link(self, link: int, seeds: list[int], folds: int, weights: str | None, labels: dict[int, str]) -> Planned:
        """The chain's model `link`, taught by `labels[seed]` (a digest of logits on the transfer rows).

        It labels the transfer rows and is scored on nothing, so that neither dev nor test is mounted. No trial's
        recipe enters: all share it.
        """
        training = self.problem.task.training.chain or self.problem.task.training.strong
        role, inputs = chain_role(link), Inputs({}, {})
        names = self._model_inputs(role, inputs, weights)
        spec = self._predicting(JobKind.TRANSFER, role, names, ["transfer"], inputs)
        spec = spec.model_copy(update={"training": training, "recipe": fill(Recipe(), training), "folds": folds})
        units = [Unit(seed=s, inputs={"weak0": self._stored(labels[s], inputs)}) for s in seeds]
        return Planned(spec, tuple(units), inputs)

    def ceiling(self, seeds: list[int], sealed: bool, weights: str | None, recipe: Recipe | None = None) -> Planned:
        """Ceilings: the strong model on transfer truth, with a recipe's student and schedule where given.

        A written student is left out: code of a hypothesis never runs where truth is.
        """
        base = self.problem.task.training.strong
        recipe = recipe or Recipe()
        student = Recipe().student if recipe.student.code else recipe.student
        matched = fill(Recipe(student=student, schedule=recipe.schedule), base)
        inputs = Inputs({}, {})
        names = self._model_inputs(STRONG, inputs, weights)
        names["transfer.jsonl"] = self._text("transfer", inputs)
        names["transfer.labels"] = released(self._truth(JobKind.CEILING, "transfer"), inputs)
        spec = self._predicting(JobKind.CEILING, STRONG, names, self._scored(sealed), inputs)
        spec = spec.model_copy(update={"training": base, "recipe": matched})
        return Planned(spec, tuple(Unit(seed=s) for s in seeds), inputs)

    def features(self, weights: str | None) -> Planned:
        """The strong model's pooled features on the transfer texts, before it is trained. Always seed 0."""
        inputs = Inputs({}, {})
        names = self._model_inputs(STRONG, inputs, weights)
        names["transfer.jsonl"] = self._text("transfer", inputs)
        model = self.problem.models[STRONG]
        spec = JobSpec(
            kind=JobKind.FEATURES, task=self.problem.task.kind, classes=self.problem.classes, model=model.ref,
            inputs=names, width=model.width, rows={"transfer": self.problem.prepared.counts["transfer"]},
            source=source_digest(),
        )  # fmt: skip
        return Planned(spec, (Unit(seed=0),), inputs)

    def zero_shot(self, sealed: bool, weights: str | None) -> Planned:
        """The strong model's own answers before any supervision. Always seed 0.

        Raises:
            AarError: the task has no way to get them.
        """
        asked = zero_shot(self.problem.task)
        if asked is None:
            raise AarError(f"task {self.problem.task.name}: {NO_ZERO_SHOT}")
        inputs = Inputs({}, {})
        names = self._model_inputs(STRONG, inputs, weights)
        spec = self._predicting(JobKind.ZERO_SHOT, STRONG, names, ["transfer", *_decided(sealed)], inputs)
        return Planned(spec.model_copy(update={"zero_shot": asked}), (Unit(seed=0),), inputs)

    def transfer(
        self, seeds: list[int], recipe: Recipe, sealed: bool, weights: str | None, weak: dict[int, dict[str, str]],
        known: Mapping[str, str] | None = None,
    ) -> Planned:  # fmt: skip
        """A recipe's students. `weak[seed]` holds digests `transfer` and `prior` of each weak seed it needs, and
        `calibration` where its targets need that; `known` what else they need, by name.
        """
        filled = unshown(fill(recipe, self.problem.task.training.strong))
        count = Supervisors.of(filled).members
        inputs = Inputs({}, {})
        names = self._model_inputs(STRONG, inputs, weights)
        names["transfer.jsonl"] = self._text("transfer", inputs)
        names |= {name: self._stored(digest, inputs) for name, digest in (known or {}).items()}
        units = []
        for seed in seeds:
            own: dict[str, str] = {}
            for j in range(count):
                source = weak[seed + MEMBER_STRIDE * j]
                own[f"weak{j}"] = self._stored(source["transfer"], inputs)
                if j == 0 and "prior" in source:
                    own["prior"] = self._stored(source["prior"], inputs)
                if j == 0 and "calibration" in needs(filled):
                    own["calibration"] = self._stored(source["calibration"], inputs)
            units.append(Unit(seed=seed, inputs=own))
        spec = self._predicting(JobKind.TRANSFER, STRONG, names, self._scored(sealed), inputs)
        rows = spec.rows | {"transfer": self.problem.prepared.counts["transfer"]}
        spec = spec.model_copy(
            update={"training": self.problem.task.training.strong, "recipe": filled, "members": count, "rows": rows}
        )
        return Planned(spec, tuple(units), inputs)

    def _predicting(
        self, kind: JobKind, role: str, names: dict[str, str], splits: list[str], inputs: Inputs
    ) -> JobSpec:
        for split in splits:
            names[f"{split}.jsonl"] = self._text(split, inputs)
        counts = dict(self.problem.prepared.counts)
        if "test" in splits and kind is JobKind.TRANSFER and (probe := self.problem.probe) is not None:
            names["probe.jsonl"], counts["probe"] = self._stored(probe.texts, inputs), probe.rows * probe.variants
            splits.append("probe")
        return JobSpec(
            kind=kind, task=self.problem.task.kind, classes=self.problem.classes, model=self.problem.models[role].ref,
            inputs=names, rows={s: counts[s] for s in splits}, predict=tuple(splits), source=source_digest(),
        )  # fmt: skip

    def _scored(self, sealed: bool) -> list[str]:
        """Splits on which what is trained will be scored."""
        return [*_decided(sealed), *self.problem.prepared.ood]

    def _truth(self, kind: JobKind, split: str, rows: NDArray[np.int64] | None = None) -> bytes:
        """What a job may learn from, as it reads it: raw int32 labels, or true answers as JSON lines."""
        vault, digest = self.problem.vault, self.problem.prepared.digest
        if self.problem.task.kind == "generation":
            answers = vault.release_answers(digest, kind, split)
            return answer_lines(answers if rows is None else [answers[i] for i in rows])
        labels = vault.release(digest, kind, split)
        return (labels if rows is None else labels[rows]).astype("<i4").tobytes()

    def _model_inputs(self, role: str, inputs: Inputs, weights: str | None = None) -> dict[str, str]:
        names = model_inputs(self.problem.models[role], self.problem.vocabulary_file(role), inputs)
        if weights is not None:
            names["weights"] = self._stored(weights, inputs)
        return names

    def _text(self, split: str, inputs: Inputs) -> str:
        digest = self.problem.prepared.texts[split]
        inputs.files[digest] = str(self.problem.prepared.text_file(split))
        return digest

    def _stored(self, digest: str, inputs: Inputs) -> str:
        inputs.files[digest] = str(self.problem.store.path(digest))
        return digest

    def _weak_unit(self, seed: int, inputs: Inputs, within: NDArray[np.bool_] | None = None) -> Unit:
        pool = self._pool()
        train, val = weak_draw(self.problem.prepared, seed, within)
        if not len(train):
            raise AarError(f"the weak pool's {len(pool)} rows are too few to cut into parts; raise splits.weak_train")
        own = {}
        for name, rows in (("train", train), ("val", val)):
            if len(rows):
                text = "".join(line_of(pool[i]) for i in rows)
                own[f"{name}.jsonl"] = self._stored(self.problem.store.put(text.encode()), inputs)
                own[f"{name}.labels"] = released(self._truth(JobKind.WEAK, "weak_pool", rows), inputs)
        return Unit(seed=seed, inputs=own)

    def _pool(self) -> list[Row]:
        if self._rows is None:
            self._rows = rows_of(self.problem.prepared, "weak_pool")
        return self._rows

    def _part(self, parts: int) -> NDArray[np.int64]:
        if parts not in self._parts:
            self._parts[parts] = text_parts(["\n".join(texts_of(row)) for row in self._pool()], parts)
        return self._parts[parts]


def _decided(sealed: bool) -> list[str]:
    """Splits by which something is decided."""
    return ["dev", "test"] if sealed else ["dev"]


def released(data: bytes, inputs: Inputs) -> str:
    """Note bytes that derive from labels: they lie in the job's own folder and go with it. Their sha256."""
    digest = hashlib.sha256(data).hexdigest()
    inputs.released[digest] = data
    return digest
