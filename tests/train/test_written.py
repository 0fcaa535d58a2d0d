"""Code of a hypothesis inside its job, and the job that applies what it handed back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save

from aar.methods import fill
from aar.methods.losses import LOSSES
from aar.train.written import loss_of, targets_of
from aar.types import JobKind, JobSpec, Lora, ModelRef, Part, Recipe, Tiny, Training, Unit, Written
from tests.train import test_pairs as pairs
from tests.train.test_train import job, lines, toy
from tests.written import BAD, SOFTEN, TWICE, conf, mine, returning

REF = ModelRef(tiny=Tiny(layers=1, width=16, heads=2), tokenizer="words", pool="last", max_length=8)
PLAN = Training(epochs=2, lr=5e-3, batch_size=16)
ROWS, DEV = 64, 50
WORDS = ["[PAD]", "[UNK]", "good", "bad", "film", "very", "a"]


def prepared(folder: Path) -> Path:
    """A job's folder with transfer rows, doubtful weak labels and dev rows."""
    inputs = folder / "in"
    (inputs / "u5").mkdir(parents=True)
    (inputs / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    texts, labels = toy(ROWS, 0)
    (inputs / "transfer.jsonl").write_text(lines(texts))
    (inputs / "dev.jsonl").write_text(lines(toy(DEV, 9)[0]))
    sure = np.random.default_rng(0).normal(1.0, 2.0, (ROWS, 1)) * (2 * np.eye(2)[labels] - 1)
    (inputs / "u5" / "weak0").write_bytes(sure.astype(np.float32).tobytes())
    (inputs / "u5" / "prior").write_bytes(np.array([0.4, 0.6], np.float32).tobytes())
    return folder


def spec_of(recipe: Recipe, plan: Training = PLAN, **more: object) -> JobSpec:
    fields = {"kind": JobKind.TRANSFER, "model": REF, "recipe": fill(recipe, plan), "training": plan}
    return JobSpec.model_validate(fields | {"rows": {"transfer": ROWS, "dev": DEV}} | more)


def whole(folder: Path, recipe: Recipe, plan: Training = PLAN) -> NDArray[np.float32]:
    """What a recipe of the package predicts, all in one job."""
    out = job(prepared(folder), spec_of(recipe, plan, predict=("dev",)), [Unit(seed=5)], ["u5.dev"])
    return np.frombuffer(out["u5.dev"], np.float32)


def learnt(folder: Path, recipe: Recipe, plan: Training = PLAN) -> bytes:
    """The weights that a recipe hands back."""
    return job(prepared(folder), spec_of(recipe, plan, handed=1 << 20), [Unit(seed=5)], ["u5.weights"])["u5.weights"]


def applied(folder: Path, weights: bytes, plan: Training = PLAN) -> NDArray[np.float32]:
    """What a job without any such code predicts with them."""
    (prepared(folder) / "in" / "u5" / "student").write_bytes(weights)
    spec = JobSpec(
        kind=JobKind.PREDICT, model=REF, training=Training(lora=plan.lora), rows={"dev": DEV}, predict=("dev",)
    )
    for name in ("transfer.jsonl", "u5/weak0", "u5/prior"):
        (folder / "in" / name).unlink()
    return np.frombuffer(job(folder, spec, [Unit(seed=5)], ["u5.dev"])["u5.dev"], np.float32)


@pytest.mark.parametrize("plan", [PLAN, PLAN.model_copy(update={"lora": Lora(r=2, alpha=4)})], ids=["all", "lora"])
def test_logconf_written_anew_gives_the_packages_predictions_bit_for_bit(plan: Training, tmp_path: Path) -> None:
    house = whole(tmp_path / "house", Recipe(loss=Part(name="logconf")), plan)
    own = applied(tmp_path / "b", learnt(tmp_path / "a", Recipe().carrying(conf()), plan), plan)
    assert np.array_equal(own, house)
    assert not np.array_equal(house, whole(tmp_path / "naive", Recipe(), plan)), "the loss matters here"


def test_a_reward_model_is_handed_over_too(tmp_path: Path) -> None:
    rows, labels = pairs.toy(ROWS, 0)
    kept: dict[str, bytes] = {}
    for name, recipe in (("house", Recipe(loss=Part(name="logconf"))), ("own", Recipe().carrying(conf())), ("p", None)):
        inputs = prepared(tmp_path / name) / "in"
        (inputs / "transfer.jsonl").write_text(pairs.lines(rows))
        (inputs / "dev.jsonl").write_text(pairs.lines(pairs.toy(DEV, 9)[0]))
        (inputs / "u5" / "weak0").write_bytes(np.where(np.eye(2)[labels] > 0, 0.7, -0.7).astype(np.float32).tobytes())
        predict: dict[str, object] = {"task": "preference", "predict": ("dev",)}
        more = {"house": predict, "own": {"task": "preference", "handed": 1 << 20}, "p": predict}[name]
        spec = spec_of(recipe or Recipe(), PLAN, **more)
        if name == "p":
            (inputs / "u5" / "student").write_bytes(kept["own"])
            spec = spec.model_copy(update={"kind": JobKind.PREDICT, "recipe": None, "training": Training()})
        out = "u5.weights" if name == "own" else "u5.dev"
        kept[name] = job(tmp_path / name, spec, [Unit(seed=5)], [out])[out]
    assert kept["p"] == kept["house"] and np.frombuffer(kept["p"], np.float32).any()


def test_targets_and_students_are_run_as_they_are_written(tmp_path: Path) -> None:
    naive = whole(tmp_path / "naive", Recipe())
    for code in (SOFTEN, TWICE):
        own = applied(tmp_path / f"{code.name} b", learnt(tmp_path / code.name, Recipe().carrying(code)))
        assert not np.array_equal(own, naive)
        again = applied(tmp_path / f"{code.name} d", learnt(tmp_path / f"{code.name} c", Recipe().carrying(code)))
        assert np.array_equal(own, again)
    y = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    made = targets_of(Recipe().carrying(SOFTEN).targets).make(y, {"q": 0.5}, None)  # type: ignore[arg-type]
    assert made.target == pytest.approx(np.array([[0.7, 0.3], [0.35, 0.65]])) and made.keep.all()
    careless = SOFTEN.model_copy(
        update={"source": SOFTEN.source.replace("    target =", "    y[:] = 0.5\n    target =")}
    )
    targets_of(Recipe().carrying(careless).targets).make(y, {"q": 0.5}, None)  # type: ignore[arg-type]
    assert y[0, 0] == np.float32(0.9), "the labels stay what they are"


WHY = {
    "nan": "the loss is nan", "shape": r"the loss is float32 \[16\]; a scalar tensor is needed",
    "steep": "but its gradient is not finite", "constant": "does not depend on the logits",
}  # fmt: skip


@pytest.mark.parametrize("how", WHY)
def test_a_loss_that_is_of_no_use_is_named_with_what_is_wrong(how: str, tmp_path: Path) -> None:
    code = returning(BAD[how])
    with pytest.raises((ValueError, FloatingPointError), match=rf"{code.ref}: .*{WHY[how]}"):
        learnt(tmp_path, Recipe().carrying(code))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("return target,", "return target[:, :1],", r"target float32 \[64, 1\].*want float \[64, 2\]"),
        ("np.ones(len(y)),", "np.ones(3),", r"weight float64 \[3\]"),
        ("np.ones(len(y), bool)", "np.ones(len(y))", r"keep float64 \[64\].*bool \[64\]"),
        ("return target,", "return 2 * target,", "rows that sum to 1"),
        ("return target,", "return target * [[3, -1]] / (target * [[3, -1]]).sum(1, keepdims=True),", "not below 0"),
        ("return target,", "return target * np.nan,", "targets are probabilities: finite"),
        ("np.ones(len(y)),", "np.full(len(y), np.nan),", "weights are finite"),
        ("np.ones(len(y)),", "-np.ones(len(y)),", "weights are finite and not below 0"),
        ("np.ones(len(y), bool)", "np.ones(3, bool)", r"keep bool \[3\]"),
        ("return target, np.ones(len(y)), np.ones(len(y), bool)", "return target, y", "make returned tuple"),
        ("np.ones(len(y), bool)", "np.zeros(len(y), bool)", "kept no row"),
        ("return target, np.ones(len(y)), np.ones(len(y), bool)", "return target", "make returned float32"),
    ],
)
def test_targets_that_do_not_fit_are_named_with_what_is_wrong(old: str, new: str, why: str, tmp_path: Path) -> None:
    assert old in SOFTEN.source
    code = SOFTEN.model_copy(update={"source": SOFTEN.source.replace(old, new)})
    with pytest.raises(ValueError, match=why):
        learnt(tmp_path, Recipe().carrying(code))


