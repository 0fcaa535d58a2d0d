"""The report: every section from generated ledgers, honest where little is known, and inert to hostile text."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sqlalchemy import insert

from aar.cli.showing import state
from aar.ledger import Ledger, TrialRow
from aar.ledger import tables as t
from aar.report import headline, write_report
from aar.report._charts import by_trial, calibration, gap_bars
from aar.report._svg import Scale
from aar.scoring import predictions
from aar.settings import Settings
from aar.tracking import About, claim
from aar.types import AarError, Finding, Part, PublicScore, Recipe, canonical_json
from tests import ledgers
from tests.ledgers import LEAK, begin, failure, propose, score, score_trial, searched, written

SEARCH = "polarity-k3f9"
SECTIONS = [
    "headline", "confirmed", "claim", "trials", "methods", "importance", "predictions", "portfolio", "findings",
    "lineage", "failures", "all", "spend",
]  # fmt: skip
HOSTILE = "</pre></details><script>alert(1)</script><img src=x onerror=alert(2)> \x1b[31m\u202e\ud800 {{ 7 * 7 }} & \"'"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(workspace=tmp_path)


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    ledger = Ledger(settings.ledger_url)
    yield ledger
    ledger.close()


class Page(HTMLParser):
    """Tags, attributes and the text of each section."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.sections: dict[str, str] = {"": ""}
        self.source = path.read_text(encoding="utf-8")
        self._at = ""
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(k, v or "") for k, v in attrs]
        if tag == "section":
            self._at = dict(attrs).get("id") or ""
            self.sections[self._at] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "section":
            self._at = ""
        if tag in ("td", "th", "dt", "summary"):
            self.sections[self._at] += " "

    def handle_data(self, data: str) -> None:
        self.sections[self._at] += data

    def text(self, section: str = "") -> str:
        return " ".join(self.sections[section].split())


def page(ledger: Ledger, settings: Settings) -> Page:
    return Page(write_report(ledger, settings, SEARCH))


def naive_only(ledger: Ledger, status: str = "running") -> None:
    begin(ledger, SEARCH)
    with written(ledger, SEARCH) as lease:
        propose(lease, 0)
        score_trial(lease, 0, score(0.25))
        lease.set_search(status=status)


