"""The workspace's own store, the saved views, and the documents in mlflow/."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import yaml

from aar.ledger import Ledger
from aar.settings import Settings
from aar.tracking import Mirror, table_urls
from tests.ledgers import searched
from tests.tracking.store import SEARCH, client, runs

HERE = Path(__file__).parent.parent.parent


def test_importing_tracking_imports_no_mlflow_and_sets_nothing(tmp_path: Path) -> None:
    code = (
        "import os, sys; before = dict(os.environ); import aar.tracking, aar.report; "
        "assert dict(os.environ) == before, set(os.environ) - set(before); "
        "assert not {'mlflow', 'matplotlib', 'jinja2', 'torch'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_several_processes_begin_a_store_together(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from aar.settings import Settings; "
        "from aar.tracking import ensure_store; ensure_store(Settings(workspace=Path(sys.argv[1])))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "w")], cwd=tmp_path, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    ends = [(p.communicate()[1], p.returncode) for p in started]
    assert [code for _, code in ends] == [0, 0], ends
    assert [p.name for p in tmp_path.iterdir()] == ["w"], "nothing is written beside the workspace"


def test_mlflow_is_the_package_and_not_this_repositorys_folder() -> None:
    import mlflow

    assert HERE not in Path(str(mlflow.__file__)).parents or ".venv" in str(mlflow.__file__)
    assert not list((HERE / "mlflow").rglob("*.py"))


def test_the_readmes_filters_and_columns_work(settings: Settings, ledger: Ledger) -> None:
    searched(ledger, trials=12)
    sure = next(t for t in ledger.trials(SEARCH) if t.predicted_pgr is not None and t.view is not None)
    with ledger.hold(SEARCH) as lease:
        lease.set_trial(sure.number, mirror=True, predicted_low=-1.0, predicted_high=2.0)
    Mirror(ledger, settings).drain()
    text = (HERE / "mlflow" / "README.md").read_text()
    block = text.split("## Filters")[1].split("Statuses:")[0]
    filters = [re.split(r"\s{2,}", row.strip())[0] for row in block.strip().splitlines()]
    assert len(filters) == 11
    found = {where: set(runs(settings, where)) for where in filters}
    trials = ledger.trials(SEARCH)

    def names(*status: str) -> set[str]:
        return {f"t{x.number} {x.label}" for x in trials if x.status in status}

    assert found["tags.kind = 'trial' and tags.status = 'complete'"] == names("complete")
    assert found["tags.status = 'failed'"] == names("failed")
    assert len(found["tags.confirmed = 'winner'"]) == 1
    assert len(found["tags.kind = 'trial' and tags.confirmed != ''"]) == 3
    assert len(found["tags.`aar.search` = 'polarity-k3f9'"]) == 14
    assert found["params.loss = 'logconf' and metrics.pgr > 0.4"]
    metrics = {k for r in runs(settings).values() for k in r.data.metrics}
    for name in re.findall(r"^\| (`[^|]+`)", text, re.M):
        assert {n.strip("`") for n in name.split(", ")} <= metrics, name


def test_the_saved_views_name_columns_that_exist(settings: Settings, ledger: Ledger) -> None:
    searched(ledger, trials=6)
    Mirror(ledger, settings).drain()
    experiment = client(settings).get_experiment_by_name("aar/polarity")
    assert table_urls(settings, 5001)["polarity"] == (
        f"http://127.0.0.1:5001/#/experiments/{experiment.experiment_id}/runs"
        "?viewStateShareKey=trials&workflowType=machine_learning"
    )
    for kind, key in (("trial", "trials"), ("search", "searches")):
        assert f"viewStateShareKey={key}" in experiment.tags["mlflow.note.content"]
        view = json.loads(experiment.tags[f"mlflow.sharedViewState.{key}"])
        shown = runs(settings, view["searchFilter"]).values()
        assert shown and all(r.data.tags["kind"] == kind for r in shown)
        known = {f"metrics.`{k}`" for r in shown for k in r.data.metrics}
        known |= {f"tags.`{k}`" for r in shown for k in r.data.tags}
        assert set(view["selectedColumns"]) <= known and view["orderByKey"] in view["selectedColumns"]


def test_compose_pins_its_images_and_holds_no_password() -> None:
    compose = yaml.safe_load((HERE / "mlflow" / "compose.yaml").read_text())
    for service in compose["services"].values():
        assert re.search(r":v?\d+\.\d+", service["image"]) and service["healthcheck"]["test"]
    assert "${POSTGRES_PASSWORD:?" in compose["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"]
    assert "AAR_TRACKING_URI" in (HERE / "mlflow" / "README.md").read_text()
