"""Written parts as files of this package: the same numbers, and no word of a text that becomes code."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aar.methods import export as writing
from aar.methods import problems, read_part
from aar.methods.export import export
from aar.types import AarError, Written
from tests.written import SOFTEN, TWICE, conf, mine

ROOT = Path(__file__).parents[2]

LISTED = """
import json, sys
from aar.methods import PARTS
light = "torch" not in sys.modules
import torch
from aar.methods.losses import LOSSES
generator = torch.Generator().manual_seed(0)
rows = [torch.randn(40, 3, generator=generator).softmax(-1) for _ in range(6)]
def told(name, params):
    loss = LOSSES[name].build(params, rows[0].mean(0))
    return [float(loss(rows[i].log(), rows[i + 1], rows[i + 1], torch.ones(40), i / 5)) for i in range(5)]
print(json.dumps({
    "light": light, "space": {k: s.model_dump() for k, s in PARTS["loss"]["conf"].space.items()},
    "paper": PARTS["loss"]["conf"].paper, "summary": PARTS["loss"]["conf"].summary(),
    "own": told("conf", {"a": 0.7, "w": 0.2}), "house": told("logconf", {"a": 0.7, "w": 0.2}),
    "others": [name in PARTS[slot] for slot, name in (("targets", "soften"), ("student", "twice"))],
}))
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is, plus three parts that were written for it."""
    folder = tmp_path_factory.mktemp("exported")
    shutil.copytree(ROOT / "aar", folder / "aar", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "tests" / "methods" / "test_loss_contract.py", folder)
    for code, place in ((conf(), "losses"), (SOFTEN, "targets"), (TWICE, "student")):
        text = export(code, "aar, search s-1, trial 7", ["Confirmed on fresh seeds: PGR .92 [.76, 1.08], 5 seeds."])
        (folder / "aar" / "methods" / place / f"{code.name}.py").write_text(text)
    return folder


def ran(folder: Path, *words: str) -> str:
    env = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_exported_part_is_one_of_the_package_with_the_same_numbers(exported: Path) -> None:
    told: dict[str, Any] = json.loads(ran(exported, "-c", LISTED))
    assert told["own"] == told["house"] and len(set(told["own"])) == 5
    assert told["light"], "the host lists it without torch"
    assert told["space"]["a"] == conf().space["a"].model_dump() and told["paper"] == "aar, search s-1, trial 7"
    assert told["summary"] == "Confidence." and told["others"] == [True, True]
    text = (exported / "aar" / "methods" / "losses" / "conf.py").read_text()
    assert "    # Confirmed on fresh seeds: PGR .92 [.76, 1.08], 5 seeds.\n" in text


def test_an_exported_part_passes_the_packages_own_checks(exported: Path) -> None:
    told = ran(exported, "-m", "pytest", "-q", "-k", "conf-", "-p", "no:cacheprovider", "test_loss_contract.py")
    assert "passed" in told and "failed" not in told
    for place, name in (("losses", "conf"), ("targets", "soften"), ("student", "twice")):
        file = exported / "aar" / "methods" / place / f"{name}.py"
        ran(exported, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), str(file))
        ran(exported, "-m", "ruff", "format", "--check", "--config", str(ROOT / "pyproject.toml"), str(file))


def test_what_is_hard_to_move_stays_what_it_was(tmp_path: Path) -> None:
    source = '''\
"""Odd.

More of it.
"""
PART = {"slot": "loss", "name": "odd_one", "space": {"how": {"kind": "choice", "options": ["a b", "c"], "default": "c"},
                                                  "n": {"kind": "int", "low": 1, "high": 4, "default": 2, "log": True}}}
from torch.nn import functional as F
import math
EPS = 1e-6
def helper(x): return F.relu(x) + EPS
def build(params, prior):
    # what follows is kept
    """Doc."""
    text = """two
    lines"""
    how, n = params["how"], params["n"]
    def loss(logits, y, target, weight, step_frac):
        return helper(logits).sum() * len(text) * n + math.pi * (how == "c")
    return loss
'''
    code = read_part(source)
    assert problems(code) == []
    scope: dict[str, Any] = {}
    exec(export(code, 'a "paper"', ["One.", "Two."]), scope)
    own: dict[str, Any] = {}
    exec(source, own)
    import torch

    params, x = {"how": "c", "n": 3}, torch.randn(4, 2)
    loss = scope["OddOne"].build(params)
    assert loss(x, x, x, x, 0.0) == own["build"](params, None)(x, x, x, x, 0.0)
    assert scope["OddOne"].paper == 'a "paper"' and scope["OddOne"].summary() == "Odd."
    assert scope["OddOne"].space == dict(code.space)


def made(code: Written) -> Any:
    """The class that an exported part becomes."""
    scope: dict[str, Any] = {}
    exec(export(code, "aar", ["One."]), scope)
    return next(v for v in scope.values() if getattr(v, "name", "") == code.name)


@pytest.mark.parametrize(
    "doc",
    [
        'Bolder.\n"""\n    import os; raise SystemExit\n    z = """', 'ends with "quotes"', "back\\slash \\", '""""',
        "a\x00b\u2028c\rd", "two\n\n    lines", "",
    ],
)  # fmt: skip
def test_words_of_a_docstring_stay_words(doc: str) -> None:
    code = mine('"""Cross-entropy, louder."""', repr(doc))
    part = made(code)
    assert part.__doc__.split() == (inspect.cleandoc(doc).split() or "A loss that a search wrote.".split())
    assert set(vars(part)) == set(vars(made(mine())))


ODD = """\
PART = {"slot": "targets", "name": "odd",
        "space": {"how": {"kind": "choice", "options": ["a\\"b\\\\", "c"], "default": "c"}}}
import math, torch
import numpy as np
def twofold(x=(1,
               2)) -> tuple: return (x,
    math.pi)
def make(y, params, context):
    @torch.no_grad()
    def kept():
        return [params["how"],
1, '''trailing
 text''', twofold()]
    return kept()
"""


def test_layout_is_nothing_that_an_export_depends_on() -> None:
    code = read_part(ODD)
    own: dict[str, Any] = {}
    assert problems(code) == []
    exec(ODD, own)
    part = made(code)
    assert part.make(None, {"how": "c"}, None) == own["make"](None, {"how": "c"}, None)
    assert part.space == dict(code.space)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("import torch", "import torch\ncls = 1", "would bind cls twice"),
        ("import torch", "import torch\n\n\ndef Loss():\n    return 1", "would bind Loss twice"),
        ("    a = float", "    build(params, prior)\n    a = float", "build calls itself"),
        ("a * cross", "().__class__ * cross", "not allowed"),
    ],
)
def test_what_no_file_says_plainly_is_not_exported(old: str, new: str, why: str) -> None:
    with pytest.raises(AarError, match=f"cannot be exported: .*{why}"):
        export(mine(old, new), "aar", [])


def test_a_file_that_does_something_else_is_not_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    for old, new in (
        ('    name = "mine"', '    import os\n    name = "mine"'), ("a * cross", "2 * a * cross"),
        ("class Mine", "print(1)\nclass Mine"), ("(Loss)", "(object)"), ("    @classmethod\n", ""),
    ):  # fmt: skip
        plain = writing._text
        with monkeypatch.context() as patch:
            patch.setattr(writing, "_text", lambda *a, old=old, new=new, plain=plain: plain(*a).replace(old, new))
            with pytest.raises(AarError, match="not do what the source does"):
                export(mine(), "aar", [])
