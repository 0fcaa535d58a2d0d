"""The ledger: the one truth of every search, in SQL. SQLite (WAL, synchronous FULL) or any SQLAlchemy URL.

Everything that belongs together is written in one transaction. A search has one writer at a time (`hold`); its
writes carry the lease's fence and fail with `LeaseLost` once somebody else has taken over.
"""

from aar.ledger.lease import LeaseHeld, LeaseLost
from aar.ledger.records import Message, TrialRow, UnitRow
from aar.ledger.spending import TalkCost
from aar.ledger.store import Ledger
from aar.ledger.writer import Heeding, Lease

__all__ = ["Heeding", "Lease", "LeaseHeld", "LeaseLost", "Ledger", "Message", "TalkCost", "TrialRow", "UnitRow"]
