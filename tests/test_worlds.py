"""The polarity world: exact labels, determinism, parameters."""

from __future__ import annotations

import numpy as np
import pytest

from aar import worlds
from aar.types import AarError
from aar.worlds.polarity import Polarity


def test_the_label_is_exactly_what_the_words_say() -> None:
    for params in ({}, {"negation": 1.0}, {"length": 40, "max_clauses": 5, "scope": 2}):
        world = Polarity.model_validate(params)
        texts, labels = world.generate(2000, 3)
        assert [world.label(t) for t in texts] == labels.tolist()
        assert abs(labels.mean() - 0.5) < 0.05
        assert {len(t.split()) for t in texts} == {world.length}


def test_a_negator_flips_only_within_its_scope() -> None:
    world = Polarity(scope=3)
    assert world.label("w1 good3 w2") == 1 and world.label("not0 w1 w2 good3") == 0
    assert world.label("not0 w1 w2 w3 good3") == 1 and world.label("good3 not0") == 1
    assert world.label("not1 bad2 good0 w1") == 0, "+1 from 'not bad', then 'not' reaches 'good' too: a tie is 0"


def test_bag_of_words_cannot_solve_it() -> None:
    world = Polarity()
    texts, labels = world.generate(4000, 0)
    signs = [sum(w.startswith("good") - w.startswith("bad") for w in t.split()) for t in texts]
    plain = np.array(["not" not in t for t in texts])
    right = np.sign(signs) == 2 * labels - 1
    assert right[plain].all() and right[~plain].mean() < 0.5


def test_generation_is_a_function_of_seed_and_length_alone() -> None:
    world = Polarity()
    assert world.generate(50, 1)[0] == world.generate(50, 1)[0] != world.generate(50, 2)[0]
    assert world.documents(50, 1) == world.documents(50, 1)
    assert not set(world.generate(500, 1)[0]) & set(world.generate(500, 2)[0])


def test_documents_end_with_words_of_their_class_and_use_the_vocabulary() -> None:
    world = Polarity()
    vocabulary = set(world.vocabulary())
    assert world.vocabulary()[:2] == ["[PAD]", "[UNK]"] and len(vocabulary) == len(world.vocabulary())
    for document in world.documents(300, 0):
        words = document.split()
        assert set(words) <= vocabulary
        want = "win" if world.label(" ".join(words[:-2])) else "loss"
        assert all(w.startswith(want) for w in words[-2:])
    noisy = Polarity(outcome_noise=0.5).documents(500, 0)
    assert 0.3 < np.mean([d.split()[-1].startswith("win") for d in noisy]) < 0.7


@pytest.mark.parametrize(
    ("name", "params", "word"),
    [
        ("polarty", {}, "did you mean 'polarity'"),
        ("polarity", {"negatin": 0.1}, "did you mean 'negation'"),
        ("polarity", {"negation": 2}, "negation: 2"),
        ("polarity", {"length": 8, "max_clauses": 3}, "do not fit in length 8"),
    ],
)
def test_bad_worlds_say_what_is_wrong(name: str, params: dict[str, float], word: str) -> None:
    with pytest.raises(AarError, match=word):
        worlds.get(name, params)
