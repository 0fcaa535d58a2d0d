"""The command line as a person or a script meets it: what is printed, what is refused, what is left behind."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from aar.agent import run as agent_run
from aar.cli import main
from aar.methods import PARTS, PRESETS
from aar.types import SLOTS
from tests.loops import NO_TRACKING, SPLITS, fast_sandbox, launches, ledger_of, write_task


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


def aar(*argv: object) -> Said:
    """`aar ARGV` in this process, without a terminal."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["aar", *map(str, argv)])
        try:
            main()
        except SystemExit as end:
            code = end.code
    return Said(code or 0, out.getvalue(), err.getvalue())


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has an empty current folder, quick jobs, and no tracking server."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("AAR_TRACKING_URI", NO_TRACKING)
    monkeypatch.setenv("AAR_SLOTS", "2")
    monkeypatch.setattr(agent_run, "choose", fast_sandbox)


class Searched(NamedTuple):
    """A search that came to its end."""

    workspace: Path
    said: Said

    @property
    def id(self) -> str:
        with ledger_of(self.workspace) as ledger:
            return str(ledger.searches()[0]["id"])


PLACE = ("--sandbox", "process", "--workspace")


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    folder = tmp_path_factory.mktemp("searched")
    workspace = folder / "ws"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AAR_TRACKING_URI", NO_TRACKING)
        patch.setenv("AAR_SLOTS", "1")
        patch.setattr(agent_run, "choose", fast_sandbox)
        said = aar("run", write_task(folder), "--trials", 3, "--seed", 2, *PLACE, workspace)
    assert said.code == 0, said
    return Searched(workspace, said)


# ---------------------------------------------------------------- quick


