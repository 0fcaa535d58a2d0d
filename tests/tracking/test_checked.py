"""What is written of results is held against the ledger: true claims stand, false ones are struck, others named."""

from __future__ import annotations

from pathlib import Path

import pytest

from aar.ledger import Ledger
from aar.report import write_report
from aar.settings import Settings
from aar.tracking import About, Checked, check_finding, check_reason, plain, words
from aar.tracking._notes import _checked, search_note, trial_note
from aar.types import Finding, Part, Recipe
from tests.ledgers import begin, confirmation, propose, score, score_trial, written
from tests.tracking.store import SEARCH

PGR = {0: 0.25, 1: 0.71, 2: 0.6, 3: 0.3, 4: 0.32}
LOSSES = {1: "logconf", 2: "logconf", 3: "product", 4: "product"}


@pytest.fixture
def about(ledger: Ledger) -> About:
    """t0 naive .25 (accuracy .745), t1 .71 (.84; fresh .66, sealed .64), t2 .6 (.815), t3 .3 (.755), t4 .32 (.76)."""
    begin(ledger, SEARCH)
    with written(ledger, SEARCH) as lease:
        for n, pgr in PGR.items():
            recipe = Recipe(loss=Part(name=LOSSES[n], params={"a": n / 10})) if n in (1, 2) else None
            recipe = Recipe(loss=Part(name="product")) if n in (3, 4) else recipe
            propose(lease, n, recipe, "llm" if n else "preset", predicted=0.5 if n else None)
            score_trial(lease, n, score(pgr))
        confirmation(lease, 1, score(0.71), 0.66, 0.64)
    return About(ledger, SEARCH)


def finding(about: About, text: str, trials: tuple[int, ...] = (0, 1, 2, 3, 4)) -> Checked:
    return check_finding(about, Finding(text=text, trials=trials))


