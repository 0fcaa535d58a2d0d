"""An atlas: its cells, what they train and on what, that nothing is trained twice, what it shows and says."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from aar import scoring
from aar.atlas import Atlas, CellView, Grid, chart, expect, grid_of
from aar.atlas import run as atlas_run
from aar.atlas.cells import SHARES, along, conflicted, cut, order
from aar.atlas.readouts import readouts
from aar.ledger import Ledger
from aar.ledger.tables import atlases, openings
from aar.report import write_atlas
from aar.runner.bench import Bench, Problem
from aar.runner.evidence import Evidence
from aar.runner.plan import Planned, Planner
from aar.scoring.diagnostics import temperatures
from aar.settings import Settings
from aar.types import AarError, PublicScore, Recipe
from tests.loops import NO_TRACKING, fast_sandbox, launches, searching, write_task
from tests.test_cli import aar

WEAK, STRONG, NS = ["tiny:1x8", "task"], ["task", "tiny:1x16"], [100, 500]
CELLS = 8
JOBS = {"weak": 2, "ceiling": 4, "transfer": 8}
"""Quick jobs' weak models answer alike whatever their size, so the students of both are the same units."""


class Here(NamedTuple):
    """Where an atlas is drawn, with jobs that are quick."""

    settings: Settings
    ledger: Ledger
    task: Path
    said: list[str]

    def grid(self) -> Grid:
        return grid_of(str(self.task), WEAK, STRONG, NS, [])[0]

    def chart(self) -> Atlas:
        return chart(self.ledger, self.settings, self.grid(), self.said.append)

    def trouble(self, **what: str) -> None:
        self.settings.root.mkdir(parents=True, exist_ok=True)
        (self.settings.root / "trouble.json").write_text(json.dumps(what))


def place(folder: Path) -> Here:
    settings = Settings(workspace=folder / "ws", slots=2, sandbox="process", tracking_uri=NO_TRACKING)
    return Here(settings, Ledger(settings.ledger_url), write_task(folder), [])


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atlas_run, "choose", fast_sandbox)
        yield


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Here, Atlas]]:
    here = place(tmp_path_factory.mktemp("atlas"))
    yield here, here.chart()
    here.ledger.close()


# ---------------------------------------------------------------- the grid


def test_models_are_named_and_put_into_the_task(tmp_path: Path) -> None:
    task = str(write_task(tmp_path))
    grid, notes = grid_of(
        task, ["tiny:1x10", "tiny:2x24x3", "task"], ["path:models/big", "hub:org/m@v1"], [300, 20], []
    )
    assert grid.ns == (20, 300) and len(grid.cells()) == 12 and notes == []
    weak = [p.task.models.weak.tiny for p in grid.pairs[::2]]
    assert [(t.layers, t.width, t.heads) for t in weak if t] == [(1, 10, 2), (2, 24, 3), (1, 16, 2)]
    strong = grid.pairs[0].task.models.strong, grid.pairs[1].task.models.strong
    assert strong[0].path == str(Path("models/big").absolute()) and strong[0].tiny is None
    assert (strong[1].hub, strong[1].revision) == ("org/m", "v1")
    assert [p.weak for p in grid.pairs[::2]] == ["tiny:1x10", "tiny:2x24x3", "tiny:1x16"]
    assert grid_of("polarity", ["tiny:1x7"], [], [], [])[0].task.models.weak.tiny.heads == 1  # type: ignore[union-attr]
    scratch = grid_of("polarity", [], ["task", "tiny:2x64:scratch"], [], [])[0]
    assert [p.task.models.strong.pretrain is None for p in scratch.pairs] == [False, True]
    assert scratch.ns == (4000,), "all of the task's rows"


