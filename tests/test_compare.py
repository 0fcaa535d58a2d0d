"""Searches side by side: figures by hand, a verdict that knows noise, and a set of searches that survives a kill."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from aar.agent.experiment import go_on, members, name_of
from aar.agent.run import Plan
from aar.ledger import Ledger
from aar.report import compare, write_arms
from aar.report._arms import Arms, as_json, mean, table
from aar.settings import Settings
from aar.tasks import load_task
from aar.types import AarError, Part, Recipe, TaskSpec
from tests.ledgers import DATA, begin, confirmation, failure, job, propose, score, score_trial, task, written
from tests.loops import Child, launches, ledger_of, write_task
from tests.test_cli import aar

T1 = 12.7062047
"""t(.975) with one degree of freedom."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_of(tmp_path / "ws") as ledger:
        yield ledger


def search(
    ledger: Ledger, name: str, arm: str, seed: int, values: Sequence[float | str], fresh: float | None = None,
    naive: float = 0.2, gap: bool = True, gpu_seconds: float = 0.0, spec: TaskSpec | None = None, **plan: Any,
) -> str:  # fmt: skip
    """A complete search whose trials came to these PGRs, or to `pruned` (at .9) or `failed`; 6 s of jobs a seed."""
    begin(ledger, name, spec, researcher=arm, seed=seed, **plan)
    with written(ledger, name) as lease:
        propose(lease, 0)
        score_trial(lease, 0, score(naive, gap=gap))
        for n, value in enumerate(values, 1):
            propose(lease, n, Recipe(loss=Part(name="logconf", params={"a": n / 50})))
            if value == "failed":
                failure(lease, n, "transfer job oom")
                continue
            job(lease, n, [0, 1])
            lease.spend("transfer", 0.0, n, gpu_seconds)
            lost = value == "pruned"
            view = score(0.9 if isinstance(value, str) else value, gap=gap)
            score_trial(lease, n, view, "pruned" if lost else "complete", "lost" if lost else None)
        if fresh is not None:
            best = max((v, n) for n, v in enumerate(values, 1) if isinstance(v, float))[1]
            confirmation(lease, best, score(0.5), fresh, fresh)
        lease.set_search(status="complete")
    return name


def two_arms(ledger: Ledger, lift: float = 0.0) -> Arms:
    """Two repeats of two arms on shared seeds."""
    names = [
        search(ledger, "o-0", "optuna", 0, [0.5 + lift, 0.4, "pruned", 0.7 + lift], fresh=0.6 + lift),
        search(ledger, "o-1", "optuna", 1, [0.3 + lift, "failed", 0.6 + lift, 0.1], fresh=0.5 + lift),
        search(ledger, "r-0", "random", 0, [0.1, 0.3, 0.3, 0.5], fresh=0.5),
        search(ledger, "r-1", "random", 1, [0.1, 0.1, 0.1, 0.4], fresh=0.3),
    ]
    return compare(ledger, names)


