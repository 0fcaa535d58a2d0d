"""What a model may read of the log of a job that ran written code: our words, and none of the code's."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from aar.methods.targets import Context
from aar.runner.withheld import in_short
from aar.train.written import apply, loss_of, targets_of
from aar.types import Part, Written
from tests.written import BAD, SOFTEN, mine, returning

Y = np.full((8, 2), 0.5, np.float32)


def log_of(act: Callable[[], object]) -> str:
    """The end of the log of a job that does this."""
    try:
        act()
    except Exception:
        return "step 3: loss 0.693\n" + traceback.format_exc()
    raise AssertionError("nothing went wrong")


def trained(code: Written) -> str:
    """The log of a job that trains with a loss."""
    part = Part(name=code.ref, params={"a": 1.0}, code=code)

    def step() -> None:
        logits = torch.zeros(8, 2, requires_grad=True)
        y = torch.from_numpy(Y)
        loss_of(part).build(part.params, None)(logits, y, y, torch.ones(8), 0.5).backward()  # type: ignore[no-untyped-call]

    return log_of(step)


def aimed(expression: str) -> str:
    """The log of a job whose targets are this."""
    made = "target, np.ones(len(y)), np.ones(len(y), bool)"
    assert made in SOFTEN.source
    code = SOFTEN.model_copy(update={"source": SOFTEN.source.replace(made, expression)})
    part = Part(name=code.ref, params={"q": 0.5}, code=code)
    return log_of(lambda: targets_of(part).make(Y, part.params, Context(seed=0)))


def test_what_our_own_checks_say_is_passed_on_without_figures() -> None:
    for log, told in (
        (trained(returning(BAD["nan"])), "FloatingPointError: the loss is nan"),
        (trained(returning(BAD["shape"])), "ValueError: the loss is float32 [...]; a scalar tensor is needed"),
        (trained(returning("[1.25]")), "ValueError: the loss is list; a scalar tensor is needed"),
        (trained(returning(BAD["constant"])), "ValueError: the loss does not depend on the logits"),
        (trained(returning(BAD["steep"])), "FloatingPointError: the loss is ..., but its gradient is not finite"),
        (aimed("target"), "ValueError: make returned float32 [...]; want (target, weight, keep)"),
        (
            aimed("target[:3], np.ones(2), np.ones(2)"),
            "ValueError: target float32 [...], weight float64 [...], keep float64 [...]; want float [...], "
            "float [...], bool",
        ),
        (
            aimed("-target, np.ones(8), np.ones(8, bool)"),
            "ValueError: targets are probabilities: finite, not below 0, rows that sum to 1",
        ),
        (aimed("target, -np.ones(8), np.ones(8, bool)"), "ValueError: weights are finite and not below 0"),
        ("out of memory: DefaultCPUAllocator: 0.731\n", "out of memory"), ("", ""),
    ):  # fmt: skip
        assert in_short(log) == told, log


def test_of_an_error_in_the_part_its_type_and_line_are_told() -> None:
    log = trained(mine("weighted_mean(a * cross", "weighted_mean(y[99].sum() * cross"))
    assert in_short(log) == "IndexError (line 14 of the part)" and "index 99 is out of bounds" in log


LABELS = "0.731 0.204 0.998"


@pytest.mark.parametrize(
    "line",
    [
        f"ValueError: {LABELS}", f"ValueError: mine@0f0f0f: {LABELS}", "L0731204998: x",
        f"ValueError: the loss is {LABELS}", f"ValueError: the loss is 0.731, but its gradient is {LABELS}",
        "ValueError: the loss is float32 [731, 204]; a scalar tensor is needed 0.998",
        f"ValueError: the weights that were handed back do not fit the model: {LABELS} is missing or unknown",
        f"{LABELS}", f"out of memory: {LABELS}", "KeyError: 731", f"my.{LABELS}: {LABELS}",
        "ValueError: make returned a0731; want (target, weight, keep)",
    ],
)  # fmt: skip
def test_nothing_that_the_code_worded_is_passed_on(line: str) -> None:
    told = in_short(f'{LABELS}\nTraceback:\n  File "<mine@0f0f0f>", line 7, in {LABELS}\n{line}\n')
    assert not set("0123456789") & set(told.replace("(line 7 of the part)", "").replace("float32 [...]", "")), told
    assert told


def test_weights_that_do_not_fit_are_told_without_their_names(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"731")
    told = in_short(log_of(lambda: apply(torch.nn.Linear(1, 1), file)))
    assert told == "ValueError: the weights that were handed back are no safetensors"
