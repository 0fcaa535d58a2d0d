"""What can be said of a written part without running it: every problem at once, so that one answer mends them all.

This is a courtesy to whoever wrote the part. It keeps nobody out: Python has more ways round a list of forbidden words
than a list has words. The wall is the sandbox (docs/security.md).
"""

from __future__ import annotations

import ast
import builtins
import math
import re
from collections.abc import Iterator
from functools import lru_cache

from aar.methods.losses import LOSSES
from aar.methods.student import STUDENTS
from aar.methods.targets import TARGETS
from aar.types import SLOTS, AarError, Choice, Space, Value, Written

MOST_BYTES = 16_384
MOST_PARAMETERS = 8
MOST_OPTIONS, LONGEST_OPTION = 20, 40
MOST = {"int": 1e9, "float": 1e12}
"""Bounds of what can be searched, either side of 0."""
DEEPEST = 100
"""Levels of nesting: what Python's parser takes, and those who walk over what it gives do not."""
NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,30}")
HEADER = "PART"
FUNCTIONS = {
    "loss": ("build", ("params", "prior")),
    "targets": ("make", ("y", "params", "context")),
    "student": ("learn", ("trainee", "params")),
}
"""What a part of each slot has to define, and its arguments."""
LOSS = ("logits", "y", "target", "weight", "step_frac")
"""Arguments of what a loss's `build` returns."""
IMPORTS = (
    "__future__", "aar.methods.losses", "aar.methods.student", "aar.methods.targets", "collections", "math", "numpy",
    "torch", "torch.nn", "torch.nn.functional", "typing",
)  # fmt: skip
WORDS = frozenset(
    "breakpoint classmethod compile delattr dir eval exec exit getattr globals help input locals memoryview object "
    "open quit setattr staticmethod super type vars".split()
)
ATTRIBUTES = frozenset(
    "classes cpp_extension ctypeslib distributed dump dumps f2py format format_map fromfile fromregex genfromtxt hub "
    "importlib inspect io jit library load loads loadtxt memmap mro multiprocessing ops os package pathlib pickle "
    "savetxt save savez shutil subprocess sys tofile utils".split()
)
"""Ways to files, processes and the insides of Python."""
BUILT_IN = {"loss": frozenset(LOSSES), "targets": frozenset(TARGETS), "student": frozenset(STUDENTS)}
TAKEN = frozenset(
    "Adversary Choice Context Float Holdout Int Loss LossFn Made Mapping Space Student Targets Tensor Trainee "
    "Value".split()
) | frozenset(dir(builtins))
"""Classes that a part which is exported stands beside."""


def problems(code: Written) -> list[str]:
    """What is wrong with a written part, in sentences with line numbers; nothing is executed."""
    found = [*_named(code), *_spaces(code.space)]
    size = len(code.source.encode(errors="replace"))
    if size > MOST_BYTES:
        return [*found, f"source: {size} bytes; at most {MOST_BYTES}"]
    try:
        tree = tree_of(code.source)
    except AarError as error:
        return [*found, str(error)]
    return [
        *found, *_letters(code.source), *_top(tree), *_words(tree), *_function(tree, code), *_parameters(tree, code)
    ]  # fmt: skip


def tree_of(source: str) -> ast.Module:
    """A part's source as a tree that can be walked over.

    Raises:
        AarError: it is no Python, or nested too deeply, or holds a number of hundreds of digits.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise AarError(f"line {error.lineno or 1}: syntax: {error.msg}") from None
    except RecursionError:
        raise AarError(f"source: nested more than {DEEPEST} levels deep") from None
    except (ValueError, MemoryError) as error:
        raise AarError(f"source: cannot be parsed: {str(error) or 'it is nested too deeply'}") from None
    level: list[ast.AST] = [tree]
    for _ in range(DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        for node in level:
            value = node.value if isinstance(node, ast.Constant) else None
            if (isinstance(value, int) and value.bit_length() > 1000) or value == math.inf:
                raise AarError(f"line {getattr(node, 'lineno', 0)}: a number of more than 300 digits")
    if level:
        raise AarError(f"source: nested more than {DEEPEST} levels deep")
    return tree


def bare(tree: ast.Module) -> ast.Module:
    """The tree without docstrings and other statements that are only a constant. `tree` itself is changed."""
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            if isinstance(held := getattr(node, name, None), list):
                setattr(node, name, [n for n in held if not _idle(n)])
    return tree


@lru_cache(maxsize=512)
def essence(source: str) -> str:
    """What a part does, the same for two that differ in comments, docstrings, layout or header; else the source."""
    try:
        tree = bare(tree_of(source))
    except AarError:
        return source
    tree.body = [node for node in tree.body if not is_header(node)]
    return ast.dump(tree)


def is_header(node: ast.stmt) -> bool:
    """Is it `PART = ...`?"""
    return isinstance(node, ast.Assign) and [t.id for t in node.targets if isinstance(t, ast.Name)] == [HEADER]


def _idle(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def class_name(name: str) -> str:
    """What a part's class is called once it is exported."""
    return "".join(word.capitalize() for word in name.split("_"))


