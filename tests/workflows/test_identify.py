"""Searches of a gallery, and the thresholds that fit it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_up_searches import (
    CONTRACT,
    DIM,
    SPREAD,
    MadeUp,
    direction,
    embedding,
    enroll,
    made_card,
    opened,
    unit,
)
from scipy.stats import norm

from facekd.errors import Exit, UsageError
from facekd.gallery import Contract, GalleryRecords, Template
from facekd.runtime import fuse
from facekd.verification import tail_of_gallery
from facekd.workflows import gallery_thresholds
from facekd.workflows.gallery_thresholds import (
    OwnScores,
    calibrate_gallery,
    own_scores,
    scores_file,
    search_threshold,
    threshold_for_claims,
)
from facekd.workflows.identify import identify_or_say_why, identify_photo, open_search
from facekd.workflows.named_photos import NamedPhoto
from facekd.workflows.verify import verify_claim


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("crowd") / "gallery.db"
    enroll(path, {f"P{number:04d}": 1 + number % 2 for number in range(700)})
    return path


def test_who_is_found_is_the_nearest_by_the_direction_of_the_mean(crowd: Path) -> None:
    with opened(crowd) as records:
        search = open_search(MadeUp(made_card(1e-4)), records, 0.1)
        found = identify_photo(search, b"P0003 9", top=3)
        names = records.names()
        rows = np.stack([fuse([t.embedding for t in records.templates(name)]) for name in names])
    scores = rows @ embedding(b"P0003 9")
    best = np.argsort(-scores)[:3]
    (face,) = found.faces
    assert [candidate.name for candidate in face.candidates] == [names[place] for place in best]
    assert np.allclose([candidate.score for candidate in face.candidates], scores[best], atol=1e-6)
    assert (face.decision, face.name, found.exit_code) == ("found", "P0003", Exit.DONE)
    document = found.to_dict()
    assert (document["decision"], document["name"], document["people"]) == ("found", "P0003", 700)
    assert document["threshold"] == found.threshold.value


def test_a_stranger_is_nobody_at_about_the_stated_rate(crowd: Path) -> None:
    with opened(crowd) as records:
        search = open_search(MadeUp(made_card(1e-2)), records, 0.1)
        assert search.threshold.source == "gallery"
        strangers = [identify_photo(search, f"stranger{n} 0".encode()) for n in range(600)]
    taken = sum(found.exit_code == Exit.DONE for found in strangers)
    assert {found.exit_code for found in strangers} == {Exit.DONE, Exit.DIFFERENT}
    # one in ten is promised; 600 strangers miss it by three standard errors at most, its own error beside
    assert 0.05 < taken / 600 < 0.16
    assert search.threshold.low < 0.1 < search.threshold.high


def test_all_faces_are_searched_and_a_photo_without_one_is_an_answer(crowd: Path) -> None:
    with opened(crowd) as records:
        search = open_search(MadeUp(made_card(1e-4)), records, threshold=0.6)
        both = identify_photo(search, b"P0001 7+nobody 1", all_faces=True)
        photo = SimpleNamespace(read=lambda: b"wall")
        none = identify_or_say_why(search, NamedPhoto("wall.jpg", photo))
    assert [face.decision for face in both.faces] == ["found", "nobody"]
    assert (none.failure.reason, none.exit_code, none.to_dict()["decision"]) == (
        "no_face",
        Exit.CANNOT_SAY,
        None,
    )
    assert both.threshold.source == "option"


@pytest.mark.parametrize(
    ("people", "fpir", "fmr"),
    [
        (1, 1e-2, 1e-2),
        (10, 1e-2, 1e-3),
        (100, 1e-2, 1e-4),
        (101, 1e-2, None),
        (1000, 0.1, 1e-4),
        (99, 1e-2, 1e-4),
    ],
)
def test_the_card_reaches_as_far_as_its_rates(people: int, fpir: float, fmr: float | None) -> None:
    card = made_card(1e-2, 1e-3, 1e-4)
    found = search_threshold(card, None, people, fpir)
    if fmr is None:
        assert (found.source, found.value) == ("none", None)
        assert "reaches to FMR 0.0001, enough for 100 people" in found.shortfall
        assert "5,971 people in the gallery would be enough" in found.shortfall
        return
    assert found.value == pytest.approx(norm.isf(fmr) * SPREAD)
    # and what the threshold keeps by independent comparisons is no more than what was asked for
    kept = norm.sf(found.value / SPREAD)
    assert 1 - (1 - kept) ** people <= fpir * (1 + 1e-6)


def test_the_upper_tail_of_the_card_reaches_further() -> None:
    card = made_card(1e-2, 1e-3, 1e-4, tail=(5e-5, 1e-5))
    assert search_threshold(card, None, 101, 1e-2).value == pytest.approx(norm.isf(5e-5) * SPREAD)
    assert search_threshold(card, None, 1000, 1e-2).value == pytest.approx(norm.isf(1e-5) * SPREAD)
    assert search_threshold(card, None, 1100, 1e-2).source == "none"


@pytest.mark.parametrize("alike", [0.0, 0.5])
def test_the_card_is_not_believed_where_the_people_enrolled_contradict_it(alike: float) -> None:
    """A hundred people: drawn as those of the card, or with something in common, as a group of similar people
    has: a pair of them reaches the card's threshold about forty times as often."""
    card, names = made_card(1e-2, 1e-3, 1e-4), [f"P{number}" for number in range(100)]
    sources = set()
    for seed in range(10):
        rows = np.random.default_rng(seed).normal(size=(100, DIM)) * SPREAD + alike * direction("common")
        own = OwnScores(tail_of_gallery(names, unit(rows)), 100)
        found = search_threshold(card, own, 100, 1e-2)
        sources.add(found.source)
        if alike:
            assert found.value is None
            assert "the FMR 0.0001 of the card does not hold for these people: " in found.shortfall
            assert "5,971 people in the gallery would be enough" in found.shortfall
    assert sources == {"none" if alike else "card"}


