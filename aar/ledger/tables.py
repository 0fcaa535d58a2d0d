"""The tables. Times are unix seconds, durations seconds, JSON is text written by `canonical_json`."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text

meta = MetaData()

searches = Table(
    "searches",
    meta,
    Column("id", String(64), primary_key=True),
    Column("task", String(64), nullable=False),
    Column("data_digest", String(64), nullable=False),
    Column("spec", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", Text),
    Column("baselines", Text),
    Column("created", Float, nullable=False),
    Column("finished", Float),
)

trials = Table(
    "trials",
    meta,
    Column("search", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("status", String(16), nullable=False),
    Column("author", String(16), nullable=False),
    Column("preset", String(64)),
    Column("parent", Integer),
    Column("recipe", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("label", Text, nullable=False),
    Column("rationale", Text, nullable=False),
    Column("predicted_accuracy", Float),
    Column("predicted_pgr", Float),
    Column("predicted_low", Float),
    Column("predicted_high", Float),
    Column("refute", Text),
    Column("shares", Text),
    Column("reason", Text),
    Column("view", Text),
    Column("n_seeds", Integer, nullable=False, default=0),
    Column("seconds", Float, nullable=False, default=0.0),
    Column("created", Float, nullable=False),
    Column("finished", Float),
)
Index("trials_by_hash", trials.c.search, trials.c.hash)

ood = Table(
    "ood",
    meta,
    Column("search", String(64), primary_key=True),
    Column("trial", Integer, primary_key=True),
    Column("name", String(16), primary_key=True),
    Column("view", Text, nullable=False),
)

units = Table(
    "units",
    meta,
    Column("key", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("seed", Integer, nullable=False),
    Column("outputs", Text, nullable=False),
    Column("tainted", Boolean, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("curve", Text, nullable=False),
    Column("attempt", String(64), nullable=False),
    Column("created", Float, nullable=False),
)

artifacts = Table(
    "artifacts",
    meta,
    Column("digest", String(64), primary_key=True),
    Column("tainted", Boolean, nullable=False),
)

attempts = Table(
    "attempts",
    meta,
    Column("id", String(64), primary_key=True),
    Column("search", String(64), nullable=False),
    Column("trial", Integer),
    Column("kind", String(16), nullable=False),
    Column("keys", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("fence", Integer, nullable=False),
    Column("exit", Text),
    Column("started", Float, nullable=False),
    Column("finished", Float),
)
Index("attempts_by_search", attempts.c.search, attempts.c.status)

scores = Table(
    "scores",
    meta,
    Column("search", String(64), primary_key=True),
    Column("arm", String(32), primary_key=True),
    Column("split", String(16), primary_key=True),
    Column("seed", Integer, primary_key=True),
    Column("accuracy", Float, nullable=False),
    Column("array", String(64), nullable=False),
    Column("created", Float, nullable=False),
)

queries = Table(
    "queries",
    meta,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("search", String(64), nullable=False, index=True),
    Column("arm", String(32), nullable=False),
    Column("split", String(16), nullable=False),
    Column("at", Float, nullable=False),
)

confirmations = Table(
    "confirmations",
    meta,
    Column("search", String(64), primary_key=True),
    Column("trial", Integer, primary_key=True),
    Column("views", Text, nullable=False),
    Column("created", Float, nullable=False),
)

openings = Table(
    "openings",
    meta,
    Column("search", String(64), primary_key=True),
    Column("data_digest", String(64), nullable=False, index=True),
    Column("trial", Integer, nullable=False),
    Column("at", Float, nullable=False),
)

findings = Table(
    "findings",
    meta,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("search", String(64), nullable=False, index=True),
    Column("text", Text, nullable=False),
    Column("trials", Text, nullable=False),
    Column("at", Float, nullable=False),
)

spend = Table(
    "spend",
    meta,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("search", String(64), nullable=False, index=True),
    Column("trial", Integer),
    Column("kind", String(16), nullable=False),
    Column("seconds", Float, nullable=False),
    Column("gpu_seconds", Float, nullable=False),
    Column("at", Float, nullable=False),
)

turns = Table(
    "turns",
    meta,
    Column("search", String(64), primary_key=True),
    Column("trial", Integer, primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("role", String(16), nullable=False),
    Column("body", Text, nullable=False),
    Column("tokens_in", Integer, nullable=False, default=0),
    Column("tokens_out", Integer, nullable=False, default=0),
    Column("usd", Float),
    Column("seconds", Float, nullable=False, default=0.0),
    Column("at", Float, nullable=False),
)

parts = Table(
    "parts",
    meta,
    Column("search", String(64), primary_key=True),
    Column("digest", String(64), primary_key=True, index=True),
    Column("trial", Integer, nullable=False),
    Column("author", String(16), nullable=False),
    Column("slot", String(16), nullable=False),
    Column("name", String(64), nullable=False),
    Column("source", Text, nullable=False),
    Column("space", Text, nullable=False),
    Column("parent", String(64)),
    Column("diff", Text),
    Column("review", Text),
    Column("created", Float, nullable=False),
)

atlases = Table(
    "atlases",
    meta,
    Column("id", String(64), primary_key=True),
    Column("task", String(64), nullable=False),
    Column("data_digest", String(64), nullable=False),
    Column("grid", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", Text),
    Column("result", Text),
    Column("created", Float, nullable=False),
    Column("finished", Float),
)

oversights = Table(
    "oversights",
    meta,
    Column("id", String(64), primary_key=True),
    Column("module", String(64), nullable=False),
    Column("plan", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", Text),
    Column("result", Text),
    Column("created", Float, nullable=False),
    Column("finished", Float),
)

inbox = Table(
    "inbox",
    meta,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("search", String(64), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("payload", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("handled", Float),
    Column("outcome", Text),
)

outbox = Table(
    "outbox",
    meta,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("search", String(64), nullable=False),
    Column("what", String(16), nullable=False),
    Column("trial", Integer),
    Column("at", Float, nullable=False),
    Column("sent", Float, index=True),
)

runs = Table(
    "runs",
    meta,
    Column("search", String(64), primary_key=True),
    Column("trial", Integer, primary_key=True),
    Column("tracking", String(200), primary_key=True),
    Column("run_id", String(64), nullable=False),
)

leases = Table(
    "leases",
    meta,
    Column("search", String(64), primary_key=True),
    Column("holder", String(200), nullable=False),
    Column("fence", Integer, nullable=False),
    Column("expires", Float, nullable=False),
)
