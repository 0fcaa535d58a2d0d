"""Running parts that a hypothesis wrote, and applying the weights that they trained. Inside jobs only.

What a written part returns is looked at each time, so that a wrong shape or a NaN is named where it arises. That is
for its author: code in this process could get round it, and gains nothing by that (docs/security.md).
"""

from __future__ import annotations

import linecache
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from aar.methods.losses import LOSSES, Loss
from aar.methods.student import STUDENTS, Student
from aar.methods.targets import TARGETS, Context, Made, Targets
from aar.types import Part, Value, Written

if TYPE_CHECKING:
    from aar.methods.losses._base import LossFn
    from aar.methods.student import Trainee
    from aar.methods.student._base import Probs


def loss_of(part: Part) -> type[Loss]:
    """The loss that a recipe names, or brings with it."""
    if part.code is None:
        return LOSSES[part.name]
    ref, build = part.name, _module(part.code)["build"]

    class Brought(Loss):
        @classmethod
        def build(cls, params: Mapping[str, Value], prior: Tensor | None = None) -> LossFn:
            loss = build(dict(params), prior)

            def watched(logits: Tensor, y: Tensor, target: Tensor, weight: Tensor, step_frac: float) -> Tensor:
                value = loss(logits, y, target, weight, step_frac)
                _demand_loss(ref, value, logits)
                return value  # type: ignore[no-any-return]

            return watched

    return Brought


def targets_of(part: Part) -> type[Targets]:
    """The targets that a recipe names, or brings with it."""
    if part.code is None:
        return TARGETS[part.name]
    ref, make = part.name, _module(part.code)["make"]

    class Brought(Targets):
        @classmethod
        def make(cls, y: Probs, params: Mapping[str, Value], context: Context) -> Made:
            made = make(y.copy(), dict(params), context)
            if not isinstance(made, tuple) or len(made) != 3:
                raise ValueError(f"{ref}: make returned {_what(made)}; want (target, weight, keep)")
            return _made(ref, made, y.shape)

    return Brought


def student_of(part: Part) -> type[Student]:
    """The student that a recipe names, or brings with it."""
    if part.code is None:
        return STUDENTS[part.name]
    learn = _module(part.code)["learn"]

    class Brought(Student):
        @classmethod
        def learn(cls, trainee: Trainee, params: Mapping[str, Value]) -> None:
            learn(trainee, dict(params))

    return Brought


def apply(model: nn.Module, path: Path) -> None:
    """Load the weights that another job handed back.

    Raises:
        ValueError: they are no safetensors, do not fit the model, or hold what is not finite.
    """
    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"the weights that were handed back are no safetensors: {error}") from None
    wanted = model.state_dict()
    if odd := sorted(found.keys() ^ wanted.keys()):
        raise ValueError(f"the weights that were handed back do not fit the model: {odd[0]} is missing or unknown")
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape or tensor.dtype != wanted[name].dtype:
            raise ValueError(f"the weights that were handed back do not fit the model: {name} is {_what(tensor)}")
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"the weights that were handed back are not finite: {name}")
    model.load_state_dict(found)


def _module(code: Written) -> dict[str, Any]:
    """What a part's source defines. Its lines are shown in tracebacks."""
    name = f"<{code.ref}>"
    linecache.cache[name] = (len(code.source), None, code.source.splitlines(keepends=True), name)
    scope: dict[str, Any] = {"__name__": code.name}
    exec(compile(code.source, name, "exec"), scope)
    return scope


def _demand_loss(ref: str, value: Any, logits: Tensor) -> None:
    if not isinstance(value, Tensor) or value.shape != () or not value.is_floating_point():
        raise ValueError(f"{ref}: the loss is {_what(value)}; a scalar tensor is needed")
    if not bool(torch.isfinite(value)):
        raise FloatingPointError(f"{ref}: the loss is {value.item()}")
    if not value.requires_grad:
        raise ValueError(f"{ref}: the loss does not depend on the logits: there is no gradient to learn from")

    def finite(gradient: Tensor) -> None:
        if not bool(torch.isfinite(gradient).all()):
            raise FloatingPointError(f"{ref}: the loss is {value.item()}, but its gradient is not finite")

    if logits.requires_grad:
        logits.register_hook(finite)  # type: ignore[no-untyped-call]


def _made(ref: str, made: tuple[Any, ...], shape: tuple[int, ...]) -> Made:
    target, weight, keep = (np.asarray(a) for a in made)
    if target.shape != shape or weight.shape != shape[:1] or keep.shape != shape[:1] or keep.dtype != np.bool_:
        told = f"target {_what(target)}, weight {_what(weight)}, keep {_what(keep)}"
        raise ValueError(f"{ref}: {told}; want float {list(shape)}, float [{shape[0]}], bool [{shape[0]}]")
    whole: NDArray[np.float32] = target.astype(np.float32)
    given: NDArray[np.float32] = weight.astype(np.float32)
    if not np.isfinite(whole).all() or (whole < 0).any() or (abs(whole.sum(1) - 1) > 1e-3).any():
        raise ValueError(f"{ref}: targets are probabilities: finite, not below 0, rows that sum to 1")
    if not np.isfinite(given).all() or (given < 0).any():
        raise ValueError(f"{ref}: weights are finite and not below 0")
    return Made(whole, given, keep)


def _what(value: Any) -> str:
    """Its type, and of an array its shape."""
    if isinstance(value, Tensor | np.ndarray):
        return f"{value.dtype} {list(value.shape)}".replace("torch.", "")
    return type(value).__name__
