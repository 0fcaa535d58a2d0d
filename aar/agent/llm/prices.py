"""What a model's tokens cost: a dated table that a person may replace."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from aar.types import AarError, Word

SHIPPED = Path(__file__).with_name("prices.yaml")
VERSION = re.compile(r"(?:-20\d\d.*|@.*|-latest)?")
"""What may follow a model's name and leave it the same model at one price; `-pro`, `-mini`, `-audio` are others."""


class Price(Word):
    """US dollars per million tokens read and written."""

    read: float = Field(ge=0, alias="in")
    written: float = Field(ge=0, alias="out")


class Prices(Word):
    """Prices by `provider:model`, and the day they held."""

    date: datetime.date
    models: dict[str, Price]

    def of(self, model: str) -> Price | None:
        """The price of `model`, its date or `latest` aside, or None: then tokens are counted, dollars are not."""
        for name, price in self.models.items():
            if model.startswith(name) and VERSION.fullmatch(model.removeprefix(name)):
                return price
        return None

    def usd(self, model: str, tokens_in: int, tokens_out: int) -> float | None:
        """What these tokens cost, or None."""
        price = self.of(model)
        return None if price is None else (tokens_in * price.read + tokens_out * price.written) / 1e6


def load_prices(path: Path | None = None, base_url: str | None = None) -> Prices:
    """The table of a file, or the shipped one, in which a server of one's own (`base_url`) has no price.

    Raises:
        AarError: there is no such file, or it is no price table.
    """
    own, path = path is None and base_url is not None, path or SHIPPED
    try:
        prices = Prices.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        return prices.model_copy(update={"models": {}}) if own else prices
    except OSError as error:
        raise AarError(f"{path}: {error.strerror}; want a price table such as {SHIPPED}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AarError(f"{path}: not YAML: {error}") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg'].lower()}" for e in error.errors())
        raise AarError(f"{path}: {wrong}; want the layout of {SHIPPED}") from None
