"""Parts that a hypothesis writes: what a model or a person is told to write, reading a file, and the part it becomes.

Nothing here runs what was written: on the host a written part is a name, a space and a text. `aar.train.written` runs
it, in a sandbox.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from aar.methods.losses import Loss
from aar.methods.space import PartInfo
from aar.methods.static import HEADER, IMPORTS, MOST_BYTES, MOST_PARAMETERS, is_header, problems, tree_of
from aar.methods.student import Student
from aar.methods.targets import Targets
from aar.types import AarError, Part, TaskKind, Written

KINDS: dict[str, type[PartInfo]] = {"loss": Loss, "targets": Targets, "student": Student}
NOT_FOR: Mapping[TaskKind, str] = {
    "generation": "what a written part trains is handed over as weights, and a model that writes answers is not yet"
}

_SIGNATURES = f"""\
A written part is one Python file of at most {MOST_BYTES} bytes:

    PART = {{
        "slot": "loss",                       # or "targets", or "student"
        "name": "my_loss",                    # small letters, digits, _
        "space": {{                            # its parameters, which a search then tunes; {MOST_PARAMETERS} at most
            "a": {{"kind": "float", "low": 0.1, "high": 10.0, "default": 1.0, "log": True}},
            "n": {{"kind": "int", "low": 1, "high": 5, "default": 2}},
            "how": {{"kind": "choice", "options": ["mean", "max"], "default": "mean"}},
        }},
    }}

and one function. params["a"] holds a parameter's value; every one that is declared is read, and no other.

loss: `def build(params, prior)` returns `loss(logits, y, target, weight, step_frac)`, which returns a scalar tensor.
logits (b, C) float32 are the student's, and the loss has to depend on them; y (b, C) is the weak model's soft label of
each row, target (b, C) what the targets slot made of it, weight (b,) the rows' weights, step_frac in [0, 1) the share
of training steps done. prior (C,) holds the supervisor's class shares, or is None. `build` is called once a training,
so a closure may keep state over steps. From aar.methods.losses: cross_entropy(logits, target) and kl(log_p, log_q),
both (b,), and weighted_mean(values, weight).

targets: `def make(y, params, context)` returns (target, weight, keep) as numpy arrays. y (n, C) float32 are the weak
soft labels of all transfer rows; target (n, C), rows summing to 1; weight (n,), 0 or more; keep (n,) bool, True for
rows to train on, at least one. context.seed is the training's seed. From aar.methods.targets: everything(target),
one_hot(y), and surest(y, score, q), which keeps the share q of each weak class with the highest score.

student: `def learn(trainee, params)` trains the model and returns nothing. trainee.y (n, C) are the weak labels,
trainee.training the schedule; trainee.fit(y=None, training=None, head_only=False, rows=None, adversary=None,
holdout=None) trains from the weights it has now with the recipe's targets and loss (y: other labels, rows (n,) bool:
only these); trainee.answers() gives its probabilities (n, C) on the transfer rows now; trainee.renew() goes back to the
initial weights; trainee.read(training) language-models the texts. From aar.methods.student: Adversary, Holdout.

It may import {", ".join(IMPORTS[1:])}. Outside functions stand only imports, functions and literal values. No
classes, no decorators, no names that begin with __, no files, no eval. It sees transfer texts and weak labels and
nothing that it is scored on. It is tried on 64 rows first: a loss or gradient that is not finite, a wrong shape, or no
end within two minutes ends the trial before it costs a seed."""


def signatures() -> str:
    """What a model or a person has to know to write a part; docs/researcher.md has the same text."""
    return _SIGNATURES


def read_part(text: str, where: str = "the part") -> Written:
    """A written part from its file, the header read as a literal: nothing is executed, and `problems` has not looked.

    Raises:
        AarError: it is no Python, or has no header, or one that is not as `signatures` says.
    """
    try:
        text.encode()
        tree_of(text)
    except UnicodeEncodeError as error:
        raise AarError(f"{where}: {text[error.start]!r} at character {error.start} is half a character") from None
    except AarError as error:
        raise AarError(f"{where}: {error}") from None
    header = _header(text)
    if not isinstance(header, dict):
        raise AarError(
            f'{where}: no header; begin with {HEADER} = {{"slot": "loss", "name": "my_loss", "space": {{}}}} '
            "(docs/researcher.md)"
        )
    try:
        return Written.model_validate(header | {"source": text})
    except ValidationError as error:
        told = [f"{HEADER}.{'.'.join(map(str, e['loc']))}: {e['msg']}"[:200] for e in error.errors()[:8]]
        raise AarError(f"{where}: " + "; ".join(told)) from None


def file_of(code: Written) -> str:
    """The part as a file that `read_part` reads."""
    if isinstance(_header(code.source), dict):
        return code.source
    told = {"slot": code.slot, "name": code.name}
    lines = [f"{HEADER} = {{", *(f'    "{key}": "{value}",' for key, value in told.items()), '    "space": {']
    for key, space in code.space.items():
        lines.append(f'        "{key}": {space.model_dump(exclude_defaults=True) | {"kind": space.kind}!r},')
    return "\n".join([*lines, "    },", "}", "", code.source])


def as_part(code: Written) -> type[PartInfo]:
    """A written part as the host knows it: what it is called and what can be set. It cannot be built here."""
    told: dict[str, Any] = {
        "name": code.ref, "space": dict(code.space), "paper": "written for this search", "not_for": NOT_FOR,
        "__doc__": _first_line(code) or f"A {code.slot} written for this search.",
    }  # fmt: skip
    return type(code.name, (KINDS[code.slot],), told)


def misplaced(slot: str, part: Part) -> str | None:
    """Why a part's code cannot stand where it stands, or None; for one without code always None."""
    code = part.code
    if code is None:
        return None
    if code.slot != slot or part.name != code.ref:
        return f"{slot}.{part.name} carries the code of {code.slot}.{code.ref}; a written part is named by its code"
    if found := problems(code):
        return f"{slot}.{part.name} cannot be tried: " + "; ".join(found)
    header = _header(code.source)
    if isinstance(header, dict) and read_part(code.source).digest != code.digest:
        return f"{slot}.{part.name}: its {HEADER} and what was declared beside it differ"
    return None


def _header(text: str) -> Any:
    try:
        for node in tree_of(text).body:
            if is_header(node) and isinstance(node, ast.Assign):
                return ast.literal_eval(node.value)
    except (AarError, ValueError, TypeError):
        pass
    return None


def _first_line(code: Written) -> str:
    try:
        told = ast.get_docstring(tree_of(code.source)) or ""
    except AarError:
        return ""
    return told.strip().partition("\n")[0]
