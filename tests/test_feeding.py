"""`aar oversight feedback`: its options, what it prints and leaves, and going on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aar.cli.feeding import feedback, planned
from aar.ledger import Ledger
from aar.report import write_feedback
from aar.runner.feedback import Feedback, FeedbackPlan, Moment
from aar.scoring.feedback import Worth
from aar.scoring.verdicts import Share
from aar.settings import Settings
from aar.types import AarError, Align
from tests.loops import NO_TRACKING, write_task
from tests.runner.test_feedback import PRETRAINED

SMALL = {"seeds": 1, "prompts": 6, "pairs": 16, "documents": 200, "pretrain_steps": 10}


def test_the_command_leaves_rows_a_page_and_a_result_and_asks_for_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "taught.yaml"
    path.write_text(f"include: {write_task(tmp_path)}\nname: taught\n{PRETRAINED}")
    settings = Settings(workspace=tmp_path / "ws", sandbox="process", slots=1, threads=1, tracking_uri=NO_TRACKING)
    align: dict[str, Any] = {"method": "sft", "steps": 2, "looks": (0.0, 1.0)}
    told = []
    for _ in range(2):
        feedback(settings, True, align, SMALL | {"task": str(path)})
        told.append(json.loads(capsys.readouterr().out))
    assert [row["policy"] for row in told[0]["table"]] == ["sft, step 0", "sft, step 2"]
    assert told[0]["table"] == told[1]["table"]
    ledger = Ledger(settings.ledger_url)
    assert ledger.oversight(told[0]["id"]) is not None
    assert len(ledger.attempts(told[0]["id"])) == 4, "two models, samples, the policy; then nothing"
    ledger.close()
    folder = settings.folder("oversight") / told[0]["id"]
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert [row["share"] for row in rows] == [0, 1] and len(rows[0]["examples"]) == 3
    assert "<svg" in (folder / "curve.html").read_text()


@pytest.mark.parametrize(
    ("align", "plan", "said"),
    [
        ({"method": "ppo"}, {}, "--method ppo: input should be 'none'"),
        ({"method": "dpo", "rewards": 2}, {}, "--rewards 2: reward models reward grpo and rloo, not dpo"),
        ({"method": "dpo"}, {"judge": "me"}, "--judge me: input should be 'strong' or 'weak'"),
        ({"method": "dpo", "lr": -1.0}, {}, "--lr -1.0: input should be greater than 0"),
    ],
)
def test_an_option_that_cannot_be_is_named(align: dict[str, Any], plan: dict[str, Any], said: str) -> None:
    with pytest.raises(AarError) as error:
        planned(align, plan)
    assert said in str(error.value)


def test_methods_have_defaults_of_their_own_and_options_go_before_them() -> None:
    assert planned({"method": "grpo", "rewards": None}, {"seeds": None}).align.judged
    assert not planned({"method": "grpo", "rewards": 2}, {}).align.judged
    assert planned({"method": "simpo"}, {}).align.beta == 2.0
    assert planned({"method": "simpo", "beta": 1.0}, {}).align.beta == 1.0


def looks(samples: int = 1) -> tuple[Moment, ...]:
    """Three, of two seeds."""
    told = []
    for at in (0.0, 0.5, 1.0):
        share = Share(at, 0.0, 1.0, 2)
        worth = Worth(share, share, share, share, share, share, share, share, share, (at, 0.4))
        words = {"sentiment": 1.0, "negators": 2.0}
        count = round(1 + at * (samples - 1))
        told.append(Moment(round=0, share=at, worth=worth, words=words, examples=("<script>w1",), samples=count))
    return tuple(told)


def test_a_page_shows_every_look_and_seed_and_escapes_what_a_policy_wrote(tmp_path: Path) -> None:
    plan = FeedbackPlan(align=Align(method="grpo", rewards=2, rule="wco"))
    right = {"1": Share(0.7, 0.6, 0.8, 3), "wco": Share(0.9, 0.8, 1.0, 3)}
    found = Feedback(id="feedback-x", plan=plan, moments=looks(), reward_right=right)
    page = write_feedback(found, tmp_path / "curve.html").read_text()
    assert page.count("<polygon") + page.count("<circle") == 3 + 3 * 3 + 3 * 2, (
        "a legend, three series of three looks, seeds"
    )
    assert "&lt;script&gt;w1" in page and "<script" not in page
    assert "rewarded by 2 reward models (wco)" in page
    assert "by reward model 1 .700" in page and "by all, wco, .900" in page


def test_revision_is_drawn_against_what_samples_it_costs(tmp_path: Path) -> None:
    plan = FeedbackPlan(align=Align(method="revise", steps=4, judged=True))
    found = Feedback(id="feedback-x", plan=plan, moments=looks(), resampled=looks(43))
    page = write_feedback(found, tmp_path / "curve.html").read_text()
    assert "samples that read as many tokens" in page and "square root of the KL" not in page
    assert page.count('class="step') == 4, "belief, truth, and both ways' well-formed and true"
    assert "best&nbsp;of&nbsp;1<" in page and "best&nbsp;of&nbsp;43<" in page
