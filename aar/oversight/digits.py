"""Digits debate (Irving et al. 2018) on scikit-learn's bundled 8 x 8 digits: games, without what they come to.

The judge is a network with one hidden layer that learnt from k random non-zero pixels of each image. As in the paper,
only non-zero pixels may be revealed. Truth is known to all but the judge: this measures protocols and no method.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aar.oversight.evidence import (
    ANY,
    Bools,
    Ints,
    Judge,
    Transcript,
    alone,
    alternating,
    decide,
    draw,
    margin,
    play,
    simultaneous,
)

SIDE, CLASSES = 8, 10
HIDDEN, COPIES, EPOCHS = 128, 60, 10
"""The judge's width, masks drawn of each training image, and passes over those."""
GLIMPSES = 16
"""Random draws over which the most confusable wrong class is found."""
Pixels = NDArray[np.float32]
Side = Literal["honest", "liar", ""]


class Digits(NamedTuple):
    """Images (n, 64) with values in [0, 1], and their classes (n,)."""

    pixels: Pixels
    labels: Ints


class Game(NamedTuple):
    """One protocol on every test image; the claims of its transcript are (truth, lie).

    `side`: who reveals first, or alone.
    `wide`: every class could win, not the two claims alone.
    """

    protocol: str
    side: Side
    k: int
    seed: int
    transcript: Transcript
    wide: bool = False


def load(test: float = 0.4) -> tuple[Digits, Digits]:
    """Images to train judges on and images to judge, 1,078 and 719; always the same."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    halves = train_test_split(
        (pixels / 16).astype(np.float32), labels.astype(np.int64), test_size=test, random_state=0, stratify=labels
    )
    return Digits(halves[0], halves[2]), Digits(halves[1], halves[3])


class SparseJudge:
    """Reads pixels and which of them it was shown; the hidden ones reach it as zeros."""

    def __init__(self, known: Digits, k: int, seed: int) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        pixels, labels = np.tile(known.pixels, (COPIES, 1)), np.tile(known.labels, COPIES)
        shown = draw(pixels > 0, k, np.random.default_rng([seed, 1]))
        network = MLPClassifier((HIDDEN,), max_iter=EPOCHS, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # passes are a budget here
            warnings.filterwarnings("error", "Training interrupted")  # else Ctrl-C leaves a judge half taught
            try:
                network.fit(_seen(pixels, shown), labels)
            except UserWarning:
                raise KeyboardInterrupt from None
        self.layers = [(w.astype(np.float32), b.astype(np.float32)) for w, b in
                       zip(network.coefs_, network.intercepts_, strict=True)]  # fmt: skip

    def __call__(self, pixels: Pixels, revealed: Bools) -> Pixels:
        """Logits (b, 10) from images (b, 64), of which it sees what is revealed (b, 64)."""
        (w, b), (v, c) = self.layers
        logits: Pixels = np.maximum(_seen(pixels, revealed) @ w + b, 0) @ v + c
        return logits


def games(known: Digits, asked: Digits, k: int, seed: int) -> Iterator[Game]:
    """Every protocol with k reveals under the judge of this seed.

    `random`: the judge on k random pixels, ten classes. The others argue for the truth and against it: `two claims` has
    random pixels again, `consultancy` one adviser, `double consultancy` an adviser for each claim with half of the
    reveals, whom the judge hears apart, `debate` both in turns or `simultaneous`. Their lie is the wrong class that the
    judge finds likeliest on random pixels. In `precommit` the debate is held for each of the nine lies and the liar
    wins if one of them does, as in the paper; the game in which the truth came out worst is told. In `no precommit`
    every wrong verdict is the liar's.
    """
    judge, n = SparseJudge(known, k, seed), len(asked.labels)
    available, truth = asked.pixels > 0, asked.labels
    rng = np.random.default_rng([seed, 2])

    def ask(rows: Ints, revealed: Bools) -> Pixels:
        return judge(asked.pixels[rows], revealed)

    at = np.arange(n)
    seen = draw(available, k, rng)
    likely = np.mean([ask(at, draw(available, k, rng)) for _ in range(GLIMPSES)], 0)
    likely[at, truth] = -np.inf
    claims, anything = np.stack([truth, likely.argmax(1)], 1), np.stack([truth, np.full(n, ANY)], 1)
    yield Game("random", "", k, seed, _glimpsed(ask, seen, anything), True)
    yield Game("two claims", "", k, seed, _glimpsed(ask, seen, claims))
    for player, side in enumerate(SIDES):
        yield Game("consultancy", side, k, seed, play(ask, available, claims, alone(k, player)))
    halves = (play(ask, available, claims, alone(-(-k // 2), player)) for player in (0, 1))
    yield Game("double consultancy", "", k, seed, both(*halves))
    for first, side in enumerate(SIDES):
        yield Game("debate", side, k, seed, play(ask, available, claims, alternating(k, first)))
    yield Game("simultaneous", "", k, seed, play(ask, available, claims, simultaneous(k)))
    for first, side in enumerate(SIDES):
        yield Game("precommit", side, k, seed, _worst(ask, available, truth, alternating(k, first)))
    for first, side in enumerate(SIDES):
        yield Game("no precommit", side, k, seed, play(ask, available, anything, alternating(k, first)), True)


def packed(played: Sequence[Game]) -> bytes:
    """Games as bytes, for `unpacked`: one JSON line of their shapes, then their arrays, one after the other."""
    heads, arrays = [], []
    for g in played:
        own = [np.ascontiguousarray(a) for a in g.transcript]
        heads.append([g.protocol, g.side, g.k, g.seed, g.wide, [[a.dtype.str, a.shape] for a in own]])
        arrays += [a.tobytes() for a in own]
    return b"".join([json.dumps(heads).encode(), b"\n", *arrays])


def unpacked(data: bytes) -> list[Game]:
    """The games that `packed` packed."""
    head, _, rest = data.partition(b"\n")
    out, at = [], 0
    for protocol, side, k, seed, wide, shapes in json.loads(head):
        own = []
        for dtype, shape in shapes:
            own.append(np.frombuffer(rest, dtype, int(np.prod(shape)), at).reshape(shape))
            at += own[-1].nbytes
        out.append(Game(protocol, side, k, seed, Transcript(*own), wide))
    return out


SIDES: tuple[Side, Side] = ("honest", "liar")


def both(a: Transcript, b: Transcript) -> Transcript:
    """Two games on the same inputs and claims, heard apart and weighed alike: a judge's mean logits decide."""
    logits = (a.logits + b.logits) / 2
    order, margins = np.concatenate([a.order, b.order], 1), np.concatenate([a.margins, b.margins], 1)
    return Transcript(a.claims, np.concatenate([a.by, b.by]), order, margins, logits, decide(logits, a.claims))


