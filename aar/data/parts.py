"""Cutting texts into parts of like content, without labels."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WORD = re.compile(r"\w+")
BUCKETS = 256


def text_parts(texts: Sequence[str], k: int) -> NDArray[np.int64]:
    """Part 0..k-1 of each text (n,), of equal size to one row; `k` a power of two. A pure function of its arguments.

    All texts are cut in two at the median of their first principal component (hashed words, weighted by inverse
    document frequency, of unit length), and each half again until there are `k`.
    """
    import numpy as np

    part = np.zeros(len(texts), np.int64)
    words = _weights(texts)
    pieces = 1
    while pieces < k:
        halves = np.zeros_like(part)
        for p in range(pieces):
            rows = np.flatnonzero(part == p)
            halves[rows] = _upper_half(words[rows])
        part = 2 * part + halves
        pieces *= 2
    return part


def _weights(texts: Sequence[str]) -> NDArray[np.float64]:
    """Hashed tf-idf rows (n, BUCKETS) of unit length."""
    import numpy as np

    counts = np.zeros((len(texts), BUCKETS))
    for i, text in enumerate(texts):
        for word in WORD.findall(text.lower()):
            counts[i, zlib.crc32(word.encode()) % BUCKETS] += 1
    idf = np.log((1 + len(texts)) / (1 + (counts > 0).sum(0))) + 1
    weighted = counts * idf
    unit: NDArray[np.float64] = weighted / np.maximum(np.linalg.norm(weighted, axis=1, keepdims=True), 1e-12)
    return unit


def _upper_half(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    """1 for the half of the rows with the larger first principal component, else 0; ties go by row."""
    import numpy as np

    centred = rows - rows.mean(0)
    axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    axis = axis * np.sign(axis[np.abs(axis).argmax()])  # an eigenvector's sign is arbitrary
    order = np.argsort(np.round(centred @ axis, 9), kind="stable")
    upper = np.zeros(len(rows), np.int64)
    upper[order[len(rows) // 2 :]] = 1
    return upper
