"""The audit of a confirmed trial: passed by an honest search, failed by what each check is there to find."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, insert, update

from aar.agent.run import opened
from aar.cli.showing import state
from aar.ledger import tables as t
from aar.report import write_report
from aar.runner.audit import audit, protected
from aar.runner.bench import Bench
from aar.runner.trial import Runner
from aar.tracking import About, claim, flags
from aar.tracking._claim import markdown
from aar.tracking._notes import trial_note
from aar.tracking._words import trial_words
from aar.types import AuditView, Part, PublicScore, Recipe
from tests.loops import Searching, searching

CHECKS = ["constant predictions", "spread over seeds", "PGR above 1", "protected files", "seeds as planned"]


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Searching, str]]:
    """A search of one recipe, confirmed."""
    folder = tmp_path_factory.mktemp("audited")
    with searching(folder, [Recipe(loss=Part(name="logconf"))]) as here:
        search = here.create(folder, trials=1, researcher="scripted", seed=3, controls=False)
        here.work(search)
        yield here, search


@pytest.fixture
def bench(confirmed: tuple[Searching, str]) -> Iterator[Bench]:
    here, search = confirmed
    with opened(here.ledger, here.settings, search) as bench:
        yield bench


def views_of(bench: Bench) -> dict[str, Any]:
    (row,) = bench.ledger.confirmations(bench.search)
    views: dict[str, Any] = dict(row["views"])
    return views | {k: PublicScore.model_validate(views[k]) for k in ("fresh", "sealed")}


def audited(bench: Bench, **views: Any) -> dict[str, AuditView]:
    """The checks of t1, some of its views replaced."""
    evidence = Runner(bench).evidence
    made = audit(bench, evidence, bench.ledger.trial(bench.search, 1), views_of(bench) | views)
    assert [a.name for a in made] == CHECKS
    return {a.name: a for a in made}


def test_an_honest_search_passes_and_its_figures_are_told(confirmed: tuple[Searching, str], bench: Bench) -> None:
    made = audited(bench)
    assert {name: a.passed for name, a in made.items()} == dict.fromkeys(CHECKS, True)
    shares = Runner(bench).evidence.commonest("fresh:t1", "dev")
    assert set(shares) == {3500, 3501} and all(0.45 < v < 0.6 for v in shares.values())
    assert "of the labels the most frequent class takes .5" in made["constant predictions"].words
    assert "2 fresh seeds, each with its own row order" in made["spread over seeds"].words
    assert "the numbering of classes is a control of its own" in made["spread over seeds"].words
    assert made["protected files"].words.startswith("code, labels, texts are the bytes")
    assert made["seeds as planned"].words.startswith(
        "selected on 2 seeds (3000 to 3001), confirmed on 2 seeds (3500 to"
    )
    views = dict(bench.ledger.confirmations(bench.search)[0]["views"])
    assert [a["name"] for a in views["audit"]] == CHECKS and flags(views) == []


def test_looks_of_the_audit_are_counted(bench: Bench) -> None:
    before = bench.ledger.spent(bench.search)["looks"]
    audited(bench)
    assert bench.ledger.spent(bench.search)["looks"] == before + 2


def scored(bench: Bench, arm: str, split: str, seed: int, array: str | None = None, to: int | None = None) -> None:
    """Change the array or the seed behind one score."""
    s = t.scores
    values = ({"array": array} if array else {}) | ({"seed": to} if to is not None else {})
    where = (s.c.search == bench.search, s.c.arm == arm, s.c.split == split, s.c.seed == seed)
    with bench.ledger.engine.begin() as c:
        assert c.execute(update(s).where(*where).values(**values)).rowcount == 1


def array_of(bench: Bench, arm: str, seed: int) -> str:
    return next(
        str(r["array"]) for r in bench.ledger.scores(bench.search, "dev") if (r["arm"], r["seed"]) == (arm, seed)
    )


@pytest.mark.parametrize(("share", "passed", "most"), [(0.8, False, ".89"), (0.6, False, ".78"), (0.35, True, ".67")])
def test_one_seed_that_nearly_always_says_the_same_fails(bench: Bench, share: float, passed: bool, most: str) -> None:
    old = array_of(bench, "fresh:t1", 3501)
    logits = bench.problem.store.array(old, 2).copy()
    logits[: int(share * len(logits))] = [0.0, 9.0]
    scored(bench, "fresh:t1", "dev", 3501, bench.problem.store.put(logits.astype("<f4").tobytes()))
    try:
        made = audited(bench)["constant predictions"]
    finally:
        scored(bench, "fresh:t1", "dev", 3501, old)
    assert made.passed is passed and "takes .5" in made.words and f" to {most}" in made.words


def test_a_result_that_hangs_on_the_seed_fails(bench: Bench) -> None:
    old = array_of(bench, "fresh:t1", 3501)
    logits = bench.problem.store.array(old, 2).copy()
    flipped = np.random.default_rng(0).permutation(len(logits))[: int(0.3 * len(logits))]
    logits[flipped] = logits[flipped][:, ::-1]
    scored(bench, "fresh:t1", "dev", 3501, bench.problem.store.put(logits.astype("<f4").tobytes()))
    try:
        made = audited(bench)
    finally:
        scored(bench, "fresh:t1", "dev", 3501, old)
    assert made["spread over seeds"].passed is False and "of the gap apart" in made["spread over seeds"].words
    assert made["constant predictions"].passed is True


@pytest.mark.parametrize(
    ("pgr", "low", "high", "passed"),
    [(1.4, 1.1, 1.7, False), (1.2, 0.9, 1.5, True), (None, None, None, None)],
)
@pytest.mark.parametrize("changed", [("fresh", "sealed"), ("fresh",), ("sealed",)])
def test_a_pgr_above_one_by_more_than_noise_fails(
    bench: Bench,
    changed: tuple[str, ...],
    pgr: float | None,
    low: float | None,
    high: float | None,
    passed: bool | None,
) -> None:
    old = views_of(bench)
    new = {"pgr": pgr, "ci_low": low, "ci_high": high, "reason": None if pgr else "no gap"}
    made = audited(bench, **{name: old[name].model_copy(update=new) for name in changed})
    assert made["PGR above 1"].passed is (True if passed is None and len(changed) == 1 else passed)
    assert ("a leak" in made["PGR above 1"].words) is (passed is False)


def test_labels_texts_and_code_that_changed_are_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = bench.problem.prepared
    for path, what in (
        (bench.problem.vault.root / prepared.digest / "dev.i32", "labels"), (prepared.text_file("dev"), "texts"),
    ):  # fmt: skip
        content = path.read_bytes()
        path.write_bytes(content[::-1])
        try:
            made = audited(bench)["protected files"] if what == "texts" else None
            changed = {k for k, v in protected(bench.problem).items() if v != began(bench)[k]}
        finally:
            path.write_bytes(content)
        assert changed == {what}
        assert made is None or (made.passed is False and made.words == "changed since the search began: texts")
    for what, other in (("audit.source_now", lambda: "other"), ("bench.Problem.code", property(lambda _: "other"))):
        with monkeypatch.context() as patch:
            patch.setattr(f"aar.runner.{what}", other)
            assert audited(bench)["protected files"].words == "changed since the search began: code"


def began(bench: Bench) -> dict[str, str]:
    row = bench.ledger.search(bench.search)
    assert row is not None
    return dict(json.loads(row["plan"])["protected"])


def test_a_search_from_before_hashes_were_kept_has_no_verdict(bench: Bench) -> None:
    row = bench.ledger.search(bench.search)
    assert row is not None
    plan = {k: v for k, v in json.loads(row["plan"]).items() if k != "protected"}
    bench.lease.set_search(plan=json.dumps(plan))
    try:
        made = audited(bench)["protected files"]
    finally:
        bench.lease.set_search(plan=row["plan"])
    assert made.passed is None and made.words == "not recorded when the search began"


@pytest.mark.parametrize(
    ("arm", "split", "seed", "to"),
    [
        ("fresh:t1", "test", 3501, 3502), ("fresh:t1", "dev", 3501, 3001), ("fresh:weak", "dev", 3500, 3999),
        ("fresh:ceiling", "dev", 3500, 3999), ("t1", "dev", 3001, 4001), ("t1", "dev", 3001, 3050),
    ],
)  # fmt: skip
def test_other_seeds_than_planned_are_named(bench: Bench, arm: str, split: str, seed: int, to: int) -> None:
    scored(bench, arm, split, seed, to=to)
    try:
        made = audited_seeds(bench)
    finally:
        scored(bench, arm, split, to, to=seed)
    assert made.passed is False and f"{arm} on {split}" in made.words


def test_more_seeds_than_planned_are_named_unless_the_block_has_them(bench: Bench) -> None:
    s = t.scores
    for seed, passed in ((3002, True), (4001, False)):
        (row,) = (r for r in bench.ledger.scores(bench.search, "dev") if (r["arm"], r["seed"]) == ("t1", 3001))
        with bench.ledger.engine.begin() as c:
            c.execute(insert(s).values(**dict(row) | {"seed": seed}))
        try:
            assert audited_seeds(bench).passed is passed, seed
        finally:
            with bench.ledger.engine.begin() as c:
                c.execute(delete(s).where(s.c.arm == "t1", s.c.seed == seed))


def test_weak_labels_that_were_given_have_no_seeds(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aar.runner.bench.Problem.provided", property(lambda _: True))
    scored(bench, "fresh:weak", "dev", 3500, to=3999)
    try:
        assert audited_seeds(bench).passed is True
    finally:
        scored(bench, "fresh:weak", "dev", 3999, to=3500)


def test_without_a_gap_the_spread_has_no_verdict(bench: Bench) -> None:
    fresh = views_of(bench)["fresh"]
    made = audited(bench, fresh=fresh.model_copy(update={"ceiling": fresh.weak}))["spread over seeds"]
    assert made.passed is None and "there is no gap to hold that against" in made.words


def audited_seeds(bench: Bench) -> AuditView:
    from aar.runner.audit import _seeds

    return _seeds(bench, bench.ledger.trial(bench.search, 1), sealed=True)


def test_a_failed_check_is_a_flag_on_card_page_note_and_status(
    confirmed: tuple[Searching, str], tmp_path: Path
) -> None:
    here, search = confirmed
    (row,) = here.ledger.confirmations(search)
    bad = AuditView(name="seeds as planned", words="other seeds than planned: t1 on dev", passed=False)
    none = AuditView(name="PGR above 1", words="no PGR with an interval")
    views = row["views"] | {"audit": [*row["views"]["audit"][:2], bad.model_dump(), none.model_dump()]}
    with here.ledger.hold(search) as lease:
        lease.confirm(1, views)
    try:
        about = About(here.ledger, search)
        card, flag = claim(about, tmp_path), "audit, seeds as planned: other seeds than planned: t1 on dev"
        assert card is not None and card.flags == [flag]
        told = markdown(card)
        assert f"**Flagged:** {flag}" in told and "- seeds as planned: **failed**: other seeds" in told
        assert (
            "- PGR above 1: **not applicable**: no PGR" in told
            and "- spread over seeds: **passed**: 2 fresh seeds" in told
        )
        note = trial_note(about, about.trials[1])
        assert (
            "constant predictions passed; spread over seeds passed; seeds as planned failed; PGR above 1 not app"
            in note
        )
        assert {p.key: p.value for p in trial_words(about, 1, tmp_path).points}["audit_failed"] == 1
        source = write_report(here.ledger, here.settings, search).read_text(encoding="utf-8")
        assert f"<b>Flagged:</b> {flag}" in source and f"But {flag}." in source
        assert '<td class="nowrap failed">failed</td><td class="label">other seeds than planned' in source
        assert '<td class="nowrap soft">not applicable</td>' in source
        (found,) = state(here.ledger, search)["confirmed"]
        assert found["flags"] == [flag] and found["audit"][2] == bad.model_dump()
    finally:
        with here.ledger.hold(search) as lease:
            lease.confirm(1, row["views"])
