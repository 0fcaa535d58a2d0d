"""Parts are found, not listed: a file in a slot's folder that defines one is all it takes."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TypeVar

from aar.methods.space import PartInfo

P = TypeVar("P", bound=PartInfo)


def discover(package: str, base: type[P], first: str) -> dict[str, type[P]]:
    """Every part of `package` by name: the default (`first`), then file by file in alphabetical order.

    Raises:
        TypeError: two parts share a name, or a part has none.
    """
    found: dict[str, type[P]] = {}
    for file in sorted(f.name for f in pkgutil.iter_modules(importlib.import_module(package).__path__)):
        if file.startswith("_"):
            continue
        module = importlib.import_module(f"{package}.{file}")
        for thing in vars(module).values():
            if isinstance(thing, type) and issubclass(thing, base) and thing.__module__ == module.__name__:
                name = getattr(thing, "name", None)
                if name is None:
                    raise TypeError(f"{module.__name__}.{thing.__name__}: a part needs a name")
                if name in found:
                    where = f"{module.__name__}.{thing.__name__}"
                    raise TypeError(f"{where}: the name {name!r} is taken by {found[name].__module__}")
                found[name] = thing
    return {first: found.pop(first)} | found
