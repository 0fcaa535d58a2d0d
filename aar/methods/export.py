"""A written part as a file of this package: a class in the form of its slot's folder, ready for a pull request."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from aar.methods.static import FUNCTIONS, bare, class_name, is_header, names_of, problems, tree_of
from aar.types import AarError, Choice, Space, Value, Written

PACKAGES = {"loss": "losses", "targets": "targets", "student": "student"}
_BASE = {"loss": "Loss", "targets": "Targets", "student": "Student"}
_HEADS = {
    "loss": "def build(cls, params: Mapping[str, Value], prior: Tensor | None = None) -> LossFn:",
    "targets": "def make(cls, y: NDArray[np.float32], params: Mapping[str, Value], context: Context) -> Made:",
    "student": "def learn(cls, trainee: Trainee, params: Mapping[str, Value]) -> None:",
}
_NEEDED = {
    "loss": {"aar.methods.losses._base": ["Loss"]},
    "targets": {"aar.methods.targets._base": ["Context", "Made", "Targets"], "numpy.typing": ["NDArray"]},
    "student": {"aar.methods.student._base": ["Student", "Trainee"]},
}
_SAYS = {"loss": "The loss of a batch.", "targets": "Targets from weak labels.", "student": "Train it."}
_TYPED = """\
if TYPE_CHECKING:
    from torch import Tensor

    from aar.methods.losses._base import LossFn
"""


def export(code: Written, paper: str, provenance: Sequence[str]) -> str:
    """The file. `paper` is the part's source, `provenance` sentences for a comment above it.

    torch is imported inside functions, as the house does it, so that the host lists the part without torch; everything
    else stays as it was written, and what was made is compared with the source before it is handed over.

    Raises:
        AarError: the part has problems, or no such file says plainly what its source says.
    """
    if found := problems(code):
        raise AarError(f"{code.ref} cannot be exported: " + "; ".join(found))
    text = _text(code, paper, provenance)
    if why := _differs(text, code):
        raise AarError(
            f"{code.ref} cannot be exported: {why}; take it as it was written (`aar export-part --source`), or write "
            "it more plainly"
        )
    return text


def _text(code: Written, paper: str, provenance: Sequence[str]) -> str:
    tree = _split(tree_of(code.source))
    lines = code.source.replace("\r\n", "\n").split("\n")
    name, _ = FUNCTIONS[code.slot]
    doc = (ast.get_docstring(tree) or "").strip() or f"A {code.slot} that a search wrote."
    torch = [node for node in tree.body if _root(node) == "torch"]
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    main = next(node for node in functions if node.name == name)
    parts = [
        "\n".join(_docstring(doc.partition("\n")[0], "")),
        "from __future__ import annotations",
        _imports(tree, code),
    ]
    if code.slot == "loss":
        parts.append(_TYPED.rstrip())
    constants = [node for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign) and not is_header(node)]
    if constants:
        parts.append("\n".join("\n".join(lines[node.lineno - 1 : node.end_lineno]) for node in constants))
    whole = "\n\n".join(parts)
    for node in functions:
        if node is not main:
            returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
            head = [f"def {node.name}({ast.unparse(node.args)}){returns}:"]
            whole += "\n\n\n" + "\n".join([*head, *_body(node, lines, torch, 0)])
    return whole + "\n\n\n" + "\n".join(_class(code, doc, paper, provenance, main, lines, torch)) + "\n"


def _class(
    code: Written, doc: str, paper: str, provenance: Sequence[str], main: ast.FunctionDef, lines: list[str],
    torch: list[ast.stmt],
) -> Iterator[str]:  # fmt: skip
    yield f"class {class_name(code.name)}({_BASE[code.slot]}):"
    yield from _docstring(doc, "    ")
    yield ""
    yield from (f"    # {' '.join(line.split())}" for line in provenance)
    yield f'    name = "{code.name}"'
    yield f"    paper = {_quoted(paper)}"
    if code.space:
        yield "    space: ClassVar[dict[str, Space]] = {"
        yield from (f'        "{key}": {_declared(space)},' for key, space in code.space.items())
        yield "    }"
    yield ""
    yield "    @classmethod"
    yield f"    {_HEADS[code.slot]}"
    if ast.get_docstring(main) is None:
        yield f'        """{_SAYS[code.slot]}"""'
    yield from _body(main, lines, torch, 4)


def _body(node: ast.FunctionDef, lines: list[str], torch: list[ast.stmt], deeper: int) -> Iterator[str]:
    """A function's lines below its head, indented `deeper`, with the imports of torch that it uses."""
    used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    wanted = [ast.unparse(i) for i in torch if used & _bound(i)]
    pad = " " * (4 + deeper)
    documented = ast.get_docstring(node) is not None
    # Inside a string of several lines indentation is content.
    held = {
        line
        for n in ast.walk(node)
        if isinstance(n, ast.Constant | ast.JoinedStr) and not (documented and n is _doc(node))
        for line in range(n.lineno + 1, (n.end_lineno or n.lineno) + 1)
    }
    if lines[node.body[0].lineno - 1].encode()[: node.body[0].col_offset].strip():  # on the line of the head
        yield from (f"{pad}{line}" for line in [*wanted, *(ast.unparse(s) for s in node.body)])
        return
    start, own = _first(node, lines), node.body[0].col_offset
    told = (node.body[0].end_lineno or 0) if documented else start - 1
    for number in range(start, (node.end_lineno or start) + 1):
        if number == told + 1 and wanted:
            yield from (f"{pad}{line}" for line in wanted)
            yield ""
        line = lines[number - 1]
        deep = min(own, len(line) - len(line.lstrip()))
        yield line if number in held else f"{pad}{line[deep:]}" if line.strip() else ""