def test_without_a_threshold_there_are_candidates_and_no_decision(tmp_path: Path) -> None:
    enroll(tmp_path / "g.db", {"Ann": 1, "Bo": 2})
    with opened(tmp_path / "g.db") as records:
        search = open_search(MadeUp(made_card()), records)
        found = identify_photo(search, b"Ann 5")
    assert [candidate.name for candidate in found.faces[0].candidates] == ["Ann", "Bo"]
    assert (found.faces[0].decision, found.exit_code) == ("insufficient", Exit.USAGE)
    assert "is not calibrated" in found.threshold.shortfall


def test_of_an_empty_gallery_everybody_is_nobody(tmp_path: Path) -> None:
    enroll(tmp_path / "g.db", {"Ann": 1})
    with GalleryRecords(tmp_path / "g.db") as records, records.transaction():
        records.remove("Ann")
    with opened(tmp_path / "g.db") as records:
        found = identify_photo(open_search(MadeUp(made_card(1e-2)), records), b"Ann 1")
    assert (found.exit_code, found.faces[0].candidates) == (Exit.DIFFERENT, ())


def test_another_space_has_no_threshold(crowd: Path) -> None:
    class Other(MadeUp):
        def shares_space(self, other: Contract) -> bool:
            return False

    with opened(crowd) as records:
        with pytest.raises(UsageError, match="no threshold is known between"):
            open_search(Other(made_card(1e-4)), records)
        assert open_search(Other(made_card(1e-4)), records, threshold=0.5).threshold.value == 0.5
        for wrong in (0.0, 1.0):
            with pytest.raises(UsageError, match="between 0 and 1"):
                open_search(MadeUp(made_card(1e-4)), records, wrong)


