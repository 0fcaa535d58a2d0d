"""The polarity worlds: exact labels, determinism, parameters."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from aar import worlds
from aar.methods.able import zero_shot
from aar.tasks import load_task
from aar.types import AarError
from aar.worlds.polarity import Polarity
from aar.worlds.polarity_preference import PolarityPreference


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


def test_documents_end_in_words_of_their_class() -> None:
    world = Polarity(outcomes=3)
    words = world.class_words()
    assert words == (("loss0", "loss1", "loss2"), ("win0", "win1", "win2"))
    for document in world.documents(300, 1):
        text, *after = document.rsplit(" ", world.outcome_words())
        assert set(after) <= set(words[world.label(text)])


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


def naive(sentence: str) -> int:
    """What a sentence says to whoever overlooks negators: 1, -1, or 0 for a tie."""
    return int(np.sign(sum(w.startswith("good") - w.startswith("bad") for w in sentence.split())))


def test_laymen_write_what_a_naive_reading_says_and_the_others_the_truth() -> None:
    world = Polarity(negation=0.4, laymen=0.7)
    said: dict[str, list[bool]] = {"same": [], "other": [], "tie": []}
    for document in world.documents(6000, 1):
        text, *after = document.rsplit(" ", world.outcome_words())
        truth, win = 2 * world.label(text) - 1, [w.startswith("win") for w in after]
        assert len(set(win)) == 1, "one author a document"
        kind = "tie" if not naive(text) else "same" if naive(text) == truth else "other"
        said[kind].append(win[0] == (truth > 0))
    told = {kind: float(np.mean(values)) for kind, values in said.items()}
    assert told["same"] == 1 and abs(told["other"] - 0.3) < 0.03, told
    assert abs(told["tie"] - 0.65) < 0.06, f"in doubt a layman guesses: {told}"


def test_laymen_change_the_last_words_of_documents_and_nothing_else() -> None:
    plain, lay = Polarity(negation=0.4), Polarity(negation=0.4, laymen=0.7)
    assert plain.vocabulary() == lay.vocabulary()
    texts, labels = lay.generate(500, 2)
    assert texts == plain.generate(500, 2)[0] and [lay.label(t) for t in texts] == labels.tolist()
    pairs = PolarityPreference(), PolarityPreference(laymen=0.7)
    assert pairs[0].generate(100, 2)[0] == pairs[1].generate(100, 2)[0]
    both = list(zip(plain.documents(500, 2), lay.documents(500, 2), strict=True))
    assert all(a.rsplit(" ", 2)[0] == b.rsplit(" ", 2)[0] for a, b in both)
    assert any(a.split()[-1][:3] != b.split()[-1][:3] for a, b in both)


@pytest.mark.parametrize(
    ("world", "digest"),
    [
        (Polarity(negation=0.4, outcome_noise=0.1), "a4458dcf563ab883"),
        (PolarityPreference(negation=0.4), "d6fea6cc048ac2f1"),
    ],
)
def test_documents_without_laymen_are_those_that_recorded_figures_rest_on(
    world: Polarity | PolarityPreference, digest: str
) -> None:
    assert hashlib.sha256("\n".join(world.documents(300, 90_001)).encode()).hexdigest()[:16] == digest


def follows(world: PolarityPreference, document: str) -> bool:
    """Whether the response of a document is as its prompt asked; a prompt that asks for nothing likes good ones."""
    words = document.split()
    positive = world.label(" ".join(words[world.prompt : -2])) == 1
    return positive != words[world.prompt - 1].startswith("blame")


def test_of_a_pair_one_response_has_the_polarity_that_was_asked_for() -> None:
    world = PolarityPreference(negation=0.4, prompt=3)
    rows, labels = world.generate(2001, 3)
    assert [world.better(row) for row in rows] == labels.tolist() and abs(labels.sum() - 1000.5) < 1
    vocabulary = set(world.vocabulary())
    for first, second in rows:
        assert isinstance(first.prompt, str) and first.prompt == second.prompt and first.answer != second.answer
        assert len(first.prompt.split()) == 3 and len(first.answer.split()) == world.length
        assert set(first.prompt.split()) | set(first.answer.split()) <= vocabulary
    assert world.generate(50, 1)[0] == world.generate(50, 1)[0] != world.generate(50, 2)[0]


def test_neither_the_prompt_nor_the_responses_alone_tell_the_better_one() -> None:
    world = PolarityPreference()
    rows, labels = world.generate(4000, 0)
    praise = np.array(["praise" in row[0].prompt for row in rows])
    first_is_good = np.array([world.label(row[0].answer) for row in rows])
    for feature in (praise, first_is_good):
        for value in (0, 1):
            assert abs(labels[feature == value].mean() - 0.5) < 0.04
    assert ((first_is_good == praise) == (labels == 0)).all(), "together they do"


def test_whoever_is_blind_to_negation_is_fooled_by_pairs_too() -> None:
    world = PolarityPreference(negation=0.4)
    rows, labels = world.generate(4000, 0)
    sums = np.array(
        [[sum(w.startswith("good") - w.startswith("bad") for w in s.answer.split()) for s in r] for r in rows]
    )
    asked = np.array([1 if "praise" in row[0].prompt else -1 for row in rows])
    margin = asked * (sums[:, 0] - sums[:, 1]) * (1 - 2 * labels)
    plain = np.array(["not" not in row[0].answer + row[1].answer for row in rows])
    assert (margin[plain] > 0).all() and (margin[~plain] > 0).mean() < 0.7


def test_perturbed_pairs_keep_their_prompt_and_their_better_side() -> None:
    world, rng = PolarityPreference(negation=0.5), np.random.default_rng(0)
    rows, labels = world.generate(200, 0)
    for row, label in zip(rows, labels.tolist(), strict=True):
        other = world.perturb(row, rng)
        assert [side.prompt for side in other] == [side.prompt for side in row] and other != row
        assert world.better(other) == label


def test_a_strong_model_is_asked_which_words_follow_each_response() -> None:
    asked = zero_shot(load_task("polarity-preference")[0])
    assert asked is not None and [words[0] for words in asked.answers] == ["loss0", "win0"]


def test_documents_of_the_preference_world_carry_the_concept() -> None:
    world = PolarityPreference(unasked=0.5)
    documents = world.documents(1000, 0)
    for document in documents:
        assert all(w.startswith("win" if follows(world, document) else "loss") for w in document.split()[-2:])
    asked = [d.split()[world.prompt - 1].startswith(("praise", "blame")) for d in documents]
    assert 0.45 < np.mean(asked) < 0.55
    assert all("praise" in d or "blame" in d for d in PolarityPreference(unasked=0).documents(100, 0))


def test_laymen_among_the_authors_of_preference_documents_find_asked_for_what_reads_so_naively() -> None:
    world, right = PolarityPreference(negation=0.4, laymen=1), 0
    for document in world.documents(1000, 0):
        words = document.split()
        read = naive(" ".join(words[world.prompt : -2]))
        if read:
            liked = (read > 0) != words[world.prompt - 1].startswith("blame")
            assert liked == words[-1].startswith("win")
            right += follows(world, document) == liked
    assert 500 < right < 600, "of about 900: the rest is negated"


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
