"""Code that a hypothesis brings with it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from aar.types._word import Word, digest_of
from aar.types.space import Space


class Written(Word):
    """A part whose source a hypothesis brings: a loss, targets or a student, and its parameter space as data.

    `source` is Python as `aar.methods.signatures` describes it. `parent` is the digest of the written part that it was
    made from.
    """

    slot: Literal["loss", "targets", "student"]
    name: str = Field(max_length=64)
    source: str = Field(pattern=r"^[^\x00]*$")
    space: dict[str, Annotated[Space, Field(discriminator="kind")]] = {}
    parent: str | None = None

    @property
    def digest(self) -> str:
        """sha256 of what it is; where it comes from is no part of that."""
        told: dict[str, Any] = self.model_dump(mode="json", exclude={"parent"})
        return digest_of(told)

    @property
    def ref(self) -> str:
        """Its name in a recipe: two versions of a part are two parts."""
        return f"{self.name}@{self.digest[:6]}"
