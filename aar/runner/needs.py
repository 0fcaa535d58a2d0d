"""What a recipe needs of other models, as counts."""

from __future__ import annotations

from typing import NamedTuple

from aar.methods.supervision import SUPERVISION, Feedback
from aar.methods.targets import TARGETS, Need
from aar.types import Recipe

MEMBER_STRIDE = 100


def shots(recipe: Recipe) -> int:
    """How many weak labels its strong model is shown before it answers for the recipe's targets."""
    return 0 if recipe.targets.code else TARGETS[recipe.targets.name].shots(recipe.targets.params)


def unshown(recipe: Recipe) -> Recipe:
    """The recipe without shots: its strong model answers before it has seen any weak label.

    A student's job gets it so too: what its strong model was shown is in the answers that it gets.
    """
    params = {key: value for key, value in recipe.targets.params.items() if key != "shots"}
    return recipe.model_copy(update={"targets": recipe.targets.model_copy(update={"params": params})})


def needs(recipe: Recipe) -> tuple[Need, ...]:
    """What a recipe's targets are made of besides the weak labels."""
    return () if recipe.targets.code else TARGETS[recipe.targets.name].needs


class Supervisors(NamedTuple):
    """What a filled recipe's supervision needs for one student seed; see `aar.methods.supervision.Supervision`."""

    members: int
    parts: int
    links: int
    folds: int
    relabelled: bool = False
    feedback: Feedback | None = None
    critique: int | None = None

    @classmethod
    def of(cls, recipe: Recipe) -> Supervisors:
        """The counts of a filled recipe."""
        part, params = SUPERVISION[recipe.supervision.name], recipe.supervision.params
        own = (part.contrast(params), part.glimpse(params), part.critique(params))
        relabelled = any(asked is not None for asked in own)
        return cls(
            part.members(params), part.parts(params), part.links(params), part.folds(params), relabelled,
            part.feedback(params), part.critique(params),
        )  # fmt: skip

    def weak_seeds(self, seeds: list[int]) -> list[int]:
        """Every weak model on the whole pool that these student seeds need; specialists are planned apart."""
        whole = 1 if self.parts else self.members
        return sorted({s + MEMBER_STRIDE * j for s in seeds for j in range(whole)})
