"""The parts a recipe is composed of, by slot, and the presets. Importing this needs neither torch nor optuna."""

from aar.methods.able import Able
from aar.methods.presets import NAIVE, PRESETS, Preset
from aar.methods.recipes import (
    PARTS,
    distance,
    fill,
    illegal,
    label,
    parse,
    part,
    preset,
    recipe_hash,
    settings,
    spaces,
)
from aar.methods.space import Choice, Float, Int, PartInfo, Space, short, span
from aar.methods.static import problems
from aar.methods.written import file_of, read_part, signatures

__all__ = [
    "NAIVE",
    "PARTS",
    "PRESETS",
    "Able",
    "Choice",
    "Float",
    "Int",
    "PartInfo",
    "Preset",
    "Space",
    "distance",
    "file_of",
    "fill",
    "illegal",
    "label",
    "parse",
    "part",
    "preset",
    "problems",
    "read_part",
    "recipe_hash",
    "settings",
    "short",
    "signatures",
    "spaces",
    "span",
]