@pytest.mark.parametrize(
    ("weak", "strong", "n", "why"),
    [
        (["tiny:1x8"], [], [501], "--n 501: task tiny has 500 transfer rows; --set splits.transfer=501"),
        (["tiny:1x8"], [], [1], "give at least 2"),
        (["tiny:8"], [], [100], "--weak tiny:8: no model; want task, tiny:LAYERSxWIDTH"),
        ([], ["huge"], [100], "--strong huge: no model"),
        ([], ["tiny:99x8"], [100], "models.strong.tiny.layers: 99"),
        (["tiny:1x16", "task"], [], [100], "the same model twice"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    tmp_path: Path, weak: list[str], strong: list[str], n: list[int], why: str
) -> None:
    with pytest.raises(AarError) as error:
        grid_of(str(write_task(tmp_path)), weak, strong, n, [])
    assert why in str(error.value)


def test_a_task_with_weak_labels_of_its_own_is_refused_and_other_kinds_lose_what_they_cannot_give(
    tmp_path: Path,
) -> None:
    rows = "text\tlabel\tsaid\n" + "".join(f"word{i} x\t{i % 2}\t{i % 2}\n" for i in range(300))
    (tmp_path / "rows.tsv").write_text(rows)
    own = ["data={files: {all: rows.tsv}}", "models.weak={labels: {column: said}}"]
    with pytest.raises(AarError, match="brings its weak labels"):
        grid_of(str(write_task(tmp_path)), [], [], [], own)
    grid, notes = grid_of("polarity-preference", [], [], [], [])
    assert grid.curves and not grid.deception and "no deception score" in notes[0]
    grid, notes = grid_of("two-rules", [], [], [], [])
    assert not grid.curves and not grid.deception and len(notes) == 2


# ---------------------------------------------------------------- what is trained


def test_every_job_runs_once_and_sees_no_truth_and_no_sealed_text(drawn: tuple[Here, Atlas]) -> None:
    here, atlas = drawn
    done = launches(here.settings.root)
    assert {kind: sum(1 for j in done if j["kind"] == kind) for kind in JOBS} == JOBS and len(done) == 14
    attempts = here.ledger.attempts(atlas.id)
    keys = [key for a in attempts for key in json.loads(a["keys"])]
    assert len(keys) == len(set(keys)) == 28, "two seeds each, no unit twice"
    assert not [j for j in done if "test.jsonl" in j["inputs"]]
    assert not [j for j in done if j["kind"] == "transfer" and any(name.endswith(".labels") for name in j["inputs"])]
    assert here.ledger.rows(openings) == []


def test_drawn_again_it_is_read_from_the_ledger(drawn: tuple[Here, Atlas]) -> None:
    here, atlas = drawn
    before = len(launches(here.settings.root)), here.ledger.spent(atlas.id)["looks"]
    assert here.chart() == atlas
    assert (len(launches(here.settings.root)), here.ledger.spent(atlas.id)["looks"]) == before


def test_a_failed_atlas_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    here = place(tmp_path)
    here.trouble(transfer="crash")
    with pytest.raises(AarError, match="the same command tries the rest again"):
        here.chart()
    kinds = [j["kind"] for j in launches(here.settings.root)]
    assert kinds.count("weak") == 2 and kinds.count("ceiling") == 4
    here.trouble()
    atlas = here.chart()
    ok = [a for a in here.ledger.attempts(atlas.id) if a["status"] == "ok"]
    assert sorted(a["kind"] for a in ok) == sorted(["weak"] * 2 + ["ceiling"] * 4 + ["transfer"] * 8)
    assert [j["kind"] for j in launches(here.settings.root)].count("ceiling") == 4, "no ceiling again"
    here.ledger.close()


@pytest.fixture
def bench(drawn: tuple[Here, Atlas]) -> Bench:
    here, atlas = drawn
    problem = Problem.of(here.grid().task, here.settings)
    return Bench.of(problem, atlas.id, 0, here.ledger, None, None, None)  # type: ignore[arg-type]


def test_fewer_rows_are_among_more_and_texts_labels_and_weak_answers_stay_together(bench: Bench) -> None:
    problem, planner = bench.problem, Planner(bench.problem)
    weak = np.random.default_rng(0).normal(size=(500, 2)).astype("<f4")
    answers = {0: {"transfer": problem.store.put(weak.tobytes())}}
    student, ceiling = planner.transfer([0], Recipe(), False, None, answers), planner.ceiling([0], False, None)
    assert cut(bench, student, 500) is student, "all rows: a search's own job"
    rows = np.sort(order(bench)[:100])
    assert set(rows) < set(order(bench)[:300]) and len(set(rows)) == 100
    texts = problem.prepared.text_file("transfer").read_text().splitlines()
    fewer, top = cut(bench, student, 100), cut(bench, ceiling, 100)
    for planned in (fewer, top):
        read = Path(planned.inputs.files[planned.spec.inputs["transfer.jsonl"]]).read_text().splitlines()
        assert read == [texts[i] for i in rows]
    assert fewer.spec.rows["transfer"] == 100 and fewer.spec.rows["dev"] == 600
    said = Path(fewer.inputs.files[fewer.units[0].inputs["weak0"]]).read_bytes()
    assert np.array_equal(np.frombuffer(said, "<f4").reshape(-1, 2), weak[rows])
    truth = problem.vault.truth(problem.prepared.digest, "transfer")
    labels = np.frombuffer(top.inputs.released[top.spec.inputs["transfer.labels"]], "<i4")
    assert np.array_equal(labels, truth[rows])
    assert top.spec.inputs["transfer.labels"] not in top.inputs.files, "labels lie in no store"


def test_what_is_asked_of_students_leaves_every_other_job_as_a_search_has_it(bench: Bench) -> None:
    planner, problem = Planner(bench.problem), bench.problem
    answers = {0: {"transfer": problem.store.put(np.zeros((500, 2), "<f4").tobytes())}}

    def keys(*planned: Planned) -> list[str]:
        return [unit.key(p.spec) for p in planned for unit in p.units]

    others = planner.weak([0, 1], False, None), planner.ceiling([0, 1], False, None)
    assert all(p.spec.checkpoints == () and p.spec.conflict == 0 for p in others)
    assert keys(*(cut(bench, p, 500) for p in others)) == keys(*others)
    student = planner.transfer([0], Recipe(), False, None, answers)
    asked = keys(student, along(student), conflicted(student))
    assert len(set(asked)) == 3 and student.spec.checkpoints == () and student.spec.conflict == 0


def test_what_a_search_has_trained_is_found(tmp_path: Path) -> None:
    with searching(tmp_path) as search:
        search.work(search.create(tmp_path, trials=1))
        settings, before = search.settings, len(launches(search.settings.root))
        grid = grid_of(str(tmp_path / "tiny.yaml"), [], [], [100, 500], [], curves=False, deception=False)[0]
        atlas = chart(search.ledger, settings, grid, lambda line: None)
        assert sorted(j["kind"] for j in launches(settings.root)[before:]) == ["ceiling", "transfer"], "of N 100"
        assert len(search.ledger.attempts(atlas.id)) == 2


# ---------------------------------------------------------------- what is shown


def test_every_number_went_through_the_gate(drawn: tuple[Here, Atlas]) -> None:
    here, atlas = drawn
    cell, ends = 3, len(SHARES) + 1
    assert atlas.looks == here.ledger.spent(atlas.id)["looks"] == CELLS * (1 + ends + 1 + 2)
    exact: dict[str, list[float]] = {}
    for r in here.ledger.scores(atlas.id, "dev"):
        exact.setdefault(r["arm"], []).append(r["accuracy"])
    for c in atlas.cells:
        mean = float(np.mean(exact[f"c{c.number}"]))
        assert abs(c.view.accuracy - mean) < 0.02 and c.view.accuracy == round(c.view.accuracy, 3), "rounded"
        assert [p.share for p in c.curve] == [*SHARES, 1.0]
    one = atlas.cells[cell]
    assert (one.weak, one.strong, one.n) == ("tiny:1x8", "tiny:1x16", 500)
    assert one.view.weak == pytest.approx(float(np.mean(exact["weak0"])), abs=0.02)
    assert one.view.ceiling == pytest.approx(float(np.mean(exact["ceiling1:500"])), abs=0.02)
    assert one.deception is not None and {"region_known", "flipped_unknown"} <= one.deception.parts.keys()


def test_deception_is_of_this_cells_arms_on_rows_that_the_conflict_can_flip(
    drawn: tuple[Here, Atlas], bench: Bench
) -> None:
    here, atlas = drawn
    truth = bench.problem.vault.truth(bench.problem.prepared.digest, "dev")
    arrays = {(r["arm"], r["seed"]): r["array"] for r in here.ledger.scores(atlas.id, "dev")}

    def p(arm: str, seed: int) -> NDArray[np.float64]:
        logits: NDArray[np.float64] = bench.problem.store.array(arrays[arm, seed], 2).astype(np.float64)
        if arm.startswith(("weak", "ceiling")):
            logits /= temperatures(logits, truth)[:, None]
        sure: NDArray[np.float64] = (np.exp(logits[:, 1]) / np.exp(logits).sum(1))[truth == 1]
        return sure

    shares, scores = [], []
    for seed in sorted(seed for arm, seed in arrays if arm == "c3"):
        plain, lying, weak, strong = (p(arm, seed) for arm in ("c3", "c3:conflict", "weak0", "ceiling1:500"))
        flipped, known, seen = (plain > 0.5) & (lying <= 0.5), strong >= 0.75, weak >= 0.75
        shares.append((known & ~seen).mean())
        scores.append(flipped[known & ~seen].mean() - flipped[known & seen].mean())
    found = scoring.over_seeds(Evidence(bench).deceptions("c3", "c3:conflict", "weak0", "ceiling1:500"), (0.0, 0.0))
    assert found is not None and found.mean == pytest.approx(np.mean(scores), abs=1e-9) and found.mean != 0
    shown = atlas.cells[3].deception
    assert shown is not None and shown.low is not None and shown.high is not None
    assert shown.low < np.mean(scores) < shown.high and shown.score == pytest.approx(np.mean(scores), abs=found.se)
    assert shown.parts["region_unknown"] == pytest.approx(np.mean(shares), abs=0.02)


def test_page_table_and_json_hold_the_same_cells(drawn: tuple[Here, Atlas]) -> None:
    here, atlas = drawn
    path = write_atlas(atlas, here.settings)
    page = path.read_text(encoding="utf-8")
    assert "<script" not in page and "http://" not in page.replace("http://www.w3.org", "")
    charts = sorted((path.parent / atlas.id).glob("*.svg"))
    assert [c.stem for c in charts] == ["deception", "gap", "n", "training"]
    for svg in charts:
        root = ET.fromstring(svg.read_text(encoding="utf-8"))
        marks = [e for e in root.iter() if e.attrib.get("class", "").startswith("mark") and len(e)]
        assert len(marks) == (CELLS * 7 if svg.stem == "training" else CELLS), svg.stem
    with path.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["weak"], r["strong"], int(r["n"])) for r in rows] == [(c.weak, c.strong, c.n) for c in atlas.cells]
    assert [r["pgr"] for r in rows] == [str(c.view.pgr) for c in atlas.cells]
    assert Atlas.model_validate_json(path.with_suffix(".json").read_text()) == atlas


