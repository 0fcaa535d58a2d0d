"""Code of a hypothesis in the real container: what it sees, what it is kept from, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aar.agent.run import Plan, create, opened, work
from aar.ledger import Ledger
from aar.methods import fill, problems, read_part
from aar.runner import units
from aar.runner.bench import Bench
from aar.runner.trial import Runner
from aar.runner.units import JobFailed
from aar.runner.written import smoke
from aar.sandbox.docker import DockerSandbox
from aar.sandbox.select import not_ready
from aar.settings import Settings
from aar.tasks import load_task
from aar.types import AarError, Recipe, TrialStatus, Written
from tests.agent.models import Answer, proposal
from tests.agent.test_writing import WHY, writer
from tests.loops import NO_TRACKING, write_task
from tests.oversight.chatserver import Json, calls, serving
from tests.sandbox.conftest import unless_docker
from tests.sandbox.test_docker_search import TASK as BOXED
from tests.written import BAD, MINE, conf, mine, returning

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

SPY = """\
PART = {"slot": "loss", "name": "spy", "space": {}}

import typing


def build(params, prior):
    def look(x: "WORDS"):
        return x

    typing.get_type_hints(look)

    def loss(logits, y, target, weight, step_frac):
        return logits.sum()

    return loss
"""
"""Passes the static check and runs WORDS, an annotation that the library evaluates: the check is no wall."""


def spying(expression: str) -> Written:
    """A part that evaluates this and ends with what came out, in its log."""
    words = f"__import__('sys').exit(__import__('json').dumps({expression}))"
    code = read_part(SPY.replace("WORDS", words.replace('"', "'")))
    assert problems(code) == [], "it was to pass the check"
    return code


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, image: str) -> Iterator[Bench]:
    """A search on the tests' tiny task in real containers, its first weak models trained."""
    unless_docker(not_ready(image))
    folder = tmp_path_factory.mktemp("boxed")
    settings = Settings(workspace=folder / "ws", sandbox="docker", image=image, tracking_uri=NO_TRACKING, slots=1)
    ledger = Ledger(settings.ledger_url)
    search = create(ledger, settings, load_task(write_task(folder), ["limits.memory=1g"])[0], Plan(trials=1))
    with opened(ledger, settings, search) as bench:
        assert isinstance(bench.sandbox, DockerSandbox)
        Runner(bench).weak(bench.seeds("search", 2))
        yield bench
    ledger.close()


def recipe_of(bench: Bench, code: Written) -> Recipe:
    return fill(Recipe().carrying(code), bench.problem.task.training.strong)


def told(bench: Bench, code: Written) -> Any:
    """What a spying part found in the job that trains with it."""
    with pytest.raises(JobFailed) as caught:
        Runner(bench).students(recipe_of(bench, code), bench.seeds("search", 2))
    return json.loads(caught.value.result.log_tail.strip().splitlines()[-1])


def refused(bench: Bench, code: Written) -> str:
    """Why a part did not pass its smoke run."""
    runner = Runner(bench)
    labels = runner.weak(bench.seeds("search", 1))[0].outputs
    weak = {name: labels[name] for name in ("transfer", "prior")}
    with pytest.raises(AarError) as caught:
        smoke(bench, recipe_of(bench, code), None, weak, 1)
    return str(caught.value)


def test_it_sees_texts_and_weak_labels_of_one_seed_and_no_more(bench: Bench) -> None:
    walk = "sorted(p+'/'+f for p, d, fs in __import__('os').walk('/job') for f in fs)"
    reading = "open('/job/job.json').read(), open('/job/in/transfer.jsonl').read()[:500]"
    files, job, texts = told(bench, spying(f"[{walk}, {reading}]"))
    assert files == [
        "/job/in/transfer.jsonl", "/job/in/u0/prior", "/job/in/u0/weak0", "/job/in/vocab.txt", "/job/job.json",
        "/job/out/progress.jsonl", "/job/out/u0.weight", "/job/out/u0.weights",
    ]  # fmt: skip
    prepared = bench.problem.prepared
    for split in ("dev", "test", "weak_pool"):
        assert prepared.texts[split] not in job, f"not even the digest of {split}"
    assert texts == prepared.text_file("transfer").read_text()[:500]


SHELL = "__import__('subprocess').run(['sh', '-c', 'echo x > {}']).returncode"
TRIES = {
    "the network": "__import__('socket').socket().connect_ex(('1.1.1.1', 80))",
    **{place: SHELL.format(place) for place in ("/job/in/transfer.jsonl", "/opt/x", "/job/out/more", "/job/job.json")},
}


