"""Strict YAML to `TaskSpec`: includes, overrides, and errors that name file, field, value and cure.

Not covered: whether the data behind a task exists and suffices; that is `aar.data.prepare`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from aar.settings import data_dir
from aar.tasks._check import check_spec, nearest, problems, template_fields, with_tokenizers
from aar.tasks._errors import readable
from aar.tasks._read import Origins, merge, origin_of, override_layer, read_layers, shown, stamp
from aar.types import AarError, TaskSpec

__all__ = ["check_spec", "list_tasks", "load_task", "nearest", "template_fields"]


def load_task(name_or_path: str | Path, overrides: Sequence[str] = ()) -> tuple[TaskSpec, Path]:
    """A checked task and the folder its relative paths refer to.

    `overrides` are `a.b=value` (YAML values; paths relative to the current folder). Setting one arm of a choice
    drops the others. In the result paths are absolute and every tokenizer is named.

    Raises:
        AarError: unknown task, unreadable YAML, unknown field, bad value or combination; one line per problem.
    """
    path = _find(str(name_or_path))
    origins: Origins = {}
    raw = read_layers(path, origins)
    over = override_layer(overrides)
    stamp(over, "--set", origins)
    raw = merge(raw, over)
    try:
        spec = TaskSpec.model_validate_json(json.dumps(raw), strict=True)
    except ValidationError as error:
        raise AarError(readable(error, raw, origins, shown(path))) from None
    found = [f"{origin_of(field.split('.'), origins, shown(path))}: {field}: {why}" for field, why in problems(spec)]
    if found:
        raise AarError("\n".join(found))
    return with_tokenizers(spec), path.parent


def list_tasks() -> dict[str, Path]:
    """Task files by name (the file's stem): the shipped ones and `./tasks/*.yaml`, which win where both have one."""
    folders = [data_dir() / "tasks", Path("tasks").absolute()]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def _find(name: str) -> Path:
    if "/" in name or name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser().absolute()
        if not path.is_file():
            raise AarError(f"{name}: no such file; tasks by name: {', '.join(list_tasks()) or 'none'}")
        return path
    tasks = list_tasks()
    if name not in tasks:
        raise AarError(f"task {name!r} is unknown; {nearest(name, list(tasks))}; or give the path of a YAML file")
    return tasks[name]