class TestOwnScores:
    def test_are_those_of_all_people_by_one_photo_each(self, crowd: Path) -> None:
        with opened(crowd) as records:
            tail = calibrate_gallery(records)
            names = records.names()
            templates = [records.templates(name) for name in names]
        fused = np.stack([fuse([t.embedding for t in own]) for own in templates])
        probes = np.stack([own[0].embedding for own in templates])
        scores = probes @ fused.T
        others = scores[~np.eye(len(names), dtype=bool)]
        wanted = tail_of_gallery(names, fused, probes)
        assert tail.threshold_at_fmr(1e-2).threshold == pytest.approx(wanted.threshold_at_fmr(1e-2).threshold)
        limit = tail.threshold_at_fmr(1e-2).threshold
        assert (others >= limit).mean() <= 1e-2 < (others >= limit - 0.01).mean()

    def test_are_kept_without_names_and_embeddings_and_used_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "g.db"
        enroll(path, {f"Secret{number}": 1 for number in range(100)})
        with opened(path) as records:
            first = own_scores(records)
            kept = scores_file(path)
            assert kept.stat().st_mode & 0o777 == 0o600
            assert b"Secret" not in kept.read_bytes()
            assert records.templates("Secret1")[0].embedding.tobytes()[:32] not in kept.read_bytes()
            monkeypatch.setattr(gallery_thresholds, "tail_of_gallery", None)  # not asked again
            again = own_scores(records)
        one, other = (own.tail.threshold_at_fmr(1e-2) for own in (first, again))
        assert (one.threshold, one.interval) == (other.threshold, other.interval)

    @pytest.mark.parametrize("damage", [b"", b"nonsense", None])
    def test_damaged_ones_are_made_again(self, tmp_path: Path, damage: bytes | None) -> None:
        path = tmp_path / "g.db"
        enroll(path, {f"P{number}": 1 for number in range(90)})
        with opened(path) as records:
            before = own_scores(records).tail.threshold_at_fmr(1e-2)
            kept = scores_file(path)
            kept.write_bytes(kept.read_bytes()[:-200] if damage is None else damage)
            assert own_scores(records).tail.threshold_at_fmr(1e-2) == before

    def test_of_a_large_gallery_the_last_ones_serve_for_a_while(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "g.db"
        enroll(path, {f"P{number}": 1 for number in range(100)})
        monkeypatch.setattr(gallery_thresholds, "AT_ONCE", 50)
        with opened(path) as records:
            assert own_scores(records) is None  # nobody measured it yet
            calibrate_gallery(records)
            assert own_scores(records).note is None
        enroll(path, {f"Q{number}": 1 for number in range(5)})
        with opened(path) as records:
            assert "measured on 100 people" in own_scores(records).note
        enroll(path, {f"R{number}": 1 for number in range(20)})
        with opened(path) as records:
            assert own_scores(records) is None

    def test_nobody_to_compare(self, tmp_path: Path) -> None:
        enroll(tmp_path / "g.db", {"Ann": 3})
        with opened(tmp_path / "g.db") as records:
            assert own_scores(records) is None
            with pytest.raises(UsageError, match="1 person is enrolled"):
                calibrate_gallery(records)

    def test_doubles_move_no_threshold_and_are_named(self, tmp_path: Path) -> None:
        plain = {f"P{number:03d}": 1 for number in range(300)}
        enroll(tmp_path / "plain.db", plain)
        enroll(tmp_path / "twice.db", plain)
        with GalleryRecords(tmp_path / "twice.db", CONTRACT) as records, records.transaction():
            for number in range(3):
                row = unit(embedding(f"P{number:03d} 0".encode()) + 0.05 * direction(f"other {number}"))
                records.add(f"again{number}", [Template(row, hashlib.sha256(row).hexdigest(), 0.5)])
        tails = []
        for name in ("plain.db", "twice.db"):
            with opened(tmp_path / name) as records:
                tails.append(calibrate_gallery(records))
        assert not tails[0].doubles
        doubles = {frozenset((double.one, double.other)) for double in tails[1].doubles}
        assert doubles == {frozenset((f"P{n:03d}", f"again{n}")) for n in range(3)}
        found = [tail.threshold_at_fmr(1e-3).threshold for tail in tails]
        assert found[0] == pytest.approx(found[1], abs=1e-9)


def test_a_claim_is_judged_by_the_gallerys_own_threshold_where_it_has_one(
    crowd: Path, tmp_path: Path
) -> None:
    card = made_card(1e-2)
    asked = gallery_thresholds.Threshold(0.9, "card", 1e-2, "made up", "none", "none")
    with opened(crowd) as records:
        answer = verify_claim(MadeUp(card), records, "P0005", b"P0005 9", asked)
        own = threshold_for_claims(own_scores(records), 1e-2, "none")
    assert (answer.threshold, answer.threshold.source, answer.same) == (own, "gallery", True)
    assert answer.threshold.data == "the gallery's own 700 people"
    given = gallery_thresholds.Threshold(0.9, "option")
    enroll(tmp_path / "few.db", {f"P{number}": 1 for number in range(20)})
    with opened(crowd) as records:
        assert verify_claim(MadeUp(card), records, "P0005", b"P0005 9", given).threshold == given
    with opened(tmp_path / "few.db") as records:
        assert verify_claim(MadeUp(card), records, "P5", b"P5 9", asked).threshold == asked
