"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Workspace = Annotated[Path, typer.Option(help="Where everything is kept.", envvar="AAR_WORKSPACE")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Override, such as data.files.train=x.tsv; repeatable.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Backend = Annotated[str, typer.Option(help="auto, docker or process.")]
Tokens = Annotated[int | None, typer.Option(min=1, help="Tokens that a model may read and write.")]
Usd = Annotated[float | None, typer.Option(min=0.0, help="Dollars that a model may cost.")]
DEFAULT = Path(".aar")
