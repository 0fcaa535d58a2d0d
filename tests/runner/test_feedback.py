"""Polarity feedback from end to end, on real jobs: what is sampled, judged, learnt, scored, and what a rerun costs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from aar.ledger import Ledger, UnitRow
from aar.oversight.rewards import sigmoid
from aar.reading import Reader
from aar.runner.aligning import Wrote
from aar.runner.bench import Problem
from aar.runner.feedback import BEST_OF, FeedbackPlan, labels, measure
from aar.runner.grounds import END, Ground
from aar.runner.launcher import Launcher
from aar.runner.oversight import overseeing
from aar.runner.plan import Planned
from aar.runner.units import ensure
from aar.sandbox.select import not_ready
from aar.scoring.feedback import Texts, preferred, worth
from aar.settings import Settings
from aar.tasks import load_task
from aar.train.feedback.policy import tokenizer
from aar.types import AarError, Align, ModelRef, Tiny, look
from aar.worlds.polarity import Polarity
from tests.loops import NO_TRACKING, write_task
from tests.sandbox.conftest import engine, image, unless_docker  # noqa: F401

SMALL = {"seeds": 2, "prompts": 8, "pairs": 24, "documents": 200, "pretrain_steps": 20, "labels": 24, "reward_steps": 2}
PRETRAINED = (
    "models: {strong: {pretrain: {documents: 200, steps: 10}}, weak: {pretrain: {documents: 200, steps: 10}}}\n"
)


@contextmanager
def at_work(folder: Path, plan: FeedbackPlan, sandbox: str = "process") -> Iterator[tuple[Launcher, Problem]]:
    more = f"include: {write_task(folder)}\nname: taught\n{PRETRAINED}"
    path = folder / "taught.yaml"
    path.write_text(more)
    task, _ = load_task(path)
    settings = Settings(workspace=folder / "ws", sandbox=sandbox, slots=1, threads=1, tracking_uri=NO_TRACKING)
    ledger = Ledger(settings.ledger_url)
    with overseeing(ledger, settings, "feedback", plan, task.limits) as at:
        yield at, Problem.of(task, settings)
    ledger.close()


class Job(NamedTuple):
    """An align job as it was asked for, and its units by seed."""

    planned: Planned
    units: dict[int, UnitRow]
    at: Launcher

    def lines(self, name: str, seed: int | None = None) -> list[dict[str, Any]]:
        """The rows of an input, a seed's own where one is given."""
        inputs = {u.seed: u.inputs for u in self.planned.units}
        digest = self.planned.spec.inputs[name] if seed is None else inputs[seed][name]
        return rows_of(Path(self.planned.inputs.files[digest]))

    def rewards(self, seed: int, share: float = 1.0) -> np.ndarray[Any, Any]:
        """What was said of a seed's texts (n, k)."""
        path = self.at.store.path(self.units[seed].outputs[look(share)])
        return np.array([row["rewards"] for row in rows_of(path)])


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Every align job of a run, in order."""
    told: list[Job] = []

    def recorded(at: Launcher, planned: Planned) -> dict[int, UnitRow]:
        units = ensure(at, planned)
        told.append(Job(planned, units, at))
        return units

    monkeypatch.setattr("aar.runner.aligning.ensure", recorded)
    return told


def test_dpo_from_samples_to_truth_and_again_for_nothing(tmp_path: Path, jobs: list[Job]) -> None:
    align = Align(method="dpo", steps=2, batch_size=8, looks=(0, 1))
    plan = FeedbackPlan(align=align, person=0.25, **SMALL)
    told: list[str] = []
    with at_work(tmp_path, plan) as (at, problem):
        found = measure(at, problem, plan, told.append)
        launched = len(at.ledger.attempts(at.search))
        assert measure(at, problem, plan, told.append) == found
        assert len(at.ledger.attempts(at.search)) == launched, "units of the same plan are there already"
    assert [m.share for m in found.moments] == [0, 1]
    first = found.moments[0].worth
    assert (
        first.kl.value == 0
        and first.good.n == 2
        and first.gap.value == pytest.approx(first.believed.value - first.truth.value)
    )
    assert (found.given, found.kept) == (48, 48) and found.person == 12
    assert found.agreement is not None and found.labelled is not None
    assert 0 <= found.agreement.value <= found.labelled.value <= 1, "a person is right"
    samples, policy = jobs[:2]
    asked, shown = (job.lines("prompts.jsonl") for job in (samples, policy))
    assert len(shown) == 8 and not [row for row in shown if row in asked], "truth is told of prompts never learnt from"
    for seed in (0, 1):
        said, rows = samples.rewards(seed)[:, 0], policy.lines("train.jsonl", seed)
        assert [row["prompt"] for row in rows] == [row["prompt"] for row in asked]
        judged = sigmoid(said[::2] - said[1::2])
        same = sum(row["p"] == pytest.approx(p, abs=1e-6) for row, p in zip(rows, judged, strict=True))
        assert same >= len(rows) - 6, "all but a quarter are the judge's, the first text's side up"


def test_an_ensemble_of_reward_models_rewards_a_policy(tmp_path: Path, jobs: list[Job]) -> None:
    align = Align(method="grpo", steps=1, batch_size=8, group=4, looks=(1,), rewards=2, rule="wco", shape="par")
    several = {"pairs": 40, "labels": 40}  # more than a batch: members differ in the order of rows
    plan = FeedbackPlan(align=align, judge="weak", person=1.0, **SMALL | {"seeds": 1} | several)
    with at_work(tmp_path, plan) as (at, problem):
        found = measure(at, problem, plan, lambda line: None)
        kinds = [a["kind"] for a in at.ledger.attempts(at.search)]
    assert set(found.reward_right) == {"1", "2", "wco"}
    assert found.person == 40 and found.labelled is not None and found.labelled.value == 1
    assert kinds.count("align") == 4, "samples, held samples, reward models in one launch, the policy"
    samples, held, models, policy = jobs
    first, second = models.units
    assert models.lines("train.jsonl", first) == models.lines("train.jsonl", second), (
        "members differ in their seed only"
    )
    assert not [row for row in held.lines("prompts.jsonl") if row in samples.lines("prompts.jsonl")]
    said = policy.rewards(0)
    assert said.shape == (8, 3) and not np.array_equal(said[:, 1], said[:, 2])
    assert found.moments[0].worth.reward.value == pytest.approx(said[:, 1:].min(1).mean()), "theirs, not the judge's"


def test_rounds_go_on_from_the_policy_so_far(tmp_path: Path, jobs: list[Job]) -> None:
    align = Align(method="sft", steps=2, batch_size=8, looks=(0, 1), lr=1e-2)
    plan = FeedbackPlan(align=align, rounds=2, **SMALL | {"seeds": 1})
    with at_work(tmp_path, plan) as (at, problem):
        found = measure(at, problem, plan, lambda line: None)
    assert [(m.round, m.share) for m in found.moments] == [(0, 0), (0, 1), (1, 1)]
    assert found.moments[2].worth.kl.value != found.moments[1].worth.kl.value != 0
    samples, first, again, second = jobs
    for job in (again, second):
        assert job.planned.units[0].inputs["start"] == first.units[0].outputs["weights"]
    assert not [row for row in again.lines("prompts.jsonl") if row in samples.lines("prompts.jsonl")]
    texts = rows_of(at.store.path(samples.units[0].outputs[look(1)]))
    best = samples.rewards(0)[:, 0].reshape(-1, BEST_OF).argmax(1) + BEST_OF * np.arange(24)
    assert [row["text"] for row in first.lines("train.jsonl", 0)] == [texts[i]["text"] for i in best]


def test_revision_stands_beside_as_many_samples_as_cost_the_same(tmp_path: Path) -> None:
    align = Align(method="revise", steps=2, looks=(0, 0.5, 1), judged=True)
    plan = FeedbackPlan(align=align, **SMALL | {"seeds": 1, "prompts": 3})
    with at_work(tmp_path, plan) as (at, problem):
        found = measure(at, problem, plan, lambda line: None)
    assert [m.samples for m in found.resampled] == [1, 12, 22], "a round reads 21 * 23 + 24 tokens, a sample 48"
    rewards = [m.worth.reward.value for m in found.resampled]
    assert rewards == sorted(rewards), "the best of more is better by the judge's own word"


@pytest.mark.docker
@pytest.mark.timeout(900)
def test_a_policy_trained_in_docker_is_the_one_of_the_process_sandbox(tmp_path: Path, image: str) -> None:  # noqa: F811
    unless_docker(not_ready(image))
    align = Align(method="dpo", steps=2, batch_size=8, looks=(1,))
    plan = FeedbackPlan(align=align, judge="weak", **SMALL | {"seeds": 1})
    found = {}
    for sandbox in ("docker", "process"):
        folder = tmp_path / sandbox
        folder.mkdir()
        with at_work(folder, plan, sandbox) as (at, problem):
            found[sandbox] = measure(at, problem, plan, lambda line: None)
    assert (
        found["docker"].model_dump_json() == found["process"].model_dump_json()
    )  # an interval of one seed is no number


def test_a_sentence_and_what_closes_it_are_the_same_tokens_in_pre_training_and_in_the_policys_own_tokenizer(
    tmp_path: Path,
) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join([*Polarity().vocabulary(), END]) + "\n")
    (sentence,), _ = Polarity().generate(1, 0)
    ref = ModelRef(tiny=Tiny(), tokenizer="words", max_length=64)
    read = Reader(64, vocabulary=tmp_path / "vocab.txt")([f"{sentence} {END}"]).ids[0]
    made = tokenizer(ref, tmp_path)
    assert read == made(f"{sentence} {END}")["input_ids"] == made(sentence + END)["input_ids"]
    assert read[-1] == made.eos_token_id and made.unk_token_id not in read


def test_a_task_without_polarity_is_refused(tmp_path: Path) -> None:
    task, _ = load_task("polarity-preference", ["models.strong.pretrain.steps=1"])
    plan = FeedbackPlan(align=Align(method="dpo"), **SMALL)
    with at_work(tmp_path, plan) as (at, problem):
        problem.task = task
        with pytest.raises(AarError, match="polarity-preference: its rows have no polarity"):
            Ground.of(at, problem, "strong", 10, 1)


# ---------------------------------------------------------------- labels, truth


def test_the_judge_labels_what_it_is_sure_of_and_the_truth_the_rest() -> None:
    said = np.array([3.0, -3.0, 0.1, 0.0, -2.0, 1.0, 0.0, 0.2, 0.0, 0.0])
    sure = [1 / (1 + np.exp(-6)), 1 / (1 + np.exp(3))]
    p, asked = labels(said, np.array([-1, -1, 1, 1, 0]), 0.6)
    assert p == pytest.approx([sure[0], 0.0, sure[1], 1.0, 0.5]) and asked == 3
    p, asked = labels(said, np.array([-1, -1, 1, 1, 0]), 0)
    assert p[1] == pytest.approx(1 / (1 + np.exp(-0.1))) and asked == 0


def test_truth_is_the_worlds_and_ties_and_what_is_malformed_are_told_apart() -> None:
    world = Polarity()
    filler = ["w1"] * 24
    good, tie, negated, long, outcome = (list(filler) for _ in range(5))
    good[5] = tie[5] = negated[5] = long[5] = outcome[5] = "good0"
    tie[12], negated[4], outcome[23] = "bad1", "not0", "win0"
    texts = [" ".join(t) for t in (good, tie, negated, [*long, "w1"], outcome, filler)]
    wrote = Wrote(texts, texts, np.zeros(6), np.array([[20.0, 20, 20, -20, -20, 20]]))
    told = Texts(
        np.array([world.total(t) for t in wrote.texts]), np.array([world.well_formed(t) for t in wrote.texts]),
        wrote.rewards[0], wrote.ratio,
    )  # fmt: skip
    assert told.total.tolist() == [1, 0, -1, 1, 1, 0] and told.formed.tolist() == [True, True, True, False, False, True]
    value = worth([told])
    assert value.truth.value == 1 / 4 and value.ties.value == 2 / 4 and value.malformed.value == pytest.approx(2 / 6)
    assert value.good.value == pytest.approx(1 / 6) and value.each == (value.good.value,)
    assert value.believed.value == pytest.approx(1), "of the well-formed ones"
    assert value.proxy.value == pytest.approx(4 / 6), "of all"
    assert value.gap.value == pytest.approx(3 / 4)


def test_seeds_are_what_an_interval_is_over() -> None:
    def texts(n: int) -> Texts:
        return Texts(np.array([1] * n + [-1] * (20 - n)), np.ones(20, bool), np.zeros(20), np.zeros(20))

    share = worth([texts(11), texts(12), texts(13)]).truth
    assert share.value == pytest.approx(0.6) and share.n == 3
    assert share.high - share.value == pytest.approx(4.3027 * 0.05 / 3**0.5, rel=1e-3), "t with two degrees of freedom"
    wide = worth([texts(0), texts(20), texts(20)]).truth
    assert (wide.low, wide.high) == (0, 1), "a share is never outside of these"


def test_a_seed_that_writes_nothing_well_formed_is_not_left_out() -> None:
    none = Texts(np.array([1, 1]), np.zeros(2, bool), np.ones(2), np.zeros(2))
    some = Texts(np.array([1, 1]), np.ones(2, bool), np.ones(2), np.zeros(2))
    assert worth([none, some]).good.value == 0.5 and worth([none]).malformed.value == 1


def test_pairs_of_equal_truth_say_nothing_of_a_judge() -> None:
    first, second = np.array([1.0, 2.0, 3.0]), np.array([0.0, 5.0, 4.0])
    assert preferred(first, second, np.array([1, 1, 0])) == 0.5
    assert np.isnan(preferred(first, second, np.zeros(3, np.int64)))
