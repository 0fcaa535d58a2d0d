"""Rows from a `datasets` path: a repository pinned to a commit, or a local folder of the same layout.

The `datasets` library, when it cannot reach the hub, quietly serves the newest version it has cached, whatever
revision was asked for. Here the commit that was read must be the commit that was asked for, or it is an error.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aar.data._rows import Table, missing_column
from aar.data._store import file_digest
from aar.settings import Settings
from aar.tasks import nearest
from aar.types import AarError, Hub

DATA_SUFFIXES = (".parquet", ".jsonl", ".json", ".csv", ".tsv", ".txt", ".arrow", ".gz", ".zst", ".yaml", ".md")


def is_folder(hub: Hub) -> bool:
    """Whether the path is a local folder (written `./x`, `../x`, `~/x` or absolute) and no repository's name."""
    return Path(hub.path).is_absolute()


def folder_digests(hub: Hub, settings: Settings) -> dict[str, str]:
    """sha256 of each data file of a local folder, by its name there."""
    root = Path(hub.path)
    if not root.is_dir():
        raise AarError(f"data.hub.path: {root}: no such folder")
    paths = sorted(p for p in root.rglob("*") if p.suffix in DATA_SUFFIXES and p.is_file())
    visible = [p for p in paths if not any(part.startswith(".") for part in p.relative_to(root).parts)]
    return {str(p.relative_to(root)): file_digest(p, settings) for p in visible}


def resolve_revision(hub: Hub) -> str:
    """The commit sha that `revision` stands for: asked of the hub, or of its local cache where that is offline."""
    if re.fullmatch(r"[0-9a-f]{40}", hub.revision):
        return hub.revision
    import huggingface_hub
    from huggingface_hub import constants

    cause: Exception | None = None
    if not constants.HF_HUB_OFFLINE:
        try:
            sha = huggingface_hub.HfApi().dataset_info(hub.path, revision=hub.revision, timeout=20).sha
            if sha:
                return sha
        except Exception as error:  # the hub's client raises its own, httpx's and OSError
            cause = error
    ref = _cache_folder(hub) / "refs" / hub.revision
    if ref.is_file():
        return ref.read_text().strip()
    raise _out_of_reach(hub, cause)


@contextmanager
def opened(hub: Hub, sha: str | None, settings: Settings) -> Iterator[Any]:
    """The data set (split name to rows) at commit `sha`, or of the local folder where that is None."""
    cause: Exception | None = None
    folder = Path(hub.path)
    if sha is not None:
        loaded = None
        try:
            loaded = _load(hub, hub.path, None, sha)
        except Exception as error:  # the library's own, the network's, the disk's: the hub gave nothing
            cause = error
        if loaded is not None and all(_commit_is(part, sha) for part in loaded.values()):
            yield loaded
            return
        folder = _cache_folder(hub) / "snapshots" / sha
        if not folder.is_dir():
            raise _out_of_reach(hub, cause)
    # A snapshot may hold this configuration alone, and the library looks at the files of the card's first one.
    files = None if sha is None else listed_files(_card(folder), hub.name)
    with tempfile.TemporaryDirectory(dir=settings.folder("cache")) as cache:
        try:
            loaded = _load(hub, str(folder), cache, files=None if hub.folder else files)
        except Exception as error:  # pyarrow's, pandas' and its own: all about this folder
            raise AarError(f"data.hub: {folder}: cannot be loaded: {error}") from None
        yield loaded


def split_table(loaded: Any, hub: Hub, field: str, columns: Sequence[str], label: str | None) -> Table:
    """The wanted columns of the split that `hub.train` or `hub.test` names.

    In the column `label` a declared class index becomes its name.
    """
    name = str(getattr(hub, field))
    if name not in loaded:
        raise AarError(f"data.hub.{field}: {hub.path} has no split {name!r}; {nearest(name, list(loaded))}")
    part, source = loaded[name], f"{hub.path}:{name}"
    for column in columns:
        if column not in part.column_names:
            raise missing_column(source, column, part.column_names)
    if hub.rows is not None:
        part = part.select(range(min(hub.rows, len(part))))
    values = {column: list(part[column]) for column in columns}
    declared = tuple(getattr(part.features.get(label), "names", None) or ())
    if label and declared:
        values[label] = [v if v is None or v < 0 else declared[v] for v in values[label]]
    return Table(source, values, range(1, len(part) + 1), "row", declared or None)


def listed_files(card: dict[str, Any], name: str | None) -> Any:
    """`data_files` of the configuration `name` (without one, of the default) in a data set's card, or None."""
    configs = card.get("configs") or []
    chosen = [c for c in configs if c.get("config_name") == name]
    if name is None:
        chosen = [c for c in configs if c.get("default") or c.get("config_name") == "default"] or configs[:1]
    return chosen[0].get("data_files") if chosen else None


def _card(folder: Path) -> dict[str, Any]:
    import huggingface_hub

    path = folder / "README.md"
    found: dict[str, Any] = huggingface_hub.DatasetCard.load(path).data.to_dict() if path.is_file() else {}
    return found


def _load(hub: Hub, path: str, cache: str | None, revision: str | None = None, files: Any = None) -> Any:
    import datasets

    with _quiet():
        return datasets.load_dataset(
            path, hub.name, data_dir=hub.folder, data_files=files, revision=revision, cache_dir=cache
        )


def _commit_is(part: Any, sha: str) -> bool:
    return any(sha in Path(file["filename"]).parts for file in part.cache_files)


def _cache_folder(hub: Hub) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / ("datasets--" + hub.path.replace("/", "--"))


def _out_of_reach(hub: Hub, cause: Exception | None) -> AarError:
    why = "HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE") else str(cause or "it gave another commit")
    return AarError(
        f"data.hub.path: {hub.path} at {hub.revision} is not in the local cache and the hub cannot be asked"
        f" ({why.splitlines()[0]}). aar needs the network once for it; or use local copies: --set data.files.train=..."
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars from the library while it reads."""
    import datasets

    on = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if on:
            datasets.enable_progress_bars()
