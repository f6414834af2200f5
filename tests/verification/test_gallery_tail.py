"""The thresholds of a gallery: every number found again by counting all comparisons, by enumeration, by
leaving each person out in a loop, or by scipy."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from scipy import stats

from facekd.errors import UsageError
from facekd.verification import fewest_people, gallery_tail, tail_of_gallery
from facekd.verification.gallery_tail import GalleryTail
from facekd.verification.suspected_doubles import highest_by_chance


def made(seed: int, people: int, dim: int = 64, common: float = 0.3) -> np.ndarray:
    """Embeddings of ``people``; what is ``common`` to some of them makes these look more alike."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(people, dim))
    rows[:, 0] += common * np.sqrt(dim) * random.normal(size=people)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def exact(seed: int, people: int, dim: int = 64) -> np.ndarray:
    """Embeddings whose scores are the same numbers however they are computed, with many ties."""
    signs = np.random.default_rng(seed).integers(0, 2, (people, dim)) * 2 - 1
    return (signs / np.sqrt(dim)).astype(np.float32)


def named(people: int, first: int = 0) -> list[str]:
    return [f"p{number}" for number in range(first, first + people)]


def matrix(templates: np.ndarray, probes: np.ndarray | None = None) -> np.ndarray:
    """The scores [P, P] of probes with templates, NaN where a person meets themselves."""
    rows = templates if probes is None else probes
    scores = rows.astype(np.float64) @ templates.T.astype(np.float64)
    np.fill_diagonal(scores, np.nan)
    return scores


