"""The recorded arms of the polarity task: see make_polarity_arms.py."""

from __future__ import annotations

import json

import numpy as np

from aar.scoring import Arm
from tests.make_polarity_arms import FILES


def arms() -> dict[str, Arm]:
    """Which test examples each arm got right on each seed, as recorded."""
    meta = json.loads((FILES / "polarity_arms.json").read_text())
    shape = (len(meta["arms"]), meta["seeds"], meta["examples"])
    bits = np.unpackbits(np.frombuffer((FILES / "polarity_arms.bin").read_bytes(), np.uint8), count=int(np.prod(shape)))
    every = bits.reshape(shape).astype(bool)
    return {name: Arm(tuple(range(meta["seeds"])), every[i]) for i, name in enumerate(meta["arms"])}