@pytest.mark.parametrize("argv", [["--help"], ["run", "--help"], ["--version"], ["tasks", "--help"]])
def test_help_imports_nothing_heavy(argv: list[str]) -> None:
    heavy = "torch transformers optuna mlflow langgraph numpy scipy pandas sqlalchemy docker datasets matplotlib"
    code = (
        f"import sys\nfrom aar.cli import main\nsys.argv = ['aar', *{argv!r}]\ntry:\n    main()\n"
        f"except SystemExit as end:\n    print('code', end.code or 0)\n"
        f"print('heavy', [m for m in {heavy.split()!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("code 0\nheavy []\n"), done.stdout[-300:]


def test_help_names_every_command() -> None:
    text = aar("--help").out
    names = "run resume status trial confirm report ui tasks methods doctor sandbox".split()
    names += "steer propose pause unpause stop approve reject".split()
    for command in names:
        assert re.search(rf"\b{command}\b", text), command


# ---------------------------------------------------------------- bad input


RUN, TRIAL, LOGCONF = ["run", "TASK"], ["trial", "TASK"], ["trial", "TASK", "--recipe", "logconf"]
SET = "--set"
BAD = {
    "task": (["run", "polarty"], "task 'polarty' is unknown; did you mean 'polarity'?"),
    "file": (["run", "./nowhere.yaml"], "./nowhere.yaml: no such file"),
    "field": ([*RUN, SET, "splits.devv=9"], "--set: splits.devv: unknown field; did you mean 'dev'?"),
    "field's type": ([*RUN, SET, "splits.dev=many"], "--set: splits.dev: many: must be a whole number"),
    "field's range": ([*RUN, SET, "splits.dev=0"], "--set: splits.dev: 0: must be >= 1"),
    "word": ([*RUN, SET, "models.strong.pool=lost"], "strong.pool: lost: unknown value; did you mean 'last'?"),
    "world": ([*RUN, SET, "data.world.params.lenght=9"], "unknown parameter 'lenght'; did you mean 'length'?"),
    "combination": ([*RUN, SET, "seeds.screen=9"], "seeds.screen: 9: must be <= seeds.full (2)"),
    "set": ([*RUN, SET, "splits.dev"], "--set splits.dev: write it as field=value"),
    "only": ([*RUN, "--preset", "logcnf"], "unknown preset 'logcnf' (did you mean 'logconf'?)"),
    "researcher": ([*RUN, "--researcher", "optunna"], "--researcher 'optunna': want optuna, random, presets"),
    "no model": ([*RUN, "--researcher", "llm"], "--researcher llm: name its model, with --model PROVIDER:NAME"),
    "a model for nobody": ([*RUN, "--researcher", "optuna", "--model", "openai:m"], "researcher optuna asks no model"),
    "a model for presets": ([*RUN, "--preset", "logconf", "--model", "openai:m"], "presets ask no model"),
    "server": (
        [*RUN, "--model", "m", "--base-url", "localhost"],
        "--base-url: want an address such as http://127.0.0.1",
    ),
    "provider": ([*RUN, "--model", "nobody:m"], "chat model nobody:m: "),
    "silent": ([*RUN, "--model", "m", "--base-url", "http://127.0.0.1:9/v1"], "m at 127.0.0.1:9/v1: Connection error"),
    "prices": ([*RUN, "--model", "openai:m", "--prices", "none.yaml"], "none.yaml: No such file or directory"),
    "sandbox": ([*RUN, "--sandbox", "dokcer"], "--sandbox 'dokcer': want auto, docker or process"),
    "approve": ([*RUN, "--approve", "some"], "--approve 'some': want code or all"),
    "steer": (["steer", "more"], "no ledger in"),
    "propose": (["propose", "--recipe", "logconf"], "no ledger in"),
    "pause": (["pause"], "no ledger in"),
    "approve nothing": (["approve", "t1"], "no ledger in"),
    "trials": ([*RUN, "--trials", "0"], "Invalid value for '--trials'"),
    "option": ([*RUN, "--trails", "9"], "No such option: --trails"),
    "tokens of nobody": ([*RUN, "--tokens", "9"], "--tokens 9: researcher optuna has no model"),
    "dollars of nobody": ([*RUN, "--usd", "1"], "--usd 1: researcher optuna has no model"),
    "unpriced": ([*RUN, "--usd", "1", "--model", "openai:nobody-knows"], "no price of openai:nobody-knows is known"),
    "researchers of nobody": ([*RUN, "--researchers", "2"], "researcher optuna here asks no model"),
    "direction of nobody": ([*RUN, "--direction", "look at noise"], "researcher optuna here asks no model"),
    "endless": ([*RUN, "--gpu-hours", "1"], "--gpu-hours 1: task tiny uses no GPU"),
    "preset": ([*TRIAL, "--recipe", "logconff"], "unknown preset 'logconff' (did you mean 'logconf'?)"),
    "part": ([*TRIAL, SET, "loss=logcomf"], "loss: unknown part 'logcomf' (did you mean 'logconf'?)"),
    "slot": ([*TRIAL, SET, "los=logconf"], "'los' is neither a slot nor a task's field; did you mean 'loss'?"),
    "parameter": ([*LOGCONF, SET, "loss.aa=.7"], "loss.logconf: unknown parameter 'aa' (did you mean 'a'?)"),
    "value": ([*LOGCONF, SET, "loss.a=3"], "loss.logconf.a: 3 is out of range; give 0 to "),
    "value's type": ([*LOGCONF, SET, "loss.a=much"], "loss.logconf.a: 'much' is not a number; give 0 to "),
    "trial's sandbox": ([*TRIAL, "--sandbox", "none"], "--sandbox 'none'"),
    "status": (["status"], "no ledger in"),
    "resume": (["resume"], "no ledger in"),
    "confirm": (["confirm"], "no ledger in"),
    "report": (["report"], "no ledger in"),
    "ui": (["ui"], "no ledger in"),
    "tasks show": (["tasks", "show", "sst"], "task 'sst' is unknown; did you mean 'sst2'?"),
    "tasks check": (["tasks", "check", "TASK", SET, "floor_gab=1"], "unknown field; did you mean 'floor_gap'?"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_named_with_the_nearest_valid_name_and_nothing_is_written(what: str, tmp_path: Path) -> None:
    argv, message = BAD[what]
    task = write_task(tmp_path)
    said = aar(*(task if word == "TASK" else word for word in argv))
    assert said.code == 2, said
    shown = " ".join(said.err.split())
    assert message in shown, said.err
    assert "Traceback" not in said.err
    assert list(Path.cwd().iterdir()) == [], "something was written"


def test_a_bad_file_is_named_with_each_of_its_mistakes(tmp_path: Path) -> None:
    task = write_task(tmp_path, "floor_gapp: 0.1\nkind: clasification\n")
    said = aar("run", task)
    assert said.code == 2
    assert f"{task}: floor_gapp: unknown field; did you mean 'floor_gap'?" in said.err
    assert f"{task}: kind: clasification: unknown value; did you mean 'classification'?" in said.err
    assert list(Path.cwd().iterdir()) == []


def test_splits_the_data_cannot_fill_are_said_before_a_job_runs(tmp_path: Path) -> None:
    rows = [f"{word} film number {i}\t{label}" for i in range(40) for word, label in (("good", 1), ("bad", 0))]
    (tmp_path / "rows.tsv").write_text("\n".join(rows) + "\n")
    task = write_task(tmp_path)
    words = ["run", task, "--workspace", "ws"]
    for one in (f"data.files.all={tmp_path}/rows.tsv", "data.files.columns=[text, label]"):
        words += ["--set", one]
    said = aar(*words)
    assert said.code == 2 and "splits" in said.err and "80 are there after de-duplication" in said.err, said.err
    said = aar(*words, "--set", "data.label=nothing")
    assert said.code == 2 and "'nothing'" in said.err, said.err
    assert launches(Path("ws")) == []
    said = aar("status", "--workspace", "ws")
    assert said.code == 2 and "no ledger in" in said.err, "a search was recorded"


# ---------------------------------------------------------------- lists


def test_tasks_lists_the_shipped_ones() -> None:
    rows = {row["name"]: row for row in json.loads(aar("tasks", "--json").out)}
    assert {"polarity", "sst2"} <= rows.keys()
    assert rows["polarity"]["error"] is None and rows["polarity"]["summary"]
    assert Path(rows["polarity"]["path"]).is_file()
    text = aar("tasks").out
    assert "polarity" in text and "sst2" in text


def test_a_task_of_ones_own_that_is_broken_is_listed_with_its_mistake() -> None:
    (Path.cwd() / "tasks").mkdir()
    write_task(Path.cwd() / "tasks", "kinds: x\n")
    rows = {row["name"]: row for row in json.loads(aar("tasks", "--json").out)}
    assert "kinds: unknown field" in rows["tiny"]["error"]
    assert "kinds" in aar("tasks").out


def test_tasks_show_and_check(tmp_path: Path) -> None:
    task = write_task(tmp_path)
    said = aar("tasks", "show", task, "--json", "--workspace", "ws")
    shown = json.loads(said.out)
    assert {name: shown["splits"][name] for name in SPLITS} == SPLITS
    assert len(shown["rows"]["transfer"]) == 3 and shown["rows"]["transfer"][0]["label"] in shown["classes"]
    assert sum(shown["balance"]["dev"].values()) == pytest.approx(1, abs=1e-3)
    assert re.fullmatch("[0-9a-f]{64}", shown["digest"])
    text = aar("tasks", "show", task, "--workspace", "ws").out
    assert shown["digest"] in text.replace("\n", "") and str(SPLITS["transfer"]) in text
    checked = aar("tasks", "check", task, "--workspace", "ws")
    assert checked.code == 0
    line = " ".join(checked.out.split())
    assert re.search(rf"tiny: ok .*dev {SPLITS['dev']}.*2 classes.*{shown['digest'][:12]}", line)
    missing = aar("tasks", "check", task, "--set", "models.strong.path=./no-model", "--workspace", "ws")
    assert missing.code == 2 and "models.strong" in missing.err and "no-model" in missing.err


def test_every_task_file_is_checked_offline_down_to_its_sample(tmp_path: Path) -> None:
    said = aar("tasks", "check", "--offline")
    assert said.code == 0, said
    names = {row["name"] for row in json.loads(aar("tasks", "--json").out)}
    assert set(re.findall(r"^(\S+): ok", said.out, re.M)) == names >= {"sciq", "boolq-gpt2", "code-mutations"}
    assert "no sample rows" not in said.out and "A: carbon dioxide" in said.out
    assert not list(Path().iterdir()), "nothing is prepared"
    wrong = aar("tasks", "check", "sciq", "--offline", "--set", "data.choices.correct=answr")
    assert wrong.code == 2 and "no column 'answr'" in wrong.out
    bad = [{"q": "why", "a": "so", "b": "no", "at": 5}]
    sets = ["data.choices={options: [a, b], correct: at}", "data.text=Q {q} {answer}", f"data.sample={json.dumps(bad)}"]
    said = aar("tasks", "check", "sciq", "--offline", *(w for s in sets for w in ("--set", s)))
    assert said.code == 2 and "data.sample: 1 bad rows left out: at: 5 names no right answer (row 1)" in said.out
    said = aar("tasks", "check")
    assert said.code == 2 and "name a task, or give --offline" in said.err


def test_what_is_left_out_or_cut_off_is_said(tmp_path: Path) -> None:
    rows = [{"text": f"good film number {i}", "label": i % 2} for i in range(400)]
    rows += [{"text": "a film " * 20 + str(i), "label": i % 2} for i in range(100)] + [{"text": "", "label": 0}] * 3
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = write_task(tmp_path)
    sizes = "{weak_train: 100, weak_val: 20, transfer: 200, dev: 100, test: 80}"
    sets = [f"data.files.all={tmp_path / 'rows.jsonl'}", f"splits={sizes}"]
    sets += ["models.weak.max_length=8", "models.weak.truncate=left", "models.strong.max_length=64"]
    words = [w for s in sets for w in ("--set", s)]
    checked = " ".join(aar("tasks", "check", task, *words, "--workspace", "ws").out.split())
    assert "3 bad rows left out: no text (lines 501, 502, 503)" in checked
    said = r"models\.(\w+): (\d+) of (\d+) rows of (\w+) have over 8 tokens and lose \S+ beginning"
    cut = re.findall(said, checked)
    assert {split for _, _, _, split in cut} == {"weak_pool", "transfer", "dev", "test"}
    assert {role for role, _, _, _ in cut} == {"weak"}
    assert sum(int(n) for _, n, _, _ in cut) == 100 and sum(int(of) for _, _, of, _ in cut) == 500


def test_methods_lists_every_part_and_preset() -> None:
    told = json.loads(aar("methods", "--json").out)
    assert {slot: set(parts) for slot, parts in told["slots"].items()} == {slot: set(PARTS[slot]) for slot in SLOTS}
    assert [p["name"] for p in told["presets"]] == [p.name for p in PRESETS]
    a = told["slots"]["loss"]["logconf"]["space"]["a"]
    assert a["kind"] == "float" and a["low"] < a["default"] < a["high"]
    assert all(part["summary"] for parts in told["slots"].values() for part in parts.values())
    text = aar("methods").out
    assert all(name in text for slot in SLOTS for name in PARTS[slot])
    assert all(p.name in text for p in PRESETS)


def test_doctor_looks_and_touches_nothing() -> None:
    said = aar("doctor", "--json")
    told = json.loads(said.out)
    assert {"checks", "sandbox"} == told.keys() and told["sandbox"].partition(":")[0] in ("docker", "process")
    checks = {c["name"]: c for c in told["checks"]}
    assert {"python", "torch", "engine", "disk", "workspace", "ledger", "tracking"} <= checks.keys()
    assert all(c["ok"] is not False or c["advice"] for c in checks.values())
    assert checks["tracking"]["ok"] is False and NO_TRACKING in checks["tracking"]["value"]
    assert said.code == 1, "one check failed"
    assert "→ start the server" in " ".join(aar("doctor").out.split())
    assert list(Path.cwd().iterdir()) == []


# ---------------------------------------------------------------- a search


def test_without_a_terminal_a_run_prints_plain_lines_and_where_to_look(searched: Searched) -> None:
    text = searched.said.out
    assert "\x1b" not in text
    lines = text.splitlines()
    assert lines[0].startswith("sandbox  process")
    assert sum(line.strip().startswith("baselines   weak .") for line in lines) == 1
    for n in range(4):
        assert len([line for line in lines if re.match(rf"  [✓✗=] t{n} ", line)]) == 1, f"t{n} is told once"
    table = text[text.index(searched.id) :]
    for name in ("weak", "naive", "best selected", "best confirmed", "sealed", "ceiling"):
        assert re.search(rf"^{name}\s+\.\d+\s+-?\d\.\d\d", table, re.M), name
    (report,) = re.findall(r"^report  (.+)$", text, re.M)
    assert Path(report).is_file() and Path(report).is_relative_to(searched.workspace)
    (review,) = re.findall(r"^review  (.+)$", text, re.M)
    assert review.startswith(f"aar ui --workspace {searched.workspace} ") and "experiment aar/tiny" in review


STATE_KEYS = {
    "search", "task", "status", "reason", "paused", "baselines", "trials", "confirmed", "messages", "spend",
    "budget", "left", "forecast", "researcher",
}  # fmt: skip
TRIAL_KEYS = {
    "id", "status", "author", "recipe", "label", "pgr", "ci_low", "ci_high", "accuracy", "n_seeds", "reason",
    "rationale", "predicted_pgr", "predicted_low", "predicted_high", "refute", "source", "shares", "credit",
}  # fmt: skip
CONFIRMED = {
    "trial", "selected_pgr", "fresh_pgr", "sealed_pgr", "ci_low", "ci_high", "gain_over_matched_naive", "flags",
    "audit",
}  # fmt: skip
SPEND = {"wall_seconds", "job_seconds", "gpu_hours", "looks", "openings", "tokens", "usd"}
BUDGET = {"trials", "hours", "gpu_hours", "tokens", "usd"}


def test_status_as_json_is_a_contract(searched: Searched) -> None:
    told = json.loads(aar("status", "--json", "--workspace", searched.workspace).out)
    assert told.keys() == STATE_KEYS
    assert (told["search"], told["task"], told["status"], told["reason"]) == (searched.id, "tiny", "complete", None)
    assert told["baselines"].keys() == {"weak", "ceiling", "naive"}
    weak, naive, ceiling = (told["baselines"][k] for k in ("weak", "naive", "ceiling"))
    assert 0.5 < weak < naive < ceiling < 1
    assert [t["id"] for t in told["trials"]] == [0, 1, 2, 3]
    for t in told["trials"]:
        assert t.keys() == TRIAL_KEYS
        assert set(t["recipe"]) == set(SLOTS) and all(set(p) == {"name", "params"} for p in t["recipe"].values())
        assert t["status"] in ("complete", "pruned") and t["n_seeds"] in (1, 2) and t["rationale"]
        off = 0.15 if t["status"] == "complete" else 0.25  # fewer seeds are compared with the same fewer weak ones
        assert t["pgr"] == pytest.approx((t["accuracy"] - weak) / (ceiling - weak), abs=off)
        assert t["reason"] is None if t["status"] == "complete" else t["reason"].startswith("pruned after")
    assert told["trials"][0]["accuracy"] == naive
    assert [t["author"] for t in told["trials"]] == ["preset", "preset", "optuna", "optuna"]
    for c in told["confirmed"]:
        assert c.keys() == CONFIRMED
        assert told["trials"][c["trial"]]["pgr"] == c["selected_pgr"]
    winner, *others = told["confirmed"]
    assert winner["sealed_pgr"] is not None and winner["ci_low"] <= winner["ci_high"]
    mean, low, high = winner["gain_over_matched_naive"]
    assert low < mean < high
    assert others
    for other in others:
        assert winner["fresh_pgr"] >= other["fresh_pgr"], "the winner is chosen on fresh seeds"
        assert other["sealed_pgr"] is None and other["gain_over_matched_naive"] is None
    assert told["spend"].keys() == SPEND and told["budget"].keys() == told["left"].keys() == BUDGET
    assert (told["budget"]["trials"], told["left"]["trials"], told["left"]["hours"]) == (3, 0, None)
    assert told["forecast"] == {"more_trials": 0, "limited_by": "trials", "ends_at": told["forecast"]["ends_at"]}
    assert told["spend"]["openings"] == 1 and told["spend"]["looks"] > 4 and told["spend"]["wall_seconds"] > 0


def test_status_as_text_and_of_an_unknown_search(searched: Searched) -> None:
    text = aar("status", searched.id, "--workspace", searched.workspace).out
    assert text.startswith(f"{searched.id}  complete") and "best confirmed" in text
    said = aar("status", "tiny-none", "--workspace", searched.workspace)
    assert said.code == 2 and "no search 'tiny-none'" in said.err and searched.id in said.err


def test_report_is_written_again(searched: Searched) -> None:
    page = searched.workspace / "reports" / f"{searched.id}.html"
    page.unlink()
    assert aar("report", "--workspace", searched.workspace).out.strip() == str(page)
    assert searched.id in page.read_text()


def test_a_complete_search_is_neither_resumed_nor_confirmed_again(searched: Searched) -> None:
    before = len(launches(searched.workspace))
    said = aar("resume", searched.id, "--workspace", searched.workspace)
    assert said.code == 0 and f"{searched.id} is complete" in said.out
    said = aar("resume", "--workspace", searched.workspace)
    assert said.code == 2 and "no unfinished search" in said.err
    said = aar("confirm", "--workspace", searched.workspace)
    assert said.code == 0 and "is confirmed already: the seal is opened once per search" in said.out
    assert len(launches(searched.workspace)) == before


def test_one_trial_then_its_confirmation(tmp_path: Path) -> None:
    words = ["--recipe", "logconf", "--set", "loss.a=.75", "--set", "targets=hard", "--set", "splits.dev=500"]
    said = aar("trial", write_task(tmp_path), *words, "--sandbox", "process")
    assert said.code == 0, said
    told = json.loads(aar("status", "--json").out)
    assert [t["author"] for t in told["trials"]] == ["preset", "human"]
    asked = told["trials"][1]
    assert asked["recipe"]["loss"] == {"name": "logconf", "params": asked["recipe"]["loss"]["params"] | {"a": 0.75}}
    assert asked["recipe"]["targets"]["name"] == "hard" and asked["label"] == "hard · logconf a=.75"
    assert asked["status"] == "complete" and told["confirmed"] == []
    with ledger_of(Path(".aar")) as ledger:
        assert json.loads(ledger.searches()[0]["spec"])["splits"]["dev"] == 500
    assert "aar ui      (MLflow" in said.out, "the default workspace needs no option"
    said = aar("confirm", "--sandbox", "process")
    assert said.code == 0 and re.search(r"^best confirmed\s+\.", said.out, re.M), said
    told = json.loads(aar("status", "--json").out)
    assert [c["trial"] for c in told["confirmed"]] == [1] and told["confirmed"][0]["sealed_pgr"] is not None
    assert "records wait in the ledger" in said.out, "what was confirmed is sent to tracking, here nobody answers"
    shown = aar("ui")
    assert shown.code == 2 and "tracking is a server" in shown.err and "does not answer" in shown.out, "tried first"


def test_a_confirmation_whose_job_fails_says_so(tmp_path: Path) -> None:
    assert aar("trial", write_task(tmp_path), "--recipe", "logconf", "--sandbox", "process").code == 0
    (Path(".aar") / "trouble.json").write_text(json.dumps({"transfer": "crash"}))
    said = aar("confirm", "--sandbox", "process")
    assert said.code == 2 and "transfer job failed: exit code 1" in said.err and "Traceback" not in said.err
    assert json.loads(aar("status", "--json").out)["confirmed"] == []


# ---------------------------------------------------------------- the real jobs


EASY = {"negation": 0, "length": 6, "max_clauses": 1, "scope": 1, "polar": 2, "fillers": 10}
REAL = [
    f"data.world.params={json.dumps(EASY)}", "splits.weak_train=20", "splits.weak_val=0", "splits.dev=400",
    "training.weak.lr=1e-5", "training.strong={epochs: 2, lr: 1e-2}",
]  # fmt: skip
"""A language that the strong model learns from 500 rows at once, and a weak model that learns nothing."""


class Real:
    """`aar COMMAND` on that language in the folder `here`, with `python -m aar.train` in its jobs."""

    def __init__(self, here: Path, command: str, *words: str) -> None:
        self.here = here
        argv = [Path(sys.executable).with_name("aar"), command, write_task(here), *words, "--sandbox", "process"]
        for one in REAL:
            argv += ["--set", one]
        env = os.environ | {"AAR_SLOTS": "1", "AAR_TRACKING_URI": NO_TRACKING}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([*map(str, argv)], stdout=pipe, stderr=pipe, text=True, cwd=here, env=env)

    def end(self) -> dict[str, Any]:
        """Wait for it; what `aar status --json` says of it then."""
        out, err = self.process.communicate()
        assert (self.process.returncode, err) == (0, ""), out + err
        assert re.search(r"^ceiling +(1|\.\d+) ", out, re.M)
        told: dict[str, Any] = json.loads(aar("status", "--json", "--workspace", self.here / ".aar").out)
        assert told["status"] == "complete"
        assert told["baselines"]["weak"] < 0.7 < 0.9 < told["baselines"]["ceiling"]
        with ledger_of(self.here / ".aar") as ledger:
            keys = [key for a in ledger.attempts(told["search"]) for key in json.loads(a["keys"])]
            units = [unit for key in keys if (unit := ledger.unit(key)) is not None]
        assert len(units) == len(keys) and all(u.curve and u.seconds > 0 for u in units)
        return told


@pytest.fixture(scope="module", autouse=True)
def real_trial(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real | None]:
    """Begun with this file's first test, so that its jobs' long imports run beside the other tests."""
    if not any(i.name == test_trial_trains_for_real.__name__ for i in request.session.items):
        yield None
        return
    real = Real(tmp_path_factory.mktemp("real"), "trial", "--set", "targets=hard")
    yield real
    real.process.terminate()  # as Ctrl-C would: it ends its jobs
    real.process.communicate()


@pytest.mark.slow
def test_a_whole_search_trains_for_real(tmp_path: Path) -> None:
    told = Real(tmp_path, "run", "--trials", "1").end()
    assert told["confirmed"][0]["sealed_pgr"] is not None


DRY = re.compile(
    r"dry run of tiny: (\d) jobs at 1 % ran to their end\n.*trials +40, about \d+ s each on one of \d+ slots\n"
    r".*time +\d+\.\d\d h wall.*GPU-hours +0\.00\n.*disk +about \d+ MiB"
    r".*could detect +a PGR difference of 0?\.\d\d between two trials at 2 seeds",
    re.S,
)


def test_a_dry_run_forecasts_and_leaves_nothing_behind(tmp_path: Path) -> None:
    said = aar("run", write_task(tmp_path), "--dry-run", "--trials", 40, "--sandbox", "process")
    assert said.code == 0 and (found := DRY.search(said.out)), said
    assert found[1] == "3"
    assert list(Path.cwd().iterdir()) == []


LINKS = "[{tiny: {layers: 1, width: 16, heads: 2}, max_length: 32}, {tiny: {layers: 1, width: 24, heads: 2}}]"


def test_a_dry_run_of_a_chain_runs_its_models_and_says_what_each_costs(tmp_path: Path) -> None:
    words = ["--dry-run", "--trials", 40, "--sandbox", "process", "--set", f"models.chain={LINKS}"]
    said = aar("run", write_task(tmp_path), *words)
    assert said.code == 0 and (found := DRY.search(said.out)), said
    assert found[1] == "5", "weak, ceiling, student, and a job for each link"
    assert re.search(r"chain +\d+\.\d s, \d+\.\d s a seed", said.out)
    assert list(Path.cwd().iterdir()) == []


def test_a_chains_models_are_shown_and_checked(tmp_path: Path) -> None:
    words = [write_task(tmp_path), "--set", f"models.chain={LINKS}", "--workspace", "ws"]
    shown = json.loads(aar("tasks", "show", *words, "--json").out)
    assert list(shown["models"]) == ["weak", "chain.0", "chain.1", "strong"]
    assert shown["models"]["chain.1"] == "tiny: 1 layer, width 24"
    assert "2 models between weak and strong" in " ".join(aar("tasks", "check", *words).out.split())
    gone = aar(
        "tasks", "check", write_task(tmp_path), "--set", "models.chain=[{path: ./no-model}]", "--workspace", "ws"
    )
    assert gone.code == 2 and "models.chain.0" in gone.err and "no-model" in gone.err


def test_a_dry_run_leaves_a_used_workspace_as_it_was(searched: Searched, tmp_path: Path) -> None:
    before = sorted(searched.workspace.rglob("*"))
    limits = ["--hours", 0.0001, "--trials", 7]
    words = ["--dry-run", *limits, "--sandbox", "process", "--workspace", searched.workspace]
    said = aar("run", write_task(tmp_path), *words)
    assert said.code == 0 and "hours" not in said.err
    assert re.search(r"trials +1, about", said.out), "the hours end first"
    assert sorted(searched.workspace.rglob("*")) == before


@pytest.mark.slow
def test_a_dry_run_with_real_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    task = write_task(tmp_path)
    before = sorted(tmp_path.iterdir())
    said = aar("run", task, "--dry-run", "--trials", 40, "--sandbox", "process")
    assert said.code == 0 and (found := DRY.search(said.out)), said
    assert found[1] == "3" and sorted(tmp_path.iterdir()) == before


def test_trial_trains_for_real(real_trial: Real) -> None:
    told = real_trial.end()
    assert [t["status"] for t in told["trials"]] == ["complete", "complete"] and told["confirmed"] == []
