"""Functions of the running interpreter's standard library, read from its files; no module is imported."""

from __future__ import annotations

import ast
import hashlib
import platform
import sysconfig
import tokenize
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from aar.data._rows import Table
from aar.types import AarError, Stdlib

COLUMNS = ("module", "name", "code")
LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "lib2to3"}
"""Folders that are no library: tests, what was installed later, and grammars of other Pythons."""


def interpreter() -> str:
    """Which Python this is, to the patch level: its library, its parser and its unparser all make the data."""
    return f"{platform.python_implementation()} {platform.python_version()}"


def library_digest(root: Path | None = None) -> str:
    """sha256 over the names and contents of the library's files: distributions patch it."""
    whole = hashlib.sha256()
    for name, path in _files(root or _root()):
        whole.update(f"{name}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def library_table(spec: Stdlib, root: Path | None = None) -> Table:
    """One row a function, modules in the order of their names, functions in the order in which they stand.

    The code is as `ast.unparse` writes it: no comments, one formatting. Methods are functions too; those inside another
    function are not rows of their own.
    """
    columns: dict[str, list[str]] = {column: [] for column in COLUMNS}
    for module, path in _files(root or _root()):
        for name, code in islice(_functions(path, spec), spec.per_module):
            for column, value in zip(COLUMNS, (module, name, code), strict=True):
                columns[column].append(value)
    return Table("standard library", dict(columns), range(1, len(columns["code"]) + 1), "row")


def _functions(path: Path, spec: Stdlib) -> Iterator[tuple[str, str]]:
    """(qualified name, code) of each function of a file that is neither too short nor too long."""
    try:
        with tokenize.open(path) as file:
            tree = ast.parse(file.read())
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return
    if not spec.docstrings:
        _drop_docstrings(tree)
    stack: list[tuple[str, list[ast.stmt]]] = [("", tree.body)]
    while stack:
        prefix, body = stack.pop(0)
        for node in body:
            if isinstance(node, ast.ClassDef):
                stack.append((f"{prefix}{node.name}.", node.body))
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                code = ast.unparse(node)
                if len(code) <= spec.max_characters and spec.min_lines <= code.count("\n") + 1 <= spec.max_lines:
                    yield f"{prefix}{node.name}", code


def _drop_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]


def _files(root: Path) -> list[tuple[str, Path]]:
    """(dotted module, file) of the library, by name."""
    found = []
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        if not LEFT_OUT.intersection(parts) and not any(p.startswith((".", "config-")) for p in parts):
            found.append((".".join(parts).removesuffix(".__init__"), path))
    return sorted(found)


def _root() -> Path:
    root = Path(sysconfig.get_path("stdlib"))
    if not (root / "json" / "decoder.py").is_file():
        raise AarError(f"data.stdlib: {root}: this Python keeps no source files of its library there; use another one")
    return root