def test_areas_intervals_and_differences_by_hand(ledger: Ledger) -> None:
    found = two_arms(ledger)
    assert (found.unit, found.trials, found.clock, found.notes) == ("PGR", 4, "jobs", [])
    best = {c.search: list(c.best) for curves in found.curves.values() for c in curves}
    assert best == {
        "o-0": [0.5, 0.5, 0.5, 0.7], "o-1": [0.3, 0.3, 0.6, 0.6],
        "r-0": [0.2, 0.3, 0.3, 0.5], "r-1": [0.2, 0.2, 0.2, 0.4],
    }, "naive is there from the beginning; pruned and failed trials are none to choose"  # fmt: skip
    seconds = {c.search: list(c.seconds) for curves in found.curves.values() for c in curves}
    assert seconds["o-0"] == [12, 24, 36, 48], "what confirmation cost is no cost of searching"
    assert seconds["o-1"] == [12, 14, 26, 38]
    rows = {row["arm"]: row for row in as_json(found)["arms"]}
    # Areas .55, .45: mean .5, sd .0707, half width 12.7062 x .0707 / sqrt 2 = .6353.
    assert rows["optuna"]["areas"] == {"o-0": 0.55, "o-1": 0.45}
    assert rows["optuna"]["area"] == {
        "mean": 0.5,
        "low": round(0.5 - T1 * 0.05, 4),
        "high": round(0.5 + T1 * 0.05, 4),
        "n": 2,
    }
    assert (rows["optuna"]["confirmed"]["mean"], rows["random"]["selected"]["mean"]) == (0.55, 0.45)
    (d,) = found.differences
    # Paired: .55 - .325, .45 - .25. Mean .2125, half width 12.7062 x .0125.
    assert (d.first, d.second, d.paired) == ("optuna", "random", True)
    assert (d.area.mean, d.area.low) == pytest.approx((0.2125, 0.2125 - T1 * 0.0125))
    assert d.confirmed is not None and d.confirmed.mean == pytest.approx(0.15)


def test_the_verdict_says_what_is_noise(ledger: Ledger) -> None:
    assert two_arms(ledger).verdict == (
        "optuna beats random in area under best-so-far PGR: +.212 [.054, .371] over 2 paired repeats; "
        "confirmed on fresh seeds +.150 [-.485, .785], within noise."
    )
    for n, (one, other) in enumerate(((0.5, 0.2), (0.2, 0.6), (0.4, 0.1))):
        search(ledger, f"a-{n}", "optuna", n, [one])
        search(ledger, f"b-{n}", "random", n, [other])
    near = compare(ledger, [f"{arm}-{n}" for arm in "ab" for n in range(3)])
    assert "optuna is not clearly ahead of random" in near.verdict and near.verdict.endswith("repeats, within noise.")


def test_arms_on_other_seeds_are_not_paired_and_many_arms_pay_for_their_number(ledger: Ledger) -> None:
    for n in range(3):
        search(ledger, f"o-{n}", "optuna", n, [0.5 + n / 10])
        search(ledger, f"r-{n}", "random", n + 3, [0.3 + n / 10])
        search(ledger, f"p-{n}", "presets", n, [0.4 + n / 10])
    names = [f"{arm}-{n}" for arm in "or" for n in range(3)]
    (welch,) = compare(ledger, names).differences
    # sd .1 each: se = sqrt(2 x .01 / 3) = .08165, df = 4, t = 2.7764.
    assert not welch.paired and welch.area.low == pytest.approx(0.2 - 2.7764 * 0.081650, abs=1e-4)
    three = compare(ledger, [*names, *(f"p-{n}" for n in range(3))])
    assert [(d.first, d.second) for d in three.differences] == [("optuna", "presets"), ("optuna", "random")]
    wider = three.differences[1].area
    assert wider.low == pytest.approx(0.2 - 3.9608 * 0.081650, abs=1e-4), "t(1 - .025 / 3, 4)"
    assert mean([1.0, 2.0, 3.0], pairs=3).high == pytest.approx(2 + 7.6488 / 3**0.5, abs=1e-3), "t(1 - .025 / 3, 2)"


def test_one_search_an_arm_has_no_interval_and_ones_of_one_researcher_are_told_apart(ledger: Ledger) -> None:
    search(ledger, "a", "optuna", 0, [0.5, 0.6])
    search(ledger, "b", "optuna", 0, [0.4])
    found = compare(ledger, ["a", "b"])
    assert list(found.curves) == ["a", "b"] and found.trials == 1
    assert found.notes == ["searches differ in length: only the first 1 trials of each are compared"]
    assert [list(curve.best) for curves in found.curves.values() for curve in curves] == [[0.5], [0.4]]
    assert found.verdict == "One search of an arm gives no interval: nothing can be said of the difference."