def test_what_got_past_the_check_is_contained(bench: Bench) -> None:
    root = f"__import__('os').path.exists('{bench.settings.root}')"
    *codes, there, user = told(bench, spying(f"[{', '.join(TRIES.values())}, {root}, __import__('os').getuid()]"))
    for what, code in zip(TRIES, codes, strict=True):
        assert code != 0, f"{what} could be reached or changed"
    assert there is False and user == 65532


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("nan", "smoke job failed: exit code 1: FloatingPointError: the loss is nan"),
        (
            "shape",
            "smoke job failed: exit code 1: ValueError: the loss is float32 [...]; a scalar tensor is needed",
        ),
        ("steep", "smoke job failed: exit code 1: FloatingPointError: the loss is ..., but its gradient is not"),
        ("hoard", "smoke job oom: the job reported it (exit code 3): out of memory"),
        ("loop", "smoke job timeout: over its deadline of 15 s"),
    ],
)
def test_a_part_of_no_use_ends_in_its_smoke_run(how: str, why: str, bench: Bench, monkeypatch: Any) -> None:
    if how == "loop":
        monkeypatch.setattr(units, "SMOKE_SECONDS", 15.0)
    assert why in refused(bench, returning(BAD[how]))
    assert not [a for a in bench.ledger.attempts(bench.search, trial=1) if a["kind"] == "transfer"], "no seed was spent"


def test_hoarded_memory_is_the_containers_to_take(bench: Bench) -> None:
    code = mine("a = float", "held = [bytes(1 << 26).replace(b'\\0', b'x') for _ in range(64)]\n    a = float")
    assert "smoke job oom" in refused(bench, code)


def test_weights_that_are_none_fail_in_the_job_that_applies_them(bench: Bench) -> None:
    """It writes what it likes into its output and leaves before the trainer writes weights."""
    write = "[open('/job/out/u0.weights', 'wb').write(b'no weights'), __import__('os')._exit(0)]"
    with pytest.raises(JobFailed, match="predict job failed") as caught:
        Runner(bench).students(recipe_of(bench, spying(write)), bench.seeds("search", 1))
    assert "the weights that were handed back are no safetensors" in caught.value.why


def test_logconf_written_anew_predicts_what_the_packages_own_does(bench: Bench) -> None:
    runner, seeds = Runner(bench), bench.seeds("search", 1)
    base = bench.problem.task.training.strong
    own = runner.students(recipe_of(bench, conf()), seeds)
    house = runner.students(fill(Recipe.model_validate({"loss": {"name": "logconf"}}), base), seeds)
    naive = runner.students(fill(Recipe(), base), seeds)
    for seed in seeds:
        assert own[seed].outputs["dev"] == house[seed].outputs["dev"] != naive[seed].outputs["dev"]
        assert own[seed].outputs["weight"] == house[seed].outputs["weight"]
    kinds = [a["kind"] for a in bench.ledger.attempts(bench.search) if a["status"] == "ok"]
    assert kinds.count("predict") == 1
    assert MINE and not list(Path(bench.settings.folder("jobs")).iterdir())


def test_what_a_model_writes_is_tried_trained_applied_and_scored(
    tmp_path: Path, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way: a chat server's answers, the real loop, the real container."""
    unless_docker(not_ready(image))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-secret-key")

    def talk(trial: int, said: int, asked: Json) -> Answer:
        proposed = calls(proposal(f"loss={mine().ref}", "loss.a=1.5"))
        return [calls(("write_part", {"source": MINE, **WHY})), proposed][said]

    settings = Settings(workspace=tmp_path / "ws", sandbox="docker", image=image, tracking_uri=NO_TRACKING, slots=1)
    (tmp_path / "boxed.yaml").write_text(BOXED)
    task = load_task(tmp_path / "boxed.yaml")[0]
    ledger = Ledger(settings.ledger_url)
    with serving(writer(talk, "pass", [])) as server:
        plan = Plan(trials=1, researcher="llm", model="openai:m", base_url=server.url, confirm_top=0)
        search = create(ledger, settings, task, plan)
        work(ledger, settings, search, lambda: None)
    row = ledger.trial(search, 1)
    assert (row.author, row.status, row.n_seeds) == ("llm", TrialStatus.COMPLETE, 2), row.reason
    assert row.label == f"{mine().ref} a=1.5" and row.recipe.loss.code == mine()
    assert row.view is not None and row.view.n_seeds == 2
    jobs = [(a["kind"], a["status"]) for a in ledger.attempts(search, trial=1)]
    assert jobs == [("smoke", "ok"), ("transfer", "ok"), ("transfer", "ok"), ("predict", "ok")]
    assert "It only scales the loss" in ledger.parts(search)[mine().digest]["review"]
    ledger.close()
