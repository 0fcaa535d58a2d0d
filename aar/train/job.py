"""One job: read `job.json`, do what its kind says for every seed, write the declared outputs.

The layout of names is shared with the host through `aar.types`: unit files lie under `in/u<seed>/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from aar.methods.student import SCHEDULES
from aar.methods.supervision import SUPERVISION
from aar.methods.targets import TARGETS
from aar.methods.targets._calibration import calibrate
from aar.reading import read_rows
from aar.train.context import read_context
from aar.train.loop import Progress, all_features, predict
from aar.train.models import Classifier, build, config_device, with_adapters, without_adapters
from aar.train.pretrain import pretrain
from aar.train.tokens import Tokenizer, Tokens
from aar.train.trainee import Members, Trainee
from aar.train.written import apply, student_of
from aar.train.zero_shot import Asker
from aar.types import JobFile, JobKind, Recipe, Training, Unit, checkpoint


class Job:
    """State shared by the seeds of one launch: tokenised splits, the model's initial weights."""

    def __init__(self, folder: Path, progress: TextIO) -> None:
        self.folder = folder
        self.inputs = folder / "in"
        self.file = JobFile.model_validate_json((folder / "job.json").read_text(encoding="utf-8"))
        self.spec = self.file.spec
        self.progress = Progress(progress, self.spec.kind)
        self.device = config_device(self.file.device)
        torch.set_num_threads(self.file.threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        self.tokenizer = Tokenizer(self.spec.model, self.inputs)
        self._splits: dict[str, Tokens] = {}
        self._model: Classifier | None = None
        self._asker: Asker | None = None
        self._initial: dict[str, torch.Tensor] = {}
        self._adapted = False

    def run(self) -> None:
        """All seeds, one after the other."""
        for unit in self.file.units:
            if self.spec.kind is JobKind.PRETRAIN:
                self._pretrain(unit)
            elif self.spec.kind is JobKind.FEATURES:
                self._features(unit)
            elif self.spec.zero_shot is not None:  # a control's job asks as well
                self._answered(unit)
            elif self.spec.kind is JobKind.WEAK:
                self._weak(unit)
            elif self.spec.kind is JobKind.PREDICT:
                self._applied(unit)
            elif self.spec.folds > 1:
                self._out_of_fold(unit)
            else:
                self._strong(unit)

    def tokens(self, name: str) -> Tokens:
        """A split of `in/`, tokenised once for all seeds."""
        if name not in self._splits:
            self._splits[name] = self._read(self.inputs / f"{name}.jsonl")
        return self._splits[name]

    def _read(self, path: Path) -> Tokens:
        return self.tokenizer(read_rows(path))

    def unit_file(self, unit: Unit, name: str) -> Path:
        """One seed's own input."""
        return self.inputs / f"u{unit.seed}" / name

    def _pretrain(self, unit: Unit) -> None:
        documents = self.tokens("documents")
        backbone = pretrain(self.spec, documents, self.tokenizer.size, unit.seed, self.progress, self.device)
        self._hand_over(backbone, unit)

    def _hand_over(self, model: torch.nn.Module, unit: Unit) -> None:
        blob = save({name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()})
        self._write(f"u{unit.seed}.weights", blob)

    def _applied(self, unit: Unit) -> None:
        """Predictions of a model that another job trained."""
        model = self._fresh(unit.seed, self._training())
        apply(model, self.unit_file(unit, "student"))
        self._predict(model, unit)

    def _features(self, unit: Unit) -> None:
        features = all_features(self._fresh(unit.seed, Training()), self.tokens("transfer"))
        if features.ndim > 2:  # what a linear reward tells two responses apart by
            features = features[:, 0] - features[:, 1]
        self._write(f"u{unit.seed}.features", features.cpu().numpy().tobytes())

    def _answered(self, unit: Unit) -> None:
        self._asker = self._asker or Asker(self.spec, self.inputs, self.tokenizer, self.device)
        for split in self.spec.predict:
            rows = read_rows(self.inputs / f"{split}.jsonl")
            if self.spec.recipe is None:
                logits = self._asker.logits(rows)
            else:
                supervision, targets = self.spec.recipe.supervision, self.spec.recipe.targets
                weak = SUPERVISION[supervision.name].combine(self._answers(unit, len(rows)), supervision.params)
                shots = TARGETS[targets.name].shots(targets.params)
                logits = self._asker.logits(rows, weak.argmax(1), shots, unit.seed)
                self.progress.note({"seed": unit.seed, "crowded": self._asker.crowded})
            self._write(f"u{unit.seed}.{split}", logits.tobytes())

    def _weak(self, unit: Unit) -> None:
        texts, training = self._lessons(self._read(self.unit_file(unit, "train.jsonl")), self._training(), unit)
        labels = read_labels(self.unit_file(unit, "train.labels"), len(texts))
        trainee = Trainee(
            lambda: self._fresh(unit.seed, training), texts, self._one_hot(labels), Recipe(), training, unit.seed,
            self.progress,
        )  # fmt: skip
        trainee.fit()
        shares = labels
        if self.unit_file(unit, "val.labels").exists():
            held = self._read(self.unit_file(unit, "val.jsonl"))
            shares = read_labels(self.unit_file(unit, "val.labels"), len(held))
            fitted = calibrate(self._logits(trainee.model, held, unit), shares)
            self._write(f"u{unit.seed}.calibration", fitted.packed().tobytes())
        # Laplace: a class the held-out slice happens to lack still has a share.
        counts = np.bincount(shares, minlength=self.spec.classes) + 1
        prior = (counts / counts.sum()).astype(np.float32)
        self._write(f"u{unit.seed}.prior", prior.tobytes())
        self._predict(trainee.model, unit)

    def _strong(self, unit: Unit) -> None:
        recipe = self.spec.recipe or Recipe()
        student = student_of(recipe.student)
        schedule = SCHEDULES[recipe.schedule.name].training(recipe.schedule.params, self._training())
        training = student.training(recipe.student.params, schedule)
        trainee, answers = self._supervised(unit, recipe, training)
        self._look(trainee, unit)
        student.learn(trainee, recipe.student.params)
        supervision, params = SUPERVISION[recipe.supervision.name], recipe.supervision.params
        for _ in range(supervision.rounds(params) if answers else 0):
            trainee.supervise(*supervision.assign(answers, trainee.answers(), params))
            trainee.renew()
            student.learn(trainee, recipe.student.params)
        if (self.folder / "out" / f"u{unit.seed}.weight").exists():  # where the host asks for it
            self._write(f"u{unit.seed}.weight", trainee.weight.tobytes())
        if self.spec.handed is not None:
            self._hand_over(trainee.model, unit)
        self._predict(trainee.model, unit)

    def _look(self, trainee: Trainee, unit: Unit) -> None:
        """Have dev predicted after each share of a fit's steps that the host asks for; 0: before the first step."""

        def after(done: int, steps: int) -> None:
            for share in self.spec.checkpoints:
                if round(share * steps) == done:
                    self._write(f"u{unit.seed}.{checkpoint(share)}", predict(trainee.model, dev).tobytes())

        if self.spec.checkpoints:
            dev, trainee.after = self.tokens("dev"), after

    def _supervised(self, unit: Unit, recipe: Recipe, training: Training) -> tuple[Trainee, list[NDArray[np.float32]]]:
        """The strong model with what it is to learn from, and its supervisors' answers (n, C); none for a ceiling."""
        transfer = self.tokens("transfer")
        prior = context = members = None
        answers: list[NDArray[np.float32]] = []
        supervision, params = SUPERVISION[recipe.supervision.name], recipe.supervision.params
        if self.spec.kind is JobKind.CEILING:
            y = self._one_hot(read_labels(self.inputs / "transfer.labels", len(transfer)))
            recipe = Recipe(student=recipe.student, schedule=recipe.schedule)
        else:
            answers = self._answers(unit, len(transfer))
            y = supervision.combine(answers, params)
            mix = supervision.mix(params)
            members = None if mix is None else Members(answers, mix)
            if self.unit_file(unit, "prior").exists():
                prior = torch.from_numpy(read_array(self.unit_file(unit, "prior"), (self.spec.classes,)))
            context = read_context(self.inputs, self.unit_file(unit, ""), unit.seed, len(transfer), self.spec.classes)
        trainee = Trainee(
            lambda: self._fresh(unit.seed, training), transfer, y, recipe, training, unit.seed, self.progress, prior,
            context,
            folder=self.inputs / "model",
            members=members,
            conflict=self.spec.conflict,
        )  # fmt: skip
        return trainee, answers

    def _out_of_fold(self, unit: Unit) -> None:
        """Answers on the transfer rows, each from a model that was not trained on the row."""
        transfer, training, folds = self.tokens("transfer"), self._training(), self.spec.folds
        y = self._answers(unit, len(transfer))[0]
        fold = np.random.default_rng([unit.seed, 0xF01D]).permutation(len(transfer)) % folds
        logits = np.empty((len(transfer), self.spec.classes), np.float32)
        for f in range(folds):
            learnt, held = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
            trainee = Trainee(
                lambda: self._fresh(unit.seed, training), transfer.take(learnt), y[learnt],
                self.spec.recipe or Recipe(), training, unit.seed, self.progress,
            )  # fmt: skip
            trainee.fit()
            logits[held] = predict(trainee.model, transfer.take(held))
        self._write(f"u{unit.seed}.transfer", logits.tobytes())

    def _answers(self, unit: Unit, rows: int) -> list[NDArray[np.float32]]:
        """Probabilities (rows, C) of each model that supervises this seed."""
        shape = (rows, self.spec.classes)
        logits = [read_array(self.unit_file(unit, f"weak{j}"), shape) for j in range(self.spec.members)]
        return [torch.from_numpy(a).softmax(-1).numpy() for a in logits]

    def _built(self, dtype: torch.dtype) -> Classifier:
        pairs = self.spec.task == "preference"
        return build(self.spec.model, self.inputs, self.tokenizer.size, self.spec.classes, dtype, pairs)

    def _fresh(self, seed: int, training: Training) -> Classifier:
        """The model as it was before any training: pre-trained weights, or new ones drawn by `seed`."""
        pretrained = self.spec.model.tiny is None or self.spec.model.weights
        if self._model is not None and self._adapted:
            without_adapters(self._model)
        if self._model is not None and pretrained:
            if not self._adapted:
                self._model.load_state_dict(self._initial)
            self._model.reset_head()
        else:
            torch.manual_seed(seed)
            half = training.lora is not None and self.device.type == "cuda"
            dtype = torch.bfloat16 if half else torch.float32
            self._model = self._built(dtype).to(self.device).eval()
            if pretrained and training.lora is None:
                self._initial = {k: v.detach().to("cpu", copy=True) for k, v in self._model.state_dict().items()}
        self._adapted = training.lora is not None
        if training.lora is not None:
            torch.manual_seed(seed)
            with_adapters(self._model, training.lora)
            self._model.to(self.device).eval()
        return self._model

    def _training(self) -> Training:
        if self.spec.training is None:
            raise ValueError(f"a {self.spec.kind} job needs training")
        return self.spec.training

    def _one_hot(self, labels: NDArray[np.int32]) -> NDArray[np.float32]:
        hot: NDArray[np.float32] = np.eye(self.spec.classes, dtype=np.float32)[labels]
        return hot

    def _lessons(self, tokens: Tokens, training: Training, unit: Unit) -> tuple[Tokens, Training]:
        """What a weak model is shown of the rows that it learns from, and how it learns."""
        return tokens, training

    def _logits(self, model: Classifier, tokens: Tokens, unit: Unit) -> NDArray[np.float32]:
        """What a trained model says of rows: logits (n, C)."""
        return predict(model, tokens)

    def _predict(self, model: Classifier, unit: Unit) -> None:
        for split in self.spec.predict:
            self._write(f"u{unit.seed}.{split}", self._logits(model, self.tokens(split), unit).tobytes())

    def _write(self, name: str, data: bytes) -> None:
        # The host made the file; opening it for update keeps it the same file.
        with (self.folder / "out" / name).open("r+b") as out:
            out.write(data)
            out.truncate()


def read_labels(path: Path, n: int) -> NDArray[np.int32]:
    """(n,) int32 labels.

    Raises:
        ValueError: the file holds another number of them.
    """
    labels = np.fromfile(path, np.int32)
    if len(labels) != n:
        raise ValueError(f"{path.name}: {len(labels)} labels for {n} rows")
    return labels


def read_array(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A raw float32 array of exactly `shape`."""
    return np.fromfile(path, np.float32).reshape(shape)
