"""Pydantic's errors as lines a person can act on: `tasks/x.yaml: splits.dev: 0: must be >= 1`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from aar.tasks._check import nearest
from aar.tasks._read import Origins, Raw, origin_of
from aar.types import TaskSpec

PLAIN = {
    "string_type": "must be text (quote it)",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "tuple_type": "must be a list",
}
BOUNDS = {"greater_than_equal": ("ge", ">="), "greater_than": ("gt", ">"), "less_than_equal": ("le", "<=")}


def readable(error: ValidationError, raw: Raw, origins: Origins, default: str) -> str:
    """One line per field: where it was given, the field, the value, what would be right."""
    lines: dict[str, list[str]] = {}
    for detail in error.errors():
        path = tuple(_path(detail, raw))
        where = origin_of(path, origins, default)
        head = f"{where}: {'.'.join(path)}"
        if detail["type"] not in ("missing", "extra_forbidden"):
            head += f": {detail['input'] if isinstance(detail['input'], str) else repr(detail['input'])[:80]}"
        lines.setdefault(head, []).append(_why(detail, path))
    joined = {head: " or ".join(dict.fromkeys(why)).replace(" or must be", " or") for head, why in lines.items()}
    return "\n".join(f"{head}: {why}" for head, why in joined.items())


def _path(detail: ErrorDetails, raw: Any) -> Iterator[str]:
    """The error's place as it stands in the file, without the names pydantic gives to a union's members."""
    named = detail["type"] in ("missing", "extra_forbidden")
    for i, part in enumerate(detail["loc"]):
        last = named and i == len(detail["loc"]) - 1
        if isinstance(raw, dict) and part in raw:
            raw = raw[part]
        elif isinstance(raw, list) and isinstance(part, int) and part < len(raw):
            raw = raw[part]
        elif not last:
            continue
        yield str(part)


def _why(detail: ErrorDetails, path: Sequence[str]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown field; {nearest(path[-1], _fields(path[:-1]))}"
    if kind == "missing":
        return "missing"
    if kind == "literal_error":
        valid = [v.strip("' ") for v in str(context["expected"]).replace(" or ", ",").split(",")]
        return f"unknown value; {nearest(str(detail['input']), valid)}"
    if kind in BOUNDS:
        key, sign = BOUNDS[kind]
        return f"must be {sign} {context[key]}"
    if kind == "string_pattern_mismatch":
        return f"must match {context['pattern']}"
    return PLAIN.get(kind, detail["msg"])


def _fields(path: Sequence[str]) -> list[str]:
    """Valid field names of the model at `path`."""
    model: type[BaseModel] = TaskSpec
    for part in path:
        if part in model.model_fields:
            model = next(_models(model.model_fields[part].annotation), model)
    return sorted(model.model_fields) + (["include"] if model is TaskSpec else [])


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