def _first(node: ast.FunctionDef, lines: list[str]) -> int:
    """The number of the first line below a function's head, comments included."""
    first = node.body[0]
    at: int = min([first.lineno, *(d.lineno for d in getattr(first, "decorator_list", []))])
    while at - 1 > node.lineno and lines[at - 2].strip().startswith("#"):
        at -= 1
    return at


def _imports(tree: ast.Module, code: Written) -> str:
    """Import lines in three groups, torch left out; what the source takes from its own slot it takes from the base."""
    plain: set[str] = {"import numpy as np"} if code.slot == "targets" else set()
    named: dict[str, set[str]] = {"collections.abc": {"Mapping"}}
    named["typing"] = ({"TYPE_CHECKING"} if code.slot == "loss" else set()) | ({"ClassVar"} if code.space else set())
    kinds = {type(space).__name__ for space in code.space.values()} | {"Space"}
    named |= {"aar.types": {"Value"}, **({"aar.methods.space": kinds} if code.space else {})}
    for module, needed in _NEEDED[code.slot].items():
        named[module] = set(needed)
    own = f"aar.methods.{PACKAGES[code.slot]}"
    for node in tree.body:
        if isinstance(node, ast.Import) and _root(node) != "torch":
            plain |= {f"import {a.name}" + (f" as {a.asname}" if a.asname else "") for a in node.names}
        if isinstance(node, ast.ImportFrom) and node.module != "__future__" and _root(node) != "torch":
            module = f"{own}._base" if node.module == own else str(node.module)
            words = {a.name + (f" as {a.asname}" if a.asname else "") for a in node.names}
            named[module] = named.get(module, set()) | words
    told = [(line.split()[1], line) for line in plain]
    told += [(m, f"from {m} import {', '.join(sorted(w, key=_order))}") for m, w in named.items() if w]
    groups: list[list[str]] = [[], [], []]
    for module, line in sorted(told, key=lambda t: (t[1].startswith("from"), t[0])):
        root = module.partition(".")[0]
        groups[2 if root == "aar" else 1 if root == "numpy" else 0].append(line)
    return "\n\n".join("\n".join(group) for group in groups if group)


def _order(word: str) -> tuple[int, str]:
    """As import sorters do: CONSTANTS, Classes, functions."""
    return (0 if word.isupper() and len(word) > 1 else 1 if word[0].isupper() else 2, word)


def _declared(space: Space) -> str:
    fields = {k: v for k, v in space.model_dump(exclude={"kind"}).items() if v is not False}
    if isinstance(space, Choice):
        fields["options"] = tuple(fields["options"])
        fields["default"] = space.default
    return f"{type(space).__name__}({', '.join(f'{k}={_quoted(v)}' for k, v in fields.items())})"


def _quoted(value: Value | tuple[Value, ...]) -> str:
    if isinstance(value, str):
        return '"' + _escaped(value).replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, tuple):
        return f"({', '.join(map(_quoted, value))}{',' if len(value) == 1 else ''})"
    return repr(value)