def _named(code: Written) -> Iterator[str]:
    if not NAME.fullmatch(code.name):
        yield f"name {code.name!r}: want a small letter, then up to 30 of a-z, 0-9 and _"
    if code.name in BUILT_IN[code.slot]:
        yield f"name {code.name!r}: a {code.slot} of this package has it; give another"
    elif code.name in SLOTS or class_name(code.name) in TAKEN:
        yield f"name {code.name!r}: a slot or a class that parts use is called so; give another"


def _letters(source: str) -> Iterator[str]:
    """What is read is what is run: no marks that turn text round, no line that only some readers break."""
    for number, line in enumerate(source.replace("\r\n", "\n").split("\n"), 1):
        if odd := next((c for c in line if not (c.isprintable() or c == "\t")), None):
            yield f"line {number}: the character {odd!r} cannot be seen; write it as an escape"


def _spaces(space: dict[str, Space]) -> Iterator[str]:
    if len(space) > MOST_PARAMETERS:
        yield f"space: {len(space)} parameters; at most {MOST_PARAMETERS}: a small gain by ugly code is not a gain"
    for key, s in space.items():
        if not PARAMETER.fullmatch(key):
            yield f"space: {key[:40]!r} is no name of a parameter; want a letter, then up to 30 of a-z, A-Z, 0-9 and _"
        if getattr(s, "inherit", False) or getattr(s, "relative", False):
            yield f"space.{key}: inherit and relative are for the schedule's parameters"
        if isinstance(s, Choice):
            yield from (f"space.{key}: {why}" for why in _options(s))
            continue
        if not all(abs(v) <= MOST[s.kind] for v in (s.low, s.high)):
            yield f"space.{key}: no range to search; want {s.kind}s from {-MOST[s.kind]:g} to {MOST[s.kind]:g}"
            continue
        if not s.low < s.high or not s.low <= s.default <= s.high:
            yield f"space.{key}: want low < high with default between them, got {s.low}, {s.high}, {s.default}"
        if s.log and s.low <= 0:
            yield f"space.{key}: a log scale begins above 0, not at {s.low}"


def _options(space: Choice) -> Iterator[str]:
    if len(space.options) > MOST_OPTIONS:
        yield f"{len(space.options)} options; at most {MOST_OPTIONS}"
    elif odd := [o for o in space.options if not _plain(o)]:
        yield (
            f"option {str(odd[0])[:60]!r}: want at most {LONGEST_OPTION} printable characters, or a number of at most "
            f"{MOST['float']:g}"
        )
    elif len(set(space.options)) < len(space.options):
        yield f"of the options {list(space.options)} two are equal (1, 1.0 and True are)"
    elif space.default not in space.options:
        yield f"default {str(space.default)[:60]!r} is not among the options {list(space.options)}"


def _plain(option: Value) -> bool:
    if isinstance(option, str):
        return option.isprintable() and 0 < len(option) <= LONGEST_OPTION
    return abs(option) <= MOST["float"]