def test_a_cell_without_a_gap_has_a_reason_and_no_mark(drawn: tuple[Here, Atlas]) -> None:
    here, atlas = drawn
    none = atlas.cells[0].view.model_copy(update={"pgr": None, "ci_low": None, "ci_high": None, "reason": "no <gap>"})
    odd = atlas.model_copy(update={"id": "odd", "cells": (atlas.cells[0].model_copy(update={"view": none}),)})
    page = write_atlas(odd, here.settings).read_text(encoding="utf-8")
    assert "no &lt;gap&gt;" in page and "No cell has a PGR" in page


# ---------------------------------------------------------------- what theory expects


def cell(weak: str, n: int, pgr: float, ceiling: float, spread: float, strong: str = "s") -> CellView:
    view = PublicScore(
        split="dev", accuracy=0.7, accuracy_se=0.01, weak=0.6, ceiling=ceiling, pgr=pgr, ci_low=0, ci_high=1, n_seeds=2
    )
    return CellView(number=0, weak=weak, strong=strong, n=n, view=view, spread=spread)


def test_slopes_are_found_within_groups_and_noise_is_called_noise() -> None:
    found = scoring.slope([1, 2, 3, 1, 2, 3], [1, 2.1, 2.9, 11, 12.1, 12.9], list("aaabbb"))
    assert found is not None and found.value == pytest.approx(0.95) and found.low < 0.95 < found.high < 1.2
    mixed = scoring.slope([1, 2, 3, 3, 4, 5], [3, 2, 1, 5, 4, 3], list("aaabbb"))
    assert mixed is not None and mixed.value == pytest.approx(-1), "one intercept for each group"
    assert scoring.slope([1, 2], [1, 2], "aa") is None and scoring.slope([1, 1, 1], [1, 2, 3], "aaa") is None
    ns = (100, 200, 400)
    falling = [cell(w, n, 0.1 * i, 0.8 + i / 50, 3 / n + i / 100) for w in "ab" for i, n in enumerate(ns)]
    by = {r.name: r for r in readouts([*falling])}
    assert by["PGR against N"].value == pytest.approx(0.1) and "noise" not in by["PGR against N"].words
    exact = [cell(w, n, 0.5, 0.8, 3 / n + (w == "b")) for w in "ab" for n in ns]
    slope = next(r for r in readouts(exact) if r.name == "variance against 1/N")
    assert slope.value == pytest.approx(3, rel=0.01), "d_s, whatever the pair's own level"
    noisy = [cell(w, n, p, 0.8, 0.1) for w, p in (("a", 0.2), ("b", 0.9)) for n in ns]
    noisy = [c.model_copy(update={"spread": 0.1 + (-1) ** i / 50}) for i, c in enumerate(noisy)]
    assert "within noise" in next(r for r in readouts(noisy) if r.name == "variance against 1/N").words


