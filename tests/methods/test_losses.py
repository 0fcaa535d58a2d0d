"""Losses against numbers computed by hand, with gradients checked and degenerate cases defined."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from aar.methods.losses import LOSSES
from aar.methods.losses.confidence import BUFFER


def soft(logits: Tensor) -> Tensor:
    return logits.softmax(-1)


def make(name: str, prior: Tensor | None = None, **params: float):  # type: ignore[no-untyped-def]
    defaults = {k: s.default for k, s in LOSSES[name].space.items()}
    return LOSSES[name].build(defaults | params, prior)


LOGITS = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.5, 0.5]], dtype=torch.float64)
Y = torch.tensor([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4]], dtype=torch.float64)
HARD = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
ONES = torch.ones(3, dtype=torch.float64)


def ce(p: float, y: float) -> float:
    """Cross-entropy of a two-class row with p, y the first class's shares."""
    return -(y * math.log(p) + (1 - y) * math.log(1 - p))


P0 = [1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1)), 0.5]


def test_xent_is_soft_cross_entropy_with_the_target() -> None:
    by_hand = sum(ce(p, y) for p, y in zip(P0, [0.9, 0.3, 0.6], strict=True)) / 3
    assert make("xent")(LOGITS, Y, Y, ONES, 0.0).item() == pytest.approx(by_hand)
    assert make("xent")(LOGITS, Y, HARD, ONES, 0.0).item() == pytest.approx(
        torch.nn.functional.cross_entropy(LOGITS, torch.tensor([0, 1, 0])).item()
    )


def test_weights_are_a_weighted_mean_and_all_zero_is_zero_without_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    weight = torch.tensor([1.0, 3.0, 0.0], dtype=torch.float64)
    assert make("xent")(logits, Y, Y, weight, 0.0).item() == pytest.approx((ce(P0[0], 0.9) + 3 * ce(P0[1], 0.3)) / 4)
    nothing = make("xent")(logits, Y, Y, torch.zeros(3, dtype=torch.float64), 0.0)
    nothing.backward()
    assert nothing.item() == 0 and logits.grad is not None and not logits.grad.any()


@pytest.mark.parametrize(("frac", "share"), [(0.0, 0.0), (0.1, 0.25), (0.2, 0.5), (1.0, 0.5)])
def test_logconf_ramps_linearly_to_a_and_stays(frac: float, share: float) -> None:
    # The published code jumps at w; the paper ramps to a. Prior .5 on P0 = (.88, .27, .5): the median is .5.
    loss = make("logconf", torch.tensor([0.5, 0.5], dtype=torch.float64), a=0.5, w=0.2)
    own = [1.0, 0.0, 1.0]  # p / quantile: ties go to the lower class
    target = [(1 - share) * y + share * h for y, h in zip([0.9, 0.3, 0.6], own, strict=True)]
    by_hand = sum(ce(p, t) for p, t in zip(P0, target, strict=True)) / 3
    assert loss(LOGITS, Y, Y, ONES, frac).item() == pytest.approx(by_hand, abs=1e-6)


def test_logconf_thresholds_keep_class_shares_for_any_number_of_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(400, 3, generator=generator) + torch.tensor([2.0, 0.0, 0.0])  # class 0 looks likely everywhere
    prior = torch.tensor([0.2, 0.3, 0.5])
    loss = make("logconf", prior, a=0.9, w=0.0)
    variable = logits.clone().requires_grad_()
    zero = torch.full((400, 3), 1 / 3)
    loss(variable, zero, zero, torch.ones(400), 1.0).backward()
    assert variable.grad is not None
    # gradient = p - target; the own-label part of the target is the only one that differs between classes
    own = (variable.detach().softmax(-1) - 400 * variable.grad - 0.1 * zero).argmax(-1)
    shares = torch.bincount(own, minlength=3) / 400
    assert shares[0] < 0.4 < shares[2], shares
    assert (logits.argmax(-1) == 0).float().mean() > 0.6, "without thresholds class 0 would take most rows"


