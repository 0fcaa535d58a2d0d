"""Files to columns of raw values. Nothing is guessed: a ragged row or a missing column is an error with its place."""

from __future__ import annotations

import csv
import gzip
import json
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from aar.tasks import nearest
from aar.types import AarError

Place = tuple[str, str, int]
"""Where a row stood: source, `line` or `row`, number."""

_FIELD_LIMIT = threading.Lock()


@dataclass(frozen=True)
class Table:
    """Wanted columns of one source, equally long. `lines[i]` is row i's number in the source, in `unit`s from 1."""

    source: str
    columns: dict[str, list[Any]]
    lines: Sequence[int]
    unit: Literal["line", "row"] = "line"
    class_names: tuple[str, ...] | None = None

    def place(self, i: int) -> Place:
        """Where row `i` stood."""
        return self.source, self.unit, self.lines[i]


def read_table(path: Path, wanted: Sequence[str], header: Sequence[str] | None = None) -> Table:
    """The wanted columns of a csv, tsv, jsonl (also gzipped) or parquet file.

    csv honours quotes, tsv has none. `header` names the columns of a csv or tsv that has no header line.

    Raises:
        AarError: no such file, not UTF-8, a ragged row, bad JSON, a column that is not there.
    """
    readers = {".csv": _csv, ".tsv": _tsv, ".jsonl": _jsonl, ".gz": _jsonl, ".parquet": _parquet}
    if header is not None and path.suffix in (".jsonl", ".gz", ".parquet"):
        raise AarError(f"{path}: data.files.columns is for csv and tsv without a header line; remove it")
    try:
        return readers[path.suffix](path, wanted, header)
    except FileNotFoundError:
        raise AarError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise AarError(f"{path}: is a folder, not a file") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise AarError(f"{path}: not a whole gzip file: {error}; fetch it again") from None
    except UnicodeDecodeError as error:
        raise AarError(f"{path}: not UTF-8 at byte {error.start}; convert it, for example with iconv") from None


def missing_column(source: str, column: str, there: Iterable[object], hint: str = "") -> AarError:
    """The error for a wanted column that the source does not have."""
    return AarError(f"{source}: no column {column!r}; {nearest(column, [str(c) for c in there])}{hint}")


def _csv(path: Path, wanted: Sequence[str], header: Sequence[str] | None) -> Table:
    rows: list[list[str]] = []
    lines: list[int] = []
    with _long_fields(), path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            for row in reader:
                if row:
                    rows.append(row)
                    lines.append(reader.line_num)
        except csv.Error as error:
            raise AarError(f"{path}: line {reader.line_num}: {error}") from None
    return _with_header(path, rows, lines, wanted, header)


@contextmanager
def _long_fields() -> Iterator[None]:
    """Room for a dialogue in a csv field. The module keeps one limit, 128 KiB, for the whole process."""
    with _FIELD_LIMIT:
        limit = csv.field_size_limit(1 << 27)
        try:
            yield
        finally:
            csv.field_size_limit(limit)


def _tsv(path: Path, wanted: Sequence[str], header: Sequence[str] | None) -> Table:
    rows: list[list[str]] = []
    lines: list[int] = []
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if line := line.rstrip("\r\n"):
                rows.append(line.split("\t"))
                lines.append(number)
    return _with_header(path, rows, lines, wanted, header)


def _with_header(
    path: Path, rows: list[list[str]], lines: list[int], wanted: Sequence[str], header: Sequence[str] | None
) -> Table:
    if header is None:
        if not rows:
            raise AarError(f"{path}: is empty; the first line must name the columns")
        header, rows, lines = rows[0], rows[1:], lines[1:]
        hint = "; where the file has no header line, name its columns in data.files.columns"
    else:
        hint = "; these are data.files.columns"
    for column in wanted:
        if column not in header:
            raise missing_column(str(path), column, header, hint)
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(header):
            raise AarError(f"{path}: line {line}: {len(row)} fields where there are {len(header)} columns")
    places = {column: header.index(column) for column in wanted}
    return Table(str(path), {column: [row[i] for row in rows] for column, i in places.items()}, lines)


def _jsonl(path: Path, wanted: Sequence[str], header: Sequence[str] | None) -> Table:
    columns: dict[str, list[Any]] = {column: [] for column in wanted}
    lines: list[int] = []
    with _text(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise AarError(f"{path}: line {number}: {error}") from None
            if not isinstance(row, dict):
                raise AarError(f"{path}: line {number}: must be a JSON object")
            for column in wanted:
                if column not in row:
                    raise missing_column(f"{path}: line {number}", column, row)
                columns[column].append(row[column])
            lines.append(number)
    return Table(str(path), columns, lines)


def _text(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="\n")
    return path.open(encoding="utf-8-sig", newline="\n")


def _parquet(path: Path, wanted: Sequence[str], header: Sequence[str] | None) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        with path.open("rb") as file:
            there = pyarrow.parquet.read_schema(file).names
            for column in wanted:
                if column not in there:
                    raise missing_column(str(path), column, there)
            file.seek(0)
            table = pyarrow.parquet.read_table(file, columns=list(wanted))
    except pyarrow.ArrowException as error:
        raise AarError(f"{path}: not a readable parquet file: {error}") from None
    columns = {column: table.column(column).to_pylist() for column in wanted}
    return Table(str(path), columns, range(1, table.num_rows + 1), "row")
