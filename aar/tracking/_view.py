"""What a task's experiment says of itself, and the saved views with which its table opens.

MLflow's table shows no metric until somebody picks columns. Its "share view" feature keeps a choice of columns in a tag
of the experiment, under a key that stands in the address; here the keys are `trials` and `searches`.
"""

from __future__ import annotations

import json
from typing import Any

from aar.settings import Settings
from aar.tracking._about import About
from aar.tracking._store import ensure_store, is_server, prepare_environment

TRIALS = (
    "tags.author", "tags.status", "metrics.pgr", "metrics.pgr_ci_low", "metrics.pgr_ci_high", "metrics.n_seeds",
    "metrics.confirmed_pgr", "metrics.sealed_pgr", "metrics.ece", "metrics.errors_copied", "metrics.seconds",
    "tags.aar.search",
)  # fmt: skip
SEARCHES = (
    "tags.status", "tags.author", "metrics.trials", "metrics.best_pgr", "metrics.confirmed_pgr", "metrics.sealed_pgr",
    "metrics.sealed_pgr_ci_low", "metrics.sealed_pgr_ci_high", "metrics.gain", "metrics.job_seconds", "metrics.looks",
)  # fmt: skip
PREFIX = "aar/"
NAME, CREATED = "attributes.`Run Name`", "attributes.`Created`"
NAME_WIDTH, WIDTH = 330, 110


def experiment_tags(about: About, experiment: str) -> dict[str, str]:
    """Tags of a task's experiment: its description and its views."""
    summary = json.loads(about.row["spec"]).get("summary", "")
    trials, searches = (table(experiment, name) for name in ("trials", "searches"))
    note = f"""**{about.row["task"]}** {summary} · tables: [trials]({trials}), [searches]({searches})

One run per trial (`tags.kind = 'trial'`), one per search (`tags.kind = 'search'`: plots and report among its
artifacts). `pgr` is what the search selected on and flatters; `confirmed_pgr` (fresh seeds) and `sealed_pgr` (the split
that is opened once) do not. A run's note says why it was tried, what was predicted and what came out."""
    return {
        "mlflow.note.content": note,
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.sharedViewState.trials": _view("trial", "metrics.pgr_ci_low", TRIALS),
        "mlflow.sharedViewState.searches": _view("search", "metrics.sealed_pgr", SEARCHES),
    }


def table(experiment: str, view: str) -> str:
    """The address of a saved view, after the server's own; with MLflow's menus for training, not for chat."""
    return f"#/experiments/{experiment}/runs?viewStateShareKey={view}&workflowType=machine_learning"


def table_urls(settings: Settings, port: int = 5000) -> dict[str, str]:
    """Where the table of trials of each task is, once `serve_command` runs on that port (or on the server set)."""
    uri = settings.mlflow_uri
    prepare_environment()
    ensure_store(settings)
    from mlflow.tracking import MlflowClient

    base = uri.rstrip("/") if is_server(uri) else f"http://127.0.0.1:{port}"
    found = MlflowClient(tracking_uri=uri).search_experiments(filter_string=f"name LIKE '{PREFIX}%'")
    return {e.name.removeprefix(PREFIX): f"{base}/{table(e.experiment_id, 'trials')}" for e in found}


def _view(kind: str, order: str, names: tuple[str, ...]) -> str:
    columns = [_column(name) for name in names]
    view: dict[str, Any] = {
        "searchFilter": f"tags.kind = '{kind}'", "orderByKey": _column(order), "orderByAsc": False,
        "startTime": "ALL", "lifecycleFilter": "Active", "selectedColumns": columns,
        "columnOrder": [NAME, CREATED, *columns], "columnWidths": {NAME: NAME_WIDTH, **dict.fromkeys(columns, WIDTH)},
    }  # fmt: skip
    return json.dumps(view)


def _column(name: str) -> str:
    kind, _, key = name.partition(".")
    return f"{kind}.`{key}`"