def test_logconf_remembers_enough_rows_that_a_batch_of_one_is_not_its_own_threshold() -> None:
    loss = make("logconf", torch.tensor([0.5, 0.5]), a=0.9, w=0.0)
    y = torch.tensor([[0.5, 0.5]])
    for i in range(BUFFER):
        loss(torch.tensor([[-3.0 + 0.001 * i, 0.0]]), y, y, torch.ones(1), 1.0)
    confident = torch.tensor([[3.0, 0.0]], requires_grad=True)
    loss(confident, y, y, torch.ones(1), 1.0).backward()
    assert confident.grad is not None
    target = confident.detach().softmax(-1) - confident.grad
    assert target[0, 0] > 0.9, "its own label is class 0, far above the median of the rows before it"


def test_product_is_the_normalised_product_of_both_beliefs() -> None:
    loss = make("product", a=2.0, b=0.5)
    mixed = [
        p**0.5 * y**2 / (p**0.5 * y**2 + (1 - p) ** 0.5 * (1 - y) ** 2)
        for p, y in zip(P0, [0.9, 0.3, 0.6], strict=True)
    ]
    by_hand = sum(ce(p, m) for p, m in zip(P0, mixed, strict=True)) / 3
    assert loss(LOGITS, Y, HARD, ONES, 0.0).item() == pytest.approx(by_hand), "y, not the hard target, enters"


def test_confidence_weighting_uses_the_raw_confidence_even_with_hard_targets() -> None:
    by_hand = (0.9 * ce(P0[0], 1 - 1e-300) + 0.7 * ce(P0[1], 1e-300) + 0.6 * ce(P0[2], 1 - 1e-300)) / 3
    assert make("confidence_weighted")(LOGITS, Y, HARD, ONES, 0.0).item() == pytest.approx(by_hand)


def test_entropy_with_positive_k_rewards_confidence() -> None:
    loss = make("entropy", k=0.5)
    flat = torch.tensor([[0.5, 0.0]], requires_grad=True)
    y = torch.full((1, 2), 0.5)
    plain = torch.tensor([[0.5, 0.0]], requires_grad=True)
    loss(flat, y, y, torch.ones(1), 0.0).backward()
    make("xent")(plain, y, y, torch.ones(1), 0.0).backward()
    assert flat.grad is not None and plain.grad is not None
    assert flat.grad[0, 0] < plain.grad[0, 0], (
        "the step makes the likelier class likelier than cross-entropy alone would"
    )
    entropy = sum(-(p * math.log(p) + (1 - p) * math.log(1 - p)) for p in P0) / 3
    base = make("xent")(LOGITS, Y, Y, ONES, 0.0).item()
    assert loss(LOGITS, Y, Y, ONES, 0.0).item() == pytest.approx(base + 0.5 * entropy)


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("classes", [2, 5])
def test_gradients_are_those_of_the_value_at_fixed_targets(name: str, classes: int) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(7, classes, generator=generator, dtype=torch.float64).requires_grad_()
    y = torch.randn(7, classes, generator=generator, dtype=torch.float64).softmax(-1)
    weight = torch.rand(7, generator=generator, dtype=torch.float64) + 0.1
    prior = torch.full((classes,), 1 / classes, dtype=torch.float64)
    value = make(name, prior)(logits, y, y, weight, 0.5)
    value.backward()
    assert torch.isfinite(value) and logits.grad is not None and torch.isfinite(logits.grad).all()
    assert logits.grad.abs().sum() > 0
    assert logits.grad.sum(-1).abs().max() < 1e-9, "a softmax loss never moves all logits together"


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_degenerate_batches_are_finite(name: str) -> None:
    for n in (1, 3):
        y = torch.zeros(n, 3)
        y[:, 0] = 1.0  # one class in the batch
        logits = torch.zeros(n, 3, requires_grad=True)
        value = make(name)(logits, y, y, torch.ones(n), 1.0)
        value.backward()
        assert torch.isfinite(value) and logits.grad is not None and torch.isfinite(logits.grad).all()
