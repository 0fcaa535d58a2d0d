"""Programs and their mutants: one change, same formatting, whole modules on one side."""

from __future__ import annotations

import ast
import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from aar.data import POOLS, Prepared, prepare, read_texts, weak_draw
from aar.data._mutate import canonical, mutated
from aar.data._pools import identify
from aar.data._rows import Table
from aar.data._stdlib import interpreter, library_digest, library_table
from aar.settings import Settings
from aar.tasks import load_task
from aar.types import AarError, Stdlib
from aar.vault import Vault
from tests.data.conftest import Spec, Write
from tests.real import HUMANEVAL

FUNCTIONS = {
    "def f(a, b):\n    return a < b": {"a <= b", "a > b", "a < a", "b < b"},
    "def f(a):\n    return a and 3": {"a or 3", "a and 4", "a and 2"},
    "def f(a):\n    if not a:\n        return 1.5": {"if a:"},
    "def f(a):\n    if a:\n        return 1.5": {"if not a:"},
    "def f():\n    x = True\n    return g(x) + 'text'": {"x = False"},
    "def f():\n    while g():\n        break": {"while not g():", "continue"},
    "def f(a):\n    a += 1.5\n    return -a ** h(a)": {"a -= 1.5", "return -(a * h(a))"},
}


@pytest.mark.parametrize("program", FUNCTIONS)
def test_one_thing_is_changed_and_nothing_else(program: str) -> None:
    found = {mutated(program, seed) for seed in range(60)}
    assert None not in found
    changed = set()
    for mutant in (m for m in found if m is not None):
        lines = zip(program.splitlines(), mutant.splitlines(), strict=True)
        (new,) = (b for a, b in lines if a != b)
        changed.add(next((want for want in FUNCTIONS[program] if want in new), new))
    assert changed == FUNCTIONS[program], "every change, and no other"


def test_texts_annotations_and_names_alone_have_no_mutant() -> None:
    for body in ("'Doc 1.'", "y: 'a < 3' = f'{y + 1}' + 'b'", "raise E('7 and 8')", "return self.x"):
        assert mutated(f"def f(self, x: int=3) -> str:\n    {body}", 0) is None, body


@pytest.fixture(scope="module")
def library() -> Table:
    return library_table(Stdlib(per_module=3))


def test_a_mutant_parses_differs_and_is_written_as_the_unparser_writes(library: Table) -> None:
    codes = library.columns["code"][::5]
    none = 0
    for code in codes:
        assert ast.unparse(ast.parse(code)) == code
        mutant = mutated(code, 3)
        assert mutant == mutated(code, 3), "a function of text and seed"
        if mutant is None:
            none += 1
            continue
        assert ast.unparse(ast.parse(mutant)) == mutant
        assert ast.dump(ast.parse(mutant)) != ast.dump(ast.parse(code))
        assert sum(a != b for a, b in zip(code.splitlines(), mutant.splitlines(), strict=True)) == 1, "one place"
    assert len(codes) > 100 and none < len(codes) / 4
    assert any(mutated(code, 3) != mutated(code, 4) for code in codes)


def test_comments_and_formatting_go_and_docstrings_on_request(tmp_path: Path) -> None:
    loose = "def f( a ):   # says all\n    '''Doc.'''\n\n    a = 1\n    return (a)  # mutated\n"
    kept = 'def f(a):\n    """Doc."""\n    a = 1\n    return a'
    assert canonical(loose) == kept
    (tmp_path / "m.py").write_text(loose)
    for docstrings, code in ((True, kept), (False, "def f(a):\n    a = 1\n    return a")):
        assert library_table(Stdlib(docstrings=docstrings), tmp_path).columns["code"] == [code]
    assert canonical("def f(:\n") is None and canonical("") == ""


def test_the_library_is_read_from_files_in_a_fixed_order_within_bounds(tmp_path: Path, library: Table) -> None:
    (tmp_path / "pack" / "test").mkdir(parents=True)
    body = "def {0}(x):\n    y = x + 1\n    return y\n"
    (tmp_path / "pack" / "__init__.py").write_text(body.format("a") + "class C:\n    def b(self):\n        pass\n")
    five = "".join(body.format(f"f{i}") for i in range(5))
    (tmp_path / "early.py").write_text("raise SystemExit('imported')\n" + five)
    (tmp_path / "pack" / "test" / "test_a.py").write_text(body.format("no"))
    (tmp_path / "broken.py").write_text("def f(:\n")
    table = library_table(Stdlib(per_module=3), tmp_path)
    assert list(zip(table.columns["module"], table.columns["name"], strict=True)) == [
        ("early", "f0"), ("early", "f1"), ("early", "f2"), ("pack", "a"),
    ]  # fmt: skip
    assert not library_table(Stdlib(min_lines=4), tmp_path).columns["code"]
    assert not library_table(Stdlib(max_characters=20), tmp_path).columns["code"]
    first = library_digest(tmp_path)
    (tmp_path / "early.py").write_text(body.format("f"))
    assert library_digest(tmp_path) != first
    assert {"json.decoder", "textwrap"} <= set(library.columns["module"])
    assert not any("test" in module.split(".") for module in library.columns["module"])


def labelled(made: Prepared, settings: Settings, split: str) -> list[tuple[str, int]]:
    truth = Vault(settings.folder("vault")).truth(made.digest, split).tolist()
    return list(zip(read_texts(made, split), truth, strict=True))


SMALL = [
    "data.stdlib.per_module=3", "splits.weak_train=100", "splits.weak_val=20", "splits.transfer=200", "splits.dev=100",
    "splits.test=100",
]  # fmt: skip


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, Settings]:
    settings = Settings(workspace=tmp_path_factory.mktemp("code"))
    return prepare(load_task("code-mutations", SMALL)[0], settings), settings


