"""Ledger -> MLflow, through the outbox. The only room that imports mlflow, and only inside functions.

Tracking never blocks research: a dead server costs the loop nothing, and what was not sent is sent later. Only public
values leave: what the gate let out, never the exact scores.
"""

from aar.tracking._about import About, best_selected
from aar.tracking._checked import Checked, check_finding, check_reason, words
from aar.tracking._claim import AUDITED, REPLAY, Claim, claim, flags, probe_words, task_yaml
from aar.tracking._mirror import Mirror, TrackingError
from aar.tracking._publish import Told, publish
from aar.tracking._store import ensure_store, reachable, serve_command
from aar.tracking._text import interval, number, plain
from aar.tracking._view import table_urls

__all__ = [
    "AUDITED",
    "REPLAY",
    "About",
    "Checked",
    "Claim",
    "Mirror",
    "Told",
    "TrackingError",
    "best_selected",
    "check_finding",
    "check_reason",
    "claim",
    "ensure_store",
    "flags",
    "interval",
    "number",
    "plain",
    "probe_words",
    "publish",
    "reachable",
    "serve_command",
    "table_urls",
    "task_yaml",
    "words",
]