def test_a_traceback_shows_the_written_line(tmp_path: Path) -> None:
    import traceback

    code = returning("logits.sum() / 0 + undefined_name")
    try:
        learnt(tmp_path, Recipe().carrying(code))
    except NameError as error:
        told = "".join(traceback.format_exception(error))
        assert f'File "<{code.ref}>", line 14' in told and "return logits.sum() / 0 + undefined_name" in told
    else:
        raise AssertionError("it was to fail")


def test_each_training_begins_with_a_fresh_loss() -> None:
    def tries(code: Written | None) -> list[float]:
        part = Recipe().carrying(code).loss if code else Part(name="logconf")
        torch.manual_seed(0)
        z = torch.randn(3, 40, 2)
        y, told = z.roll(1, 0).softmax(-1), []
        for _ in range(2):
            loss, pairs = loss_of(part).build({"a": 0.5, "w": 0.2}), zip(z, y, strict=True)
            told += [loss(a.clone().requires_grad_(), b, b, torch.ones(40), 0.5).item() for a, b in pairs]
        return told

    assert tries(conf()) == tries(None) and tries(conf())[:3] == tries(conf())[3:]
    assert loss_of(Part(name="gce")) is LOSSES["gce"]


# ---------------------------------------------------------------- what is handed back


def spoilt(weights: bytes, how: str) -> bytes:
    tensors = load(weights)
    if how == "not safetensors":
        return b"\x80\x04 a pickle"
    if how == "empty file":
        return b""
    if how == "nan":
        tensors["head.weight"][0, 0] = float("nan")
    if how == "shape":
        tensors["head.weight"] = torch.zeros(3, 16)
    if how == "type":
        tensors["head.bias"] = tensors["head.bias"].double()
    if how == "missing":
        del tensors["head.bias"]
    if how == "more":
        tensors["label"] = torch.ones(DEV)
    return bytes(save(tensors))


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("not safetensors", "are no safetensors"), ("empty file", "are no safetensors"),
        ("nan", "are not finite: head.weight"), ("shape", r"head.weight is float32 \[3, 16\]"),
        ("type", r"head.bias is float64 \[2\]"), ("missing", "head.bias is missing or unknown"),
        ("more", "label is missing or unknown"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused_with_what_is_wrong(how: str, why: str, tmp_path: Path) -> None:
    weights = spoilt(learnt(tmp_path / "a", Recipe().carrying(mine())), how)
    with pytest.raises(ValueError, match=f"the weights that were handed back.*{why}"):
        applied(tmp_path / "b", weights)