def test_without_a_gap_accuracy_is_compared(ledger: Ledger) -> None:
    search(ledger, "a", "optuna", 0, [0.5], gap=False)
    search(ledger, "b", "random", 0, [0.4], fresh=0.5)
    for names in (["a", "b"], ["b", "a"]):
        found = compare(ledger, names)
        (curve,) = found.curves["random"]
        assert found.unit == "accuracy" and list(curve.best) == [score(0.4).accuracy]
        assert curve.confirmed is not None and 0.7 < curve.confirmed < 0.9, "no PGR beside accuracies"


def test_arms_are_paired_on_the_repeats_both_have_but_for_one(ledger: Ledger) -> None:
    names = [search(ledger, f"o-{n}", "optuna", n, [0.5 + n / 10]) for n in range(4)]
    names += [search(ledger, f"r-{n}", "random", n, [0.3 + n / 10]) for n in (1, 0)]
    found = compare(ledger, names[:3] + names[4:])
    (d,) = found.differences
    assert d.paired and list(d.area) == pytest.approx([0.2, 0.2, 0.2, 2]), "the third of one arm is under way"
    assert [c.search for c in found.curves["random"]] == ["r-0", "r-1"], "in the order of their seeds"
    assert not compare(ledger, names).differences[0].paired, "too much would be thrown away"
    alone = compare(ledger, names[:5])
    assert alone.differences == [], "one search of an arm has no interval"
    search(ledger, "m-0", "mixed", 0, [0.9])
    with_one = compare(ledger, [*names, "m-0"])
    assert [(d.first, d.second) for d in with_one.differences] == [("optuna", "random")], "and silences no other"


def test_models_of_one_researcher_are_arms_of_their_own(ledger: Ledger) -> None:
    for seed in (0, 1):
        search(ledger, f"a-{seed}", "llm", seed, [0.5], model="openai:small")
        search(ledger, f"b-{seed}", "llm", seed, [0.3], model="openai:large")
        search(ledger, f"r-{seed}", "random", seed, [0.3])
    names = [f"{arm}-{seed}" for arm in "abr" for seed in (0, 1)]
    assert list(compare(ledger, names[:4]).curves) == ["llm openai:small", "llm openai:large"]
    assert list(compare(ledger, names).curves) == ["llm openai:small", "llm openai:large", "random"]
    assert list(compare(ledger, names[2:]).curves) == ["llm", "random"]


def test_what_was_not_confirmed_is_left_out_and_a_worse_winner_is_said(ledger: Ledger) -> None:
    names = []
    for n, fresh in enumerate((0.30, 0.31, None)):
        names.append(search(ledger, f"o-{n}", "optuna", n, [0.5], fresh=fresh))
        names.append(search(ledger, f"r-{n}", "random", n, [0.4], fresh=0.6 if fresh == 0.30 else 0.62))
    found = compare(ledger, names)
    (d,) = found.differences
    assert d.confirmed is not None and (d.area.n, d.confirmed.n) == (3, 2)
    assert found.verdict.endswith("; confirmed on fresh seeds -.305 [-.369, -.241].")
    assert found.notes == ["optuna: 2 of its 3 searches have a confirmed value"]


def test_the_confirmed_value_is_the_winners_and_not_of_who_came_second(ledger: Ledger) -> None:
    search(ledger, "a", "optuna", 0, [0.5, 0.6])
    with written(ledger, "a") as lease:
        confirmation(lease, 1, score(0.5), 0.1)
        confirmation(lease, 2, score(0.6), 0.7, 0.7)
        lease.turn(1, 0, "assistant", {}, usd=0.5)
        lease.turn(2, 0, "assistant", {}, usd=0.25)
        lease.set_search(status="stopped")
    search(ledger, "b", "random", 0, [0.4, 0.4])
    found = compare(ledger, ["a", "b"])
    assert [c.confirmed for c in (*found.curves["optuna"], *found.curves["random"])] == [0.7, None]
    assert [row["usd"] for row in table(found)] == [0.75, 0.0]
    assert found.notes == ["a is stopped: its values are interim"]


