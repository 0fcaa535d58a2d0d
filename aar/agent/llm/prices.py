"""What a model's tokens cost: a dated table that a person may replace."""

from __future__ import annotations

import datetime
from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from aar.types import AarError, Word

SHIPPED = Path(__file__).with_name("prices.yaml")


class Price(Word):
    """US dollars per million tokens read and written."""

    read: float = Field(ge=0, alias="in")
    written: float = Field(ge=0, alias="out")


class Prices(Word):
    """Prices by `provider:model`, and the day they held."""

    date: datetime.date
    models: dict[str, Price]

    def of(self, model: str) -> Price | None:
        """The price of the longest name that `model` begins with, or None: then tokens are counted, dollars are not."""
        known = [name for name in self.models if model.startswith(name)]
        return self.models[max(known, key=len)] if known else None

    def usd(self, model: str, tokens_in: int, tokens_out: int) -> float | None:
        """What these tokens cost, or None."""
        price = self.of(model)
        return None if price is None else (tokens_in * price.read + tokens_out * price.written) / 1e6


def load_prices(path: Path | None = None) -> Prices:
    """The shipped table, or that of a file.

    Raises:
        AarError: there is no such file, or it is no price table.
    """
    path = path or SHIPPED
    try:
        return Prices.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise AarError(f"{path}: {error.strerror}; want a price table such as {SHIPPED}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AarError(f"{path}: not YAML: {error}") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg'].lower()}" for e in error.errors())
        raise AarError(f"{path}: {wrong}; want the layout of {SHIPPED}") from None
