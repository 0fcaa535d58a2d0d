"""How well who proposes predicts, who was asked, what talking cost: in the report, the status and MLflow alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from aar.agent.families import near
from aar.cli.showing import state
from aar.ledger import Ledger
from aar.ledger.journal import entropy, family, plateaus, sharing, source, talked
from aar.methods import PARTS
from aar.report import write_report
from aar.report._charts import calibration as drawn
from aar.report._charts import portfolio
from aar.report._researcher import MOST_FAMILIES, researcher_facts
from aar.scoring import calibration, predictions
from aar.settings import Settings
from aar.tracking import About
from aar.tracking._notes import search_note, trial_note
from aar.tracking._words import search_words, trial_words
from aar.types import Part, Recipe, TrialStatus, canonical_json
from tests import rows
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
        ("llm", 0.5, 0.4, 0.6, 0.7), ("llm", 0.5, 0.4, 0.6, 0.55), ("llm", 0.3, 0.2, 0.4, 0.1),
        ("human", 0.4, None, None, 0.3), ("human", 0.2, None, None, 0.4),
    ])  # fmt: skip
    with written(ledger, SEARCH) as lease:
        propose(lease, 6, recipe(6), "llm", predicted=0.5)
        score_trial(lease, 6, score(0.5, gap=False))
    llm, human = calibration(predictions(ledger.trials(SEARCH)))
    assert (llm.author, llm.n, human.author, human.n) == ("llm", 3, "human", 2), "without a PGR there is no outcome"
    assert [llm.bias, llm.error] == pytest.approx([0.05 / 3, 0.45 / 3])
    assert [human.bias, human.error] == pytest.approx([0.05, 0.15])
    assert llm.guess == pytest.approx(0.7 / 3), "came out .7, .55, .1, so .45 on average"
    wilson = stats.binomtest(1, 3).proportion_ci(0.95, method="wilson")
    assert list(llm.held) == pytest.approx([1 / 3, wilson.low, wilson.high, 3])
    assert human.held.n == 0 and human.words == ""


@pytest.mark.parametrize(("held", "said"), [(0, ": too sure"), (7, ""), (8, ""), (9, ""), (40, ": wider than need be")])
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
    assert "preset" not in shown, "nobody was asked for naive"
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


def test_of_a_source_the_best_is_its_first_best_that_is_over(ledger: Ledger, tmp_path: Path) -> None:
    told = canonical_json({"source": "llm", "shares": {"llm": 0.5, "random": 0.5}, "credit": {}})
    with written(ledger, SEARCH) as lease:
        for n, (pgr, status) in enumerate(((0.4, "complete"), (0.4, "pruned"), (0.9, "running")), 1):
            propose(lease, n, recipe(n), "llm", shares=told)
            score_trial(lease, n, score(pgr), status)
    about = About(ledger, SEARCH)
    facts = researcher_facts(about)
    found = {s["name"]: (s["asked"], s["scored"], s["best"] and s["best"].number) for s in facts["sources"]}
    assert found == {"llm": (3, 2, 1), "random": (0, 0, None)}, "who may be asked is listed before it is"
    assert [f.trials for f in facts["families"] if f.name == "logconf"] == [(1, 2)]


@pytest.mark.parametrize(("kinds", "more"), [(3, 0), (MOST_FAMILIES + 2, 3)])
def test_families_that_the_page_leaves_out_are_counted(ledger: Ledger, kinds: int, more: int) -> None:
    names = [(t, loss) for t in ("hard", "sharpen") for loss in sorted(PARTS["loss"]) if loss != "xent"]
    with written(ledger, SEARCH) as lease:
        for n, (target, loss) in enumerate(names[:kinds], 1):
            propose(lease, n, Recipe(targets=Part(name=target), loss=Part(name=loss)))
            score_trial(lease, n, score(0.2))
    facts = researcher_facts(About(ledger, SEARCH))
    assert (len(facts["families"]), facts["more_families"]) == (kinds + 1 - more, more)


def test_what_nearly_repeats_a_trial_moves_all_its_numbers_a_little() -> None:
    def adapt(warm: float, sharp: float) -> Recipe:
        return rows.recipe(loss=("adaptconf", {"T": sharp, "w": warm}))

    there = rows.row(1, adapt(0.2, 0.2), 0.8)
    for made, differs in (
        (adapt(0.2, 0.2), ""), (adapt(0.21, 0.2), "loss.w"), (adapt(0.19, 0.21), "loss.T, loss.w"),
        (adapt(0.5, 0.21), None), (adapt(0.0, 0.2), None), (adapt(0.2, 0.35), None),
    ):  # fmt: skip
        found = near(made, [rows.row(0), there], rows.BASE)
        assert found == (None if differs is None else (there, differs)), made.loss
    rejected = there.model_copy(update={"status": TrialStatus.REJECTED})
    assert near(adapt(0.2, 0.2), [rejected], rows.BASE) is None, "what never ran is no trial to repeat"
    product = rows.row(1, rows.recipe(loss=("product", {"a": 0.5, "b": 1.0})), 0.8)
    assert near(rows.recipe(loss=("logconf", {"a": 0.51})), [product], rows.BASE) is None
    how = [rows.recipe(targets=("calibrated", {"how": name})) for name in ("temperature", "confusion")]
    assert near(how[0], [rows.row(1, how[1], 0.8)], rows.BASE) is None


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
