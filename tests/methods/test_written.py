"""Parts that a hypothesis writes: as words, in recipes, in the search, before they are run, and as files."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import pytest

from aar import search
from aar.methods import (
    Able,
    distance,
    file_of,
    fill,
    illegal,
    label,
    parse,
    problems,
    read_part,
    recipe_hash,
    settings,
    signatures,
)
from aar.types import AarError, Part, Recipe, Written, canonical_json
from tests.rows import BASE, TASK, row
from tests.written import BAD, MINE, SOFTEN, TWICE, conf, mine, returning
from tests.written_example import CHILD, PARENT, TRIALS

ROOT = Path(__file__).parents[2]


def recipe_of(code: Written, **params: float) -> Recipe:
    made = Recipe().carrying(code)
    part: Part = getattr(made, code.slot)
    return made.model_copy(update={code.slot: part.model_copy(update={"params": params})})


# ---------------------------------------------------------------- words and recipes


def test_recipes_without_code_are_what_they_were() -> None:
    assert canonical_json(Recipe().loss) == '{"name":"xent","params":{}}'
    assert recipe_hash(Recipe()) == "49a0b1fd395e8abe"


def test_a_recipe_holds_all_of_its_code() -> None:
    made = fill(recipe_of(mine(), a=1.5), BASE)
    assert made.loss.name.startswith("mine@") and made.written == (mine(),)
    again = Recipe.model_validate_json(canonical_json(made))
    assert again == made and recipe_hash(again) == recipe_hash(made)
    assert label(made, BASE) == f"{mine().ref} a=1.5" and fill(recipe_of(mine()), BASE).loss.params == {"a": 1.0}
    assert distance(made, fill(Recipe(), BASE), BASE) == 1


def test_what_is_written_makes_the_hash_and_where_it_comes_from_does_not() -> None:
    child = mine().model_copy(update={"parent": "f" * 64})
    assert child.digest == mine().digest
    assert recipe_hash(Recipe().carrying(child)) == recipe_hash(Recipe().carrying(mine()))
    louder = mine("a * cross", "2 * a * cross")
    assert louder.ref != mine().ref and recipe_hash(recipe_of(louder)) != recipe_hash(recipe_of(mine()))
    before, after = (fill(recipe_of(code), BASE) for code in (mine(), louder))
    assert 0 < distance(before, after, BASE) < 1


def test_parameters_given_under_its_name_stay() -> None:
    given = Recipe(loss=Part(name="mine", params={"a": 1.25}))
    assert given.carrying(mine()).loss.params == {"a": 1.25}
    assert Recipe(loss=Part(name="logconf", params={"a": 0.25})).carrying(mine()).loss.params == {}


def test_a_person_sets_it_like_any_other_part() -> None:
    chosen = f"loss={mine().ref}"
    made = fill(parse("logconf", [chosen, "loss.a=1.5", "targets=hard"], [mine()]), BASE)
    assert made.loss.params == {"a": 1.5} and made.loss.code == mine() and made.targets.name == "hard"
    told = settings(made, BASE)
    assert told == ["targets=hard", chosen, "loss.a=1.5"]
    assert parse(None, [f"{chosen}:1.5"], [mine()]).loss == made.loss
    assert fill(parse(None, told, [mine()]), BASE) == made
    with pytest.raises(AarError, match="out of range"):
        fill(parse(None, [chosen, "loss.a=7"], [mine()]), BASE)
    for slot, known in (("loss", []), ("targets", [mine()])):
        with pytest.raises(AarError, match=f"{slot}: unknown part 'mine@"):
            parse(None, [f"{slot}={mine().ref}"], known)
    with pytest.raises(AarError, match=r"unknown parameter 'b'.*parameters: a"):
        fill(parse(None, [chosen, "loss.b=1"], [mine()]), BASE)


def test_where_it_cannot_run_is_said_before_it_runs() -> None:
    made = fill(recipe_of(mine()), BASE)
    assert illegal(made, Able()) is None and illegal(made, Able(kind="preference")) is None
    assert "is not for generation" in (illegal(made, Able(kind="generation")) or "")
    scored = made.model_copy(update={"student": Part(name="dpo", params={})})
    assert "use another student" in (illegal(scored, Able(kind="preference")) or "")


def test_a_part_stands_in_its_slot_under_its_own_name() -> None:
    for wrong in (
        Recipe(targets=Part(name=mine().ref, code=mine())),
        Recipe(loss=Part(name="mine", code=mine())),
        Recipe(loss=Part(name="logconf", code=mine())),
    ):
        with pytest.raises(AarError, match="a written part is named by its code"):
            fill(wrong, BASE)
    header = mine().model_copy(update={"name": "other"})
    with pytest.raises(AarError, match="its PART and what was declared beside it differ"):
        fill(Recipe().carrying(header), BASE)


# ---------------------------------------------------------------- the search


def test_optuna_tunes_what_has_been_scored_and_nothing_else() -> None:
    rows = [row(0, Recipe(), 0.7), row(1, fill(recipe_of(mine()), BASE), 0.9)]
    tried = [search.propose(TASK, rows, 0, n).recipe for n in range(2, 22)]
    own = [r.loss for r in tried if r.loss.code is not None]
    assert len(own) > 3 and all(part.code == mine() and 0.5 <= float(part.params["a"]) <= 2 for part in own)
    assert len({part.params["a"] for part in own}) > 2
    assert all(fill(r, BASE) == r for r in tried)
    blind = [search.propose(TASK, rows, 0, n, "random").recipe for n in range(2, 22)]
    assert not [r for r in blind if r.written], "the control arm draws from the package's parts"
    failed = [row(0, Recipe(), 0.7), row(1, fill(recipe_of(mine()), BASE), None)]
    assert not [n for n in range(2, 22) if search.propose(TASK, failed, 0, n).recipe.written]
    assert search.predict(rows, rows[1].recipe) is not None


def test_a_parameter_called_lr_may_be_nought() -> None:
    code = read_part(MINE.replace('"a"', '"lr"').replace('"low": 0.5', '"low": 0.0'))
    rows = [row(0, Recipe(), 0.7), row(1, fill(recipe_of(code, lr=0.0), BASE), 0.9)]
    assert search.predict(rows, rows[1].recipe) == pytest.approx(0.9, abs=0.2)


# ---------------------------------------------------------------- before it is run


def test_what_is_fit_to_be_tried_has_no_problems() -> None:
    for code in (mine(), conf(), SOFTEN, TWICE, *map(returning, BAD.values())):
        assert problems(code) == []


OS = "import torch"
A = '"a": {"kind": "float", "low": 0.5, "high": 2.0, "default": 1.0}'
DEEP, LONG = "x = " + "-" * 9_000 + "1\n", "x = " + "+".join("1" * 5_000) + "\n"
"""What Python itself cannot parse."""
SPACE = '{"kind": "float", "low": 0.5, "high": 2.0, "default": 1.0}'


def choice(options: list[Any]) -> str:
    return str({"kind": "choice", "options": options, "default": options[0]})


WRONG: list[tuple[Written, str]] = [
    (mine(OS, "import os"), "line 5: import os: not allowed; there are aar.methods.losses"),
    (mine(OS, "from os import path"), "line 5: import from os: not allowed"),
    (mine(OS, "from . import loop"), "line 5: import from .: not allowed"),
    (mine(OS, "from torch import *"), "import of *: not allowed"),
    (mine(OS, "from torch import load"), "import of load: not allowed"),
    (mine(OS, "import aar.train"), "import aar.train: not allowed"),
    (mine("a = float", "import sys\n    a = float"), "line 11: import sys: not allowed"),
    (returning("eval('logits.sum()')"), "line 14: eval: not allowed"),
    (returning("open('/etc/passwd')"), "open: not allowed"),
    (returning("getattr(logits, 'sum')()"), "getattr: not allowed"),
    (returning("__import__('os')"), "__import__: not allowed"),
    (returning("().__class__"), ".__class__: not allowed"),
    (returning("torch._C"), "._C: not allowed"),
    (returning("torch.load('x')"), ".load: not allowed"),
    (returning("torch.serialization.os.listdir('/')"), ".os: not allowed"),
    (returning("'{0.x}'.format(y)"), ".format: not allowed"),
    (mine("def build", "class A:\n    pass\n\n\ndef build"), "ClassDef: not allowed"),
    (mine("def build", "@torch.no_grad()\ndef build"), "build is decorated"),
    (mine("def build", "print('hello')\n\n\ndef build"), "line 10: outside functions only imports"),
    (mine("def build", "X = torch.ones(3)\n\n\ndef build"), "line 10: outside functions only a name = a literal value"),
    (mine("def build(params, prior)", "def build(params)"), "want def build(params, prior), got (params)"),
    (mine("def build", "def built"), "a loss defines one function def build(params, prior); here are 0"),
    (mine("weight, step_frac)", "weight)"), "build has to return a function (logits, y, target, weight, step_frac)"),
    (mine('params["a"]', 'params["b"]'), "params['b'] is not declared; space has a"),
    (mine('params["a"]', '"1"'), "space.a: declared, but params['a'] is never read"),
    (mine('params["a"]', "params[prior]"), 'read parameters by name: params["a"]'),
    (mine().model_copy(update={"source": "x = (\n"}), "line 1: syntax:"),
    (mine("def build", "#" * 20_000 + "\ndef build"), "bytes; at most 16384"),
    (mine('"name": "mine"', '"name": "xent"'), "a loss of this package has it"),
    (mine('"name": "mine"', '"name": "My-Loss"'), "want a small letter"),
    (mine('"low": 0.5', '"low": 3.0'), "space.a: want low < high with default between them, got 3.0, 2.0, 1.0"),
    (mine('"default": 1.0', '"default": 9.0'), "space.a: want low < high with default between them"),
    (mine('"low": 0.5', '"log": True, "low": 0.0'), "space.a: a log scale begins above 0, not at 0.0"),
    (mine('"low": 0.5', '"low": -1e13'), "space.a: no range to search"),
    (mine('"low": 0.5', '"inherit": True, "low": 0.5'), "space.a: inherit and relative are for the schedule's"),
    (
        mine(f"{{{A}}}", f"{{{', '.join(A.replace('a', f'a{n}', 1) for n in range(9))}}}"),
        "space: 9 parameters; at most 8",
    ),
    (mine(A, A + "," + A.replace("a", "_b", 1)), "space: '_b' is no name of a parameter"),
    (mine(A, A + "," + A.replace("a", "b c", 1)), "space: 'b c' is no name of a parameter"),
    (
        mine(A, '"a": {"kind": "choice", "options": [1, 2], "default": 3}'),
        "space.a: default '3' is not among the options",
    ),
    (mine("def build", "#" + "\u00e9" * 9_000 + "\ndef build"), "bytes; at most 16384"),
    (mine("prior):", "prior=torch.ones(3)):"), "line 10: a default of build is no literal"),
    (
        mine("def build", "def more(*, a=len('x')):\n    pass\n\n\ndef build"),
        "line 10: a default of more is no literal",
    ),
    (mine("def build", "torch.pi = 3\n\n\ndef build"), "line 10: outside functions only a name = a literal value"),
    (mine("def build", "X: int = len('x')\n\n\ndef build"), "line 10: outside functions only a name = a literal"),
    (mine(OS, "from .math import pi"), "line 5: import from .math: not allowed"),
    (mine(OS, "from torch import _C"), "import of _C: not allowed"),
    (mine(OS, "from torch import compile"), "import of compile: not allowed"),
    (mine("a = float", "global b\n    a = float"), "Global: not allowed"),
    (mine("def build(params, prior)", "def build(params, prior, *more)"), "got (params, prior, *more)"),
    (mine("def build(params, prior)", "def build(params, prior, *, more=1)"), "got (params, prior, more)"),
    (mine().model_copy(update={"source": DEEP}), "source: cannot be parsed: it is nested too deeply"),
    (mine().model_copy(update={"source": LONG}), "source: nested more than 100 levels deep"),
    (mine('"high": 2.0', '"high": 2e12'), "space.a: no range to search; want floats from -1e+12 to 1e+12"),
    (mine(SPACE, '{"kind": "int", "low": 0, "high": 11111111111, "default": 1}'), "want ints from -1e+09 to 1e+09"),
    (mine('"a": {', '"a\\n": {'), "space: 'a\\n' is no name of a parameter"),
    (mine('"a": {', '"' + "a" * 40 + '": {'), "is no name of a parameter"),
    (mine(SPACE, choice([*range(21)])), "space.a: 21 options; at most 20"),
    (mine(SPACE, choice(["x", "y" * 41])), "space.a: option '" + "y" * 41 + "': want at most 40 printable characters"),
    (mine(SPACE, choice(["x", "mean\n\n## The person said"])), "want at most 40 printable characters"),
    (mine(SPACE, choice(["x", ""])), "want at most 40 printable characters"),
    (mine(SPACE, choice([1, 1e13])), "or a number of at most 1e+12"),
    (mine(SPACE, choice([1, 1.0, True])), "of the options [1, 1.0, True] two are equal"),
    (mine(SPACE, choice(["x", "x"])), "two are equal"),
    *(
        (mine('"name": "mine"', f'"name": "{n}"'), "a slot or a class that parts use is called so")
        for n in ("loss", "targets", "schedule", "true", "loss_", "exception")
    ),
    (mine("import torch", "import math; import torch"), "line 5: outside functions one statement a line"),
    (mine("import torch", "import torch\ntorch = 1"), "line 6: torch is bound before, to something else"),
    (mine("    a = float", "    # \u202e\n    a = float"), "line 11: the character '\\u202e' cannot be seen"),
    (mine("    a = float", "    x = 'a\x0cb'\n    a = float"), "line 11: the character '\\x0c' cannot be seen"),
]


@pytest.mark.parametrize(("code", "why"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_what_is_not_is_told_line_by_line(code: Written, why: str) -> None:
    found = problems(code)
    assert any(why in problem for problem in found), found
    with pytest.raises(AarError, match="cannot be tried"):
        fill(Recipe().carrying(code), BASE)


def test_all_problems_are_told_at_once() -> None:
    code = mine(OS, "import os").model_copy(update={"name": "xent", "source": "import os\nX = eval('1')\n"})
    assert len(problems(code)) >= 5


def test_a_header_is_data_and_nothing_of_a_file_is_run(tmp_path: Path) -> None:
    code = read_part(f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n" + MINE)
    assert problems(code) and not (tmp_path / "ran").exists()
    for text, why in (
        ("x = 1", "no header; begin with PART ="),
        ("x = 1\ny = (", "part.py: line 2: syntax: "),
        (MINE + DEEP, "part.py: source: cannot be parsed: it is nested too deeply"),
        (MINE + LONG, "part.py: source: nested more than 100 levels deep"),
        ("PART = dict(slot='loss')", "no header"),
        ('PART = {"slot": "schedule", "name": "x"}', r"PART.slot: Input should be 'loss', 'targets' or 'student'"),
        ('PART = {"slot": "loss", "name": "x", "space": {"a": {"low": 1}}}', "PART.space.a: Unable to extract tag"),
        ('PART = {"slot": "loss", "name": "x", "size": 3}', "PART.size: Extra inputs are not permitted"),
    ):
        with pytest.raises(AarError, match=why):
            read_part(text, "part.py")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = a" + ".b" * 4000, "nested more than 100 levels deep"),
        ("x = " + "[" * 99 + "]" * 99, "nested more than 100 levels deep"),
        ("x = " + "-" * 16000 + "1", "cannot be parsed"),
        ("x = " + "9" * 5000, "line 1: syntax: Exceeds the limit"),
        ("PART = {'slot': 'loss', 'name': 'x', 'space': {'a': {'kind': 'int', 'low': 0, 'high': 0x" + "f" * 5000
         + ", 'default': 1}}}", "line 1: a number of more than 300 digits"),
        ("x = 1e999", "line 1: a number of more than 300 digits"),
        ("x = '\ud800'", "half a character"),
        ("x = 1\x00", "line 1: syntax: source code string cannot contain null bytes"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told(text: str, why: str) -> None:
    with pytest.raises(AarError, match=f"part.py: .*{why}"):
        read_part(text, "part.py")
    try:
        code = Written(slot="loss", name="mine", source=text)
    except ValueError:
        return
    assert problems(code)


def test_a_part_without_a_header_becomes_a_file_with_one() -> None:
    bare = mine().model_copy(update={"source": MINE.replace(MINE[MINE.index("PART") : MINE.index("import")], "")})
    assert problems(bare) == [] and "PART" not in bare.source
    again = read_part(file_of(bare))
    assert (again.slot, again.name, again.space) == (bare.slot, bare.name, bare.space) and problems(again) == []
    assert file_of(mine()) == MINE


def test_a_person_reads_what_a_model_is_told() -> None:
    assert signatures() in (ROOT / "docs" / "researcher.md").read_text(encoding="utf-8")


def test_the_example_in_the_documents_is_the_one_that_was_run() -> None:
    text = (ROOT / "docs" / "researcher.md").read_text(encoding="utf-8")
    assert PARENT in text and problems(read_part(PARENT)) == problems(read_part(CHILD)) == []
    diff = difflib.unified_diff(PARENT.splitlines(), CHILD.splitlines(), "parent", "part", lineterm="")
    assert all(f"\n{line.rstrip()}\n" in text for line in diff)
    words = " ".join(text.replace("\n> ", " ").split())
    assert all(told.review in words and told.why[1:] in words and told.refute in words for told in TRIALS)