def test_where_the_task_uses_a_gpu_its_seconds_are_the_clock(ledger: Ledger) -> None:
    spec = task()
    spec = spec.model_copy(update={"limits": spec.limits.model_copy(update={"gpus": 1})})
    for name, arm in (("a", "optuna"), ("b", "random")):
        search(ledger, name, arm, 0, [0.5, 0.6], spec=spec, gpu_seconds=30.0)
    found = compare(ledger, ["a", "b"])
    assert found.clock == "GPU" and list(found.curves["optuna"][0].seconds) == [30, 60]


def test_what_cannot_be_compared_is_refused(ledger: Ledger) -> None:
    search(ledger, "a", "optuna", 0, [0.5])
    search(ledger, "b", "random", 0, [0.4])
    search(ledger, "c", "random", 0, [0.4])
    begin(ledger, "empty", researcher="random", seed=1)
    begin(ledger, "bare", researcher="random", seed=1)
    with written(ledger, "bare") as lease:
        for n in (0, 1):
            propose(lease, n)
    ledger.create_search(id="sst", task="sst2", data_digest=DATA, spec=_spec(ledger), plan=_plan(ledger))
    ledger.create_search(id="other", task="polarity", data_digest="d", spec=_spec(ledger), plan=_plan(ledger))
    for names, message in (
        (["a"], "at least two"), (["a", "a"], "at least two"), (["a", "nowhere"], "no search 'nowhere'"),
        (["a", "other"], "of different data"),
        (["a", "b", "c"], r"random: two searches of one search seed .+b and c both have seed 0.+or run one"),
        (["a", "empty"], "without trials cannot be compared"), (["a", "sst"], "of different data"),
        (["a", "bare"], "bare: naive has no result yet; see `aar status bare`"),
    ):  # fmt: skip
        with pytest.raises(AarError, match=message):
            compare(ledger, names)


