"""Where the commands print."""

from __future__ import annotations

import os
import sys
from typing import Any

from rich.console import Console

from aar.tracking import plain

LOG_COLUMNS = 200


class Screen(Console):
    """A console that no text can steer: what a model, a job or a file put into a line loses its control characters."""

    def print(self, *objects: Any, **how: Any) -> None:
        """As a console does; lines without control characters and secrets."""
        super().print(*(plain(o) if isinstance(o, str) else o for o in objects), **how)


def screen() -> Console:
    """The terminal as wide as it is; a file or a pipe wide enough that no table row breaks (unless COLUMNS says)."""
    return Screen(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else LOG_COLUMNS)
