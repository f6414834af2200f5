"""Whom to take of several faces."""

from __future__ import annotations

import numpy as np
import pytest
from stub_detector import TEMPLATE, Stub, face, photo_with_square

from facekd.errors import NoFace, SeveralFaces, TooSmall, UsageError
from facekd.preprocess import Face, choose, find_face
from facekd.preprocess.selection import MIN_EYE_DISTANCE, eye_distance


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