@pytest.fixture
def whole_tails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every score is kept."""
    monkeypatch.setattr(gallery_tail, "_SHORTEST_TAIL", 10**6)


def by_pair(tail: GalleryTail) -> dict[tuple[str, str], float]:
    found = {}
    for (one, other), score in zip(tail.people, tail.scores, strict=True):
        found[tail.names[one], tail.names[other]] = float(score)
    assert len(found) == tail.scores.size
    return found


@pytest.mark.parametrize("with_probes", [False, True])
def test_the_tail_holds_every_comparison_of_a_small_gallery(with_probes: bool) -> None:
    templates, probes = made(1, 40), made(2, 40) if with_probes else None
    tail = tail_of_gallery(named(40), templates, probes)
    scores = matrix(templates, probes)
    assert tail.comparisons == tail.scores.size == 40 * 39
    assert tail.floor == -np.inf
    assert (np.diff(tail.scores) <= 0).all()
    for (one, other), score in by_pair(tail).items():
        assert score == pytest.approx(scores[int(one[1:]), int(other[1:])], abs=1e-6)


@pytest.mark.parametrize("with_probes", [False, True])
def test_a_long_tail_is_cut_and_says_where(with_probes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    templates, probes = exact(1, 300), exact(2, 300) if with_probes else None
    whole = tail_of_gallery(named(300), templates, probes)
    monkeypatch.setattr(gallery_tail, "_SHORTEST_TAIL", 500)
    tail = tail_of_gallery(named(300), templates, probes)
    all_scores = np.sort(matrix(templates, probes)[~np.eye(300, dtype=bool)])[::-1]
    # as many as fit, without those that tie with the first that does not
    kept = all_scores[all_scores > tail.floor]
    np.testing.assert_array_equal(tail.scores, kept)
    assert kept.size <= 0.02 * 300 * 299 < (all_scores >= tail.floor).sum()
    assert tail.threshold_at_fmr(1e-3) == whole.threshold_at_fmr(1e-3)
    with pytest.raises(UsageError, match="end at"):
        tail.threshold_at_fmr(0.3)
    with pytest.raises(UsageError, match="scores are kept above"):
        tail.fpir_at(tail.floor)


@pytest.mark.parametrize("rows", [made, exact])
@pytest.mark.parametrize("fmr", [1e-3, 0.004, 0.02])
def test_the_threshold_at_an_fmr_is_the_smallest_that_keeps_it(rows, fmr: float, whole_tails) -> None:
    tail = tail_of_gallery(named(260), rows(3, 260))
    found = tail.threshold_at_fmr(fmr)
    scores = np.sort(tail.scores)
    assert np.mean(scores >= found.threshold) <= fmr * (1 + 1e-9)
    below = scores[scores < found.threshold].max()
    assert np.mean(scores >= below) > fmr
    assert found.pairs_above == (scores >= found.threshold).sum() / 2  # two ways round
    assert found.identity_pairs == 260 * 259 / 2
    assert tail.fpir_at(found.threshold, 1) == pytest.approx(np.mean(scores >= found.threshold))


def test_the_fpir_of_smaller_galleries_is_that_of_all_that_can_be_drawn() -> None:
    """Of seven people six are searched through, or each choice of three of the six."""
    templates, probes = made(4, 7, 8), made(5, 7, 8)
    tail, scores = tail_of_gallery(named(7), templates, probes), matrix(templates, probes)
    for threshold in (0.0, 0.2, 0.5):
        for size in (1, 3, 6):
            found = []
            for probe in range(7):
                others = [place for place in range(7) if place != probe]
                for gallery in itertools.combinations(others, size):
                    found.append((scores[probe, list(gallery)] >= threshold).any())
            assert tail.fpir_at(threshold, size) == pytest.approx(np.mean(found))
        # the gallery itself: with oneself left out it has one less
        assert tail.fpir_at(threshold) == tail.fpir_at(threshold, 6)


@pytest.mark.parametrize(("fpir", "size"), [(0.1, None), (0.3, None), (0.1, 200), (0.02, 50)])
def test_the_threshold_at_an_fpir_is_the_smallest_that_keeps_it(fpir: float, size: int | None) -> None:
    templates, probes = made(6, 700), made(7, 700)
    tail, scores = tail_of_gallery(named(700), templates, probes), matrix(templates, probes)
    found = tail.threshold_at_fpir(fpir, size)
    assert found.size == size or (size is None and found.size == 700)

    def rate(threshold: float) -> float:
        matches = (np.nan_to_num(scores, nan=-2) >= threshold).sum(axis=1)
        return float(np.mean(stats.hypergeom(699, matches, min(found.size, 699)).sf(0)))

    below = tail.scores[tail.scores < found.threshold].max()
    assert rate(found.threshold) <= fpir * (1 + 1e-9)
    assert rate(below - 1e-7) > fpir
    assert tail.fpir_at(found.threshold, size) == pytest.approx(rate(found.threshold))


def test_a_larger_gallery_is_taken_to_have_independent_comparisons() -> None:
    tail = tail_of_gallery(named(800), made(8, 800))
    found = tail.threshold_at_fpir(0.2, 2000)
    single = tail.threshold_at_fmr(1 - 0.8 ** (1 / 2000))
    assert found.threshold == single.threshold
    assert found.interval.low == pytest.approx(1 - (1 - single.interval.low) ** 2000)
    assert tail.fpir_at(found.threshold, 2000) == pytest.approx(
        1 - (1 - tail.fpir_at(found.threshold, 1)) ** 2000
    )
    # never below what searches in galleries of this size find, where people differ
    assert 1 - (1 - tail.fpir_at(found.threshold, 1)) ** 800 >= tail.fpir_at(found.threshold)


@pytest.mark.parametrize("size", [1, 30, None])
@pytest.mark.parametrize("with_probes", [False, True])
def test_the_interval_is_a_jackknife_over_people(size: int | None, with_probes: bool) -> None:
    people, rate = 260, 0.3 if size is None else 0.002 * size
    templates, probes = made(9, people), made(10, people) if with_probes else None
    tail = tail_of_gallery(named(people), templates, probes)
    found = tail.threshold_at_fpir(rate, size)
    hits = np.nan_to_num(matrix(templates, probes), nan=-2) >= found.threshold

    def fpir(matches: np.ndarray) -> float:
        others = len(matches) - 1
        return float(stats.hypergeom(others, matches.sum(axis=1), min(found.size, others)).sf(0).mean())

    without = [np.delete(np.delete(hits, one, 0), one, 1) for one in range(people)]
    left_out = np.array([fpir(matches) for matches in without])
    variance = (people - 1) / people * ((left_out - left_out.mean()) ** 2).sum()
    moved = ((left_out - left_out.mean()) ** 2) / ((left_out - left_out.mean()) ** 2).sum()
    freedom = min(people - 1, 2 * people / (people * (moved**2).sum() - 1))
    # what one pair adds, counted once of the twice that it is in there
    drawn, matches = min(found.size, people - 2), hits.sum(axis=1)
    chance, fewer = (
        stats.hypergeom(people - 2, count, drawn).sf(0) for count in (matches, np.maximum(matches - 1, 0))
    )
    loss = hits * (chance - fewer)[:, None] / (people - 1)
    single = (np.triu(loss + loss.T, 1) ** 2).sum()
    at = fpir(hits)
    half = stats.t(freedom).ppf(0.975) * np.sqrt(max(variance - single, single)) / (at * (1 - at))
    odds = np.log(at / (1 - at))
    ends = [1 / (1 + np.exp(-(odds - half))), 1 / (1 + np.exp(-(odds + half)))]
    np.testing.assert_allclose([found.interval.low, found.interval.high], ends, rtol=1e-9)
    assert found.interval.low < at <= rate * (1 + 1e-9) < found.interval.high


def test_people_may_come_and_go() -> None:
    templates, probes = exact(11, 50), exact(12, 50)
    for asked in (None, probes):
        whole = tail_of_gallery(named(50), templates, asked)
        first, rest = slice(0, 35), slice(35, 50)
        both = (None, None) if asked is None else (asked[rest], asked[first])
        begun = tail_of_gallery(named(35), templates[first], None if asked is None else asked[first])
        grown = begun.with_people(named(15, 35), templates[rest], templates[first], *both)
        assert grown.names == whole.names
        assert by_pair(grown) == by_pair(whole)
        assert (np.diff(grown.scores) <= 0).all()
        left = grown.without(["p3", "p40"])
        stayed = [place for place in range(50) if place not in (3, 40)]
        again = tail_of_gallery(
            [f"p{place}" for place in stayed], templates[stayed], None if asked is None else asked[stayed]
        )
        assert by_pair(left) == by_pair(again)
        assert left.names == again.names


def test_a_cut_tail_stays_exact_when_people_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_tail, "_SHORTEST_TAIL", 200)
    templates = exact(13, 330)
    begun = tail_of_gallery(named(300), templates[:300])
    grown = begun.with_people(named(30, 300), templates[300:], templates[:300]).without(named(40))
    scores = matrix(templates[40:])
    above = np.nan_to_num(scores, nan=-2) > grown.floor
    assert grown.floor > 0
    assert grown.scores.size == above.sum()
    np.testing.assert_array_equal(np.sort(scores[above])[::-1], grown.scores)
    fresh = tail_of_gallery(grown.names, templates[40:])
    assert grown.threshold_at_fmr(2e-3) == fresh.threshold_at_fmr(2e-3)


def test_enrolling_people_twice_moves_no_threshold() -> None:
    people, noise = made(14, 700), made(15, 700)
    second = people[:6] + 0.5 * noise[:6]
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    once = tail_of_gallery(named(700), people)
    twice = tail_of_gallery([*named(700), *named(6, 1000)], np.concatenate([people, second]))
    assert once.doubles == ()
    assert {(double.one, double.other) for double in twice.doubles} == {
        (f"p{one}", f"p{1000 + one}") for one in range(6)
    }
    assert twice.counted == once.counted == 700
    for rate in (1e-3, 1e-2):
        assert twice.threshold_at_fmr(rate) == once.threshold_at_fmr(rate)
    assert twice.threshold_at_fpir(0.1) == once.threshold_at_fpir(0.1)
    assert twice.threshold_at_fpir(0.1, 50) == once.threshold_at_fpir(0.1, 50)
    # counted as different people they would
    naive = np.sort(twice.scores)[::-1]
    assert naive[int(1e-5 * naive.size)] > once.threshold_at_fmr(1e-3).threshold + 0.1
    # when the first entry goes, the second one counts
    left = twice.without(["p0"])
    assert left.counted == 700
    assert "p0" not in {double.one for double in left.doubles}


def test_three_entries_of_one_person_are_one() -> None:
    people = made(16, 300)
    tail = tail_of_gallery([*named(300), "again", "and again"], np.concatenate([people, people[[5, 5]]]))
    assert [double.score for double in tail.doubles] == pytest.approx([1, 1, 1], abs=1e-6)
    assert tail.counted == 300
    assert tail.threshold_at_fmr(1e-3) == tail_of_gallery(named(300), people).threshold_at_fmr(1e-3)


def test_different_people_are_seldom_suspected() -> None:
    """One gallery in a hundred should have a pair in suspicion; of 200, more than 8 are very unlikely."""
    suspected = sum(bool(tail_of_gallery(named(100), made(seed, 100)).doubles) for seed in range(200))
    assert suspected <= 8
    assert stats.binom(200, 0.01).sf(8) < 1e-3


def test_the_line_that_suspicion_rests_on() -> None:
    scores = np.sort(np.random.default_rng(17).normal(0.02, 0.08, 50_000))[::-1]
    ranks = np.arange(62, 500)
    line = stats.linregress(stats.norm.isf((ranks + 0.5) / 50_000), scores[ranks])
    expected = line.intercept + line.slope * stats.norm.isf(0.01 / 50_000)
    assert highest_by_chance(scores[:2000], 50_000) == pytest.approx(expected)
    # as high as it is for the distribution that they are drawn from
    assert expected == pytest.approx(stats.norm(0.02, 0.08).isf(0.01 / 50_000), abs=0.02)
    # what lies above the fitted ones does not move it
    raised = np.concatenate([scores[:60] + 0.5, scores[60:]])
    assert highest_by_chance(raised, 50_000) == pytest.approx(expected)
    assert highest_by_chance(scores[:30], 50_000) == np.inf
    assert highest_by_chance(scores[:60], 60) == np.inf


def test_how_many_people_are_needed() -> None:
    for rate, size in itertools.product((1e-2, 1e-3, 1e-4), (1, 20, None)):
        people = fewest_people(rate, size)

        def expected(people: int, rate=rate, size=size) -> float:
            return people * (people - 1) / 2 * (1 - (1 - rate) ** (1 / (size or people)))

        assert expected(people - 1) < 30 <= expected(people) * (1 + 1e-9)
    tail = tail_of_gallery(named(100), made(18, 100))
    found = tail.threshold_at_fmr(1e-3)
    assert (found.threshold, found.interval, found.pairs_above) == (None, None, None)
    assert found.needed == 246
    assert "100 people are enrolled, 246 are needed" in found.shortfall
    assert tail.threshold_at_fpir(0.1).needed == fewest_people(0.1, None)
    assert tail.threshold_at_fmr(1e-2).shortfall is None


def test_scores_that_all_tie_leave_an_interval() -> None:
    rows = np.tile(np.array([[1, 0]], np.float32), (30, 1))
    found = tail_of_gallery(named(30), rows).threshold_at_fmr(0.1)
    assert found.threshold > 1
    assert found.interval.low == 0
    assert found.interval.high == pytest.approx(3 / 435)


@pytest.mark.parametrize(("size", "people", "rate"), [(1, 300, 1e-3), (100, 300, 0.1), (None, 600, 0.2)])
def test_the_rate_that_is_promised_is_kept(size: int | None, people: int, rate: float) -> None:
    """Newcomers who were not enrolled find somebody about as often as the thresholds promise, and the
    interval holds the rate of many newcomers nearly always."""
    newcomers, kept, inside = made(999, 4000), [], 0
    for seed in range(30):
        templates = made(seed, people)
        tail = tail_of_gallery(named(people), templates)
        found = tail.threshold_at_fpir(rate, size)
        scores = newcomers @ templates.T
        if size not in (1, None):
            scores = scores[:, :size]
        matches = scores >= found.threshold
        observed = matches.mean() if size == 1 else matches.any(axis=1).mean()
        kept.append(observed / rate)
        inside += found.interval.low <= observed <= found.interval.high
    assert 0.85 < np.mean(kept) < 1.15
    assert inside >= 25  # of 30: fewer have a chance of 1 in 100 where 95 % hold
    assert stats.binom(30, 0.95).cdf(24) < 0.01


def test_a_tail_is_written_and_read() -> None:
    tail = tail_of_gallery([*named(50), "again"], made(19, 50)[[*range(50), 7]])
    saved = json.loads(json.dumps(tail.to_dict()))
    again = GalleryTail.from_dict(saved)
    assert again.to_dict() == tail.to_dict()
    assert again.threshold_at_fmr(0.05) == tail.threshold_at_fmr(0.05)
    assert saved["comparisons"] == 51 * 50
    assert saved["suspected_doubles"][0]["one"] == "p7"
    for part, wrong in (
        ("scores", [0.5, 0.7]),
        ("scores", None),
        ("compared", [[0, 99]] * len(saved["scores"])),
        ("floor", 2.0),
    ):
        with pytest.raises(UsageError, match="not the kept scores"):
            GalleryTail.from_dict(saved | {part: wrong})
    with pytest.raises(UsageError, match="not the kept scores"):
        GalleryTail.from_dict({})


def test_what_cannot_be_compared_is_refused() -> None:
    rows = made(20, 5)
    for names, templates, probes, match in (
        (["a"], rows[:1], None, "nobody to compare"),
        (["a", "a"], rows[:2], None, "given twice"),
        (["a", "b"], rows[:3], None, "labels"),
        (["a", "b"], np.full((2, 4), np.nan), None, "not finite"),
        (["a", "b"], rows[:2], rows[:2, :8], "probes"),
    ):
        with pytest.raises(UsageError, match=match):
            tail_of_gallery(names, templates, probes)
    tail = tail_of_gallery(named(5), rows)
    with pytest.raises(UsageError, match="given twice"):
        tail.with_people(["p1"], rows[:1], rows)
    for rate in (0, 1, -0.1):
        with pytest.raises(UsageError, match="between 0 and 1"):
            tail.threshold_at_fmr(rate)
    with pytest.raises(UsageError, match="at least one person"):
        tail.threshold_at_fpir(0.1, 0)
