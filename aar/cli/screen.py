"""Where the commands print."""

from __future__ import annotations

import os
import sys

from rich.console import Console

LOG_COLUMNS = 200


def screen() -> Console:
    """The terminal as wide as it is; a file or a pipe wide enough that no table row breaks (unless COLUMNS says)."""
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else LOG_COLUMNS)
