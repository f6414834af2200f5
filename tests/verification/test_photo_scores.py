"""All pairs streamed, against all pairs at once."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facekd.card.contract import Calibration
from facekd.errors import UsageError
from facekd.verification import (
    AllPairs,
    Conditions,
    all_pairs,
    calibration_at,
    calibration_entries,
    metrics,
)
from facekd.verification.bootstrap import identity_weights, weighted_tar
from facekd.verification.probe_scores import against
from facekd.verification.score_matrix import bin_edges


def _people(photos: int, people: int, seed: int = 0, dim: int = 32) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(people, size=photos)
    centres = random.normal(size=(people, dim))
    return (centres[labels] + 0.7 * random.normal(size=(photos, dim))).astype(np.float32), labels


def _at_once(embeddings: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    one, other = np.triu_indices(len(unit), 1)
    scores, same = (unit @ unit.T)[one, other], labels[one] == labels[other]
    return scores[same], scores[~same]


@pytest.mark.parametrize("fmr", [1e-2, 1e-3, 1e-4])
def test_streamed_scores_are_all_scores(fmr: float) -> None:
    embeddings, labels = _people(1500, 120)
    mated, non_mated = _at_once(embeddings, labels)
    pairs = all_pairs(embeddings, [f"person {label}" for label in labels])
    assert (pairs.mated.size, pairs.non_mated) == (mated.size, non_mated.size)
    np.testing.assert_allclose(np.sort(pairs.mated), np.sort(mated), atol=1e-6)
    np.testing.assert_allclose(pairs.tail, -np.sort(-non_mated)[: pairs.tail.size], atol=1e-6)
    assert pairs.tail.size >= 0.02 * non_mated.size
    assert pairs.tar_at(fmr) == pytest.approx(metrics.tar_at_fmr(mated, non_mated, fmr), abs=1e-3)
    threshold = pairs.threshold_at(fmr)
    assert pairs.false_matches(threshold) <= non_mated.size * fmr
    assert pairs.false_matches(threshold) == pytest.approx((non_mated >= threshold).sum(), abs=1)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=3, max_size=20))
def test_small_sets_with_ties(photos: list[tuple[int, int]]) -> None:
    labels = np.array([label for label, _ in photos])
    # six directions only, at right angles: the scores are 0 and 1, almost all tied
    embeddings = np.eye(6, dtype=np.float32)[[direction for _, direction in photos]]
    mated, non_mated = _at_once(embeddings, labels)
    if not mated.size or not non_mated.size:
        with pytest.raises(UsageError, match="comparison among"):
            all_pairs(embeddings, labels)
        return
    pairs = all_pairs(embeddings, labels)
    np.testing.assert_array_equal(np.sort(pairs.mated), np.sort(mated))
    assert pairs.tail.size == pairs.non_mated == non_mated.size
    for fmr in (0.01, 0.3, 0.7):
        assert pairs.threshold_at(fmr) == pytest.approx(metrics.threshold_at_fmr(mated, non_mated, fmr))
        assert pairs.tar_at(fmr) == metrics.tar_at_fmr(mated, non_mated, fmr)


def test_the_tail_names_its_persons() -> None:
    embeddings, labels = _people(400, 40, seed=1)
    pairs = all_pairs(embeddings, labels)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    scores = unit @ unit.T
    names = np.unique(labels)
    for score, (one, other) in zip(pairs.tail[::97], pairs.tail_people[::97], strict=True):
        theirs = scores[np.ix_(labels == names[one], labels == names[other])]
        assert one != other
        assert np.abs(theirs - score).min() < 1e-6
    assert pairs.photos.sum() == 400


def test_the_histogram_counts_every_non_mated_score() -> None:
    embeddings, labels = _people(700, 60, seed=5)
    embeddings[1:5] = embeddings[0]  # scores of 1, in a bin of their own
    labels[:5] = np.arange(5)
    pairs = all_pairs(embeddings, labels)
    _, non_mated = _at_once(embeddings, labels)
    edges = bin_edges()
    assert edges.size == pairs.histogram.size
    assert (edges[0], edges[-1]) == (-1, 1)
    assert pairs.histogram.sum() == pairs.non_mated
    assert pairs.histogram[-1] + pairs.histogram[-2] >= 10
    # single precision moves a score across an edge now and then, never further
    expected = np.searchsorted(np.sort(non_mated), edges)
    found = np.cumsum(pairs.histogram) - pairs.histogram
    near = 2e-7 + np.zeros(edges.size)
    assert (found >= np.searchsorted(np.sort(non_mated), edges - near)).all()
    assert (found <= np.searchsorted(np.sort(non_mated), edges + near)).all()
    assert np.abs(found - expected).max() < 10
    # the tail, which is exact, and the histogram agree to the last score
    inside = edges > pairs.tail[-1]
    above = pairs.histogram[::-1].cumsum()[::-1][inside]
    np.testing.assert_array_equal(above, [(pairs.tail >= edge).sum() for edge in edges[inside]])


def test_the_whole_curve_is_that_of_all_scores() -> None:
    embeddings, labels = _people(900, 70, seed=8)
    pairs, curve = all_pairs(embeddings, labels), all_pairs(embeddings, labels).curve()
    mated, non_mated = _at_once(embeddings, labels)
    exact = metrics.roc(mated, non_mated)
    assert curve.fmr[0] == 1
    assert (curve.fmr[-1], curve.fnmr[0], curve.fnmr[-1]) == (0, 0, 1)
    assert (np.diff(curve.thresholds) > 0).all()
    assert (np.diff(curve.fmr) <= 0).all()
    assert metrics.auc_of(curve) == pytest.approx(metrics.auc_of(exact), abs=1e-5)
    assert metrics.eer_of(curve) == pytest.approx(metrics.eer_of(exact), abs=1e-3)
    for threshold, fmr, fnmr in list(zip(curve.thresholds, curve.fmr, curve.fnmr, strict=True))[::400]:
        # the scores at once are rounded otherwise
        assert (non_mated >= threshold + 2e-7).mean() <= fmr <= (non_mated >= threshold - 2e-7).mean()
        assert (mated < threshold - 2e-7).mean() <= fnmr <= (mated < threshold + 2e-7).mean()
    # at low FMR every false match is a step of its own, or the steps are finer than 1 %
    false = np.sort(curve.fmr[curve.fmr <= 0.01]) * pairs.non_mated
    assert false[:2] == pytest.approx([0, 1])
    assert (np.diff(false) <= np.maximum(1, 0.01 * false[:-1]) + 1e-6).all()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=3, max_size=20))
def test_the_whole_curve_of_small_sets_with_ties(photos: list[tuple[int, int]]) -> None:
    labels = np.array([label for label, _ in photos])
    embeddings = np.eye(6, dtype=np.float32)[[direction for _, direction in photos]]
    mated, non_mated = _at_once(embeddings, labels)
    if not mated.size or not non_mated.size:
        return
    curve, exact = all_pairs(embeddings, labels).curve(), metrics.roc(mated, non_mated)
    assert metrics.auc_of(curve) == pytest.approx(metrics.auc_of(exact), abs=1e-12)
    assert metrics.eer_of(curve) == pytest.approx(metrics.eer_of(exact), abs=1e-12)


def test_the_curve_of_a_model_that_tells_nobody_apart() -> None:
    pairs = all_pairs(np.ones((1200, 4)), np.repeat(np.arange(120), 10))
    assert pairs.tail.size < pairs.non_mated
    curve = pairs.curve()
    assert metrics.auc_of(curve) == 0.5
    np.testing.assert_array_equal(curve.fmr + curve.fnmr, 1)


def test_drawing_everybody_once_changes_nothing() -> None:
    pairs = all_pairs(*_people(600, 50, seed=2))
    for fmr in (1e-2, 1e-3):
        assert pairs.drawn_tar(fmr)(np.ones(50)) == pytest.approx(pairs.tar_at(fmr), abs=1e-12)
    np.testing.assert_array_equal(pairs.names, np.arange(50))


def _unequal(seed: int = 7) -> AllPairs:
    """People who differ in how easily they are distinguished, and in their numbers of photos."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(80), random.integers(2, 12, 80))
    noise = random.uniform(0.4, 1.6, 80)[labels][:, None]
    centres = random.normal(size=(80, 16)) + random.uniform(0, 0.8, 80)[:, None]
    return all_pairs(centres[labels] + noise * random.normal(size=(labels.size, 16)), labels)