def test_searches_of_other_settings_are_refused_by_name_or_compared_with_a_word(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    strong = task().training.strong.model_copy(update={"epochs": 7})
    pair = task().training.model_copy(update={"strong": strong})
    seeds = task().seeds.model_copy(update={"full": 4})
    for seed in (0, 1):
        search(ledger, f"a-{seed}", "optuna", seed, [0.5])
        search(ledger, f"b-{seed}", "random", seed, [0.1], spec=task().model_copy(update={"summary": "renamed"}))
        longer = task().model_copy(update={"training": pair, "seeds": seeds})
        search(ledger, f"c-{seed}", "random", seed, [0.1], spec=longer)
    assert compare(ledger, ["a-0", "a-1", "b-0", "b-1"]).differs == "", "a summary changes no result"
    names = ["a-0", "a-1", "c-0", "c-1"]
    told = (
        f"training.strong.epochs {task().training.strong.epochs} (a-0, a-1), 7 (c-0, c-1); seeds.full 5 (a-0, a-1), 4"
    )
    with pytest.raises(AarError, match=re.escape(told)):
        compare(ledger, names)
    found = compare(ledger, names, different=True)
    assert told in found.notes[0] and f"from the settings, not from who proposed: {told}" in found.verdict
    place = ["--workspace", tmp_path / "ws"]
    assert aar("compare", *names, *place).code == 2
    said = aar("compare", *names, "--different", *place)
    assert said.code == 0 and said.out.count("training.strong.epochs") == 2, "beside the table and in the verdict"


def test_a_model_without_a_price_costs_unknown_and_not_nothing(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    for seed, usd in ((0, 0.5), (1, None)):
        search(ledger, f"l-{seed}", "llm", seed, [0.5])
        search(ledger, f"r-{seed}", "random", seed, [0.1])
        with written(ledger, f"l-{seed}") as lease:
            lease.turn(1, 0, "assistant", {}, tokens_in=9, tokens_out=1, usd=usd)
    names = ["l-0", "l-1", "r-0", "r-1"]
    found = compare(ledger, names)
    assert {row["arm"]: row["usd"] for row in as_json(found)["arms"]} == {"llm": None, "random": 0.0}
    assert found.notes == ["llm: dollars unknown, no price of its model is known (`aar run --prices FILE`)"]
    assert "dollars" not in write_arms(found, tmp_path / "c.svg").read_text()
    said = aar("compare", *names, "--workspace", tmp_path / "ws").out
    assert re.search(r"^llm .+ unknown$", said, re.M) and re.search(r"^random .+ 0\.00$", said, re.M), said


def _spec(ledger: Ledger) -> str:
    row = ledger.search("a")
    assert row is not None
    return str(row["spec"])


def _plan(ledger: Ledger) -> str:
    return Plan(seed=1, researcher="random").model_dump_json()


def test_the_chart_holds_every_arm_and_stays_inside(ledger: Ledger, tmp_path: Path) -> None:
    found = two_arms(ledger)
    drawn = write_arms(found, tmp_path / "c.svg").read_text()
    assert drawn.count("<polyline") == 4 and drawn.count('class="band optuna full"') == 2, "two panels, two arms"
    assert drawn.count("<circle") == 5, "confirmed results in both panels, and in the legend"
    assert "job minutes" in drawn and "dollars" not in drawn and "confirmed on fresh seeds" in drawn
    points = re.findall(r'points="([^"]+)"', drawn)
    ys = [float(p.split(",")[1]) for line in points for p in line.split()]
    assert 40 <= min(ys) and max(ys) <= 290


def test_compare_on_the_command_line(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    two_arms(ledger)
    place = ["--workspace", tmp_path / "ws"]
    said = aar("compare", "o-0", "o-1", "r-0", "r-1", *place)
    assert said.code == 0, said
    assert re.search(r"optuna +2 +\.500 \[-\.135, 1\.135\] +\.650 \S+ \S+ +\.550 ", said.out), said.out
    assert "optuna beats random" in said.out
    (chart,) = re.findall(r"^chart  (.+)$", said.out, re.M)
    assert Path(chart).read_text().startswith("<svg")
    told = json.loads(aar("compare", "o-0", "o-1", "r-0", "r-1", "--json", *place).out)
    assert told["verdict"].startswith("optuna beats random") and told["arms"][1]["arm"] == "random"
    missing = aar("compare", "o-0", *place)
    assert missing.code == 2 and "at least two" in missing.err


# ---------------------------------------------------------------- experiments


BAD = {
    "arm": (["--arms", "optuna,chance"], "--arms 'chance': want optuna, random"),
    "one": (["--arms", "optuna"], "want at least two different ones"),
    "twice": (["--arms", "random,optuna,random"], "want at least two different ones"),
    "model": (["--arms", "optuna,llm"], "--arms llm: name its model"),
    "tokens": (["--arms", "optuna,random", "--tokens", "9"], "--tokens 9: researcher optuna,random has no model"),
    "unpriced": (
        ["--arms", "optuna,llm", "--usd", "1", "--model", "openai:gpt-5", "--base-url", "http://127.0.0.1:9/v1"],
        "--usd 1: no price of openai:gpt-5 is known",
    ),
    "repeats": (["--arms", "optuna,random", "--repeats", "1"], "Invalid value for '--repeats'"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_begins_nothing(what: str, tmp_path: Path) -> None:
    words, message = BAD[what]
    said = aar("experiment", write_task(tmp_path), *words, "--workspace", tmp_path / "ws")
    assert said.code == 2 and message in " ".join(said.err.split()), said
    assert not (tmp_path / "ws").exists()


def test_an_experiment_is_its_task_and_plan_and_its_arms_are_who_proposes(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, settings = load_task(write_task(tmp_path))[0], Settings(workspace=tmp_path / "ws")
    plan = Plan(trials=2, model="openai:m", base_url="http://127.0.0.1:9", tokens=9, usd=1.0)
    name = name_of(spec, settings, plan)
    for same in ({"seed": 5}, {"researcher": "random"}, {"experiment": name}, {"model": None, "tokens": 5}):
        assert name_of(spec, settings, plan.model_copy(update=same)) == name
    for other in ({"trials": 3}, {"confirm_top": 0}):
        assert name_of(spec, settings, plan.model_copy(update=other)) != name
    search(ledger, "mine", "optuna", 0, [0.5], experiment=name)
    search(ledger, "raised", "llm", 1, [0.5], experiment=name, model="openai:m", tokens=8, usd=9.0)
    search(ledger, "other", "llm", 0, [0.5], experiment="tiny-x000000")
    search(ledger, "another", "llm", 0, [0.5], experiment=name, model="openai:n", tokens=9, usd=1.0)
    made: list[Plan] = []

    def create(*words: Any) -> str:
        made.append(words[-1])
        return f"new-{len(made)}"

    monkeypatch.setattr("aar.agent.experiment.create", create)
    monkeypatch.setattr("aar.agent.experiment.work", lambda *_: None)
    plan = plan.model_copy(update={"experiment": name})
    done = list(go_on(ledger, settings, spec, plan, ["optuna", "llm"], [0, 1]))
    assert [(m.arm, m.seed, m.search, m.status) for m in done] == [
        ("optuna", 0, "mine", "complete"), ("llm", 0, "new-1", "complete"), ("optuna", 1, "new-2", "complete"),
        ("llm", 1, "raised", "complete"),
    ]  # fmt: skip
    assert [(p.researcher, p.seed, p.model, p.base_url, p.tokens, p.usd) for p in made] == [
        ("llm", 0, plan.model, plan.base_url, 9, 1), ("optuna", 1, None, None, None, None),
    ]  # fmt: skip


def test_a_killed_experiment_goes_on_and_may_grow(tmp_path: Path) -> None:
    workspace, task = tmp_path / "ws", str(write_task(tmp_path))
    place = ["--sandbox", "process", "--workspace", str(workspace)]
    words = ["experiment", task, "--arms", "optuna,random", "--trials", "2", "--hours", "5", *place]
    child = Child(tmp_path / "out1", [*words, "--repeats", "2"], "submit")
    assert child.end() == -signal.SIGKILL, child.text
    again = Child(tmp_path / "out2", [*words, "--repeats", "2"])
    assert again.end() == 0, again.text
    with ledger_of(workspace) as ledger:
        plans = [(json.loads(r["plan"]), r["status"]) for r in reversed(ledger.searches())]
        assert [(p["researcher"], p["seed"], s) for p, s in plans] == [
            (arm, seed, "complete") for seed in (0, 1) for arm in ("optuna", "random")
        ]
        (experiment,) = {p["experiment"] for p, _ in plans}
        assert {p["hours"] for p, _ in plans} == {5}
    starts = Counter(j["attempt"] for j in launches(workspace))
    assert set(starts.values()) == {1}, "nothing ran twice"
    ceilings = [s for j in launches(workspace) if j["kind"] == "ceiling" for s in j["seeds"] if s % 1000 < 500]
    assert sorted(ceilings) == [0, 1, 1000, 1001], "the arms of a repeat share their baselines"
    assert "over 2 paired repeats" in again.text and f"{experiment}.svg" in again.text
    with ledger_of(workspace) as ledger:
        grown = members(ledger, Plan(experiment=experiment), ["optuna", "random", "presets"], range(3))
    missing = [(m.arm, m.seed) for m in grown if m.search is None]
    assert missing == [("presets", 0), ("presets", 1), ("optuna", 2), ("random", 2), ("presets", 2)]
    assert {m.status for m in grown if m.search} == {"complete"}
    told = json.loads(aar("compare", experiment, "--json", "--workspace", workspace).out)
    assert [row["repeats"] for row in told["arms"]] == [2, 2]