def many(ledger: Ledger, count: int) -> list[TrialRow]:
    """A search of `count` scored trials, straight into the table: quick."""
    naive_only(ledger)
    row = dict(ledger.rows(t.trials)[0])
    losses = ["xent", "logconf", "product"]
    rows = []
    for n in range(1, count):
        recipe = Recipe(loss=Part(name=losses[n % 3])).model_dump_json()
        view = canonical_json(score(round(0.2 * (n % 3) + 0.01 * (n % 7), 3)))
        rows.append(row | {"number": n, "recipe": recipe, "view": view, "parent": n // 2, "predicted_pgr": 0.3})
    with ledger.engine.begin() as c:
        c.execute(insert(t.trials), rows)
    return ledger.trials(SEARCH)


def test_a_whole_search_has_every_section(settings: Settings, ledger: Ledger) -> None:
    searched(ledger, trials=26)
    shown = page(ledger, settings)
    assert [s for s in shown.sections if s] == SECTIONS
    top = shown.text()
    assert "of the gap on fresh seeds" in top and "on the sealed split" in top and "complete" in top
    assert "2 to screen, 5 in full, 5 to confirm" in top and "process (no isolation)" in top
    trials = {x.number: x for x in ledger.trials(SEARCH)}
    listed = shown.text("all")
    assert all(f"t{n} {x.label}" in listed for n, x in trials.items())
    for n, x in trials.items():
        if x.status in ("failed", "rejected"):
            assert f"t{n} {x.label}: {x.reason}" in shown.text("failures")
    assert "step 120 loss 0.41 Killed" in shown.text("failures")
    assert "logconf beat xent by .094" in shown.text("findings")
    assert "loss part trials best PGR mean logconf" in shown.text("methods")
    spent = ledger.spent(SEARCH)
    assert f"looks at labels {spent['looks']:.0f}" in shown.text("spend")
    assert "openings of these sealed rows, all searches 1" in shown.text("spend")
    assert shown.tags.count("svg") == 3


def test_the_headline(ledger: Ledger) -> None:
    searched(ledger, trials=8)
    rows = {r.key: r for r in headline(ledger, SEARCH)}
    assert list(rows) == ["weak", "naive", "selected", "confirmed", "sealed", "ceiling"]
    assert (rows["weak"].accuracy, rows["weak"].pgr) == (ledgers.WEAK, 0)
    assert (rows["ceiling"].accuracy, rows["ceiling"].pgr) == (ledgers.CEILING, 1)
    assert (rows["naive"].accuracy, rows["naive"].pgr) == (0.745, 0.25)
    complete = [x for x in ledger.trials(SEARCH) if x.number and x.status == "complete" and x.view]
    best = max(x.view.accuracy for x in complete if x.view)
    assert rows["selected"].accuracy == best and "flatters" in rows["selected"].note
    views = {c["trial"]: c["views"] for c in ledger.confirmations(SEARCH)}
    (winner,) = (n for n, v in views.items() if "sealed" in v)
    assert rows["confirmed"].trial == rows["sealed"].trial == winner
    assert rows["confirmed"].pgr == views[winner]["fresh"]["pgr"]
    sealed = views[winner]["sealed"]
    assert (rows["sealed"].pgr, rows["sealed"].ci_low) == (sealed["pgr"], sealed["ci_low"])
    assert "over matched naive" in rows["sealed"].note


def test_without_confirmation_the_page_says_that_its_values_flatter(settings: Settings, ledger: Ledger) -> None:
    searched(ledger, trials=6, confirm=0)
    shown = page(ledger, settings)
    assert "no fresh seeds confirm it" in shown.text()
    assert "Nothing was confirmed" in shown.text("confirmed")
    rows = {r.key: r for r in headline(ledger, SEARCH)}
    assert rows["confirmed"].accuracy is None and "nothing was confirmed" in rows["confirmed"].note
    assert "sealed" not in rows


def test_a_gain_that_may_be_none_is_called_so(settings: Settings, ledger: Ledger) -> None:
    naive_only(ledger, "complete")
    with written(ledger, SEARCH) as lease:
        propose(lease, 1, Recipe(loss=Part(name="logconf")))
        score_trial(lease, 1, score(0.4))
        ledgers.confirmation(lease, 1, score(0.4), 0.27, 0.26)
    assert "+.004 [-.008, .017] accuracy, which may be no gain at all" in page(ledger, settings).text()


def test_a_winner_has_its_claim_card(settings: Settings, ledger: Ledger) -> None:
    searched(ledger, trials=8)
    shown = page(ledger, settings).text("claim")
    (winner,) = (c for c in ledger.confirmations(SEARCH) if "sealed" in c["views"])
    trial = ledger.trial(SEARCH, winner["trial"])
    sealed, fresh = (f"{winner['views'][k]['pgr']:.2f}".lstrip("0") for k in ("sealed", "fresh"))
    for words in (
        f"t{trial.number} {trial.label}", f"PGR {sealed}", fresh, "chosen for being high: flatters", "matched ceiling",
        "No control raises a flag", f"shuffled weak labels, t{trial.number}", "single ones .04 to .96",
        "their structure costs .1 [.08, .12]", "could not be run: transfer job oom: <b>killed</b>", "text length only",
        "attack success .015", "Matched naive: accuracy .740", "misfit .210", "loss_gain .310", "ece_scaled .020",
        "right_where_weak_wrong .520", "effective_sample 1.000", "openings of these sealed rows, all searches 1",
        "aar trial polarity --set", f"--seed 0 --workspace {settings.workspace}", "aar confirm",
    ):  # fmt: skip
        assert words in shown, words


def test_a_flag_of_a_control_is_said_wherever_the_result_is(settings: Settings, ledger: Ledger) -> None:
    naive_only(ledger, "complete")
    with written(ledger, SEARCH) as lease:
        propose(lease, 1, Recipe(loss=Part(name="logconf")))
        score_trial(lease, 1, score(0.7))
        ledgers.confirmation(lease, 1, score(0.7), 0.7, 0.7, flagged=True)
    flag = "t1 reaches .742 ± .03 on shuffled weak labels: what it learns does not come from them"
    shown = page(ledger, settings)
    assert f"Flagged: {flag}" in shown.text("claim") and "No control raises a flag" not in shown.text("claim")
    assert f"flagged: {flag}" in shown.text("headline")
    assert f" accuracy. But {flag}." in shown.text(), "in the page's first sentences too"
    assert flag in {r.key: r for r in headline(ledger, SEARCH)}["sealed"].note
    (confirmed,) = state(ledger, SEARCH)["confirmed"]
    assert confirmed["flags"] == [flag]


def test_controls_that_could_not_be_run_clear_nobody(settings: Settings, ledger: Ledger) -> None:
    searched(ledger, trials=8)
    card = claim(About(ledger, SEARCH), settings.workspace)
    assert card is not None
    ran = sum(c.accuracy is not None for _, c in card.controls)
    assert card.unflagged == f"No control raises a flag ({ran} of {len(card.controls)} have a result)."
    failed = [(name, c.model_copy(update={"accuracy": None})) for name, c in card.controls]
    assert dataclasses.replace(card, controls=failed).unflagged == "No control ran."


def test_without_a_sealed_winner_there_is_no_claim(settings: Settings, ledger: Ledger) -> None:
    naive_only(ledger, "complete")
    with written(ledger, SEARCH) as lease:
        propose(lease, 1, Recipe(loss=Part(name="logconf")))
        score_trial(lease, 1, score(0.7))
        ledgers.confirmation(lease, 1, score(0.7), 0.7)
    assert "No claim" in page(ledger, settings).text("claim")


def test_a_running_search_without_trials(settings: Settings, ledger: Ledger) -> None:
    begin(ledger, SEARCH)
    shown = page(ledger, settings)
    assert [s for s in shown.sections if s] == SECTIONS
    assert "interim" in shown.text() and "nothing to compare" in shown.text()
    assert "svg" not in shown.tags and "No trial has a result" in shown.text("trials")
    assert {r.accuracy for r in headline(ledger, SEARCH)} == {None}


def test_a_search_in_which_all_failed(settings: Settings, ledger: Ledger) -> None:
    begin(ledger, SEARCH)
    with written(ledger, SEARCH) as lease:
        for n in range(3):
            propose(lease, n)
            failure(lease, n, "transfer job timeout: after 600 s", f"log of t{n}\n")
        propose(lease, 3)
        failure(lease, 3, "ensemble trains weak models, but this task provides its labels", status="rejected")
        lease.start_attempt("weak-aaaa-0", "weak", ["k"], None)
        lease.finish_attempt("weak-aaaa-0", "oom", '{"reason":"killed at 2 GiB","log_tail":"Killed"}', [], None, False)
        lease.set_search(status="failed", reason="weak job oom: killed at 2 GiB")
    shown = page(ledger, settings)
    listed = shown.text("failures")
    assert all(f"log of t{n}" in listed for n in range(3)) and listed.count("failed t") == 3
    assert "rejected t3" in listed and "no log" in listed and "oom job weak-aaaa-0: killed at 2 GiB" in listed
    assert "weak job oom" in shown.text()


def test_without_a_gap_the_reason_stands_and_accuracy_is_drawn(settings: Settings, ledger: Ledger) -> None:
    searched(ledger, trials=6, gap=False, confirm=0)
    shown = page(ledger, settings)
    assert "no PGR: gap 0.012 is under the task's floor" in shown.text("headline")
    assert "accuracy" in shown.text("trials") and "PGR" not in shown.text("trials")
    assert "best accuracy" in shown.text("methods")
    assert [r.pgr for r in headline(ledger, SEARCH)] == [None] * 5
    assert "under the task's floor" in shown.text("all")


def test_hostile_text_stays_text(settings: Settings, ledger: Ledger) -> None:
    naive_only(ledger, "complete")
    before = set(page(ledger, settings).tags)
    with written(ledger, SEARCH) as lease:
        propose(lease, 1, rationale=HOSTILE.replace("\ud800", ""), predicted=0.3, parent=0)
        failure(lease, 1, HOSTILE.replace("\ud800", ""), HOSTILE)
        propose(lease, 2, Recipe(loss=Part(name="product")), parent=0, predicted=0.3)
        score_trial(lease, 2, score(0.4))
        lease.set_trial(2, label="<svg onload=alert(3)>")
        ledgers.confirmation(lease, 2, score(0.4), 0.4, 0.4)
        lease.find(Finding(text="<iframe src='http://a.example'></iframe>", trials=(2,)))
        lease.set_search(reason="<script>alert(4)</script>")
    path = write_report(ledger, settings, SEARCH)
    shown = Page(path)
    benign = "details summary pre ul li br b i h3 small svg rect polygon polyline title".split()
    assert set(shown.tags) - before <= set(benign)
    assert "script" not in shown.tags and not [k for k, _ in shown.attributes if k.startswith("on")]
    assert "<script>alert(1)</script><img src=x" in shown.text("failures") and "{{ 7 * 7 }}" in shown.text("failures")
    assert not re.search("[\x1b\u202e\ud800]", shown.source)
    for plot in (settings.root / "reports" / SEARCH).glob("*.svg"):
        assert not [e for e in ET.parse(plot).iter() if "onload" in e.attrib or e.tag.endswith("script")]


def test_the_page_loads_and_runs_nothing(settings: Settings, ledger: Ledger) -> None:
    searched(ledger, trials=12)
    shown = page(ledger, settings)
    assert {"script", "link", "img", "iframe", "object", "base"}.isdisjoint(shown.tags)
    assert not [a for a in shown.attributes if a[0] in ("src", "href", "srcset", "action")]
    assert "url(" not in shown.source and "@import" not in shown.source
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in shown.attributes
    assert set(re.findall(r"https?://[^\"' ]+", shown.source)) == {"http://www.w3.org/2000/svg"}


def test_nothing_exact_is_shown(settings: Settings, ledger: Ledger) -> None:
    searched(ledger, trials=6)
    source = page(ledger, settings).source
    plots = "".join(p.read_text() for p in (settings.root / "reports" / SEARCH).iterdir())
    for row in ledger.scores(SEARCH):
        assert f"{row['accuracy']:.7f}"[1:] not in source + plots
    assert LEAK > 5e-8  # so that seven digits show it


def test_five_hundred_trials(settings: Settings, ledger: Ledger) -> None:
    trials = many(ledger, 500)
    path = write_report(ledger, settings, SEARCH)
    assert path.stat().st_size < 2**20
    shown = Page(path)
    assert shown.text("importance").startswith("Which choices mattered")
    assert (settings.root / "reports" / SEARCH / "importance.svg").exists()
    assert shown.text("all").count("preset" if trials[1].author == "preset" else "optuna") == 500
    assert "500 trials" in shown.text("lineage")


def test_importance_needs_enough_evidence(settings: Settings, ledger: Ledger) -> None:
    many(ledger, 49)
    assert "Not enough evidence: 49 scored trials" in page(ledger, settings).text("importance")


def test_predictions_are_scored_against_guessing_the_mean(settings: Settings, ledger: Ledger) -> None:
    naive_only(ledger)
    with written(ledger, SEARCH) as lease:
        for n, (said, seen) in enumerate([(0.5, 0.6), (0.3, 0.2), (0.1, 0.4)], 1):
            propose(lease, n, Recipe(loss=Part(name="logconf", params={"a": n / 10})), predicted=said)
            score_trial(lease, n, score(seen))
    text = page(ledger, settings).text("predictions")
    assert "optuna 3 .17 +0.10 .13" in text


def test_lineage_is_indented_under_parents(settings: Settings, ledger: Ledger) -> None:
    naive_only(ledger)
    with written(ledger, SEARCH) as lease:
        for n, parent in ((1, None), (2, 1), (3, 2), (4, 1)):
            propose(lease, n, Recipe(loss=Part(name="logconf", params={"a": n / 10})), parent=parent)
    source = page(ledger, settings).source
    rows = re.findall(r'<div style="margin-left:(\d+)px">(t\d)', source)
    assert rows == [("0", "t1"), ("22", "t2"), ("44", "t3"), ("22", "t4")]


def test_charts_are_files_too(settings: Settings, ledger: Ledger) -> None:
    searched(ledger, trials=8)
    page(ledger, settings)
    plots = {p.name for p in (settings.root / "reports" / SEARCH).iterdir()}
    assert plots == {"gap.svg", "trials.svg", "predictions.svg"}
    for name in plots:
        ET.parse(settings.root / "reports" / SEARCH / name)


def test_gap_bars_fill_their_track_by_pgr(ledger: Ledger) -> None:
    naive_only(ledger)
    with written(ledger, SEARCH) as lease:
        propose(lease, 1, Recipe(loss=Part(name="logconf")))
        score_trial(lease, 1, PublicScore(
            split="dev", accuracy=0.796, accuracy_se=0.004, weak=0.691, ceiling=0.901, pgr=0.5, ci_low=0.4, ci_high=0.6,
            n_seeds=5,
        ))  # fmt: skip
    chart = gap_bars(headline(ledger, SEARCH))
    widths = {kind: float(w) for w, kind in re.findall(r'width="([\d.]+)" height="18" rx="2" class="(\w+)"', chart)}
    assert widths["selected"] / widths["track"] == pytest.approx(0.5, abs=0.01)
    assert "under" not in widths


def test_a_student_below_its_teacher_is_drawn_to_the_left(ledger: Ledger) -> None:
    naive_only(ledger)
    with written(ledger, SEARCH) as lease:
        propose(lease, 1, Recipe(loss=Part(name="logconf")))
        score_trial(lease, 1, score(-0.3))
    chart = gap_bars(headline(ledger, SEARCH))
    bar = r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="18" rx="2" class="'
    ((below, width),) = re.findall(bar + "under", chart)
    (track,) = {x for x, _ in re.findall(bar + "track", chart)}
    assert float(below) + float(width) == pytest.approx(float(track), abs=0.1)


def test_marks_tell_authors_and_pruned_trials_apart(ledger: Ledger) -> None:
    naive_only(ledger)
    with written(ledger, SEARCH) as lease:
        for n, author in enumerate(("optuna", "random", "llm", "human"), 1):
            propose(lease, n, Recipe(loss=Part(name="logconf", params={"a": n / 10})), author, predicted=0.1 * n)
            score_trial(lease, n, score(0.1 * n, n_seeds=2), "pruned" if author == "random" else "complete")
    trials = ledger.trials(SEARCH)
    drawn = by_trial(trials, {})
    assert re.findall(r'class="mark (\w+) (\w+)"><title>t(\d)', drawn) == [
        ("optuna", "full", "0"), ("optuna", "full", "1"), ("random", "hollow", "2"), ("llm", "full", "3"),
        ("human", "full", "4"),
    ]  # fmt: skip
    assert calibration(predictions(trials)).count("<title>") == 4


def test_a_scale_has_round_ticks_and_keeps_to_its_ends() -> None:
    scale = Scale(0.62, 0.91, 0, 100)
    assert scale.ticks() == [0.65, 0.7, 0.75, 0.8, 0.85, 0.9]
    assert (scale(0.0), scale(2.0)) == (0, 100)


def test_an_unknown_search_is_said(settings: Settings, ledger: Ledger) -> None:
    with pytest.raises(AarError, match="no search 'nothing'"):
        write_report(ledger, settings, "nothing")
    assert not (settings.root / "reports").exists()
