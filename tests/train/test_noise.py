"""The two noised passes that some losses ask for: how strong, on what, and what they do to a student."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aar.methods.losses import LOSSES
from aar.methods.losses._base import kl
from aar.train.loop import Progress, all_features, noised
from aar.train.models import Classifier, build, with_adapters
from aar.train.tokens import Tokenizer, Tokens
from aar.train.trainee import Trainee
from aar.types import Lora, ModelRef, Part, Recipe, Tiny, Training, Value

REF = ModelRef(tiny=Tiny(layers=1, width=16, heads=2), tokenizer="words", pool="last", max_length=8)
WORDS = ["[PAD]", "[UNK]", "good", "bad", "film", "very", "a"]
TEXTS = [f"{'a ' * (i % 2)}film {'very ' * (i % 3)}{word}" for i, word in enumerate(["good", "bad"] * 64)]
Y = np.tile(np.array([[0.05, 0.95], [0.9, 0.1]], np.float32), (64, 1))


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return tmp_path


def fresh(inputs: Path, lora: Lora | None = None) -> Classifier:
    torch.manual_seed(0)
    model = build(REF, inputs, len(WORDS), 2).eval()
    if lora is not None:
        with_adapters(model, lora)
    return model


def trained(
    inputs: Path, name: str, params: dict[str, Value], frozen: bool = False, lora: Lora | None = None
) -> tuple[Classifier, Tokens]:
    tokens = Tokenizer(REF, inputs)(TEXTS)
    training = Training(lr=1e-2, epochs=8, batch_size=16)
    trainee = Trainee(
        lambda: fresh(inputs, lora), tokens, Y, Recipe(loss=Part(name=name, params=params)), training, 3,
        Progress(io.StringIO(), "t"),
    )  # fmt: skip
    trainee.fit(head_only=frozen)
    return trainee.model, tokens


def given(model: Classifier, tokens: Tokens, frozen: bool) -> tuple[Tensor, ...]:
    if frozen:
        return (all_features(model, tokens),)
    return tokens.batch(np.arange(len(tokens)), torch.device("cpu"))


@pytest.mark.parametrize("frozen", [False, True], ids=["embeddings", "features"])
def test_without_noise_both_passes_are_the_plain_one_and_with_it_they_differ(inputs: Path, frozen: bool) -> None:
    model, tokens = trained(inputs, "xent", {}, frozen)
    inside = given(model, tokens, frozen)
    plain = model.head(*inside) if frozen else model(*inside)
    still = noised(model, inside, 0.0)
    assert still.shape == (2, len(TEXTS), 2) and torch.allclose(still, plain.expand(2, -1, -1), atol=1e-5)
    one, other = noised(model, inside, 0.3)
    assert not torch.allclose(one, other, atol=1e-3) and not torch.allclose(one, plain, atol=1e-3)


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_noise_is_a_share_of_what_it_is_added_to(inputs: Path, noise: float) -> None:
    model, tokens = trained(inputs, "xent", {})
    ids, mask = given(model, tokens, False)
    seen: list[Tensor] = []
    model.backbone.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["inputs_embeds"].detach()), with_kwargs=True
    )
    noised(model, (ids, mask), noise)
    embedded = model.embed(ids).detach()
    added = seen[0] - embedded.repeat(2, 1, 1)
    scale = embedded[mask].square().mean().sqrt().item()
    assert added.std().item() == pytest.approx(noise * scale, rel=0.05)
    assert abs(added.mean().item()) < 0.05 * noise * scale

    features = 5 + torch.randn(400, 16)
    model.head = nn.Linear(16, 16)
    nn.init.eye_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    added = (noised(model, (features,), noise) - features).detach()
    assert added.std().item() == pytest.approx(noise * features.square().mean().sqrt().item(), rel=0.05)


@pytest.mark.parametrize("frozen", [False, True], ids=["all", "head"])
def test_consistency_of_weight_0_is_cross_entropy_and_repeats_to_the_bit(inputs: Path, frozen: bool) -> None:
    plain, tokens = trained(inputs, "xent", {}, frozen)
    nothing, _ = trained(inputs, "consistency", {"k": 0.0, "noise": 0.3}, frozen)
    something, _ = trained(inputs, "consistency", {"k": 4.0, "noise": 0.3}, frozen)
    again, _ = trained(inputs, "consistency", {"k": 4.0, "noise": 0.3}, frozen)
    assert torch.allclose(plain.head.weight, nothing.head.weight, atol=1e-6), "noise draws nothing that training uses"
    assert torch.equal(something.head.weight, again.head.weight)
    assert not torch.allclose(plain.head.weight, something.head.weight, atol=1e-3)


@pytest.mark.parametrize("frozen", [False, True], ids=["all", "head"])
def test_consistency_makes_a_student_that_noise_moves_less(inputs: Path, frozen: bool) -> None:
    def moved(name: str, params: dict[str, Value]) -> float:
        model, tokens = trained(inputs, name, params, frozen)
        torch.manual_seed(1)
        with torch.no_grad():
            one, other = noised(model, given(model, tokens, frozen), 0.3).log_softmax(-1)
        return kl(one, other).mean().item()

    assert moved("consistency", {"k": 4.0, "noise": 0.3}) < 0.8 * moved("xent", {})


def test_adapters_learn_under_noise(inputs: Path) -> None:
    params: dict[str, Value] = {key: s.default for key, s in LOSSES["consistency"].space.items()}
    model, _ = trained(inputs, "consistency", params, lora=Lora(r=2, alpha=4))
    learnt = [p for n, p in model.backbone.named_parameters() if "lora_B" in n]
    assert learnt and all(p.abs().sum() > 0 for p in learnt), "adapters start with B at zero"
