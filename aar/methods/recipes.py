"""Recipes: filling in defaults, checking, naming, and reading from the command line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import yaml

from aar.methods.able import NO_ZERO_SHOT, Able
from aar.methods.losses import LOSSES
from aar.methods.presets import PRESETS, Preset
from aar.methods.space import PartInfo, Space, checked, resolve, short, tidy
from aar.methods.student import SCHEDULES, STUDENTS
from aar.methods.supervision import SUPERVISION
from aar.methods.targets import TARGETS
from aar.methods.written import as_part, misplaced
from aar.types import SLOTS, AarError, Part, Recipe, Training, Value, Written, digest_of

PARTS: dict[str, dict[str, type[PartInfo]]] = {
    "supervision": dict(SUPERVISION),
    "targets": dict(TARGETS),
    "loss": dict(LOSSES),
    "student": dict(STUDENTS),
    "schedule": dict(SCHEDULES),
}

VAST = 1e15
"""No setting is as large."""


def part(slot: str, chosen: str | Part) -> type[PartInfo]:
    """A part of `slot`: the one of that name, or the one whose code it carries.

    Raises:
        AarError: no such slot or part; the message names the nearest.
    """
    if isinstance(chosen, Part) and chosen.code is not None:
        return as_part(chosen.code)
    name = chosen.name if isinstance(chosen, Part) else chosen
    if slot not in PARTS:
        raise AarError(f"unknown slot {slot!r}{_near(slot, SLOTS)}; slots: {', '.join(SLOTS)}")
    if name not in PARTS[slot]:
        raise AarError(f"{slot}: unknown part {name!r}{_near(name, PARTS[slot])}; parts: {', '.join(PARTS[slot])}")
    return PARTS[slot][name]


def spaces(slot: str, chosen: str | Part, base: Training) -> dict[str, Space]:
    """Searched parameters of a part under a task whose strong training is `base`."""
    return {key: resolve(key, space, base) for key, space in part(slot, chosen).space.items()}


def fill(recipe: Recipe, base: Training) -> Recipe:
    """The recipe with every default written out and every value checked: its canonical form.

    Raises:
        AarError: unknown part or parameter, a value out of range, or code that is not fit to be tried.
    """
    filled: dict[str, Part] = {}
    for slot in SLOTS:
        given: Part = getattr(recipe, slot)
        if why := misplaced(slot, given):
            raise AarError(why)
        known = spaces(slot, given, base)
        for key in given.params:
            if key not in known:
                names = ", ".join(known) or "none"
                raise AarError(
                    f"{slot}.{given.name}: unknown parameter {key!r}{_near(key, known)}; parameters: {names}"
                )
        params: dict[str, Value] = {}
        for key, space in known.items():
            value = checked(f"{slot}.{given.name}.{key}", space, given.params.get(key, space.default))
            params[key] = tidy(value) if isinstance(value, float) else value
        filled[slot] = given.model_copy(update={"params": params})
    return Recipe(**filled)


def illegal(recipe: Recipe, able: Able) -> str | None:
    """Why these parts cannot run together on a task that gives them what `able` says, or None."""
    if able.provided and recipe.supervision.name != "single":
        return f"supervision.{recipe.supervision.name} trains weak models, but this task provides its weak labels"
    for slot in SLOTS:
        chosen: Part = getattr(recipe, slot)
        known = PARTS[slot].get(chosen.name) if chosen.code is None else as_part(chosen.code)
        if known is not None and (why := known.not_for.get(able.kind)):  # `fill` names what is unknown
            return f"{slot}.{chosen.name} is not for {able.kind}: {why}"
    return _speechless(recipe, able) or _supervised(recipe, able) or _unmet(recipe, able)


def _speechless(recipe: Recipe, able: Able) -> str | None:
    """Why the strong model cannot be the language model that the student makes of it, or None."""
    student = STUDENTS.get(recipe.student.name)
    if student is None:  # `fill` says so, with the nearest name
        return None
    if student.causal and able.mute:
        return f"student.{student.name} asks the model for its next tokens, but the strong model {able.mute}"
    params = {key: space.default for key, space in student.space.items()} | recipe.student.params
    if student.reward(params) is not None and recipe.written:
        return (
            f"student.{student.name} is scored by its own likelihoods, and what {recipe.written[0].ref} trains is "
            "handed over as a model with a head; use another student"
        )
    if student.reward(params) is not None and able.capped:
        return f"student.{student.name} learns by the model's own likelihoods, but the strong model {able.capped}"
    return None


def _supervised(recipe: Recipe, able: Able) -> str | None:
    """Why the supervision cannot have what it needs, or None."""
    supervision = SUPERVISION.get(recipe.supervision.name)
    if supervision is None:  # `fill` says so, with the nearest name
        return None
    params = {key: space.default for key, space in supervision.space.items()} | recipe.supervision.params
    links = supervision.links(params)
    if links > able.chain:
        return (
            f"supervision.{supervision.name} passes labels on through links={links} models between weak and strong, "
            f"but this task's models.chain has {able.chain}"
        )
    if supervision.contrast(params) is not None and able.weak_mute:
        return (
            f"supervision.{supervision.name} asks the weak model for its next tokens, but the weak model "
            f"{able.weak_mute}"
        )
    if supervision.feedback(params) is not None and able.speechless:
        return f"supervision.{supervision.name} asks the weak model, but it {able.speechless}"
    if supervision.critique(params) is not None and able.wordless:
        return f"supervision.{supervision.name} asks the strong model about texts, but the strong model {able.wordless}"
    if supervision.mix(params) is not None and recipe.targets.name != "soft":
        return (
            f"targets.{recipe.targets.name} is made before training, but supervision.{supervision.name} learns its "
            "members' weights while the student trains; use targets=soft"
        )
    return None


def _unmet(recipe: Recipe, able: Able) -> str | None:
    """Why the targets cannot have what they need, or None."""
    part, who = TARGETS.get(recipe.targets.name), f"targets.{recipe.targets.name}"
    needs = part.needs if part is not None else ()
    if needs and able.kind == "generation":
        return f"{who} needs {' and '.join(needs)} of classes, and a generation task has none"
    if "zero_shot" in needs and not able.zero_shot:
        return f"{who} asks the strong model before any supervision, but {NO_ZERO_SHOT}"
    if part is not None and (shots := part.shots(recipe.targets.params)) and not able.shots:
        return (
            f"{who} shows the strong model shots={shots} examples before it answers, but it answers to no prompt "
            "(zero_shot.how: similarity), or its max_length has no room for two rows of the world; use shots=0"
        )
    if "calibration" not in needs:
        return None
    if able.provided:
        return f"{who} needs a weak model's held-out rows, but this task provides its weak labels"
    if not able.calibration:
        return f"{who} needs rows with truth that the weak model is not trained on, but splits.weak_val is 0"
    if recipe.supervision.name != "single":
        return f"{who} is fitted to one weak model's answers; supervision.{recipe.supervision.name} mixes several"
    student = STUDENTS.get(recipe.student.name)
    if student is not None and student.relabels:
        return f"{who} is fitted to the weak model; student.{recipe.student.name} puts its own answers in its place"
    return None


def distance(a: Recipe, b: Recipe, base: Training) -> float:
    """How different two filled recipes are, in [0, 1]: over the slots in which either departs from naive, the mean.

    Such a slot counts 1 where only one of them departs; where both do, 1/2 for different parts, 1/4 for different
    parameters of one part, 0 for the same. So whatever differs from naive is 1 away from it, and methods that change
    different slots are 1 apart.
    """
    naive = fill(Recipe(), base)
    parts: list[tuple[Part, Part, Part]] = [tuple(getattr(r, slot) for r in (a, b, naive)) for slot in SLOTS]
    apart = [
        0.0 if x == y else 1.0 if plain in (x, y) else 0.5 if x.name != y.name else 0.25
        for x, y, plain in parts
        if not x == y == plain
    ]
    return sum(apart) / len(apart) if apart else 0.0


def recipe_hash(recipe: Recipe) -> str:
    """Content address of a filled recipe: equal recipes are duplicates."""
    return digest_of(recipe)[:16]


def label(recipe: Recipe, base: Training) -> str:
    """A recipe as one says it aloud: only what differs from naive, such as `hard · logconf a=.75`."""
    filled, naive = fill(recipe, base), fill(Recipe(), base)
    words = []
    for slot in SLOTS:
        here: Part = getattr(filled, slot)
        plain: Part = getattr(naive, slot)
        if here.name == plain.name:
            changed = {k: v for k, v in here.params.items() if v != plain.params[k]}
        else:
            defaults = {k: s.default for k, s in spaces(slot, here, base).items()}
            changed = {k: v for k, v in here.params.items() if v != defaults[k]}
        if here.name == plain.name and not changed:
            continue
        settings = " ".join(f"{k}={short(v)}" for k, v in changed.items())
        words.append(settings if here.name == "standard" else f"{here.name} {settings}".strip())
    return " · ".join(words) or "naive soft labels"


def preset(name: str) -> Preset:
    """The preset `name`.

    Raises:
        AarError: no such preset; the message names the nearest.
    """
    names = {p.name: p for p in PRESETS}
    if name not in names:
        raise AarError(f"unknown preset {name!r}{_near(name, names)}; presets: {', '.join(names)}")
    return names[name]


def parse(name: str | None, settings: Sequence[str] = (), written: Sequence[Written] = ()) -> Recipe:
    """A recipe from a preset's or loss's name and settings: `loss.a=.75`, `targets=hard`, `supervision=ensemble:3`.

    `written` are parts that settings may name beside those of the package: `loss=mine@1a2b3c`.

    Raises:
        AarError: a setting that is not `slot=part[:value]` or `slot.param=value`.
    """
    if name is None or name in {p.name for p in PRESETS}:
        recipe = preset(name).recipe if name else Recipe()
    elif name in LOSSES:
        recipe = Recipe(loss=Part(name=name))
    else:
        recipe = preset(name).recipe
    codes: dict[tuple[str, str], Written] = {(code.slot, code.ref): code for code in written}
    for setting in settings:
        key, equals, text = setting.partition("=")
        slot, dot, param = key.strip().partition(".")
        if not equals or slot not in PARTS:
            raise AarError(
                f"--set {setting!r}: want slot=part or slot.param=value{_near(slot, SLOTS)}; slots: {', '.join(SLOTS)}"
            )
        if dot:
            old: Part = getattr(recipe, slot)
            value = _scalar(setting, text)
            new = old.model_copy(update={"params": old.params | {param: value}})
            recipe = recipe.model_copy(update={slot: new})
        else:
            chosen, colon, first = text.strip().partition(":")
            code = codes.get((slot, chosen))
            known = list(part(slot, chosen).space if code is None else code.space)
            if colon and not known:
                raise AarError(f"--set {setting!r}: {chosen} has no parameters")
            params = {known[0]: _scalar(setting, first)} if colon else {}
            bare = recipe.model_copy(update={slot: Part(name=chosen, params=params)})
            recipe = bare if code is None else bare.carrying(code)
    return recipe


def settings(recipe: Recipe, base: Training) -> list[str]:
    """The `--set` texts from which `parse` and `fill` make this recipe again under the same `base`.

    With its written parts beside them, where it has any.
    """
    filled, out = fill(recipe, base), []
    for slot in SLOTS:
        here: Part = getattr(filled, slot)
        default = here.model_copy(update={"params": {}})
        bare: Part = getattr(fill(Recipe().model_copy(update={slot: default}), base), slot)
        if here.name != getattr(Recipe(), slot).name:
            out.append(f"{slot}={here.name}")
        changed = {k: v for k, v in here.params.items() if v != bare.params[k]}
        out += [f"{slot}.{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in changed.items()]
    return out


def _scalar(setting: str, text: str) -> Value:
    try:
        value: Any = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError):  # a date, a number, a tag too odd
        value = None
    if isinstance(value, str):
        with suppress(ValueError):  # YAML 1.1 reads 1e-4 as text
            value = float(value)
    if not isinstance(value, bool | int | float | str) or (not isinstance(value, str) and not abs(value) < VAST):
        raise AarError(f"--set {setting[:80]!r}: want a number or a word")
    return value


def _near(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
