"""What `aar steer` and its kin do: check a message, then put it into the ledger for the search's writer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from rich.markup import escape

from aar.agent.graph import ASIDE
from aar.agent.inbox import paused
from aar.agent.run import load
from aar.cli.opening import ledger_of
from aar.cli.parts import read_part_file
from aar.cli.screen import screen
from aar.ledger import Ledger
from aar.methods import Able, fill, illegal, label, parse, recipe_hash
from aar.runner.written import NEEDS_DOCKER
from aar.search import written
from aar.settings import Settings
from aar.tracking import plain
from aar.types import SLOTS, AarError, Part, Recipe, TrialStatus

LONGEST = 4_000
"""Characters of one message: it is shown to a model at every hypothesis from then on."""


def steer(search: str | None, text: str, workspace: Path) -> None:
    """Words for the researcher."""
    ledger, chosen = _open(search, workspace)
    said = _words("TEXT", text)
    if not said:
        raise AarError('TEXT is empty; say what the researcher should know, such as "try fewer epochs"')
    asked = ledger.messages(chosen, "question", unheeded=True)
    _post(ledger, chosen, "steer", {"text": said}, "answered" if asked else "steered")
    plan = load(ledger, chosen)[1]
    if plan.model is None:
        screen().print(
            f"note: researcher {plan.researcher} has no model and reads no words. They stand in the status, the "
            "report and MLflow; `aar propose` is what it acts on", highlight=False, soft_wrap=True,
        )  # fmt: skip


def propose(
    search: str | None, file: str | None, recipe: str | None, sets: Sequence[str], code: Sequence[Path], why: str,
    workspace: Path,
) -> None:  # fmt: skip
    """A person's recipe, checked before it is posted; settings may name written parts of the search."""
    if file is not None and (recipe is not None or sets or code):
        raise AarError(f"{file} or --recipe, --set and --code: give one of them")
    if file is None and recipe is None and not sets and not code:
        raise AarError("no recipe: give a YAML file, or --recipe NAME and --set slot=part")
    ledger, chosen = _open(search, workspace)
    task, plan = load(ledger, chosen)
    own = [read_part_file(path) for path in code]
    known = (*written(ledger.trials(chosen)).values(), *own)
    asked = _read(file) if file is not None else parse(recipe, [*(f"{p.slot}={p.ref}" for p in own), *sets], known)
    wanted = fill(asked, task.training.strong)
    if wanted.written and plan.sandbox == "process":
        raise AarError(f"{NEEDS_DOCKER}; {chosen} runs in the process sandbox")
    if (reason := illegal(wanted, Able.of(task))) is not None:
        raise AarError(f"not on task {task.name}: {reason}")
    if ledger.opened(chosen):
        raise AarError(f"{chosen} has opened its seal: nothing is tried after it; start a new search")
    name = label(wanted, task.training.strong)
    digest = recipe_hash(wanted)
    same = next((t for t in ledger.trials(chosen) if t.hash == digest and t.status not in ASIDE), None)
    if same is not None and same.status is TrialStatus.FAILED:
        raise AarError(f"t{same.number} is the same recipe and failed: {same.reason}; change something")
    _post(ledger, chosen, "propose", {"recipe": wanted, "label": name, "why": _words("--why", why)}, f"proposed {name}")
    if same is not None:
        when = "" if same.finished is not None else " once it has ended"
        screen().print(f"note: t{same.number} is the same recipe: this gives it more seeds{when}", highlight=False)


def pause(search: str | None, on: bool, workspace: Path) -> None:
    """Begin nothing new, or go on."""
    ledger, chosen = _open(search, workspace)
    if paused(ledger.messages(chosen)) is on:
        raise AarError(f"{chosen} is {'paused already; `aar unpause` goes on' if on else 'not paused'}")
    _post(ledger, chosen, "pause" if on else "unpause", {}, "paused" if on else "unpaused")


def stop(search: str | None, now: bool, workspace: Path) -> None:
    """End the process that runs the search, gently or at once."""
    ledger, chosen = _open(search, workspace)
    if ledger.holder(chosen) is None:
        raise AarError(f"nothing runs {chosen}; `aar resume {chosen}` would go on with it")
    _post(ledger, chosen, "stop", {"now": now}, "told to stop now" if now else "told to stop once running trials end")


def decide(search: str | None, trial: str, why: str | None, workspace: Path) -> None:
    """Leave for a trial that waits, or (with a `why`, which may be empty) none."""
    number = trial.removeprefix("t")
    if not number.isdecimal():
        raise AarError(f"TRIAL {trial!r}: want a trial's number, such as 3 or t3")
    ledger, chosen = _open(search, workspace)
    waiting = [t.number for t in ledger.trials(chosen) if t.status is TrialStatus.WAITING]
    if int(number) not in waiting:
        told = f"those that do: {', '.join(f't{n}' for n in waiting)}" if waiting else "none does"
        raise AarError(f"t{number} of {chosen} does not wait for leave; {told}")
    if why is None:
        _post(ledger, chosen, "approve", {"trial": int(number)}, f"t{number} may run")
    else:
        payload = {"trial": int(number), "why": _words("--why", why)}
        _post(ledger, chosen, "reject", payload, f"t{number} is rejected")


def _open(search: str | None, workspace: Path) -> tuple[Ledger, str]:
    """The ledger and the search that is meant.

    Raises:
        AarError: there is none, or it is over.
    """
    settings = Settings(workspace=workspace)
    ledger = ledger_of(settings)
    if search is None:
        running = [str(row["id"]) for row in ledger.searches() if row["status"] == "running"]
        if not running:
            raise AarError(f"no search runs in {settings.root}; name one (`aar status` shows the latest)")
        held = [name for name in running if ledger.holder(name) is not None]
        return ledger, (held or running)[0]
    load(ledger, search)
    row = ledger.search(search)
    assert row is not None
    if row["status"] == "complete":
        raise AarError(f"{search} is complete: nothing listens to it any more; start a new search")
    return ledger, search


def _post(ledger: Ledger, search: str, kind: str, payload: dict[str, Any], told: str) -> None:
    ledger.post(search, kind, payload)
    console = screen()
    console.print(f"{search}: {escape(told)}", highlight=False, soft_wrap=True)
    if ledger.holder(search) is None:
        console.print(f"nothing runs it now: `aar resume {search}` takes it up", highlight=False, soft_wrap=True)


def _words(what: str, text: str) -> str:
    if len(text) > LONGEST:
        raise AarError(f"{what}: {len(text)} characters; at most {LONGEST}, for a model reads it at every hypothesis")
    return plain(text).strip()


def _read(file: str) -> Recipe:
    """A recipe from YAML: for each slot that departs from naive, a part's name or its name and params.

    Raises:
        AarError: no such file, or not a recipe.
    """
    path = Path(file)
    if not path.is_file():
        raise AarError(f"{file}: no such file")
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AarError(f"{file}: not YAML: {error}") from None
    if not isinstance(found, dict) or not found:
        raise AarError(f"{file}: want slots with parts, such as `loss: {{name: logconf, params: {{a: .75}}}}`")
    if unknown := [str(key) for key in found if key not in SLOTS]:
        raise AarError(f"{file}: {unknown[0]!r} is no slot; slots: {', '.join(SLOTS)}")
    parts = {slot: {"name": p} if isinstance(p, str) else p for slot, p in found.items()}
    try:
        return Recipe(**{slot: Part.model_validate(p) for slot, p in parts.items()})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise AarError(f"{file}: {where or 'a part'}: {first['msg']}; want name and params") from None
