"""Distillation on real jobs: what is learnt from, who is asked what, and what a rerun costs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aar.cli.feeding import distilled
from aar.ledger import Ledger
from aar.oversight.sums import questions, truth
from aar.runner.distilling import ALONE, AMPLIFIED, DISTILLED, OWN, DistilPlan, distil, rows
from aar.runner.oversight import overseeing, run_id
from aar.settings import Settings
from aar.types import AarError
from tests.loops import NO_TRACKING

PLAN = {"documents": 400, "rows": 60, "held": 30, "pretrain_steps": 40, "steps": 8, "seeds": 1, "lr": 3e-3}


def settings(folder: Path) -> Settings:
    return Settings(workspace=folder / "ws", sandbox="process", slots=1, threads=1, tracking_uri=NO_TRACKING)


@pytest.mark.timeout(300)
def test_a_model_learns_from_its_amplified_answers_and_from_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where, plan = settings(tmp_path), DistilPlan(**PLAN)
    ledger = Ledger(where.ledger_url)
    with overseeing(ledger, where, "distil", plan.model_dump(mode="json")) as at:
        found = distil(at, plan, lambda words: None)
        attempts = ledger.attempts(at.search)
        store = at.store
        specs = [ledger.unit(key) for a in attempts for key in json.loads(a["keys"])]
        assert distil(at, plan, lambda words: None) == found
        assert len(ledger.attempts(at.search)) == len(attempts), "units of the same plan are there already"
    by = {a.who: a for a in found.asked}
    assert list(by) == [ALONE, AMPLIFIED, DISTILLED, OWN] and all(specs)
    drawn = questions(4, 90, 0)
    assert found.held == tuple(drawn[60:]) and (found.given, found.kept) == (60, 60)
    assert by[AMPLIFIED].calls == 3 and by[ALONE].calls == by[DISTILLED].calls == 1
    assert len(by[DISTILLED].replies) == 1 and by[DISTILLED].replies[0] != by[ALONE].replies[0]
    for a in found.asked:
        right = np.array([[r == truth(q) for r, q in zip(own, found.held, strict=True)] for own in a.replies])
        assert a.right.value == pytest.approx(right.mean()), a.who
        assert a.over_alone.value == pytest.approx(right.mean() - by[ALONE].right.value)
    assert by[DISTILLED].replies != by[OWN].replies, "it learns what it said amplified, not what it said alone"
    learnt = [
        store.path(digest).read_text() for digest in (p.name for p in store.root.rglob("*") if p.is_file())
        if b'"text": " ' in store.path(digest).read_bytes()[:200]
    ]  # fmt: skip
    taught = {tuple((row["prompt"], row["text"]) for row in map(json.loads, t.splitlines())) for t in learnt}
    assert len(taught) == 2 and all({q for q, _ in t} == set(drawn[:60]) for t in taught), "no held question"
    ledger.close()
    distilled(where, True, PLAN)
    told = json.loads(capsys.readouterr().out)
    assert told["id"] == run_id("distil", plan.model_dump(mode="json"))
    assert [row["who is asked"] for row in told["table"]] == list(by)
    assert len(rows(found)) == 30 and rows(found)[0]["truth"] == truth(found.held[0])


def test_an_option_that_cannot_be_is_named(tmp_path: Path) -> None:
    with pytest.raises(AarError, match="--lr -1.0: input should be greater than 0"):
        distilled(settings(tmp_path), True, {"lr": -1.0})
