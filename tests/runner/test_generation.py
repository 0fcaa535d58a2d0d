"""A generation task through the real process sandbox: weak models and students that write, scored by exact match."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from safetensors.numpy import save_file

from aar.agent import run as running
from aar.agent.run import Plan, create, opened
from aar.data import POOLS, read_texts
from aar.ledger import Ledger
from aar.methods import PARTS, PRESETS, Able, illegal
from aar.reading.answers import CANDIDATES, OUTCOMES, same_answer
from aar.runner.bench import Bench, Problem
from aar.runner.declared import outputs
from aar.runner.other_answers import shuffled
from aar.runner.trial import Runner
from aar.runner.units import ensure
from aar.sandbox.outputs import BadOutput
from aar.sandbox.process import ProcessSandbox
from aar.settings import Settings
from aar.tasks import load_task
from aar.types import AarError, Launch, Part, Recipe
from aar.worlds.two_rules import TwoRules
from tests.loops import NO_TRACKING
from tests.reading_models import tokenizer_folder

TASK = """
name: tiny-rules
kind: generation
data: {world: {name: two-rules, params: {numbers: 4, asked: 2, second: 0.3}}}
splits: {weak_train: 200, weak_val: 60, transfer: 300, dev: 200, test: 200}
models:
  weak: {tiny: {layers: 1, width: 8, heads: 2}, max_length: 16}
  strong: {tiny: {layers: 1, width: 32, heads: 2}, pretrain: {documents: 500, steps: 60}, max_length: 16}
