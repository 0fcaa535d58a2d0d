"""What a task's formatter makes of the rows that its file gives as a sample: a check without network or data."""

from __future__ import annotations

from aar import worlds
from aar.data._format import Examples, class_names, index_labels
from aar.data._formatters import add_rows
from aar.data._rows import Table
from aar.tasks import nearest
from aar.types import AarError, TaskSpec

STDLIB_SAMPLE = "def clamp(value, low, high):\n    if value < low:\n        return low\n    return min(value, high)\n"


def sample_rows(spec: TaskSpec) -> list[tuple[str, str]]:
    """(text, class name) of the sample's rows, of two generated ones, or of a small function; [] without a sample.

    Raises:
        AarError: a row that lacks a column the task reads, or one that the formatter finds bad.
    """
    data, group = spec.data, spec.splits.group_by
    if data.world:
        world = worlds.get(data.world.name, data.world.params)
        texts, labels = world.generate(2, spec.splits.seed)
        return [(text, world.classes[label]) for text, label in zip(texts, labels.tolist(), strict=True)]
    rows = [{"module": "made", "name": "clamp", "code": STDLIB_SAMPLE}] if data.stdlib else list(data.sample)
    if not rows:
        return []
    for i, row in enumerate(rows):
        if lacking := [column for column in rows[0] if column not in row]:
            raise AarError(f"data.sample.{i}: no column {lacking[0]!r}; {nearest(lacking[0], list(row))}")
    columns = {column: [row[column] for row in rows] for column in rows[0]}
    made = Examples()
    add_rows(made, Table("data.sample", columns, range(1, len(rows) + 1), "row"), data, group)
    classes = class_names([made], data.classes)
    labels = index_labels(made, classes)
    if faults := made.bad.notes():
        raise AarError("\n".join(faults))
    if not made.texts:
        raise AarError("data.sample: nothing is made of these rows: " + "; ".join(made.left_out))
    return [(text, classes[label]) for text, label in zip(made.texts, labels.tolist(), strict=True)]
