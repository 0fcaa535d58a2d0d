"""One semantic mutation of a Python program: it still parses, and its syntax tree differs.

The kinds are those of mutation testing (DeMillo, Lipton, Sayward 1978): operator, comparison, `and`/`or`, negation,
constant, off by one, variable, `break`/`continue`. Whether a mutant behaves differently is not decided here: a few do
not (of 159 HumanEval mutants 8 pass their problem's tests), which is noise in the label.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterator

from aar.data._splits import normalised

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.GtE), ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
}  # fmt: skip
OPERATORS: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Add, ast.FloorDiv), ast.Div: (ast.Mult, ast.FloorDiv),
    ast.FloorDiv: (ast.Div, ast.Mult), ast.Mod: (ast.FloorDiv,), ast.Pow: (ast.Mult,), ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,), ast.BitAnd: (ast.BitOr,), ast.BitOr: (ast.BitAnd,), ast.BitXor: (ast.BitOr,),
}  # fmt: skip
Change = tuple[str, Callable[[], None]]
"""What kind of mutation, and the doing of it to the tree in place."""


def canonical(program: str) -> str | None:
    """The program as `ast.unparse` writes it, which drops comments and formatting; None where it does not parse."""
    tree = _parsed(program)
    return None if tree is None else ast.unparse(tree)


def mutated(program: str, seed: int) -> str | None:
    """`program` (in canonical form) with one change, in canonical form; None where nothing can be changed.

    A pure function of the text and the seed: first a kind of mutation is drawn, then a place for it.
    """
    draw = random.Random(f"{seed}\n{program}")
    kinds: dict[str, list[int]] = {}
    for i, (kind, _) in enumerate(_changes(ast.parse(program))):
        kinds.setdefault(kind, []).append(i)
    order = []
    while kinds:
        kind = draw.choice(sorted(kinds))
        order.append(kinds[kind].pop(draw.randrange(len(kinds[kind]))))
        kinds = {k: places for k, places in kinds.items() if places}
    for place in order:
        tree = ast.parse(program)  # changes are made in place, so each try begins anew
        next(change for i, (_, change) in enumerate(_changes(tree)) if i == place)()
        text = ast.unparse(ast.fix_missing_locations(tree))
        again = _parsed(text)
        if again is None or ast.dump(again) == ast.dump(ast.parse(program)) or normalised(text) == normalised(program):
            continue
        return ast.unparse(again)
    return None


def _parsed(program: str) -> ast.Module | None:
    try:
        return ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _changes(tree: ast.Module) -> Iterator[Change]:
    """Every change that can be made to the bodies of the tree's functions, always in the same order."""
    for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)):
        names = _locals(function)
        for statement in function.body:
            yield from _within(statement, names)


def _within(node: ast.AST, names: list[str]) -> Iterator[Change]:
    """Changes below `node`. Annotations, texts, nested functions (they come by themselves) are left alone."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.JoinedStr):
        return
    yield from _here(node, names)
    for field, value in ast.iter_fields(node):
        if field == "annotation":
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _within(child, names)
        if isinstance(value, list) and field in ("body", "orelse", "finalbody"):
            for i, statement in enumerate(value):
                if isinstance(statement, ast.Break | ast.Continue):
                    other = ast.Continue() if isinstance(statement, ast.Break) else ast.Break()
                    yield "jump", _setter(value, i, other)


def _here(node: ast.AST, names: list[str]) -> Iterator[Change]:
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            for other in COMPARISONS[type(op)]:
                yield "comparison", _setter(node.ops, i, other())
    elif isinstance(node, ast.BinOp) and not _is_text(node.left) and not _is_text(node.right):
        for operator in OPERATORS.get(type(node.op), ()):
            yield "operator", _setter(node, "op", operator())
    elif isinstance(node, ast.AugAssign) and not _is_text(node.value):
        for operator in OPERATORS.get(type(node.op), ()):
            yield "operator", _setter(node, "op", operator())
    elif isinstance(node, ast.BoolOp):
        yield "logic", _setter(node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.If | ast.While | ast.IfExp) and not isinstance(node.test, ast.Compare | ast.Constant):
        test = node.test
        inner = test.operand if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) else None
        yield "negation", _setter(node, "test", inner or ast.UnaryOp(ast.Not(), test))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "constant", _setter(node, "value", not node.value)
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield "constant", _setter(node, "value", node.value + 1)
        if node.value > 0:
            yield "constant", _setter(node, "value", node.value - 1)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names:
        for name in names:
            if name != node.id:
                yield "variable", _setter(node, "id", name)


def _setter(place: ast.AST | list[ast.cmpop] | list[ast.AST], key: str | int, value: object) -> Callable[[], None]:
    def change() -> None:
        if isinstance(place, list):
            place[key] = value  # type: ignore[call-overload]
        else:
            setattr(place, str(key), value)

    return change


def _locals(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Names of its parameters and of what it assigns, sorted; `self` and `cls` are no variables to confuse."""
    given = function.args
    found = {a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg) if a}
    found |= {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return sorted(found - {"self", "cls"})


def _is_text(node: ast.AST) -> bool:
    """Text, which `-` does not fit: a mutant that no writer could have meant tells itself."""
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))
