"""At what size to look for faces, and what to try when there are none."""

from __future__ import annotations

import numpy as np
import pytest
from stub_detector import TEMPLATE, Stub, photo_with_square

from facekd.preprocess import Photo, find_faces
from facekd.preprocess.detection import LOOK_AT


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


@pytest.mark.parametrize(("height", "width"), [(6_000, 108), (108, 6_000), (3_000, 3_000), (64_000, 1_000)])
def test_the_border_is_added_to_the_reduced_photo(height: int, width: int) -> None:
    detector = Stub()
    assert find_faces(Photo("empty", np.zeros((height, width, 3), np.uint8), ""), detector) == []
    assert len(detector.shapes) == 2
    assert max(max(shape) for shape in detector.shapes) <= LOOK_AT


def test_a_face_found_beyond_the_border_is_where_it_is_in_the_photo() -> None:
    found = find_faces(photo_with_square(4_000, 1_000, 0, 2_000, 800), Stub(room=30))
    assert np.allclose(found[0].box, [0, 2_000, 800, 2_800], atol=6)
    assert np.allclose(found[0].landmarks, TEMPLATE * (800 / 112) + (0, 2_000), atol=6)