def test_sums_by_person_stand_for_the_walk_over_pairs() -> None:
    """As many persons and false matches as sums are taken for, against every pair weighed."""
    random = np.random.default_rng(11)
    labels = np.repeat(np.arange(1200), random.integers(2, 9, 1200))
    noise = random.uniform(0.4, 1.6, 1200)[labels][:, None]
    centres = random.normal(size=(1200, 16)) + random.uniform(0, 0.8, 1200)[:, None]
    pairs = all_pairs(centres[labels] + noise * random.normal(size=(labels.size, 16)), labels)
    assert pairs.non_mated * 0.02 > 2**18
    tar, threshold = pairs.drawn_tar(0.01), pairs.threshold_at(0.01)
    assert tar(np.ones(1200)) == pytest.approx(pairs.tar_at(0.01), abs=1e-3)
    assert np.isnan(tar(np.zeros(1200)))
    summed, walked, matched = [], [], []
    for weights in identity_weights(1200, 60):
        photos, tail = weights * pairs.photos, weights[pairs.tail_people].prod(axis=1)
        total = (photos.sum() ** 2 - (photos**2).sum()) / 2
        walked.append(weighted_tar(pairs.mated, weights[pairs.mated_people], pairs.tail, tail, total, 0.01))
        matched.append(tail[pairs.tail >= threshold].sum() / total)
        summed.append(tar(weights))
    assert np.corrcoef(walked, summed)[0, 1] > 0.99
    assert np.std(summed) == pytest.approx(np.std(walked), rel=0.05)
    # Student's interval of the log odds, from the very drawings that were walked over
    spread = np.std(np.log(matched) - np.log1p(-np.array(matched)), ddof=1)
    found = pairs.fmr_interval(threshold)
    half = np.diff([np.log(rate / (1 - rate)) for rate in (found.low, found.high)])[0] / 2
    assert half == pytest.approx(1.97 * spread, rel=0.25)  # 60 drawings know the spread to a tenth