TRUE = [
    "t1 reached PGR .71", "t1 reached .71 PGR on five seeds", "t1 has an accuracy of .84", "t1: accuracy 84 %",
    "on fresh seeds t1 reached PGR .66", "t1's sealed PGR is 0.64", "PGR rose: t2 has PGR .6, t3 PGR .30",
    "t1 beat t2 by .11 PGR", "t1 beats naive by .095 accuracy", "logconf beat naive by .08",
    "logconf beat naive by .46 PGR",
    "logconf beat product by .35 [.2, .5] PGR", "logconf beat product by .07 [.03, .11] over 4 trials",
    "predictions were off by .035 accuracy on average (bias +.013) over 4 trials", "t1 reached PGR .7",
    "trial 1 reached PGR .71", "t1 acc=.84", "t1's PGR is 0,71", "t1 recovered 71 percent of the gap",
    "t1 beats naive by 9.5 points accuracy", "t4 ran five seeds and 3 epochs at lr=.001: PGR .32",
    "t1 reached PGR .72", "t1: PGR .71, 5 seeds",
    "t3 with loss product reached PGR .3", "t1 has PGR .66 on the fresh seeds",
    "t2 beat t1 by −.11 PGR", "t1 reached pgr .71",
]  # fmt: skip
FALSE = {
    "t2 reached PGR .8": "ledger: PGR .6",
    "t2 reached PGR .7": "ledger: PGR .6",
    "t7-like: t1 reached PGR .9": "ledger: PGR .71, fresh PGR .66, sealed PGR .64",
    "t3 has accuracy .84": "ledger: accuracy .755",
    "t2 reached .71 PGR": "ledger: PGR .6",
    "t4 accuracy 84 %": "ledger: accuracy .76",
    "t2 beat t1 by .11 PGR": "ledger: PGR gain -.11",
    "logconf beat product by .2 accuracy": "ledger: mean accuracy gain .07, best accuracy gain .08",
    "logconf beat naive by .21 over 6 trials": (
        "ledger: mean accuracy gain .082, best accuracy gain .095, mean PGR gain .405, best PGR gain .46"
    ),
    "predictions were off by .2 accuracy on average": "ledger: off by .035",
    "t3 has accuracy 1": "ledger: accuracy .755",
    "t2 reached PGR 1": "ledger: PGR .6",
    "t3 recovered 95 percent of the gap": "ledger: PGR .3",
    "t3 reached a PGR of one": "ledger: PGR .3",
    "t3 closes the whole gap": "ledger: PGR .3",
    "t3 recovered half of the gap": "ledger: PGR .3",
    "t3 has acc=.95": "ledger: accuracy .755",
    "t3's PGR is 0,95": "ledger: PGR .3",
    "trial 3 reached PGR .95": "ledger: PGR .3",
}
UNCHECKED = {
    "t1 with PGR .71 accuracy is .84": "not checked: .84",
    "t2 came next, the best PGR is .71": "not checked: .71",
    "t9 reached PGR .9": "not checked: t9 reached PGR .9",
    "hard labels recover .9 of the gap": "not checked: .9",
    "naive leaves most of the gap": "not checked",
    "logconf beat cosine by .2": "not checked: logconf beat cosine by .2",
    "t1 reached PGR .71 and copies 90 % of errors": "not checked: 90 %",
    "t1 improved PGR by .1": "not checked: .1",
    "t1 is .46 PGR above naive": "not checked: .46",
    "t1 should reach PGR .9": "not checked: .9",
    "acc=.95": "not checked: .95",
    "it gets 95/100 correct": "not checked: 95/100",
    "about 95 percent come out right": "not checked: 95 percent",
    "hard + logconf beat naive by .1": "not checked: .1",
    "t3 may close the whole gap": "not checked: whole",
    "nearly all of the gap is gone": "not checked: all",
    "t3 doubled PGR. It took two epochs": "not checked: doubled",
    "accuracy went from 3 to nine": "not checked: 3, nine",
    "t3 → .95": "not checked: .95",
    "t1 with loss.a=.75 reached PGR .71, weak .69": "not checked: .69",
    "t3's accuracy is 10 points above naive": "not checked: 10 points",
    "t3 accuracy 10 % higher than naive": "not checked: 10 %",
    "t3 has an accuracy 10 percent over naive": "not checked: 10 percent",
    "t3 did not reach PGR .8": "not checked: .8",
    "t3 didn't reach PGR .8": "not checked: .8",
    "t3 never reached accuracy .9": "not checked: .9",
    "t3 stopped short of PGR .8": "not checked: .8",
    "t3 fails to reach PGR .71": "not checked: .71",
    "neither t3 nor t1 reached PGR .8": "not checked: .8",
    "t3 aims at PGR .9": "not checked: .9",
    "t3 needs PGR .9 to win": "not checked: .9",
    "t3 and t1 reached PGR .3 and .71": "not checked: .3, .71",
    "t3 with PGR .1 to .5": "not checked: .1, .5",
    "t1: accuracy 95": "not checked: t1: accuracy 95",
    "t1 with 0.5 PGR weight": "not checked: 0.5",
    "t3 has accuracy .6 on negated rows": "not checked: .6",
    "t3 reached a PGR of 1/2": "not checked: 1/2",
}


@pytest.mark.parametrize("text", TRUE)
def test_what_the_ledger_says_too_stands(about: About, text: str) -> None:
    found = finding(about, text)
    assert [(s.text, s.ledger) for s in found.said] == [(text, None)] and found.unchecked == ""


@pytest.mark.parametrize("text", FALSE)
def test_what_the_ledger_contradicts_is_struck_with_what_it_says(about: About, text: str) -> None:
    found = finding(about, text)
    assert "".join(s.text for s in found.said) == text, "nothing is lost"
    assert [s.ledger for s in found.said if s.ledger] == [FALSE[text]] and found.unchecked == ""


@pytest.mark.parametrize("text", UNCHECKED)
def test_what_cannot_be_checked_is_named(about: About, text: str) -> None:
    found = finding(about, text)
    assert (words(found), [s.ledger for s in found.said if s.ledger]) == (f"{text} ({UNCHECKED[text]})", [])


