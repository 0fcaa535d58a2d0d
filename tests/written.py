"""Written parts that several tests use."""

from __future__ import annotations

import inspect
import textwrap

from aar.methods import read_part
from aar.methods.losses.confidence import BUFFER, LogConf
from aar.types import Written

MINE = '''\
"""Cross-entropy, louder."""

PART = {"slot": "loss", "name": "mine", "space": {"a": {"kind": "float", "low": 0.5, "high": 2.0, "default": 1.0}}}

import torch

from aar.methods.losses import cross_entropy, weighted_mean


def build(params, prior):
    a = float(params["a"])

    def loss(logits, y, target, weight, step_frac):
        return weighted_mean(a * cross_entropy(logits, target), weight)

    return loss
'''
BAD = {
    "nan": "weighted_mean(a * cross_entropy(logits, target), weight) * float('nan')",
    "shape": "a * cross_entropy(logits, target)",
    "steep": "a * (logits - logits.detach()).sum().sqrt()",
    "constant": "torch.tensor(a)",
    "loop": "sum(1 for _ in iter(int, 1))",
    "hoard": "torch.ones(1 << 40) * a",
}
"""What a loss may return that is of no use."""


def mine(old: str = "", new: str = "") -> Written:
    """A loss of its own, with one piece of its source replaced."""
    assert not old or MINE.count(old) == 1, old
    return read_part(MINE.replace(old, new) if old else MINE)


def returning(expression: str) -> Written:
    """The loss that returns this."""
    return mine("weighted_mean(a * cross_entropy(logits, target), weight)", expression)


def conf() -> Written:
    """The package's logconf, written again by its own source."""
    body = textwrap.dedent(inspect.getsource(LogConf.build)).split('"""', 2)[2]
    body = body.replace("list[Tensor]", "list").replace("import torch\n", "", 1)
    body = body.replace("logits: Tensor, y: Tensor, target: Tensor, weight: Tensor, step_frac: float) -> Tensor", "{}")
    body = body.replace("{}", "logits, y, target, weight, step_frac)")
    space = {
        "a": {"kind": "float", "low": 0.0, "high": 0.9, "default": 0.5},
        "w": {"kind": "float", "low": 0.0, "high": 0.5, "default": 0.2},
    }
    head = f'PART = {{"slot": "loss", "name": "conf", "space": {space!r}}}\n'
    imports = "import torch\nfrom aar.methods.losses import cross_entropy, weighted_mean\n"
    return read_part(f'"""Confidence."""\n{head}\n{imports}\nBUFFER = {BUFFER}\n\n\ndef build(params, prior):{body}')


SOFTEN = read_part("""\
PART = {"slot": "targets", "name": "soften", "space": {"q": {"kind": "float", "low": 0.1, "high": 0.9, "default": 0.5}}}

import numpy as np


def make(y, params, context):
    target = (1 - params["q"]) * y + params["q"] / y.shape[1]
    return target, np.ones(len(y)), np.ones(len(y), bool)
""")
TWICE = read_part("""\
PART = {"slot": "student", "name": "twice", "space": {}}


def learn(trainee, params):
    trainee.fit()
    trainee.fit(trainee.answers())
""")
