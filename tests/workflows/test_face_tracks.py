"""Faces of a video's frames to tracks: whose they are, and which frames of a track are taken."""

from __future__ import annotations

import numpy as np
import pytest

from facekd.card import Calibration, Card, Counts, EmbeddingSpec, InputSpec, LandmarkCrop
from facekd.errors import SeveralFaces, TooLarge
from facekd.preprocess import Face
from facekd.workflows import face_tracks
from facekd.workflows.face_tracks import FaceTracker, SeenFace, Track, chosen_track, overlap_of
from facekd.workflows.recognizer import Recognised

ONE, OTHER = np.eye(8, dtype=np.float32)[:2]


def face(
    left: float, embedding: np.ndarray = ONE, size: float = 100, quality: float = 0.5, sha: str = ""
) -> Recognised:
    box = np.array([left, 0, left + size, size], np.float32)
    photo = sha or f"{left}-{size}-{quality}"
    detected = Face(box, 0.9, np.zeros((5, 2), np.float32))
    return Recognised("", photo, detected, 1, quality, embedding)


def card(*calibration: tuple[float, float]) -> Card:
    counts = Counts(mated=1000, non_mated=100_000, false_matches=100, false_non_matches=10)
    entries = tuple(
        Calibration(
            fmr=fmr, threshold=threshold, low=fmr / 2, high=fmr * 2, data="made up", counts=counts,
            detector="d", aligner="a",
        )
        for fmr, threshold in calibration
    )  # fmt: skip
    return Card(
        name="m", architecture="t", input=InputSpec(), crop=LandmarkCrop(),
        embedding=EmbeddingSpec(dim=8), calibration=entries,
    )  # fmt: skip


def spans(tracker: FaceTracker) -> list[tuple[float, float, int]]:
    return [(track.first, track.last, len(track.faces)) for track in tracker.tracks]


CALIBRATED = ((1e-2, 0.25), (1e-3, 0.4))


@pytest.mark.parametrize("calibration", [(), CALIBRATED])
def test_a_face_that_moves_slowly_is_one_track(calibration: tuple) -> None:
    tracker = FaceTracker(card(*calibration))
    for step in range(10):
        tracker.add(step / 3, [face(30 * step)])
    assert spans(tracker) == [(0, 3, 10)]


@pytest.mark.parametrize("calibration", [(), CALIBRATED])
def test_two_people_side_by_side(calibration: tuple) -> None:
    tracker = FaceTracker(card(*calibration))
    for step in range(4):
        tracker.add(step / 3, [face(10 * step, ONE), face(300 - 10 * step, OTHER)])
    assert spans(tracker) == [(0, 1, 4), (0, 1, 4)]
    for track, embedding in zip(tracker.tracks, (ONE, OTHER), strict=True):
        assert all(seen.found.embedding is embedding for seen in track.faces)


def test_another_person_in_the_same_place_is_another_track() -> None:
    """A cut of the film: the embeddings tell, if the model is calibrated."""
    counts = []
    for calibration in ((), CALIBRATED):
        tracker = FaceTracker(card(*calibration))
        tracker.add(0, [face(0, ONE)])
        tracker.add(0.3, [face(0, OTHER)])
        counts.append(len(tracker.tracks))
    assert counts == [1, 2]


def test_whoever_comes_back_elsewhere_is_known_by_the_embedding() -> None:
    counts = []
    for calibration in ((), CALIBRATED):
        tracker = FaceTracker(card(*calibration))
        tracker.add(0, [face(0, ONE)])
        tracker.add(60, [face(500, ONE)])
        counts.append(len(tracker.tracks))
    assert counts == [2, 1]


def test_people_who_change_places() -> None:
    tracker = FaceTracker(card(*CALIBRATED))
    tracker.add(0, [face(0, ONE), face(120, OTHER)])
    tracker.add(0.3, [face(0, OTHER), face(120, ONE)])
    for track, embedding in zip(tracker.tracks, (ONE, OTHER), strict=True):
        assert [seen.found.embedding is embedding for seen in track.faces] == [True, True]


def test_a_crowd_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_tracks, "MAX_FACES", 5)
    tracker = FaceTracker(card())
    for step in range(2):
        tracker.add(step, [face(200 * place) for place in range(2)])
    with pytest.raises(TooLarge, match="more than 5 faces"):
        tracker.add(2, [face(0), face(200)])


def test_who_dominates() -> None:
    large, small = Track([SeenFace(0, face(0, size=100))]), Track([SeenFace(0, face(200, size=80))])
    assert chosen_track([small, large]) is large  # 1.56 times the area
    assert chosen_track([small]) is small
    small.add(SeenFace(1, face(200, size=20)))
    with pytest.raises(SeveralFaces, match="2 faces were tracked"):
        chosen_track([small, large])
    assert chosen_track([small, large], "best") is large
    with pytest.raises(SeveralFaces, match="only one is accepted"):
        chosen_track([small, large], "skip")
    assert chosen_track([small], "skip") is small


class TestBestFrames:
    def test_from_all_of_its_time(self) -> None:
        """Of 40 faces in ten runs of four, of which two are good."""
        qualities = [0.2, 0.8, 0.9, 0.3] * 10
        track = Track([SeenFace(t, face(t, quality=q)) for t, q in enumerate(qualities)])
        best = track.best(5)
        assert [seen.found.quality for seen in best] == [0.9] * 5
        assert [int(seen.time) // 8 for seen in best] == [0, 1, 2, 3, 4]

    def test_the_poor_ones_are_left_out(self) -> None:
        """The last third is out of focus."""
        track = Track([SeenFace(t, face(t, quality=0.9 - 0.6 * (t >= 20) - t / 1000)) for t in range(30)])
        assert max(seen.time for seen in track.best(5)) < 20

    def test_no_picture_twice_and_no_more_than_there_are(self) -> None:
        track = Track([SeenFace(t, face(0, sha="same")) for t in range(9)])
        assert len(track.best(5)) == 1
        track.add(SeenFace(9, face(1)))
        assert len(track.best(5)) == 2

    def test_fused(self) -> None:
        track = Track([SeenFace(0, face(0, ONE, quality=0.4)), SeenFace(1, face(1, OTHER, quality=0.6))])
        fused = track.fused(5)
        assert fused.quality == 0.6
        assert fused.embedding == pytest.approx((ONE + OTHER) / np.sqrt(2))


def test_overlap() -> None:
    box = np.array([0, 0, 10, 10], np.float32)
    assert overlap_of(box, box) == 1
    assert overlap_of(box, box + 5) == pytest.approx(25 / 175)
    assert overlap_of(box, box + 10) == 0
    assert overlap_of(box * 0, box * 0) == 0
