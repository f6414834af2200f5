"""Whom to take of several faces."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from stub_detector import TEMPLATE, Stub, face, photo_with_square

from facekd.errors import NoFace, SeveralFaces, TooSmall, UsageError
from facekd.preprocess import (
    Face,
    Photo,
    choose,
    cut,
    decode,
    find_face,
    find_faces,
    identity_of,
    open_source,
)
from facekd.preprocess.detectors import make_detector
from facekd.preprocess.selection import MIN_EYE_DISTANCE, eye_distance
from facekd.runtime import load_embedder


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


def test_a_face_dominates_by_size_and_place() -> None:
    shape = (200, 200)
    central = face(70, 70, 60)  # 3,600 square pixels in the middle
    for other, taken in ((face(0, 0, 48), True), (face(0, 0, 50), False), (face(140, 0, 40), True)):
        if taken:
            assert choose([other, central], shape, "dominant") == [central]
        else:
            with pytest.raises(SeveralFaces, match="none clearly dominates"):
                choose([other, central], shape, "dominant")
    # the largest one by far, but another one stands in the middle
    with pytest.raises(SeveralFaces):
        choose([face(0, 0, 90), face(85, 85, 30)], shape, "dominant")
    assert choose([face(0, 0, 30)], shape, "dominant")[0].area == 900
    # a face too small to compare is no rival, wherever it is
    assert choose([face(0, 0, 60), face(95, 95, 15)], shape, "dominant")[0].area == 3600


@pytest.mark.needs_faces
@pytest.mark.slow
def test_the_dominant_face_of_lfw_photos_is_the_persons(faces: Path) -> None:
    """Of photos with several faces, by comparing each with the person's other photos."""
    source = open_source(faces / "lfw.zip")
    detector = make_detector(f"scrfd:{faces / 'detectors' / 'scrfd_500m.onnx'}", threads=1)
    embedder = load_embedder(faces / "models" / "edgeface_xs.onnx", threads=1)
    photos: dict[str, list[str]] = defaultdict(list)
    for name in source.names():
        photos[str(identity_of(name))].append(name)
    people = [names for names in photos.values() if len(names) >= 3][:40]

    def embeddings(photo: Photo, found: list[Face]) -> np.ndarray:
        return embedder.embed(np.stack([cut(photo.pixels, f, embedder.spec) for f in found]))

    taken = refused = 0
    for names in people:
        looked = [(p := decode(source.read(name), name), find_faces(p, detector)) for name in names[:8]]
        alone = [embeddings(p, found)[0] for p, found in looked if len(found) == 1]
        for photo, found in looked:
            usable = [f for f in found if eye_distance(f) >= MIN_EYE_DISTANCE]
            if len(usable) < 2 or not alone:
                continue
            right = int(np.argmax(embeddings(photo, usable) @ np.mean(alone, axis=0)))
            try:
                (chosen,) = choose(usable, photo.pixels.shape[:2], "dominant")
            except SeveralFaces:
                refused += 1
            else:
                assert chosen is usable[right], photo.path
                taken += 1
    assert taken > 1.5 * refused > 0


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