def _glimpsed(ask: Judge, seen: Bools, claims: Ints) -> Transcript:
    """What the judge says of parts that nobody chose."""
    n, none = len(seen), np.zeros(0, np.int64)
    logits = np.asarray(ask(np.arange(n), seen), np.float64)
    order = np.full((n, int(seen.sum(1).max())), -1)
    rows, parts = np.nonzero(seen)
    order[rows, (np.cumsum(seen, 1) - 1)[rows, parts]] = parts
    return Transcript(claims, none, order, margin(logits, claims)[:, None], logits, decide(logits, claims))


def _worst(ask: Judge, available: Bools, truth: Ints, rounds: list[tuple[int, ...]]) -> Transcript:
    """The truth against each of the other classes; of each input the game in which it came out worst."""
    n, against = len(truth), CLASSES - 1
    lies = np.array([[c for c in range(CLASSES) if c != own] for own in truth])
    claims = np.stack([np.repeat(truth, against), lies.ravel()], 1)
    told = play(lambda rows, shown: ask(rows // against, shown), np.repeat(available, against, 0), claims, rounds)
    worst = margin(told.logits, claims).reshape(n, against).argmin(1) + against * np.arange(n)
    return Transcript(claims[worst], told.by, *(made[worst] for made in told[2:]))


def _seen(pixels: Pixels, shown: Bools) -> Pixels:
    seen: Pixels = np.concatenate([pixels * shown, shown], 1).astype(np.float32)
    return seen