def _top(tree: ast.Module) -> Iterator[str]:
    """At the top stand a docstring, imports, functions and literals: importing it computes nothing."""
    bound: dict[str, str] = {}
    for node in tree.body:
        if node.col_offset:
            yield f"line {node.lineno}: outside functions one statement a line"
        for name, what in names_of(node):
            if bound.setdefault(name, what) != what:
                yield f"line {node.lineno}: {name} is bound before, to something else"
        if isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.FunctionDef):
            if node.decorator_list:
                yield f"line {node.lineno}: {node.name} is decorated; write it plainly"
            defaults = [*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)]
            if not all(_literal(d) for d in defaults):
                yield f"line {node.lineno}: a default of {node.name} is no literal"
        elif isinstance(node, ast.Assign):
            if not _literal(node.value) or not all(isinstance(t, ast.Name) for t in node.targets):
                yield f"line {node.lineno}: outside functions only a name = a literal value"
        elif isinstance(node, ast.AnnAssign):
            if node.value is None or not _literal(node.value) or not isinstance(node.target, ast.Name):
                yield f"line {node.lineno}: outside functions only a name = a literal value"
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            yield f"line {node.lineno}: outside functions only imports, functions and literal values"


def names_of(node: ast.stmt) -> Iterator[tuple[str, str]]:
    """Names that a statement outside functions binds, each with what tells two bindings apart."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            root = alias.name.partition(".")[0]
            yield (alias.asname, alias.name) if alias.asname else (root, root)
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name, f"{node.module}.{alias.name}"
    elif isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name, f"line {node.lineno}"
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from ((t.id, f"line {node.lineno}") for t in targets if isinstance(t, ast.Name))


def _words(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        where = f"line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name not in IMPORTS:
                    yield f"{where}: import {alias.name}: not allowed; there are {', '.join(IMPORTS[1:])}"
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module not in IMPORTS:
                module = "." * node.level + (node.module or "")
                yield f"{where}: import from {module}: not allowed; there are {', '.join(IMPORTS[1:])}"
            for alias in node.names:
                if alias.name == "*" or alias.name.startswith("_") or alias.name in ATTRIBUTES | WORDS:
                    yield f"{where}: import of {alias.name}: not allowed"
        elif isinstance(node, ast.Name) and (node.id.startswith("__") or node.id in WORDS):
            yield f"{where}: {node.id}: not allowed"
        elif isinstance(node, ast.Attribute) and (node.attr.startswith("_") or node.attr in ATTRIBUTES):
            yield f"{where}: .{node.attr}: not allowed"
        elif isinstance(node, ast.ClassDef | ast.AsyncFunctionDef | ast.Await | ast.Global):
            yield f"{where}: {type(node).__name__}: not allowed; functions and closures are enough"


def _function(tree: ast.Module, code: Written) -> Iterator[str]:
    name, wanted = FUNCTIONS[code.slot]
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    said = f"def {name}({', '.join(wanted)})"
    if len(found) != 1:
        yield f"a {code.slot} defines one function {said}; here are {len(found)}"
        return
    if _arguments(found[0].args) != wanted:
        yield f"line {found[0].lineno}: want {said}, got ({', '.join(_arguments(found[0].args))})"
    inner = [n for n in ast.walk(found[0]) if isinstance(n, ast.FunctionDef | ast.Lambda) and n is not found[0]]
    if code.slot == "loss" and not any(_arguments(n.args) == LOSS for n in inner):
        yield f"line {found[0].lineno}: {name} has to return a function ({', '.join(LOSS)}); it defines none"


def _parameters(tree: ast.Module, code: Written) -> Iterator[str]:
    """What is read of `params` is what the space declares."""
    read: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "params":
            if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
                read.setdefault(node.slice.value, node.lineno)
            else:
                yield f'line {node.lineno}: read parameters by name: params["a"]'
    for key, line in read.items():
        if key not in code.space:
            yield f"line {line}: params[{key!r}] is not declared; space has {', '.join(code.space) or 'no parameter'}"
    for key in code.space:
        if key not in read:
            yield f"space.{key}: declared, but params[{key!r}] is never read"


def _arguments(args: ast.arguments) -> tuple[str, ...]:
    plain = [a.arg for a in (*args.posonlyargs, *args.args)]
    plain += [f"*{args.vararg.arg}"] if args.vararg else []
    plain += [a.arg for a in args.kwonlyargs]
    return (*plain, *([f"**{args.kwarg.arg}"] if args.kwarg else []))


def _literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True
