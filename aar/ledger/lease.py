"""Who may write a search: `host:pid:start`, renewed by a heartbeat, taken over when its process is gone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

LEASE_SECONDS = 60.0
HEARTBEAT_SECONDS = 10.0


class LeaseHeld(Exception):
    """Another living process writes this search. The message names it."""


class LeaseLost(Exception):
    """This process no longer holds the search it writes: it stalled past its lease and another took over."""


def start_ticks(pid: int) -> str | None:
    """A process's start time in clock ticks (so that a reused pid is told apart), or None where it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def me() -> str:
    """This process as a holder."""
    return f"{socket.gethostname()}:{os.getpid()}:{start_ticks(os.getpid()) or 0}"


def is_gone(holder: str) -> bool:
    """True when `holder` ran on this host and its process is no more. Of other hosts nothing is known: False."""
    host, pid, start = holder.rsplit(":", 2)
    if host != socket.gethostname() or not Path("/proc/self/stat").exists():
        return False
    return start_ticks(int(pid)) != start