def _docstring(text: str, pad: str) -> Iterator[str]:
    """A docstring's lines, with nothing in it that could end it early."""
    told = _escaped(text)
    if '"""' in told or told.endswith('"'):
        told = told.replace('"', '\\"')
    first, *rest = told.split("\n")
    yield f'{pad}"""{first}' + ('"""' if not rest else "")
    yield from (f"{pad}{line}".rstrip() for line in rest)
    if rest:
        yield f'{pad}"""'


def _escaped(text: str) -> str:
    """What cannot be seen, and backslashes, as Python writes them; new lines stay."""
    return "".join(c if c == "\n" or (c.isprintable() and c != "\\") else repr(c)[1:-1] for c in text)


def _doc(node: ast.FunctionDef) -> ast.expr | None:
    first = node.body[0]
    return first.value if isinstance(first, ast.Expr) else None


def _root(node: ast.stmt) -> str:
    """The package that an import is of, "" for what is no import."""
    if isinstance(node, ast.Import):
        return node.names[0].name.partition(".")[0]
    return (node.module or "").partition(".")[0] if isinstance(node, ast.ImportFrom) else ""


def _bound(node: ast.stmt) -> set[str]:
    assert isinstance(node, ast.Import | ast.ImportFrom), "one of the imports"
    return {alias.asname or alias.name.partition(".")[0] for alias in node.names}


def _split(tree: ast.Module) -> ast.Module:
    """The tree with one name for each `import`."""
    body: list[ast.stmt] = []
    for node in tree.body:
        names = node.names if isinstance(node, ast.Import) else []
        body += [ast.Import(names=[alias]) for alias in names] or [node]
    return ast.Module(body=body, type_ignores=[])


def _differs(text: str, code: Written) -> str:
    """What a made file does that the source does not, or the reverse; "" for nothing."""
    try:
        made, own = bare(tree_of(text)), _split(bare(tree_of(code.source)))
    except AarError as error:
        return f"its file would be no Python ({error})"
    main, _ = FUNCTIONS[code.slot]
    if any(isinstance(node, ast.Name) and node.id == main for node in ast.walk(own)):
        return f"{main} calls itself"
    bound: dict[str, str] = {"cls": "", main: ""}
    for name, what in (pair for node in made.body for pair in names_of(node)):
        if bound.setdefault(name, what) != what:
            return f"its file would bind {name} twice"
    torch = {ast.dump(node) for node in own.body if _root(node) == "torch"}
    typed = ast.dump(ast.parse(_TYPED).body[0])
    rest = [n for n in made.body if not isinstance(n, ast.Import | ast.ImportFrom) and ast.dump(n) != typed]
    constants = [n for n in own.body if isinstance(n, ast.Assign | ast.AnnAssign) and not is_header(n)]
    functions = [n for n in own.body if isinstance(n, ast.FunctionDef) and n.name != main]
    if [_told(n, torch) for n in rest[:-1]] != [_told(n, torch) for n in (*constants, *functions)]:
        return "outside its class its file would not do what the source does"
    (entry,) = (n for n in own.body if isinstance(n, ast.FunctionDef) and n.name == main)
    shell = f"class {class_name(code.name)}({_BASE[code.slot]}):\n    @classmethod\n    {_HEADS[code.slot]} ..."
    wanted, found = ast.parse(shell).body[0], rest[-1]
    assert isinstance(wanted, ast.ClassDef) and isinstance(wanted.body[0], ast.FunctionDef), "as written above"
    wanted.body[0].body = entry.body
    if not isinstance(found, ast.ClassDef):
        return "its file would not end with its class"
    *declared, method = found.body
    found.body = [method]
    names = [name for node in declared for name, _ in names_of(node)]
    if names != ["name", "paper", *(["space"] if code.space else [])] or _told(found, torch) != _told(wanted, torch):
        return "its class would not do what the source does"
    return ""


def _told(node: ast.AST, torch: set[str]) -> str:
    """A statement, less the imports of torch with which its function begins."""
    held = node.body[0] if isinstance(node, ast.ClassDef) else node
    while isinstance(held, ast.FunctionDef) and held.body and ast.dump(held.body[0]) in torch:
        held.body.pop(0)
    return ast.dump(node)
