"""Looking into a store with MLflow's own client, and the smallest search worth mirroring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import update

from aar.ledger import Ledger
from aar.ledger import tables as t
from aar.settings import Settings
from aar.types import Part, Recipe
from tests import ledgers
from tests.ledgers import begin, propose, score, score_trial, written

SEARCH = "polarity-k3f9"


def client(settings: Settings) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=settings.mlflow_uri)


def runs(settings: Settings, where: str = "") -> dict[str, Any]:
    """Runs by name."""
    mlflow = client(settings)
    experiment = mlflow.get_experiment_by_name("aar/polarity")
    return {r.info.run_name: r for r in mlflow.search_runs([experiment.experiment_id], where)} if experiment else {}


def run_of(settings: Settings, number: int) -> Any:
    (run,) = runs(settings, f"tags.`aar.trial` = '{number}'").values()
    return run


def artifact(settings: Settings, run: Any, name: str) -> str:
    return Path(client(settings).download_artifacts(run.info.run_id, name)).read_text()


def one_trial(ledger: Ledger, number: int = 1, **fields: Any) -> None:
    """A search with naive and one more complete trial."""
    begin(ledger, SEARCH)
    with written(ledger, SEARCH) as lease:
        propose(lease, 0, author="preset", preset="naive-soft")
        score_trial(lease, 0, score(0.25))
        propose(lease, number, Recipe(loss=Part(name="logconf", params={"a": 0.75})), **fields)
        ledgers.job(lease, number, [0, 1, 2, 3, 4])
        score_trial(lease, number, score(0.71))


def all_again(ledger: Ledger) -> None:
    """As after a crash between sending and noting that it was sent."""
    with ledger.engine.begin() as c:
        c.execute(update(t.outbox).values(sent=None))