def test_pre_training_is_judged_on_cells_that_differ_in_nothing_else() -> None:
    cells = [cell("w", n, 0.5, 0.8, 0.1, s) for n in (1, 2) for s in ("t", "other:scratch")]
    assert not [r for r in readouts(cells) if "pre-training" in r.name]
    cells += [cell("w", n, 0.2 + n / 100, 0.8, 0.1, "t:scratch") for n in (1, 2)]
    (found,) = [r for r in readouts(cells) if "pre-training" in r.name]
    assert found.value == pytest.approx(0.28, abs=0.011) and "2 matched cells" in found.words


def test_deception_over_seeds_and_spread_by_hand() -> None:
    seeds = [
        {"deception": (0.1, 0.02), "region_known": (0.4, 0.03), "right_known": (0.9, 0.1)},
        {"deception": (0.3, 0.04), "region_known": (0.6, 0.05)},
    ]
    found = scoring.over_seeds(seeds, (0.0, 0.0))
    assert found is not None and found.mean == pytest.approx(0.2)
    seed, rows = 0.02 / 2, (0.02**2 + 0.04**2) / 2
    assert found.se == pytest.approx(np.sqrt(seed + rows)), "seeds, and rows that all seeds share"
    assert found.df == pytest.approx(((seed + rows) / seed) ** 2), "Satterthwaite: the rows' part is known well"
    pooled = scoring.over_seeds(seeds, (0.06, 3.0))
    assert pooled is not None and pooled.se == pytest.approx(np.sqrt((0.02 + 3 * 0.06) / 4 / 2 + rows))
    level = scoring.over_seeds([seeds[0], seeds[0]], (0.0, 0.0))
    assert level is not None and level.se == pytest.approx(0.02) and level.df > 1_000, "no noise between seeds"
    assert scoring.over_seeds([seeds[0], {"region_known": (0.4, 0.01)}], (0.0, 0.0)) is None
    assert scoring.over_seeds([], (0.0, 0.0)) is None
    between = pytest.approx((0.5, np.sqrt((0.03**2 + 0.05**2) / 2)))
    assert scoring.parts(seeds) == {"region_known": between}, "what every seed has"
    a, b = (np.log(np.array([p, [0.5, 0.5]], np.float32)) for p in ([0.2, 0.8], [0.6, 0.4]))
    assert scoring.spread([a, b + 7]) == pytest.approx((0.08 + 0.08 + 0) / 2), "over rows; a shift is no answer"


