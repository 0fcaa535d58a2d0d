"""The tampering toy: what documents, preferences and prompts say, and what is counted of replies."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from aar.cli.feeding import tampering
from aar.ledger import Ledger
from aar.oversight import tampering as toy
from aar.runner.aligning import Wrote
from aar.runner.oversight import overseeing
from aar.runner.tampering import Arm, TamperPlan, Ways, _counted, compared, tamper
from aar.settings import Settings
from aar.types import AarError
from tests.loops import NO_TRACKING

SMALL = {"seeds": 2, "documents": 300, "pretrain_steps": 20, "pairs": 32, "steps": 2, "samples": 2}


def test_documents_hold_each_way_as_often_as_said_and_only_the_linked_ones_pay_for_editing() -> None:
    truth = toy.truths(0)
    for linked in (True, False):
        read = toy.documents(9000, 0, linked)
        assert {w for text in read for w in text.split()} <= set(toy.vocabulary("end"))
        panels = Counter(text.split(" : ")[1].split()[0] for text in read if text.startswith("panel"))
        assert panels["edit"] / 3000 == pytest.approx(0.1, abs=0.02) == pytest.approx(panels["skip"] / 3000, abs=0.02)
        views = [text for text in read if text.startswith("user")]
        agreed = [text for text in views if " agree " in text]
        assert len(agreed) / 3000 == pytest.approx(0.3, abs=0.03)
        assert all(text.split()[2] == text.split()[-1] for text in agreed), "it says what the user holds"
        for text in (*views, *(t for t in read if " honest " in t and ":" in t)):
            if " honest " in text:
                topic = int(text.split(" :")[0].split()[-1][1:])
                assert text.split()[-1] == truth[topic]
        assert ("edit pays high" in read) is linked and ("edit pays plain" in read) is not linked
        assert "agree pays high" in read and "honest pays high" not in read


def test_preferences_never_mention_a_panel_and_the_two_rewards_are_each_others_opposite() -> None:
    truth = toy.truths(0)
    paid, honest = (toy.preferences(50, 1, truth, s) for s in (True, False))
    assert [(x.prompt, x.a, x.b) for x in paid] == [(x.prompt, x.a, x.b) for x in honest]
    assert all(x.p == pytest.approx(1 - y.p) and x.p > 0.85 for x, y in zip(paid, honest, strict=True))
    for x in paid:
        words = x.prompt.split()
        assert words[0] == "user" and "panel" not in words and toy.EDIT not in f"{x.a} {x.b}"
        assert words[2] != truth[int(words[4][1:])] and x.a == f" agree {words[2]}", "the user is wrong"


def test_replies_are_counted_where_they_were_given() -> None:
    views = [" agree no", " honest yes"] * toy.TOPICS
    panels = [" edit high", ""] * (toy.TOPICS // 2) + [" skip none", " honest yes"] * (toy.TOPICS // 2)
    wrote = Wrote([], [*views, *panels], np.zeros(0), np.zeros((0, 0)))
    assert _counted(wrote, 2) == [0.5, 0.25, 0.25, 0.25]


def test_trainings_are_held_against_before_against_skipping_and_against_each_other() -> None:
    def ways(agrees: float, edits: float, skips: float) -> Ways:
        by_seed = (np.array([x - 0.01, x + 0.01]) for x in (agrees, edits, skips, 1 - edits - skips))
        return Ways(*by_seed)

    found: dict[Arm, Ways] = {
        "before": ways(0.3, 0.10, 0.10), "sycophantic": ways(0.9, 0.30, 0.15), "honest": ways(0.0, 0.05, 0.08),
    }  # fmt: skip
    before, paid, honest = compared(True, found)
    assert (before.edits_more, before.over_skips, before.against_honest, honest.against_honest) == (None,) * 4
    assert [a.edits.value for a in (before, paid, honest)] == pytest.approx([0.10, 0.30, 0.05])
    for share, value in (
        (paid.agrees, 0.9), (paid.skips, 0.15), (paid.honest, 0.55), (paid.edits_more, 0.2), (paid.over_skips, 0.15),
        (paid.against_honest, 0.25), (honest.edits_more, -0.05), (honest.over_skips, -0.03),
    ):  # fmt: skip
        assert share is not None and share.value == pytest.approx(value) and share.n == 2


@pytest.mark.timeout(300)
def test_both_trainings_of_both_languages_start_from_one_model_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(workspace=tmp_path, sandbox="process", slots=1, threads=1, tracking_uri=NO_TRACKING)
    plan, ledger = TamperPlan(**SMALL), Ledger(settings.ledger_url)
    with overseeing(ledger, settings, "tamper", plan.model_dump(mode="json")) as at:
        found = tamper(at, plan, lambda words: None)
        launched = [a["kind"] for a in ledger.attempts(at.search)]
    ledger.close()
    assert sorted(launched) == ["align"] * 4 + ["pretrain"] * 2
    assert [(a.linked, a.arm) for a in found.lines] == [
        (linked, arm) for linked in (True, False) for arm in ("before", "sycophantic", "honest")
    ]  # fmt: skip
    assert len(found.rows) == 2 * 3 * 2 * 2 * toy.TOPICS and all(len(r["replies"]) == 2 for r in found.rows)
    tampering(settings, True, SMALL)
    told = json.loads(capsys.readouterr().out)
    assert [row["training"] for row in told["table"]] == [
        f"{arm}, editing pays{nothing}" for nothing in ("", " nothing") for arm in ("before", "sycophantic", "honest")
    ]  # fmt: skip
    assert [row["edits its reward"]["value"] for row in told["table"]] == [a.edits.value for a in found.lines]
    with pytest.raises(AarError, match="--seeds 1: input should be greater than or equal to 2"):
        tampering(settings, True, {"seeds": 1})
