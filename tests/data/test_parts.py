"""Parts of the weak pool for specialists: cut by content, equal in size, blind to labels; draws inside one part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aar.data import text_parts, weak_draw
from aar.data.prepared import GROUPS, Prepared


def topics(n: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Texts of four topics, two of which share half of their words with one another."""
    rng = np.random.default_rng(seed)
    shared = [[f"{side}{i}" for i in range(6)] for side in ("sea", "land")]
    own = [[f"{topic}{i}" for i in range(6)] for topic in ("fish", "ship", "tree", "road")]
    topic = rng.integers(0, 4, n)
    return [" ".join([*rng.choice(shared[t // 2], 6), *rng.choice(own[t], 3)]) for t in topic], topic


def test_two_parts_separate_what_differs_most_and_four_separate_it_further() -> None:
    texts, topic = topics(400)
    two, four = text_parts(texts, 2), text_parts(texts, 4)
    assert np.bincount(two).tolist() == [200, 200] and np.bincount(four).tolist() == [100] * 4
    sides = topic // 2
    assert max((two == sides).mean(), (two != sides).mean()) > 0.9
    assert (four // 2 == two).all(), "each half is cut again"
    assert np.mean([np.bincount(topic[four == p]).max() for p in range(4)]) > 80


def test_parts_are_a_function_of_the_texts_and_may_be_uneven_by_one() -> None:
    texts = topics(101)[0]
    assert text_parts(texts, 2).tolist() == text_parts(list(texts), 2).tolist()
    assert np.bincount(text_parts(texts, 2)).tolist() == [50, 51]
    assert np.bincount(text_parts(["same words"] * 8, 4)).tolist() == [2, 2, 2, 2], "ties go by row"
    assert not text_parts(texts, 1).any()


def prepared(folder: Path, pool: int, train: int, val: int, **more: int | str) -> Prepared:
    return Prepared(
        digest="d", folder=str(folder), classes=("a", "b"), counts={"weak_pool": pool}, balance={},
        weak_train=train, weak_val=val, texts={}, **more,
    )  # fmt: skip


def test_a_draw_inside_a_part_stays_there_and_shrinks_both_splits_alike(tmp_path: Path) -> None:
    within = np.arange(100) % 2 == 0
    made = prepared(tmp_path, 100, 20, 10)
    train, val = weak_draw(made, 3, within)
    assert (len(train), len(val)) == (20, 10) and within[train].all() and within[val].all()
    assert not set(train.tolist()) & set(val.tolist())
    short = prepared(tmp_path, 100, 80, 20)
    train, val = weak_draw(short, 3, within)
    assert (len(train), len(val)) == (40, 10)
    plain = weak_draw(short, 3)
    assert [len(rows) for rows in plain] == [80, 20]
    everywhere = weak_draw(short, 3, np.ones(100, np.bool_))
    assert all(np.array_equal(a, b) for a, b in zip(plain, everywhere, strict=True))


def test_a_draw_inside_a_part_keeps_groups_and_a_file_of_its_own_apart(tmp_path: Path) -> None:
    groups = np.repeat(np.arange(25), 4).astype("<i4")
    (tmp_path / GROUPS).write_bytes(groups.tobytes())
    within = np.arange(100) < 50
    train, val = weak_draw(prepared(tmp_path, 100, 60, 20, groups_digest="g"), 0, within)
    assert within[train].all() and within[val].all() and len(val) == 12
    assert not set(groups[train].tolist()) & set(groups[val].tolist())
    train, val = weak_draw(prepared(tmp_path, 100, 60, 20, weak_val_from=70), 0, np.arange(100) % 2 == 0)
    assert len(train) == 35 and train.max() < 70 <= val.min() and len(val) == 15


@pytest.mark.parametrize("seed", [0, 1])
def test_other_seeds_draw_other_rows_of_the_same_part(tmp_path: Path, seed: int) -> None:
    within = np.arange(100) < 50
    made = prepared(tmp_path, 100, 20, 10)
    assert set(weak_draw(made, seed, within)[0].tolist()) != set(weak_draw(made, seed + 1, within)[0].tolist())
