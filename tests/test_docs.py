"""The documents are true where a program can tell: links, command lines, names of parts, fields, settings, tables."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel

from aar.cli import app
from aar.cli.showing import state
from aar.ledger import Ledger
from aar.ledger.tables import meta
from aar.methods import PARTS, PRESETS
from aar.methods.losses.confidence import BUFFER
from aar.settings import Settings
from aar.types import TaskSpec
from tests import ledgers

ROOT = Path(__file__).parent.parent
DOCS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "mlflow" / "README.md", *(ROOT / "docs").glob("*.md")])
WANTED = {
    "architecture.md", "methods.md", "operations.md", "oversight.md", "researcher.md", "results.md", "security.md",
    "tasks.md",
}  # fmt: skip

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"^\s*(?:\$ )?((?:[A-Z_]+=\S+ )*aar(?: .*)?)$")
# `...` and a word in capitals stand for what the reader fills in.
SHELL = {"|", ">", ">>", "&&", ";", "&"}
ELSEWHERE = {"AAR_REQUIRE_DOCKER", "AAR_SLOW", "AAR_TEST_DATABASE_URL", "AAR_APT_DIR", "AAR_MIRROR"}
ABSOLUTE = re.compile(r"(?<![\w./:~<>)\-])/([a-z][\w.-]*)/[\w.-]")
EVERYWHERE = {"dev", "etc", "job", "proc", "tmp", "var", "opt", "usr", "sys"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def blocks(document: str) -> Iterator[str]:
    """Lines of fenced and indented code, continuation lines joined."""
    fenced, held = False, ""
    for line in document.splitlines():
        if line.strip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            held += line.strip() if held else line
            if held.endswith("\\"):
                held = held[:-1].rstrip() + " "
            else:
                yield held
                held = ""


def commands(document: str) -> list[list[str]]:
    """Every `aar` command line of a document, as words after `aar`."""
    lines = [m[1] for line in blocks(document) if (m := COMMAND.match(line))]
    prose = "\n".join(line for line in document.splitlines() if not line.startswith("    "))
    lines += [span for span in re.findall(r"`([^`\n]+)`", prose) if re.match(r"aar( |$)", span)]
    found = []
    for line in lines:
        words = shlex.split(line, comments=True)
        while re.match(r"[A-Z_]+=", words[0]):
            words = words[1:]
        cut = next((i for i, word in enumerate(words) if word in SHELL), len(words))
        found.append(words[1:cut])
    return found


def wrong(words: list[str]) -> str | None:
    """What the command line app would not understand of these words, or None."""
    command: Any = typer.main.get_command(app)
    path, rest = "aar", list(words)
    while True:
        options = {o: p for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("-")}
        positional = 0
        while rest:
            word = rest.pop(0)
            option, equals, _ = word.partition("=")
            if word.startswith("-") and option not in ("--help", "-h"):
                if option not in options:
                    return f"{path} has no option {option}"
                if not options[option].is_flag and not equals and not rest:
                    return f"{path}: {option} lacks its value"
                if not options[option].is_flag and not equals:
                    rest.pop(0)
            elif hasattr(command, "commands"):
                if word not in command.commands:
                    return f"{path} has no command {word!r}"
                command, path = command.commands[word], f"{path} {word}"
                break
            elif word != "..." and not word.startswith("-"):
                positional += 1
        else:
            taken = [p for p in command.params if type(p).__name__ == "TyperArgument"]
            places = positional if any(p.nargs < 0 for p in taken) else len(taken)
            if not hasattr(command, "commands") and positional > places:
                return f"{path} takes {places} arguments, not {positional}"
            return None


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def fields(model: type[BaseModel]) -> Iterator[str]:
    """Names of all fields of a model and of the models in it."""
    for field, info in model.model_fields.items():
        yield field
        for inner in models(info.annotation):
            yield from fields(inner)


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models(inner)


def keys(value: Any) -> Iterator[str]:
    """All keys of a JSON value; a recipe's slots and parameters are its own business."""
    for item in value if isinstance(value, list) else ():
        yield from keys(item)
    for key, item in value.items() if isinstance(value, dict) else ():
        yield key
        if key != "recipe":
            yield from keys(item)


def test_the_documents_are_all_there() -> None:
    assert {path.name for path in DOCS if path.parent.name == "docs"} >= WANTED


@pytest.mark.parametrize("path", DOCS, ids=name)
def test_every_relative_link_resolves(path: Path) -> None:
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), f"{name(path)}: {target}: no such file"
        assert there.is_relative_to(ROOT.resolve()), f"{name(path)}: {target}: leaves the repository"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), f"{name(path)}: {target}: no such heading"