def test_influence_on_the_tar_counted_person_by_person() -> None:
    pairs = _unequal()
    influence, threshold = pairs.tar_influence(0.01), pairs.threshold_at(0.01)
    own = [(pairs.mated[pairs.mated_people == p] >= threshold) - pairs.tar_at(0.01) for p in range(80)]
    np.testing.assert_allclose(influence.mated, [o.sum() / pairs.mated.size for o in own], atol=1e-12)
    # one photo's comparisons with all other persons' photos, of which so many match falsely
    fmr = (pairs.tail >= threshold).sum() / pairs.non_mated
    false = [(pairs.tail_people[pairs.tail >= threshold] == p).sum() for p in range(80)]
    compared = pairs.photos * (pairs.photos.sum() - pairs.photos)
    of_fmr = (np.array(false) - fmr * compared) / pairs.non_mated
    far = 2 * np.sqrt((of_fmr**2).sum())
    assert 0.01 + far < 0.02  # within the tail
    ends = pairs.tail[(pairs.non_mated * np.array([0.01 - far, 0.01 + far])).astype(int)]
    slope = ((pairs.mated > ends[1]).mean() - (pairs.mated > ends[0]).mean()) / (2 * far)
    assert slope > 0
    # the ends are a whole number of comparisons away
    np.testing.assert_allclose(influence.non_mated, -slope * of_fmr, rtol=0.03)


def test_failures_are_counted_with_the_comparisons_they_cost() -> None:
    embeddings, labels = _people(200, 20, seed=3)
    mated, non_mated = _at_once(embeddings, labels)
    embeddings[[4, 17, 90]] = np.nan
    pairs = all_pairs(embeddings, labels)
    assert pairs.failures == 3
    assert pairs.mated.size + pairs.lost_mated == mated.size
    assert pairs.non_mated + pairs.lost_non_mated == non_mated.size
    assert pairs.lost_mated > 0


