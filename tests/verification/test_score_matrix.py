"""Blocks of scores against all scores at once, and the upper tail against a sort of the whole stream."""

from __future__ import annotations

import numpy as np
import pytest

from facekd.errors import UsageError
from facekd.verification.score_matrix import UpperTail, acquired, bin_edges, blocks, checked, histogram, unit


def _unit(count: int, seed: int, dim: int = 16) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32))


@pytest.mark.parametrize("count", [1, 2, 256, 257, 1500])
def test_above_the_diagonal_each_two_rows_meet_once(count: int) -> None:
    rows = _unit(count, 1)
    seen, scores = np.zeros((count, count), int), np.full((count, count), np.nan)
    for block in blocks(rows):
        assert block.scores.shape == block.above.shape
        seen[block.rows, block.columns] += block.above
        scores[block.rows, block.columns] = block.scores
    np.testing.assert_array_equal(seen, np.triu(np.ones((count, count), int), 1))
    above = np.triu_indices(count, 1)
    np.testing.assert_allclose(scores[above], (rows @ rows.T)[above], atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (256, 3), (600, 1100), (3, 0), (0, 3)])
def test_rows_meet_all_columns(shape: tuple[int, int]) -> None:
    rows, columns = _unit(shape[0], 1), _unit(shape[1], 2)
    scores = np.full(shape, np.nan)
    for block in blocks(rows, columns):
        assert np.isnan(scores[block.rows, block.columns]).all()
        scores[block.rows, block.columns] = block.scores
    np.testing.assert_allclose(scores, rows @ columns.T, atol=1e-6)


def test_a_repeated_photo_scores_one_at_most() -> None:
    rows = _unit(300, 3, dim=512).repeat(2, axis=0)
    assert (rows @ rows.T).max() > 1
    assert max(block.scores.max() for block in blocks(rows)) == 1
    assert max(block.scores.max() for block in blocks(rows, rows)) == 1


@pytest.mark.parametrize("size", [1, 30_000, 2_000_000])
@pytest.mark.parametrize("levels", [3, 500, 2**22])
def test_the_tail_is_the_head_of_a_stable_sort(size: int, levels: int) -> None:
    """Of a stream far longer than the tail or shorter, with few ties, with many, and with hardly
    anything else; and what does not count stays out. The longest tail is sorted in two runs."""
    random = np.random.default_rng(size + levels)
    tail = UpperTail(size)
    stream, rows, columns = [], [], []
    for number, width in enumerate((1500, 1, 700, 1024, 1300) if size > 2**20 else (1500, 1, 500)):
        scores = (random.integers(0, levels, (256, width)) / levels).astype(np.float32)
        scores[random.random(scores.shape) < 0.1] = -np.inf
        one, other = np.arange(256) + 1000 * number, random.integers(0, 2**31 - 1, width)
        tail.add(scores, one, other)
        stream.append(scores.ravel())
        rows.append(one.repeat(width))
        columns.append(np.tile(other, 256))
    every, numbers = np.concatenate(stream), np.stack([np.concatenate(rows), np.concatenate(columns)], axis=1)
    order = np.argsort(-every, kind="stable")[: min(size, int((every > -np.inf).sum()))]
    scores, found = tail.falling()
    np.testing.assert_array_equal(scores, every[order])
    np.testing.assert_array_equal(found, numbers[order])


def test_an_empty_tail() -> None:
    tail = UpperTail(10)
    tail.add(np.full((4, 5), -np.inf, np.float32), np.arange(4), np.arange(5))
    scores, numbers = tail.falling()
    assert (scores.shape, numbers.shape) == ((0,), (0, 2))


def test_bins_hold_what_lies_between_their_edges() -> None:
    edges = bin_edges()
    assert (edges[0], edges[-1]) == (-1, 1)
    random = np.random.default_rng(0)
    scores = np.concatenate([random.uniform(-1, 1, 5000), edges[::100], [1, 1, -1]]).astype(np.float32)
    expected = np.bincount(np.searchsorted(edges, scores, side="right") - 1, minlength=edges.size)
    np.testing.assert_array_equal(histogram(scores), expected)
    assert histogram(scores)[-1] == 2
    none = np.append(scores, np.float32(-np.inf)).reshape(-1, 1)
    np.testing.assert_array_equal(histogram(none), expected)


def test_what_holds_an_embedding() -> None:
    rows = np.array([[1, 2], [np.nan, np.nan], [0, 3]])
    found, labels = checked(rows, ["a", "b", "a"])
    assert found.dtype == np.float32
    assert labels.tolist() == ["a", "b", "a"]
    assert acquired(found).tolist() == [True, False, True]
    np.testing.assert_allclose(unit(found[[0, 2]]), [[5**-0.5, 2 * 5**-0.5], [0, 1]], rtol=1e-6)
    with pytest.raises(UsageError, match="not finite"):
        checked([[1, np.nan]], ["a"])
    with pytest.raises(UsageError, match="not finite"):
        checked([[np.inf, 0]], ["a"])
    with pytest.raises(UsageError, match=r"\[N, D\]"):
        checked(rows, ["a", "b"])
    with pytest.raises(UsageError, match="length zero"):
        unit(np.zeros((1, 3), np.float32))
