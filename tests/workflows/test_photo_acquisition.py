"""The one loop from photos to crops and embeddings: in this process, in others, and in threads."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from patterned_people import write_people
from small_photos import need_mtcnn, write_photos
from tiny_model import write_tiny_model

from facekd.card import ARCFACE_CROP, BoxCrop, LandmarkCrop
from facekd.errors import Misfit, UsageError
from facekd.geometry import recrop
from facekd.preprocess import MISSING, cut, decode, failures_of, find_face, quality
from facekd.preprocess.detectors import make_detector
from facekd.runtime import load_embedder
from facekd.workflows import photo_acquisition
from facekd.workflows.photo_acquisition import PhotoSet, crop_photos, embed_photos

PEOPLE, PHOTOS = 24, 4
NAMES = [f"P{person:02d}/{number}.png" for person in range(PEOPLE) for number in range(1, PHOTOS + 1)]


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished crops, of which one is torn and one is not there."""
    folder = write_people(tmp_path_factory.mktemp("crops") / "staff", PEOPLE, PHOTOS)
    (folder / NAMES[5]).write_bytes((folder / NAMES[5]).read_bytes()[:100])
    (folder / NAMES[9]).unlink()
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [write_tiny_model(folder / "one.onnx"), write_tiny_model(folder / "other.onnx", seed=1)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_mtcnn()
    return write_photos(tmp_path_factory.mktemp("photos"))


def pixels_of(file: Path) -> np.ndarray:
    return np.ascontiguousarray(cv2.imread(str(file))[..., ::-1])


def test_embeddings_are_those_of_the_files(crops: Path, models: list[Path]) -> None:
    told: list[int] = []
    found = embed_photos(PhotoSet(crops, None), NAMES, models, keep=NAMES[3:7], advance=told.append)
    assert sum(told) == len(NAMES)
    assert [photo.name for photo in found.photos] == NAMES
    assert found.failures == failures_of(found.photos) == ((NAMES[5], "unreadable"), (NAMES[9], MISSING))
    good = [place for place in range(len(NAMES)) if place not in (5, 9)]
    pixels = np.stack([pixels_of(crops / NAMES[place]) for place in good])
    for model, rows in zip(models, found.embeddings, strict=True):
        np.testing.assert_allclose(rows[good], load_embedder(model, threads=1).embed(pixels), atol=1e-6)
        assert np.isnan(rows[[5, 9]]).all()
    # crops stay in memory where they were asked for, and there alone
    assert [photo.name for photo in found.photos if photo.crops] == [NAMES[3], NAMES[4], NAMES[6]]
    for photo in found.photos[3:5]:
        assert list(photo.crops) == [ARCFACE_CROP]
        np.testing.assert_array_equal(photo.crops[ARCFACE_CROP], pixels_of(crops / photo.name))


def test_workers_give_what_one_process_gives(
    crops: Path, models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"keep": NAMES[:8], "flip": True}
    alone = embed_photos(PhotoSet(crops, None), NAMES, models, **asked)
    monkeypatch.setattr(photo_acquisition, "WORTH_WORKERS", 1)
    monkeypatch.setattr(photo_acquisition, "threads_available", lambda: 2)
    together = embed_photos(PhotoSet(crops, None), NAMES, models, **asked)
    assert together.photos == alone.photos
    for one, other in zip(alone.photos, together.photos, strict=True):
        assert list(one.crops) == list(other.crops)
        for spec in one.crops:
            np.testing.assert_array_equal(one.crops[spec], other.crops[spec])
    for one, other in zip(alone.embeddings, together.embeddings, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_threads_give_every_spec_in_order(crops: Path) -> None:
    small = LandmarkCrop(template=tuple((x / 2, y / 2) for x, y in ARCFACE_CROP.template), size=56)
    found = list(crop_photos(PhotoSet(crops, None), NAMES, [small, ARCFACE_CROP]))
    assert [photo.name for photo in found] == NAMES
    assert failures_of(found) == ((NAMES[5], "unreadable"), (NAMES[9], MISSING))
    for photo in found[:5]:
        pixels = pixels_of(crops / photo.name)
        np.testing.assert_array_equal(photo.crops[ARCFACE_CROP], pixels)
        np.testing.assert_array_equal(photo.crops[small], recrop(pixels[None], ARCFACE_CROP, small)[0])


def test_crops_are_cut_as_they_are_asked_for(crops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(
        photo_acquisition, "decode", lambda data, name: (read.append(name), decode(data, name))[1]
    )
    asked = crop_photos(PhotoSet(crops, None), NAMES, [ARCFACE_CROP])
    assert read == []
    assert [photo.name for photo in islice(asked, 2)] == NAMES[:2]
    asked.close()
    assert len(read) <= 2 + 2 * photo_acquisition.threads_available()


def test_none_of_them_there(crops: Path, models: list[Path]) -> None:
    with pytest.raises(UsageError, match="none of the 1 photos") as caught:
        embed_photos(PhotoSet(crops, None), ["Q/1.png"], models)
    assert "Q/1.png" in caught.value.fix
    with pytest.raises(UsageError, match="none of the 1 photos"):
        list(crop_photos(PhotoSet(crops, None), ["Q/1.png"], [ARCFACE_CROP]))
    with pytest.raises(UsageError, match="none of the 0 photos"):
        embed_photos(PhotoSet(crops, None), [], models)
    assert list(crop_photos(PhotoSet(crops, None), [], [ARCFACE_CROP])) == []


def test_photos_given_as_finished_crops(photos: Path, models: list[Path]) -> None:
    with pytest.raises(Misfit, match="aligned crops are 112 x 112 pixels"):
        embed_photos(PhotoSet(photos, None), ["a.jpg"], models)
    with pytest.raises(Misfit, match="aligned crops are 112 x 112 pixels"):
        list(crop_photos(PhotoSet(photos, None), ["a.jpg"], [ARCFACE_CROP]))


def test_faces_are_found_once_cut_as_asked_and_rated(photos: Path, models: list[Path]) -> None:
    names = ["a.jpg", "b.jpg", "absent.jpg"]
    box = BoxCrop(size=80)
    cropped = list(crop_photos(PhotoSet(photos), names, [box, ARCFACE_CROP]))
    embedded = embed_photos(PhotoSet(photos), names, models[:1], rate_quality=True, keep=names)
    plain = embed_photos(PhotoSet(photos), names, models[:1])
    np.testing.assert_array_equal(embedded.embeddings[0], plain.embeddings[0])
    assert [photo.quality for photo in plain.photos] == [None] * 3
    assert embedded.failures == failures_of(cropped) == (("absent.jpg", MISSING),)
    detector = make_detector("mtcnn", threads=1)
    for one, other in zip(cropped[:2], embedded.photos[:2], strict=True):
        photo = decode(photos / one.name)
        face = find_face(photo, detector)
        expected = cut(photo.pixels, face, ARCFACE_CROP)
        np.testing.assert_array_equal(one.crops[ARCFACE_CROP], expected)
        np.testing.assert_array_equal(other.crops[ARCFACE_CROP], expected)
        np.testing.assert_array_equal(one.crops[box], cut(photo.pixels, face, box))
        assert one.quality is None
        assert other.quality == pytest.approx(quality(expected, face))


def test_what_cards_and_reports_state(crops: Path) -> None:
    assert PhotoSet(crops, None).detector_name() == "none (aligned crops given)"
    assert PhotoSet(crops, None).aligner == "that of the crops"
    assert PhotoSet(crops).aligner == "facekd-five-points-2"
    with pytest.raises(UsageError, match="no detector is named"):
        PhotoSet(crops, "dlib").detector_name()