@pytest.mark.parametrize("path", DOCS, ids=name)
def test_every_aar_command_line_parses(path: Path) -> None:
    faults = [f"aar {' '.join(w)}: {why}" for w in commands(path.read_text(encoding="utf-8")) if (why := wrong(w))]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("run sst2 --set a.b=1 --dry-run", None),
        ("run sst2 --st a.b=1", "no option --st"),
        ("stear 'look at labels'", "no command 'stear'"),
        ("tasks shw polarity", "no command 'shw'"),
        ("status one two", "takes 1 arguments"),
        ("run sst2 --set", "lacks its value"),
    ],
)
def test_the_check_of_command_lines_sees_what_is_wrong(line: str, why: str | None) -> None:
    found = wrong(shlex.split(line))
    assert found is None if why is None else why in (found or "")


def test_readme_and_operations_show_command_lines() -> None:
    shown = {words[0] for words in commands(text("README.md")) if words}
    command: Any = typer.main.get_command(app)
    assert shown == set(command.commands), "README names every command"
    assert len(commands(text("docs/operations.md"))) > 10


def section(document: str, heading: str) -> str:
    """What stands below a heading, up to the next of its level or above."""
    level = len(heading.split()[0])
    found = re.search(rf"^{re.escape(heading)}\b.*\n((?:(?!#{{1,{level}}} ).*\n?)*)", document, re.MULTILINE)
    assert found, f"no heading {heading!r}"
    return found[1]


def rows(part: str) -> dict[str, str]:
    """Table rows by the name in their first cell."""
    return {m[1]: m[0] for m in re.finditer(r"^\| `([^`]+)` \|.*$", part, re.MULTILINE)}


def test_every_part_parameter_and_preset_is_in_methods() -> None:
    document = text("docs/methods.md")
    for slot, parts in PARTS.items():
        found = rows(section(document, f"## {slot}"))
        assert list(found) == list(parts), f"{slot}: the parts of `aar methods`, in its order"
        for part, info in parts.items():
            assert info.paper in found[part], f"{part}: its row lacks the paper: {info.paper}"
            for key in info.space:
                assert f"`{key}`" in found[part], f"{part}: its row lacks the parameter {key}"
    found = rows(section(document, "## Presets"))
    assert list(found) == [preset.name for preset in PRESETS], "presets stand in the listed order, which breaks ties"
    for preset in PRESETS:
        assert preset.paper in found[preset.name], f"{preset.name}: its row lacks the paper: {preset.paper}"
    assert f"`BUFFER` = {BUFFER} rows" in document


def test_every_setting_is_in_operations() -> None:
    document = text("docs/operations.md")
    settings = {f"AAR_{field.upper()}" for field in Settings.model_fields}
    assert set(rows(section(document, "## Settings"))) == settings
    for path in DOCS:
        named = set(re.findall(r"\bAAR_[A-Z_]+\b", path.read_text(encoding="utf-8")))
        assert named <= settings | ELSEWHERE, f"{name(path)}: {named - settings - ELSEWHERE}"


def test_every_task_field_is_in_tasks() -> None:
    document = text("docs/tasks.md")
    missing = [field for field in sorted(set(fields(TaskSpec))) if not re.search(rf"\b{field}\b", document)]
    assert not missing


def test_every_dependency_is_in_architecture() -> None:
    document = text("docs/architecture.md")
    project = tomllib.loads(text("pyproject.toml"))
    lists = [project["project"]["dependencies"], *project["project"].get("optional-dependencies", {}).values()]
    wanted = [re.split(r"[<>=!~\[; ]", d)[0] for part in [*lists, project["build-system"]["requires"]] for d in part]
    assert [d for d in wanted if f"`{d}`" not in document] == []


def test_every_room_and_table_is_in_architecture() -> None:
    document = text("docs/architecture.md")
    project = tomllib.loads(text("pyproject.toml"))
    layers: list[str] = project["tool"]["importlinter"]["contracts"][0]["layers"]
    lines = section(document, "## Rooms").splitlines()
    rooms = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in lines if line.startswith("| `")]
    assert rooms == [[room.strip().removeprefix("aar.") for room in layer.split("|")] for layer in layers]
    assert set(rows(section(document, "### Tables"))) == set(meta.tables)


def test_every_field_of_status_json_is_in_operations(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    found = state(ledger, ledgers.searched(ledger))
    ledger.close()
    assert found["trials"] and found["confirmed"], "the contract is checked with something in it"
    contract = section(text("docs/operations.md"), "## aar status --json")
    assert [key for key in dict.fromkeys(keys(found)) if f"`{key}`" not in contract] == []


@pytest.mark.parametrize("path", DOCS, ids=name)
def test_no_document_names_a_path_of_one_machine(path: Path) -> None:
    document = path.read_text(encoding="utf-8")
    named = {m[1] for m in ABSOLUTE.finditer(document)} - EVERYWHERE
    assert not named, f"absolute paths below {', '.join(sorted(named))}"
    assert str(ROOT) not in document and "../shared" not in document