def test_classes_are_equal_and_versions_and_modules_stay_on_one_side(
    shipped: tuple[Prepared, Settings], library: Table
) -> None:
    made, settings = shipped
    assert made.classes == ("mutated", "correct")
    module_of: dict[str, str] = {}
    for code, module in zip(library.columns["code"], library.columns["module"], strict=True):
        module_of.setdefault(code, module)
    modules: dict[str, str] = {}
    for split in POOLS:
        rows = labelled(made, settings, split)
        assert [label for _, label in rows].count(1) * 2 == len(rows), f"{split}: as many mutants as programs"
        correct = [text for text, label in rows if label == 1]
        assert {mutated(text, 0) for text in correct} == {text for text, label in rows if label == 0}
        for text in correct:
            assert modules.setdefault(module_of[text], split) == split
    train, val = weak_draw(made, 0)
    assert (len(train), len(val)) == (100, 20)


def test_word_counts_do_not_give_the_label_away(shipped: tuple[Prepared, Settings]) -> None:
    """Naive Bayes over words, trained on one split, is near chance on another."""
    made, settings = shipped
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for text, label in labelled(made, settings, "weak_pool"):
        counts[label].update(set(text.split()))
    test = labelled(made, settings, "transfer")
    right = 0
    for text, label in test:
        score = sum((counts[1][w] + 1) / (counts[0][w] + counts[1][w] + 2) - 0.5 for w in set(text.split()))
        right += (score > 0) == bool(label)
    assert 0.4 < right / len(test) < 0.65
    lengths = {label: [len(t) for t, y in test if y == label] for label in (0, 1)}
    assert abs(sum(lengths[0]) / len(lengths[0]) - sum(lengths[1]) / len(lengths[1])) < 5


def test_the_digest_says_which_python(
    shipped: tuple[Prepared, Settings], settings: Settings, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = shipped
    assert list(made.files) == [f"standard library of {interpreter()}"]
    assert made.files == {f"standard library of {interpreter()}": library_digest()}
    for task in ("code-mutations", "humaneval"):
        file = write("a.jsonl", [problem(1)])
        spec = load_task(task, SMALL if task == "code-mutations" else [f"data.files.all={file}"])[0]
        with monkeypatch.context() as other:
            here = identify(spec, settings).content
            assert identify(spec, settings).content == here
            other.setattr("platform.python_version", lambda: "3.99.0")
            assert identify(spec, settings).content != here


def problem(i: int) -> dict[str, Any]:
    return {"id": i, "ask": f"Add {i}.", "head": f"def add{i}(a):\n", "body": f"    return a + {i + 3}  # right\n"}


def test_programs_of_files_are_mutated_at_preparation(settings: Settings, write: Write, spec: Spec) -> None:
    rows = [problem(i) for i in range(150)]
    rows[7] |= {"body": "    return a +\n"}
    rows[8] |= {"body": "    return a.b\n"}
    rows += [{**problem(3), "id": 999}]
    data = {"files": {"all": write("a.jsonl", rows)}, "mutate": {"program": "{head}{body}"}, "text": "{ask}\n{program}"}
    made = prepare(spec(data, {"group_by": "id"}), settings)
    assert sum(made.counts.values()) == 2 * 148 and "# right" not in read_texts(made, "dev")[0]
    notes = "\n".join(made.notes)
    assert "1 bad rows left out: the program does not parse (line 8)" in notes
    assert "1 rows were left out: a program in which nothing can be mutated" in notes
    assert "1 rows were left out: a program that was there before" in notes
    for text, label in labelled(made, settings, "dev"):
        ask, program = text.split("\n", 1)
        i = int(ask.removeprefix("Add ").removesuffix("."))
        assert (program == f"def add{i}(a):\n    return a + {i + 3}") == (label == 1)
    other = prepare(spec({**data, "mutate": {"program": "{head}{body}", "seed": 1}}, {"group_by": "id"}), settings)
    assert other.digest != made.digest and read_texts(other, "dev") != read_texts(made, "dev")
    for row in rows[:8]:
        row["body"] = "(\n"
    with pytest.raises(AarError, match="8 of 151 rows are bad.*\n.*the program does not parse"):
        prepare(spec({**data, "files": {"all": write("b.jsonl", rows)}}, {"group_by": "id"}), settings)


@pytest.mark.skipif(not HUMANEVAL.is_file(), reason="no shared/data/humaneval beside the repository")
def test_humaneval_and_its_mutants(settings: Settings) -> None:
    spec, _ = load_task("humaneval", [f"data.files.all={HUMANEVAL}"])
    made = prepare(spec, settings)
    assert sum(made.counts.values()) == 2 * 159
    with gzip.open(HUMANEVAL, "rt") as lines:
        problems = [json.loads(line) for line in lines]
    known = {canonical(row["prompt"] + row["canonical_solution"]) for row in problems}
    for split in POOLS:
        assert all((text in known) == (label == 1) for text, label in labelled(made, settings, split))
    draw = random.Random(0)
    failed = sum(not passes(str(mutated(str(canonical(p["prompt"] + p["canonical_solution"])), 0)), p) for p in
                 draw.sample([p for p in problems if "while" not in p["canonical_solution"]], 20))  # fmt: skip
    assert failed >= 16, "mutants fail their problem's tests"


def passes(program: str, row: dict[str, Any]) -> bool:
    """HumanEval's own tests on a mutant of its own solution; loops without end are kept out by the caller."""
    scope: dict[str, Any] = {}
    try:
        exec(f"{program}\n{row['test']}\ncheck({row['entry_point']})", scope)
    except Exception:
        return False
    return True
