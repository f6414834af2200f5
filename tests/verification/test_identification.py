"""One against many: ranks, CMC and the open set, each counted again one search at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facekd.errors import Unreadable, UsageError
from facekd.reporting import figure, table_notes
from facekd.runtime.fusion import fuse
from facekd.verification.identification import FPIRS, open_curve, open_point, rank_points, search
from facekd.verification.protocols import open_protocol
from facekd.verification.results import IdentificationResult
from facekd.verification.results.identification import Searches, cmc

DIM = 6


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """40 enrolled persons (2 photos), 3 probes each; 400 photos of 100 others. No pixel is read."""
    for person in range(40):
        for role, count in (("gallery", 2), ("probe", 3)):
            for photo in range(count):
                _touch(tmp_path / role / f"P{person}" / f"{photo}.jpg")
    for person in range(100):
        for photo in range(4):
            _touch(tmp_path / "unknown" / f"U{person}" / f"{photo}.jpg")
    _touch(tmp_path / "cover.jpg")
    return tmp_path


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def _embed(failed: tuple[str, ...] = (), noise: float = 0.5):
    def embed(names: tuple[str, ...]) -> np.ndarray:
        random = np.random.default_rng(3)
        people = sorted({name.split("/")[1] for name in names})
        centres = dict(zip(people, random.normal(size=(len(people), DIM)), strict=True))
        rows = _unit(np.array([centres[n.split("/")[1]] + noise * random.normal(size=DIM) for n in names]))
        rows[[any(name.startswith(f) for f in failed) for name in names]] = np.nan
        return rows

    return embed


@pytest.mark.parametrize("failed", [(), ("gallery/P3/", "gallery/P4/0.jpg", "probe/P5/1.jpg", "unknown/U7/")])
def test_against_one_search_at_a_time(folder: Path, failed: tuple[str, ...]) -> None:
    protocol = open_protocol("identification", folder)
    embed = _embed(failed)
    result = protocol.evaluate(embed)
    row = dict(zip(protocol.photos, embed(protocol.photos), strict=True))
    assert len(row) == len(protocol.photos) == 40 * 5 + 400
    gallery = {}
    for person in {name.split("/")[1] for name in row if name.startswith("gallery")}:
        own = [r for n, r in row.items() if n.startswith(f"gallery/{person}/") and np.isfinite(r).all()]
        if own:
            gallery[person] = np.mean(own, axis=0) / np.linalg.norm(np.mean(own, axis=0))

    def candidates(name: str) -> list[tuple[float, str]]:
        if np.isnan(row[name]).all():
            return []
        return sorted(((float(row[name] @ t), person) for person, t in gallery.items()), reverse=True)

    mated = {name: candidates(name) for name in row if name.startswith("probe")}
    others = {name: candidates(name) for name in row if name.startswith("unknown")}
    for point in result.ranks:
        hits = sum(n.split("/")[1] in [p for _, p in found[: point.rank]] for n, found in mated.items())
        assert (point.hits, point.searches) == (hits, 120)
        assert point.rate == pytest.approx(result.cmc()[point.rank - 1])
        assert point.interval.low < point.rate < point.interval.high
    for point in result.points:
        if point.fpir < 0.05:
            assert point.fnir is None
            assert "30 needed" in point.shortfall
            continue
        false = sum(any(score >= point.threshold for score, _ in found) for found in others.values())
        assert point.false_positives == false == 40
        right = sum(
            bool(found) and found[0][1] == name.split("/")[1] and found[0][0] >= point.threshold
            for name, found in mated.items()
        )
        assert point.misses == 120 - right
    assert 0.3 < result.ranks[0].rate < 0.99
    told = result.to_dict()
    assert told["enrolled"] == len(gallery)
    assert told["not_enrolled"] == (["P3"] if failed else [])
    assert told["searches"] == {"mated": 120, "non_mated": 400, "failed": 5 if failed else 0}
    assert told["failures_to_acquire"]["failed"] == (8 if failed else 0)
    assert [point["fpir"] for point in told["open_set"]] == list(FPIRS)
    assert any("could not be enrolled" in line for line in table_notes(result)) == bool(failed)


def test_a_failed_probe_or_person_is_a_miss(folder: Path) -> None:
    protocol = open_protocol("identification", folder)
    clear = protocol.evaluate(_embed(noise=1e-3))
    assert clear.ranks[0].rate == 1
    assert clear.ranks[0].interval.low < 1
    assert clear.points[0].fnir == 0
    # one probe, and the three of a person who could not be enrolled
    gone = protocol.evaluate(_embed(("probe/P5/1.jpg", "gallery/P3/"), noise=1e-3))
    assert [point.hits for point in gone.ranks] == [116] * 3
    assert gone.points[0].misses == 4
    assert gone.cmc()[-1] == pytest.approx(116 / 120)


def test_by_hand_with_ties() -> None:
    templates = np.eye(3, dtype=np.float32)
    # the second probe is as near to A as to B
    probes = np.array([[1, 0, 0], [0.8, 0.8, 0], [0.6, 0, 0.8], [np.nan] * 3], np.float32)
    unknown = np.array([[0, 0.5, 0.1], [np.nan] * 3], np.float32)
    found = search(templates, ["A", "B", "C"], probes, ["A", "B", "A", "A"], unknown)
    assert found.rank.tolist() == [1, 2, 2, 0]
    np.testing.assert_allclose(found.own, [1, 0.8, 0.6, -np.inf])
    np.testing.assert_allclose(found.highest, [0.5, -np.inf])
    np.testing.assert_allclose(cmc(found), [0.25, 0.75, 0.75])
    nobody = search(templates, ["A", "B", "C"], probes[:1], ["D"], unknown[:0])
    assert nobody.rank.tolist() == [0]
    with pytest.raises(UsageError, match="nobody could be enrolled"):
        search(templates[:0], [], probes, ["A"] * 4, unknown)


def test_open_set_thresholds_over_every_possible_one() -> None:
    random = np.random.default_rng(5)
    rank = random.integers(0, 4, 500)
    own = np.where(rank > 0, random.integers(-9, 10, 500) / 10, -np.inf)
    highest = random.integers(-9, 10, 700) / 10
    highest[:50] = -np.inf
    searches = Searches(3, rank, own, highest)
    levels = np.arange(-10, 12) / 10 - 0.05
    for fpir in (0.05, 0.1, 0.3, 0.5):
        point = open_point(searches, fpir)
        allowed = [t for t in levels if (highest >= t).mean() <= fpir]
        best = min(1 - ((rank == 1) & (own >= t)).mean() for t in allowed)
        assert point.fnir == pytest.approx(best)
        assert point.false_positives / 700 <= fpir
    most = open_point(searches, 0.95)
    assert most.threshold == -1
    assert most.false_positives == 650
    curve = dict(zip(*open_curve(searches), strict=True))
    assert min(curve) == 30 / 700
    for count in (60, 200, 500):
        threshold = np.sort(highest)[::-1][count]
        expected = 1 - ((rank == 1) & (own > threshold)).mean()
        assert curve[count / 700] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["gallery/A/1.jpg"], "no photo in probe/PERSON"),
        (["probe/A/1.jpg"], "no photo in gallery/PERSON"),
        (["gallery/1.jpg", "probe/A/1.jpg"], "no photo in gallery/PERSON"),
        (["gallery/A/1.jpg", "probe/B/1.jpg"], "probe/B/1.jpg: B is not in the gallery"),
        (["gallery/A/1.jpg", "probe/A/1.jpg", "unknown/A/2.jpg"], "A is in the gallery"),
    ],
)
def test_folders_that_will_not_do(tmp_path: Path, names: list[str], told: str) -> None:
    for name in names:
        _touch(tmp_path / name)
    with pytest.raises(Unreadable, match=told):
        open_protocol("identification", tmp_path)


def test_no_unknown_persons_is_a_closed_set(tmp_path: Path) -> None:
    for name in ("gallery/A/1.jpg", "gallery/B/1.jpg", "probe/A/2.jpg", "probe/B/2.jpg"):
        _touch(tmp_path / name)
    result = open_protocol("identification", tmp_path).evaluate(_embed(noise=0.01))
    assert [point.rank for point in result.ranks] == [1]
    assert all("not enrolled" in point.shortfall for point in result.points)
    assert len(figure(result).axes) == 2


def test_fuse_is_the_direction_of_the_mean() -> None:
    rows = _unit(np.random.default_rng(0).normal(size=(5, DIM)))
    np.testing.assert_allclose(fuse(list(rows)), _unit(rows.sum(axis=0, keepdims=True))[0], atol=1e-6)
    assert not fuse([rows[0], -rows[0]]).any()


def test_the_document_has_the_first_hundred_ranks_of_the_cmc() -> None:
    rows = np.eye(150, dtype=np.float32)
    people = [str(number) for number in range(150)]
    found = search(rows, people, rows, people, rows[:0])
    result = IdentificationResult("identification", "x", 300, 150, (), 0, (), found, rank_points(found), ())
    assert len(result.cmc()) == 150
    assert result.to_dict()["cmc"] == result.cmc()[:100].tolist()