@pytest.mark.parametrize(
    ("embeddings", "labels", "told"),
    [
        (np.ones((3, 4)), [1, 1], r"\[N, D\]"),
        (np.ones(3), [1, 1, 2], r"\[N, D\]"),
        (np.zeros((3, 4)), [1, 1, 2], "length zero"),
        (np.array([[1, np.nan], [1, 1], [0, 1]]), [1, 1, 2], "not finite"),
        (np.array([[1, np.inf], [1, 1], [0, 1]]), [1, 1, 2], "not finite"),
        (np.eye(3), [1, 1, 1], "no non-mated comparison"),
        (np.eye(3), [1, 2, 3], "no mated comparison"),
        (np.full((3, 4), np.nan), [1, 1, 2], "among 0 embedded photos"),
        (np.empty((0, 4)), [], "among 0 embedded photos"),
    ],
)
def test_what_cannot_be_compared(embeddings: np.ndarray, labels: list, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        all_pairs(embeddings, labels)


def test_an_fmr_beyond_the_tail_is_refused() -> None:
    pairs = all_pairs(*_people(300, 30))
    with pytest.raises(UsageError, match="kept for an FMR"):
        pairs.tar_at(0.5)


def test_operating_points_need_thirty_expected_false_matches() -> None:
    pairs = all_pairs(*_people(400, 40, seed=1))
    assert 30 < pairs.non_mated * 1e-3 < 300
    shown, not_shown = pairs.operating_point(1e-3), pairs.operating_point(1e-4)
    assert shown.tar == pairs.tar_at(1e-3)
    assert shown.interval.low < shown.tar < shown.interval.high
    assert shown.shortfall is None
    assert not_shown.tar is not_shown.interval is not_shown.threshold is None
    assert "insufficient data" in not_shown.shortfall
    assert f"{3 / (40 * 39 / 2):.2g}" in not_shown.shortfall


def test_no_error_seen_still_has_a_bound() -> None:
    labels = np.repeat(np.arange(30), 6)
    point = all_pairs(np.eye(30)[labels], labels).operating_point(1e-2)
    assert point.tar == 1
    assert point.interval.low == pytest.approx(1 - 3 / 30)
    assert point.interval.high == 1


def test_a_model_that_finds_nobody_has_a_bound_too() -> None:
    # a person's photos stand at right angles, and each looks like one photo of everybody else
    point = all_pairs(np.eye(6)[np.tile(np.arange(6), 30)], np.repeat(np.arange(30), 6)).operating_point(1e-2)
    assert point.tar == 0
    assert (point.interval.low, point.interval.high) == pytest.approx((0, 3 / 30))


def test_the_interval_is_wider_than_that_of_independent_pairs() -> None:
    """Persons differ here, so pairs of one person go wrong together."""
    from facekd.verification.intervals import wilson

    random = np.random.default_rng(6)
    labels = np.repeat(np.arange(60), 8)
    noise = np.repeat(random.uniform(0.3, 2.5, 60), 8)[:, None]
    embeddings = random.normal(size=(60, 32))[labels] + noise * random.normal(size=(480, 32))
    point = all_pairs(embeddings, labels).operating_point(1e-2)
    naive = wilson(round(point.tar * point.mated), point.mated)
    assert point.interval.high - point.interval.low > 2 * (naive.high - naive.low)


def test_memory_stays_bounded() -> None:
    embeddings, labels = _people(8000, 900, dim=16)
    tracemalloc.start()
    all_pairs(embeddings, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    every_score_in_float32 = 4 * 8000 * 7999 / 2
    assert peak < every_score_in_float32


def test_memory_stays_bounded_where_all_scores_are_equal() -> None:
    tracemalloc.start()
    pairs = all_pairs(np.ones((4000, 4)), np.arange(4000) // 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pairs.tail.size == int(np.ceil(0.02 * pairs.non_mated))
    assert peak < 12 * pairs.non_mated  # what keeping them all would take


def test_calibration_has_every_rate_that_the_data_can_show() -> None:
    for photos, fmrs in ((100, (1e-2,)), (400, (1e-2, 1e-3)), (1100, (1e-2, 1e-3, 1e-4))):
        embeddings, labels = _people(photos, photos // 10, seed=1)
        conditions = Conditions("drawn people", "mtcnn", "a-1", failures=2)
        entries = calibration_entries(all_pairs(embeddings, labels), conditions)
        assert tuple(entry.fmr for entry in entries) == fmrs
        mated, non_mated = _at_once(embeddings, labels)
        entry = entries[-1]
        assert isinstance(entry, Calibration)
        assert entry.counts.false_matches == (non_mated >= entry.threshold).sum()
        assert entry.counts.false_non_matches == (mated < entry.threshold).sum()
        assert entry.fnmr == pytest.approx(metrics.fnmr_at(mated, entry.threshold))
        assert entry.low < entry.counts.false_matches / entry.counts.non_mated < entry.high
        assert entry.counts.failures_to_acquire == 2
        assert (entry.data, entry.detector, entry.aligner) == ("drawn people", "mtcnn", "a-1")


def test_too_few_people_give_no_calibration() -> None:
    embeddings, labels = _people(50, 10)
    assert calibration_entries(all_pairs(embeddings, labels), Conditions("", "", "")) == ()
    with pytest.raises(UsageError, match="insufficient data"):
        calibration_at(all_pairs(embeddings, labels), 1e-2, Conditions("", "", ""))


def test_a_model_that_tells_nobody_apart_gets_no_threshold() -> None:
    labels = np.repeat(np.arange(20), 10)
    with pytest.raises(UsageError, match="does not tell these people apart"):
        calibration_entries(all_pairs(np.ones((200, 4)), labels), Conditions("", "", ""))


def test_the_bound_without_a_false_match_counts_pairs_of_identities() -> None:
    """Ten photos of each of five people are ten pairs of identities, not 1,000 independent trials."""
    labels = np.repeat(np.arange(5), 10)
    pairs = all_pairs(np.eye(5, dtype=np.float32)[labels], labels)
    assert (pairs.non_mated, pairs.identity_pairs) == (1000, 10)
    point = pairs.operating_point(1e-3)
    assert point.tar is None
    told = "1,000 non-mated comparisons of 10 pairs of identities without a match would bound the FMR by 0.3"
    assert told in (point.shortfall or "")
    interval = pairs.fmr_interval(0.5)
    assert (interval.low, interval.high) == (0, pytest.approx(0.3))


def test_pairs_of_identities_where_probes_and_templates_differ() -> None:
    rows = np.eye(4, dtype=np.float32)
    found = against(rows[:3], list("abc"), rows[1:], list("bcd"))
    pairs = {frozenset(pair) for pair in itertools.product("abc", "bcd") if pair[0] != pair[1]}
    assert found.identity_pairs == len(pairs)
