"""Opening a workspace's ledger for reading or going on."""

from __future__ import annotations

from aar.ledger import Ledger
from aar.settings import Settings
from aar.types import AarError


def ledger_of(settings: Settings) -> Ledger:
    """The workspace's ledger; a workspace that is not there is not made.

    Raises:
        AarError: there is none.
    """
    if settings.database_url is None and not (settings.root / "ledger.db").exists():
        raise AarError(f"no ledger in {settings.root}; `aar run TASK` starts a search, --workspace names another place")
    return Ledger(settings.ledger_url)
