"""How well who proposes predicts, who was asked, what talking cost: in the report, the status and MLflow alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from aar.cli.showing import state
from aar.ledger import Ledger
from aar.ledger.journal import entropy, family, plateaus, sharing, source, talked
from aar.report import write_report
from aar.report._charts import calibration as drawn
from aar.report._charts import portfolio
from aar.scoring import calibration, predictions
from aar.settings import Settings
from aar.tracking import About
from aar.tracking._notes import search_note, trial_note
from aar.tracking._words import search_words, trial_words
from aar.types import Part, Recipe, canonical_json
from tests.ledgers import begin, failure, propose, score, score_trial, written

SEARCH = "polarity-k3f9"
SHARES = [("llm", 0.6, 0.4), ("optuna", 0.3, 0.7), ("llm", 0.8, 0.2)]


def recipe(n: int) -> Recipe:
    return Recipe(loss=Part(name="logconf", params={"a": round(0.02 * n, 3)}))


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    made = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    begin(made, SEARCH, researcher="mixed")
    with written(made, SEARCH) as lease:
        propose(lease, 0, author="preset")
        score_trial(lease, 0, score(0.25))
    yield made
    made.close()


def predicted(ledger: Ledger, rows: Sequence[tuple[str, float, float | None, float | None, float]]) -> None:
    """Trials from 1 on: (author, predicted, low, high, came out)."""
    with written(ledger, SEARCH) as lease:
        for n, (author, said, low, high, seen) in enumerate(rows, 1):
            propose(lease, n, recipe(n), author, predicted=said, predicted_low=low, predicted_high=high)
            score_trial(lease, n, score(seen))


def shared(ledger: Ledger) -> None:
    """Three trials of a portfolio; the third was asked of the model, and Optuna proposed it."""
    with written(ledger, SEARCH) as lease:
        for n, (asked, llm, optuna) in enumerate(SHARES, 1):
            told = {
                "source": asked,
                "shares": {"optuna": optuna, "llm": llm},
                "credit": {"optuna": 0.25, "llm": n / 10},
            }
            author = "optuna" if n == 3 else asked
            propose(lease, n, recipe(n), author, refute="a PGR under .2", shares=canonical_json(told), predicted=0.5,
                    predicted_low=0.3, predicted_high=0.7)  # fmt: skip
            score_trial(lease, n, score(0.2 * n))


def turned(ledger: Ledger, usd: Sequence[float | None], troubles: Sequence[str] = ()) -> None:
    """A conversation about t1 with so many answers of 100 tokens read and 10 written."""
    with written(ledger, SEARCH) as lease:
        lease.turn(1, 0, "system", {"role": "system", "content": "rules"})
        for i, price in enumerate(usd):
            trouble = troubles[i] if i < len(troubles) else ""
            body = {"role": "assistant", "content": "hm", "trouble": trouble}
            lease.turn(1, 1 + i, "assistant", body, tokens_in=100, tokens_out=10, usd=price, seconds=2.0)


def page(ledger: Ledger, folder: Path) -> str:
    return write_report(ledger, Settings(workspace=folder), SEARCH).read_text(encoding="utf-8")


def words(source_: str, section: str) -> str:
    inside = source_.partition(f'<section id="{section}">')[2].partition("</section>")[0]
    return " ".join(re.sub(r"<(svg|title).*?</\1>|<[^>]+>", " ", inside, flags=re.S).split())


def test_predictions_are_scored_by_author_and_intervals_by_what_they_hold(ledger: Ledger) -> None:
    predicted(ledger, [
        ("llm", 0.5, 0.4, 0.6, 0.7), ("llm", 0.5, 0.4, 0.6, 0.55), ("llm", 0.3, 0.2, 0.4, 0.6),
        ("optuna", 0.4, None, None, 0.3), ("optuna", 0.2, None, None, 0.4),
    ])  # fmt: skip
    llm, optuna = calibration(predictions(ledger.trials(SEARCH)))
    assert (llm.author, llm.n, optuna.author, optuna.n) == ("llm", 3, "optuna", 2)
    assert [llm.bias, llm.error] == pytest.approx([0.55 / 3, 0.55 / 3])
    assert [optuna.bias, optuna.error] == pytest.approx([0.05, 0.15])
    wilson = stats.binomtest(1, 3).proportion_ci(0.95, method="wilson")
    assert list(llm.held) == pytest.approx([1 / 3, wilson.low, wilson.high, 3])
    assert optuna.held.n == 0 and optuna.words == ""


@pytest.mark.parametrize(("held", "said"), [(0, ": too sure"), (8, ""), (40, ": wider than need be")])
def test_intervals_are_judged_against_the_eighty_per_cent_they_promise(ledger: Ledger, held: int, said: str) -> None:
    n = max(held, 10)
    predicted(ledger, [("llm", 0.5, 0.4, 0.6, 0.5 if i < held else 0.9) for i in range(n)])
    (found,) = calibration(predictions(ledger.trials(SEARCH)))
    assert found.words == f"{held} of {n} intervals held{said}"


def test_calibration_stands_in_report_status_and_mlflow(ledger: Ledger, tmp_path: Path) -> None:
    predicted(ledger, [("llm", 0.5, 0.4, 0.6, 0.7), ("llm", 0.5, 0.4, 0.6, 0.55), ("optuna", 0.2, None, None, 0.4)])
    shown = words(page(ledger, tmp_path), "predictions")
    assert "llm 2 .12 +0.12" in shown and ".50 [.09, .91] 1 of 2 intervals held" in shown, shown
    assert "optuna 1 .20 +0.20" in shown and "gave no intervals" in shown
    told = state(ledger, SEARCH)["researcher"]["calibration"]
    assert told["llm"] == {"n": 2, "bias": 0.125, "error": 0.125, "intervals": 2, "held": [0.5, 0.0945, 0.9055]}
    assert told["optuna"]["held"] is None
    about = About(ledger, SEARCH)
    metrics = {p.key: p.value for p in search_words(about, tmp_path).points}
    assert metrics["predictions_llm_error"] == pytest.approx(0.125) and metrics["predictions_llm_held"] == 0.5
    assert "predictions_optuna_held" not in metrics and metrics["predictions_optuna_n"] == 1
    assert "llm: 2, PGR off by .12 (bias +0.12); 1 of 2 intervals held" in search_note(about)
    first = {p.key: p.value for p in trial_words(about, 1, tmp_path).points}
    assert (first["predicted_low"], first["predicted_high"], first["prediction_held"]) == (0.4, 0.6, 0.0)


def test_intervals_are_drawn_on_the_predicted_side(ledger: Ledger) -> None:
    predicted(ledger, [("llm", 0.5, 0.2, 0.6, 0.7), ("llm", 0.3, None, None, 0.5), ("llm", 0.3, 0.1, 0.4, 0.5)])
    chart = drawn(predictions(ledger.trials(SEARCH)))
    ends = re.findall(r'<line x1="(\S+)" y1="(\S+)" x2="(\S+)" y2="(\S+)" class="ci llm"/>', chart)
    assert len(ends) == 2 and all(float(a) < float(c) and b == d for a, b, c, d in ends)
    assert "t1 logconf a=.02: predicted .50 [.20, .60], came out .70" in chart


def test_who_was_asked_with_what_chance_and_what_it_was_worth(ledger: Ledger, tmp_path: Path) -> None:
    shared(ledger)
    trials = ledger.trials(SEARCH)
    assert [source(t) for t in trials] == ["preset", "llm", "optuna", "llm"] and sharing(trials[0]) is None
    shown = words(page(ledger, tmp_path), "portfolio")
    assert "optuna 1 1 1 t2 logconf a=.04, PGR .40 [.34, .46] .20 .25" in shown, shown
    assert "llm 2 1 2 t3 logconf a=.06, PGR .60 [.55, .66] .80 .30" in shown, "t3 is the model's, though Optuna's work"
    chart = portfolio(trials)
    assert re.findall(r"<title>(t\d asked \w+)", chart) == ["t1 asked llm", "t2 asked optuna", "t3 asked llm"]
    assert chart.count('class="share llm"') == chart.count('class="share optuna"') == 3
    heights = [float(h) for h in re.findall(r'height="(\S+)" rx="2" class="share', chart)]
    assert heights[0] + heights[1] == pytest.approx(120, abs=0.2), "each bar is whole"
    third = state(ledger, SEARCH)["trials"][3]
    assert (third["author"], third["source"], third["shares"]) == ("optuna", "llm", {"llm": 0.8, "optuna": 0.2})
    assert third["credit"] == {"llm": 0.3, "optuna": 0.25} and third["refute"] == "a PGR under .2"
    about = About(ledger, SEARCH)
    note = trial_note(about, about.trials[3])
    assert "**Asked** llm (chances: llm 80 %, optuna 20 %)" in note
    assert "**Predicted** PGR .50 [.30, .70]" in note and "**Would refute it** a PGR under .2" in note
    points = [p for p in search_words(about, tmp_path).points if p.key == "share_llm"]
    assert [(p.step, p.value) for p in points] == [(1, 0.6), (2, 0.3), (3, 0.8)]
    tags = trial_words(about, 3, tmp_path).tags
    assert (tags["author"], tags["source"], tags["refute"]) == ("optuna", "llm", "a PGR under .2")


def test_without_a_portfolio_sources_are_authors_and_nothing_is_drawn(ledger: Ledger, tmp_path: Path) -> None:
    predicted(ledger, [("optuna", 0.5, None, None, 0.7)])
    shown = words(page(ledger, tmp_path), "portfolio")
    assert "optuna 1 1 1 t1" in shown and "chance" not in shown and "conversations" not in shown
    assert portfolio(ledger.trials(SEARCH)) == ""


def test_families_their_spread_and_plateaus(ledger: Ledger, tmp_path: Path) -> None:
    with written(ledger, SEARCH) as lease:
        for n in range(1, 11):
            propose(lease, n, recipe(n) if n % 2 else Recipe(loss=Part(name="product")))
            score_trial(lease, n, score(0.2))
        propose(lease, 11, Recipe(targets=Part(name="hard")))
        failure(lease, 11, "no such row", status="rejected")
    trials = ledger.trials(SEARCH)
    assert family(trials[1].recipe) == "logconf" and family(trials[0].recipe) == "naive"
    assert entropy(trials) == 1.0 and plateaus(trials) == 1, "five of each; eight scored trials without a new best"
    shown = words(page(ledger, tmp_path), "portfolio")
    assert (
        "logconf 5 " in shown
        and "over-tried" in shown
        and "over 2 families by 1.00 bits; evenly would be 1.00" in shown
        and "1 plateau (8" in shown
    )
    told = state(ledger, SEARCH)["researcher"]
    assert (told["entropy_bits"], told["plateaus"]) == (1.0, 1)
    metrics = {p.key: p.value for p in search_words(About(ledger, SEARCH), tmp_path).points}
    assert (metrics["entropy_bits"], metrics["plateaus"]) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("usd", "cost"),
    [
        ([0.01, 0.0024], "$0.0124"), ([1e-5, 1e-5], "under $0.0001"), ([None, None], "price unknown"),
        ([0.01, None], "$0.0100 and 1 of 2 calls at a price unknown"),
    ],
)  # fmt: skip
def test_what_conversations_cost_and_what_went_wrong(
    ledger: Ledger, tmp_path: Path, usd: list[float | None], cost: str
) -> None:
    turned(ledger, usd, ["called no tool"])
    found = talked(ledger.turns(SEARCH))
    assert found is not None and (found.conversations, found.calls, found.tokens_in, found.tokens_out) == (
        1,
        2,
        200,
        20,
    )
    assert found.cost == cost and found.troubles == {"called no tool": 1} and found.seconds == 4.0
    shown = words(page(ledger, tmp_path), "portfolio")
    assert f"cost {cost}" in shown and "what went wrong called no tool 1" in shown and "200, 20" in shown
    told = state(ledger, SEARCH)["researcher"]["talked"]
    assert told["cost"] == cost and told["troubles"] == {"called no tool": 1}
    run = search_words(About(ledger, SEARCH), tmp_path)
    metrics = {p.key: p.value for p in run.points}
    assert run.tags["price"] == cost and metrics["trouble_called_no_tool"] == 1 and metrics["tokens_in"] == 200
    assert f"200 tokens read and 20 written, {cost.replace('_', '')}; went wrong: called no tool 1" in search_note(
        About(ledger, SEARCH)
    )


def test_looks_are_said_wherever_a_search_is(ledger: Ledger, tmp_path: Path) -> None:
    looks = int(ledger.spent(SEARCH)["looks"])
    assert looks == 1 and f"looks at labels {looks}" in words(page(ledger, tmp_path), "spend")
    about = About(ledger, SEARCH)
    assert {p.key: p.value for p in search_words(about, tmp_path).points}["looks"] == looks
    assert f"{looks} looks at labels" in search_note(about)