def test_a_note_cannot_undo_what_is_struck_out(about: About) -> None:
    said = _checked(finding(about, "Mind this ~~: t3 reached PGR .99 on fresh seeds, see https://x.y"))
    assert said.startswith("Mind this \\~\\~: ~~t3 reached PGR .99~~ **ledger: PGR .3**")
    assert "https&#58;//x" in said and plain(said) == said, "and makes no link"


def test_a_finding_is_held_against_the_trials_it_rests_on(about: About) -> None:
    assert words(finding(about, "logconf beat product by .055 accuracy", (2, 4, 99))).endswith("accuracy")
    assert "wrong; ledger: accuracy gain .055" in words(finding(about, "logconf beat product by .07 accuracy", (2, 4)))


def test_a_reason_is_held_against_what_was_known_when_it_was_given(ledger: Ledger, about: About) -> None:
    text = "logconf beat product by .070 over 4 trials; next: t1 with hard for soft"
    with written(ledger, SEARCH) as lease:
        propose(lease, 5, Recipe(targets=Part(name="hard")), rationale=text)
        propose(lease, 6, Recipe(loss=Part(name="logconf", params={"a": 0.9})))
        score_trial(lease, 6, score(0.0))
    now = About(ledger, SEARCH)
    assert words(check_reason(now, now.trials[5])) == text, "t6 came later"
    moved = now.trials[5].model_copy(update={"rationale": "next: t1 with lr .001→.002"})
    assert words(check_reason(now, moved)) == "next: t1 with lr .001→.002", "the sampler's words are no claim"
    moved = moved.model_copy(update={"author": "llm"})
    assert words(check_reason(now, moved)) == "next: t1 with lr .001→.002 (not checked: .001)"
    claim = "in the paper logconf beat product by .9 accuracy"
    paper = now.trials[5].model_copy(update={"author": "preset", "rationale": claim})
    assert words(check_reason(now, paper)) == claim, "what others measured is not of this ledger"


def test_report_and_notes_print_what_was_checked(ledger: Ledger, settings: Settings, about: About) -> None:
    with written(ledger, SEARCH) as lease:
        lease.find(Finding(text="t1 reached PGR .9, more than *all* <b>others</b>", trials=(1,)))
        propose(
            lease, 5, Recipe(targets=Part(name="hard")), "llm", rationale="t2 has PGR .9, so go on", refute="under .5"
        )
    source = write_report(ledger, settings, SEARCH).read_text(encoding="utf-8")
    truth = "ledger: PGR .71, fresh PGR .66, sealed PGR .64"
    assert f'<s>t1 reached PGR .9</s> <b class="failed">{truth}</b>, more than *all* &lt;b&gt;' in source
    assert 'title="t2 has PGR .9 [wrong; ledger: PGR .6], so go on"' in source
    assert '<s>t2 has PGR .9</s> <b class="failed">ledger: PGR .6</b>, so go on Refuted by: under .5' in source
    now = About(ledger, SEARCH)
    assert f"**Learnt** ~~t1 reached PGR .9~~ **{truth}**, more than \\*all\\* &lt;b&gt;" in search_note(now)
    assert "~~t1 reached PGR .9~~" in trial_note(now, now.trials[1])
    assert "**Why** ~~t2 has PGR .9~~ **ledger: PGR .6**, so go on" in trial_note(now, now.trials[5])


def test_the_machines_own_sentences_are_true(tmp_path: Path, ledger: Ledger) -> None:
    from aar.agent.reasons import contrasts, findings
    from aar.search import propose as draw
    from tests.ledgers import task

    begin(ledger, SEARCH)
    with written(ledger, SEARCH) as lease:
        for n in range(12):
            recipe = draw(task(), [], 0, n, "random").recipe if n else None
            propose(lease, n, recipe, predicted=0.3 + 0.01 * n)
            score_trial(lease, n, score(round(0.1 + 0.07 * (n * 5 % 12), 3)))
    about, trials = About(ledger, SEARCH), ledger.trials(SEARCH)
    made = [*findings(trials), *(Finding(text=c.sentence, trials=c.trials) for c in contrasts(trials))]
    assert len(made) > 10
    assert [w for f in made if (w := words(check_finding(about, f))) != f.text] == []
