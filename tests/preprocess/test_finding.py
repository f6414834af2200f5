"""Whom to take, and at what size to look."""

from __future__ import annotations

import numpy as np
import pytest

from facekd.card.contract import ARCFACE_TEMPLATE
from facekd.errors import NoFace, SeveralFaces, TooSmall, UsageError
from facekd.geometry import Pixels
from facekd.preprocess import Face, Photo, choose, find_face, find_faces
from facekd.preprocess.detection import LOOK_AT
from facekd.preprocess.selection import MIN_EYE_DISTANCE, eye_distance

TEMPLATE = np.asarray(ARCFACE_TEMPLATE, np.float32)


def face(x: float, y: float, size: float) -> Face:
    """A frontal face whose box of ``size`` has its corner at (x, y)."""
    box = np.array([x, y, x + size, y + size], np.float32)
    return Face(box, 0.9, TEMPLATE * (size / 112) + np.array([x, y], np.float32))


class Stub:
    """Finds a white square as a face, if it is at least ``smallest`` pixels off every edge."""

    name = "stub"

    def __init__(self, room: int = 0) -> None:
        self.room = room
        self.shapes: list[tuple[int, ...]] = []

    def detect(self, pixels: Pixels) -> list[Face]:
        self.shapes.append(pixels.shape)
        ys, xs = np.nonzero(pixels[..., 0] > 128)
        if len(ys) == 0:
            return []
        left, top, right, bottom = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
        height, width = pixels.shape[:2]
        if min(left, top, width - right, height - bottom) < self.room:
            return []
        return [face(left, top, right - left)]


def photo_with_square(height: int, width: int, left: int, top: int, size: int) -> Photo:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[top : top + size, left : left + size] = 255
    return Photo("photo", pixels, "")


def test_small_photos_are_looked_at_as_they_are() -> None:
    detector = Stub()
    found = find_faces(photo_with_square(LOOK_AT, 600, 100, 200, 90), detector)
    assert detector.shapes == [(LOOK_AT, 600, 3)]
    assert np.allclose(found[0].box, [100, 200, 190, 290])


def test_large_photos_are_reduced_and_the_result_scaled_back() -> None:
    detector = Stub()
    found = find_faces(photo_with_square(2560, 5120, 1200, 800, 400), detector)
    assert detector.shapes == [(640, 1280, 3)]
    assert np.allclose(found[0].box, [1200, 800, 1600, 1200])
    assert np.allclose(found[0].landmarks, TEMPLATE * (400 / 112) + (1200, 800), atol=1e-2)


def test_a_face_that_fills_the_photo_is_found_with_room_around_it() -> None:
    detector = Stub(room=30)
    found = find_faces(photo_with_square(100, 120, 5, 2, 96), detector)
    assert len(detector.shapes) == 2
    assert np.allclose(found[0].box, [5, 2, 101, 98])
    large = find_faces(photo_with_square(2000, 2000, 0, 0, 2000), Stub(room=30))
    assert np.allclose(large[0].box, [0, 0, 2000, 2000], atol=3)


def test_nobody() -> None:
    with pytest.raises(NoFace, match="photo: no face"):
        find_face(photo_with_square(100, 100, 0, 0, 0), Stub())


def test_policies_differ_where_they_should() -> None:
    large, central, middling = face(0, 0, 60), face(85, 85, 30), face(60, 70, 45)
    faces, shape = [middling, large, central], (200, 200)
    assert choose(faces, shape, "largest") == [large]
    assert choose(faces, shape, "central") == [central]
    # by hand: 60² - 2 (70² + 70²) < 0; 30² - 0 = 900; 45² - 2 (17.5² + 7.5²) = 1300
    assert choose(faces, shape) == choose(faces, shape, "best") == [middling]
    assert choose(faces, shape, "all") == [large, middling, central]
    with pytest.raises(SeveralFaces):
        choose(faces, shape, "skip")
    assert choose([large], shape, "skip") == [large]


def test_unknown_policy_and_all_where_one_is_wanted() -> None:
    with pytest.raises(UsageError, match="best, largest"):
        choose([face(0, 0, 50)], (100, 100), "biggest")
    with pytest.raises(UsageError):
        find_face(photo_with_square(100, 100, 10, 10, 50), Stub(), "all")


def test_faces_below_the_limit_do_not_count() -> None:
    size = 112 * MIN_EYE_DISTANCE / np.linalg.norm(TEMPLATE[1] - TEMPLATE[0])
    tiny, enough = face(5, 5, size * 0.98), face(50, 50, size * 1.02)
    with pytest.raises(TooSmall, match="8 are needed"):
        choose([tiny], (100, 100))
    assert choose([tiny, enough], (100, 100), "skip") == [enough]


def test_eye_distance_of_a_face_in_profile_is_that_of_its_head() -> None:
    frontal = face(0, 0, 112)
    assert eye_distance(frontal) == pytest.approx(np.linalg.norm(TEMPLATE[1] - TEMPLATE[0]), rel=1e-5)
    middle = TEMPLATE[:, 0].mean()
    turned = TEMPLATE.copy()
    turned[:, 0] = middle + (turned[:, 0] - middle) * 0.3
    assert eye_distance(Face(frontal.box, 0.9, turned)) > 0.6 * eye_distance(frontal)
    assert eye_distance(Face(frontal.box, 0.9, np.full((5, 2), 7, np.float32))) == 0
