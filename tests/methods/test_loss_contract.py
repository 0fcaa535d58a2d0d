"""What every loss must hold to. Found like the parts themselves, so a file dropped into losses/ is covered here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from aar.methods.losses import LOSSES
from aar.methods.space import Choice, Space
from aar.types import Value

Call = Callable[..., Tensor]


def edges(space: Space) -> tuple[Value, ...]:
    return space.options if isinstance(space, Choice) else (space.low, space.high)


def settings(name: str) -> list[dict[str, Value]]:
    """The defaults, and each parameter at each end of its range."""
    spaces = LOSSES[name].space
    plain = {key: s.default for key, s in spaces.items()}
    return [plain, *(plain | {key: value} for key, s in spaces.items() for value in edges(s))]


CASES = [pytest.param(n, p, id="-".join([n, *map(str, p.values())])) for n in sorted(LOSSES) for p in settings(n)]
each = pytest.mark.parametrize(("name", "params"), CASES)


def built(name: str, params: dict[str, Value], prior: Tensor | None = None) -> Call:
    """The loss; one that wants noised passes gets the logits with two fixed offsets."""
    loss = LOSSES[name].build(params, prior)
    if LOSSES[name].noise(params) == 0:
        return loss

    def with_passes(logits: Tensor, *rest: object) -> Tensor:
        drawn = torch.randn(2, *logits.shape, generator=torch.Generator().manual_seed(9), dtype=logits.dtype)
        return loss(logits, *rest, logits + 0.3 * drawn)

    return with_passes


def scored(loss: Call, logits: Tensor, y: Tensor, target: Tensor, weight: Tensor, frac: float = 1.0) -> list[Tensor]:
    """Value and gradient."""
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, y, target, weight, frac)
    value.backward()  # type: ignore[no-untyped-call]
    assert value.shape == () and leaf.grad is not None
    return [value.detach(), leaf.grad]


def batch(n: int, classes: int, seed: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random logits, y, a target of its own and weights, in float64."""
    generator = torch.Generator().manual_seed(seed)
    logits, y, target = torch.randn(3, n, classes, generator=generator, dtype=torch.float64)
    return logits, y.softmax(-1), target.softmax(-1), torch.rand(n, generator=generator, dtype=torch.float64) + 0.1


def hot(labels: list[int], classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.eye(classes, dtype=dtype)[labels]


@each
@pytest.mark.parametrize("classes", [2, 5])
def test_the_gradient_is_that_of_the_value(
    name: str, params: dict[str, Value], classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Central differences. What the loss detached is held where it was: that is what detaching means.
    logits, y, target, weight = batch(7, classes)
    prior = torch.full((classes,), 1 / classes, dtype=torch.float64)
    held: list[Tensor] = []
    detach = Tensor.detach

    def kept(tensor: Tensor) -> Tensor:
        held.append(detach(tensor))
        return held[-1]

    with monkeypatch.context() as patch:
        patch.setattr(Tensor, "detach", kept)
        leaf = logits.clone().requires_grad_()
        value = built(name, params, prior)(leaf, y, target, weight, 0.5)
    value.backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None and leaf.grad.abs().sum() > 0

    def at(shifted: Tensor) -> float:
        given: Iterator[Tensor] = iter(held)
        with monkeypatch.context() as patch:
            patch.setattr(Tensor, "detach", lambda t: next(given))
            return built(name, params, prior)(shifted, y, target, weight, 0.5).item()

    step = 1e-6
    for i in range(logits.numel()):
        nudge = torch.zeros_like(logits)
        nudge.view(-1)[i] = step
        slope = (at(logits + nudge) - at(logits - nudge)) / (2 * step)
        assert slope == pytest.approx(leaf.grad.view(-1)[i].item(), rel=1e-5, abs=1e-8)
    assert leaf.grad.sum(-1).abs().max() < 1e-9, "p does not change when all logits move together"


@each
def test_a_weight_of_zero_is_no_row_and_only_the_ratio_of_weights_counts(name: str, params: dict[str, Value]) -> None:
    logits, y, target, weight = batch(6, 3)
    weight[2] = 0
    value, gradient = scored(built(name, params), logits, y, target, weight)
    assert not gradient[2].any() and value.abs() > 0
    tripled, same = scored(built(name, params), logits, y, target, 3 * weight)
    assert torch.allclose(tripled, value) and torch.allclose(same, gradient)


@each
@pytest.mark.parametrize("scale", [1.0, 1e4], ids=["plain", "extreme"])
def test_no_weight_at_all_is_zero_without_gradient(name: str, params: dict[str, Value], scale: float) -> None:
    logits, y, target, _ = (t.float() for t in batch(4, 3))
    value, gradient = scored(built(name, params), scale * logits, y, target, torch.zeros(4))
    assert value == 0 and not gradient.any(), "a NaN is not zero either"


@each
@pytest.mark.parametrize("n", [1, 3])
def test_one_row_or_one_class_pulls_towards_that_class(name: str, params: dict[str, Value], n: int) -> None:
    y = hot([1] * n, 3)
    loss = built(name, params)
    value, gradient = scored(loss, torch.zeros(n, 3), y, y, torch.ones(n), 0.0)
    assert value > 0 and (gradient[:, 1] < 0).all()
    later, gradient = scored(loss, batch(n, 3)[0].float(), y, y, torch.ones(n), 1.0)
    assert math.isfinite(later.item()) and torch.isfinite(gradient).all()


@each
@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("scale", [1.0, 50.0, 1e4])
def test_hard_targets_and_extreme_logits_stay_finite(
    name: str, params: dict[str, Value], classes: int, scale: float
) -> None:
    right = scale * (2 * hot([0, 1, 0, 1], classes) - 1)
    soft = torch.full((4, classes), 1 / classes)
    loss = built(name, params)
    for logits in (right, -right, right.roll(1, 0)):
        for y in (hot([0, 1, 0, 1], classes), soft):
            for target in (hot([0, 1, 0, 1], classes), soft):
                value, gradient = scored(loss, logits, y, target, torch.ones(4))
                assert math.isfinite(value.item()) and torch.isfinite(gradient).all()