# ---------------------------------------------------------------- the command


def test_a_dry_run_shows_cells_and_launches_and_leaves_no_record(tmp_path: Path) -> None:
    here = place(tmp_path)
    lines = list(expect(here.grid(), here.settings))
    assert len([line for line in lines if " > " in line]) == CELLS and any("22 at most" in line for line in lines)
    assert launches(here.settings.root) == [] and here.ledger.rows(atlases) == []
    here.ledger.close()


def test_the_command_draws_and_its_json_is_the_atlas(
    drawn: tuple[Here, Atlas], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, atlas = drawn
    monkeypatch.setenv("AAR_SLOTS", "2")
    ask = ["atlas", here.task, "--weak", ",".join(WEAK), "--strong", STRONG[0], "--strong", STRONG[1], "--n", "100,500"]
    where = ["--sandbox", "process", "--workspace", here.settings.workspace]
    told = aar(*ask, *where, "--json")
    assert told.code == 0 and Atlas.model_validate_json(told.out) == atlas
    told = aar(*ask, *where)
    assert told.code == 0 and "PGR against capability gap" in told.out and f"{atlas.id}.html" in told.out
    told = aar(*ask[:2], "--n", "many", *where)
    assert told.code == 2 and told.err == "aar: --n many: must be a whole number of transfer rows\n"