training: {weak: {epochs: 4, lr: 1e-2}, strong: {epochs: 4, lr: 1e-2}}
seeds: {screen: 1, full: 2, confirm: 2, baseline: 2}
floor_gap: 0
limits: {minutes: 5, memory: 2g}
"""
WORLD = TwoRules(numbers=4, asked=2, second=0.3)


class Place(NamedTuple):
    """A real search's runner."""

    bench: Bench
    runner: Runner
    ledger: Ledger

    @property
    def problem(self) -> Problem:
        return self.bench.problem

    def lines(self, digest: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.problem.store.path(digest).read_text().splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("generation")
    (folder / "task.yaml").write_text(TASK)
    settings = Settings(workspace=folder / "ws", slots=1, tracking_uri=NO_TRACKING, sandbox="process")
    ledger = Ledger(settings.ledger_url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "choose", lambda settings: (ProcessSandbox(), "process"))
        search = create(ledger, settings, load_task(folder / "task.yaml")[0], Plan(trials=1))
        with opened(ledger, settings, search) as bench:
            yield Place(bench, Runner(bench), ledger)
    ledger.close()


@pytest.mark.timeout(600)
def test_a_trial_is_scored_by_exact_matches_of_what_was_written(place: Place) -> None:
    place.runner.baselines()
    units = place.runner.students(Recipe(), [0, 1])
    place.runner.evidence.record("t0", "dev", units)
    truth = [WORLD.answer(text) for text in read_texts(place.problem.prepared, "dev")]
    exact = {}
    for score in place.ledger.scores(place.bench.search, "dev"):
        said = [line["answers"] for line in place.lines(score["array"])]
        assert all(len(answers) == 1 for answers in said), "greedy decoding"
        right = [same_answer(a[0]) == same_answer(t) for a, t in zip(said, truth, strict=True)]
        assert score["accuracy"] == pytest.approx(np.mean(right))
        exact[score["arm"], score["seed"]] = right
    assert {arm for arm, _ in exact} == {"weak", "ceiling", "t0"}
    found = place.runner.evidence.estimate("t0", "dev").diagnostics
    told = {seed: [line["answers"] for line in place.lines(units[seed].outputs["dev"])] for seed in (0, 1)}
    weak = {seed: [line["answers"] for line in place.lines(row.outputs["dev"])]
            for seed, row in place.runner.weak([0, 1]).items()}  # fmt: skip
    same = [np.mean([a == b for a, b in zip(told[seed], weak[seed], strict=True)]) for seed in (0, 1)]
    assert found["agreement"][0] == pytest.approx(np.mean(same))
    assert not found.keys() & {"ece", "misfit", "auroc"}


@pytest.mark.timeout(600)
def test_a_weak_model_labels_with_several_answers_and_a_prior_over_them(place: Place) -> None:
    unit = place.runner.weak([0])[0]
    lines = place.lines(unit.outputs["transfer"])
    assert len(lines) == 300 and {len(line["answers"]) for line in lines} == {CANDIDATES}
    assert all(line["p"] == sorted(line["p"], reverse=True) and 0 < sum(line["p"]) <= 1.001 for line in lines)
    prior = np.frombuffer(place.problem.store.path(unit.outputs["prior"]).read_bytes(), "<f4")
    assert prior.shape == (OUTCOMES,) and prior.sum() == pytest.approx(1)
    counts = prior * (60 + OUTCOMES)
    assert counts == pytest.approx(counts.round(), abs=1e-3), "shares of the 60 rows of weak_val, one added to each"


@pytest.mark.timeout(600)
def test_an_ensemble_of_weak_models_with_other_candidates_teaches_a_student(place: Place) -> None:
    recipe = Recipe(supervision=Part(name="ensemble", params={"k": 2}), loss=Part(name="logconf"))
    unit = place.runner.students(recipe, [0])[0]
    assert len(place.lines(unit.outputs["dev"])) == 200
    assert unit.outputs["dev"] != place.runner.students(Recipe(), [0])[0].outputs["dev"]


@pytest.mark.timeout(600)
def test_a_control_hands_each_row_anothers_answers(place: Place) -> None:
    weak = {s: row.outputs for s, row in place.runner.weak([0, 1]).items()}
    planned = place.runner.planner.transfer([0, 1], Recipe(), sealed=True, weights=None, weak=weak)
    made = shuffled(place.bench, planned, 4)
    assert made.spec.predict == ("dev",) and len(made.units) == 4
    for i, unit in enumerate(made.units):
        before, after = (place.lines(u.inputs["weak0"]) for u in (planned.units[i % 2], unit))
        assert before != after and sorted(map(str, before)) == sorted(map(str, after))


def test_no_trial_is_given_an_answer(place: Place) -> None:
    """What transfer jobs read: texts, a vocabulary and what weak models wrote."""
    planner, prepared = place.runner.planner, place.problem.prepared
    weak = {0: {"transfer": "ab" * 32, "prior": "cd" * 32}}
    planned = planner.transfer([0], Recipe(), sealed=True, weights=None, weak=weak)
    assert planned.inputs.released == {}
    assert set(planned.spec.inputs) == {"vocab.txt", "transfer.jsonl", "dev.jsonl", "test.jsonl"}
    ceiling = planner.ceiling([0], sealed=False, weights=None)
    released = ceiling.inputs.released[ceiling.spec.inputs["transfer.labels"]]
    answers = [json.loads(line) for line in released.splitlines()]
    assert answers == [WORLD.answer(t) for t in read_texts(prepared, "transfer")]
    stolen = planned.spec.model_copy(update={"inputs": planned.spec.inputs | ceiling.spec.inputs})
    with pytest.raises(AarError, match="carries ground truth"):
        ensure(place.bench, planned._replace(spec=stolen, inputs=ceiling.inputs))
    told = planner.weak([0], sealed=False, weights=None).inputs.released
    assert sorted(len(content.splitlines()) for content in told.values()) == [60, 200]
    for split in POOLS:
        assert not any(w[0] == "a" and w[1:].isdigit() for t in read_texts(prepared, split) for w in t.split())


@pytest.mark.parametrize(
    "lines",
    ["", '{"answers": ["a1"], "p": [0.5]}\n' * 199, '{"answers": ["a1", "a2"], "p": [0.5, 0.1]}\n' * 200,
     '{"answers": [1], "p": [0.5]}\n' * 200, '{"answers": ["a1"], "p": [0.5]}\n' * 199 + "[]\n"],
)  # fmt: skip
def test_answers_that_are_none_fail_the_job(place: Place, tmp_path: Path, lines: str) -> None:
    from aar.runner.units import _written

    planned = place.runner.planner.ceiling([0], sealed=False, weights=None)
    (output,) = outputs(planned.spec, planned.units)
    launch = Launch(attempt="ceiling-0", search="s", folder=str(tmp_path), outputs=(output,))
    (tmp_path / "out").mkdir()
    good = '{"answers": ["a1 a2"], "p": [0.5]}\n'
    (tmp_path / "out" / output.name).write_text(good * 200)
    assert _written(launch.folder, output, 200, 1).decode() == good * 200
    (tmp_path / "out" / output.name).write_text(lines)
    with pytest.raises(BadOutput):
        _written(launch.folder, output, 200, 1)


def test_parts_that_need_a_class_per_text_are_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(TASK)
    able = Able.of(load_task(tmp_path / "task.yaml")[0])
    assert (able.kind, able.classes) == ("generation", OUTCOMES)
    reason = illegal(Recipe(student=Part(name="linear_probe")), able)
    assert reason is not None and reason.startswith("student.linear_probe is not for generation: ")
    assert illegal(Recipe(student=Part(name="linear_probe")), Able()) is None
    assert sum(illegal(p.recipe, able) is None for p in PRESETS) >= 6
    fit = [name for name in PARTS["loss"] if illegal(Recipe(loss=Part(name=name)), able) is None]
    assert set(fit) == {"xent", "logconf", "confidence_weighted", "entropy", "sce"}


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"architectures": ["BertModel"]}, "cannot write answers: it is no causal language model: no architecture"),
        (
            {"architectures": ["Gemma2ForCausalLM"], "final_logit_softcapping": 30.0},
            "cannot write answers: it has final_logit_softcapping=30.0 in its config.json",
        ),
        ({"architectures": ["GPT2LMHeadModel"], "logit_scale": 1.0}, None),
    ],
)
def test_a_model_that_cannot_write_is_refused_before_anything_runs(
    tmp_path: Path, config: dict[str, Any], why: str | None
) -> None:
    folder = tokenizer_folder(tmp_path / "model")
    save_file({"w": np.zeros(1, np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    (tmp_path / "task.yaml").write_text(TASK)
    spec, _ = load_task(tmp_path / "task.yaml", [f"models.strong={{path: {folder}}}"])
    settings = Settings(workspace=tmp_path / "ws")
    if why is None:
        assert Problem.of(spec, settings).models["strong"].config() == config
        return
    with pytest.raises(AarError, match=re.escape(f"models.strong: {why}")):
        Problem.of(spec, settings)


def test_asking_an_encoder_how_likely_answers_are_is_refused(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path / "model")
    save_file({"w": np.zeros(1, np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}))
    path = tmp_path / "rows.tsv"
    path.write_text("text\tlabel\n" + "".join(f"a film {i}\t{i % 2}\n" for i in range(300)))
    sizes = "splits={weak_train: 60, weak_val: 0, transfer: 60, dev: 50, test: 50}"
    sets = [f"data.files={{all: {path}}}", sizes, f"models.strong.path={folder}", "zero_shot.answers=[bad, good]"]
    spec, _ = load_task("sst2", sets)
    with pytest.raises(AarError, match="likelihood: models.strong is no causal language model"):
        Problem.of(spec, Settings(workspace=tmp_path / "ws"))
