"""`facekd identify`: search a gallery for the person in a photo."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from small_photos import need_mtcnn, write_photos
from tiny_model import write_tiny_model

from facekd.gallery import GalleryRecords


@pytest.fixture
def place(tmp_path: Path, facekd: Callable, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gallery of one person, photo a, beside b (the same face) and blank."""
    need_mtcnn()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEKD_GALLERY", "gallery.db")
    photos = write_photos(tmp_path)
    write_tiny_model(tmp_path / "tiny.onnx")
    ran = facekd("enroll", "Ann Lee", photos / "a.jpg", "-m", "tiny.onnx")
    assert ran.code == 0, ran.err
    return tmp_path


def test_one_photo_is_answered_by_the_exit_code(facekd: Callable, place: Path) -> None:
    photo = place / "b.jpg"
    found = facekd("identify", photo, "-m", "tiny.onnx", "--threshold", "0.5", "--json")
    assert found.code == 0, found.err
    told = json.loads(found.out)
    assert (told["schema"], told["decision"], told["name"]) == ("identify/1", "found", "Ann Lee")
    assert [candidate["name"] for candidate in told["candidates"]] == ["Ann Lee"]
    with GalleryRecords(place / "gallery.db", read_only=True) as records:
        assert told["people"] == len(records.names()) == 1
    # the score is that of a claim
    claim = json.loads(
        facekd("verify", "--claim", "Ann Lee", photo, "-m", "tiny.onnx", "--threshold", "0.5", "--json").out
    )
    assert told["candidates"][0]["score"] == pytest.approx(claim["score"], abs=1e-6)
    nobody = facekd("identify", photo, "-m", "tiny.onnx", "--threshold", "1")
    assert nobody.code == 1
    assert nobody.out.splitlines()[0].endswith("nobody (threshold 1.0000, given)")
    assert "Ann Lee" in nobody.out


def test_without_a_threshold_there_are_candidates_and_what_would_be_enough(
    facekd: Callable, place: Path
) -> None:
    ran = facekd("identify", place / "b.jpg", "-m", "tiny.onnx", "--json")
    assert ran.code == 2
    told = json.loads(ran.out)
    assert (told["decision"], told["name"], told["threshold"]) == ("insufficient", None, None)
    assert told["candidates"][0]["name"] == "Ann Lee"
    assert "5,971 people in the gallery would be enough" in told["rule"]["insufficient"]
    assert told["rule"]["insufficient"] in ran.err


def test_a_folder_is_a_line_for_each_photo_and_never_ends_with_1(facekd: Callable, place: Path) -> None:
    (place / "mixed").mkdir()
    for name in ("a.jpg", "blank.jpg"):
        (place / "mixed" / name).write_bytes((place / name).read_bytes())
    ran = facekd("identify", place / "mixed", "-m", "tiny.onnx", "--threshold", "0.5", "--json")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [(line["photo"], line["decision"]) for line in lines] == [("a.jpg", "found"), ("blank.jpg", None)]
    assert lines[1]["failure"]["reason"] == "no_face"
    assert ran.code == 3
    two = (place / "c.jpg", place / "b.jpg")
    none = facekd("identify", *two, "-m", "tiny.onnx", "--threshold", "1")
    assert none.code == 0
    assert none.out.count("nobody") == 2
    assert facekd("identify", place / "blank.jpg", "-m", "tiny.onnx", "--threshold", "0.5").code == 3


def test_the_gallery_measures_its_own_thresholds_and_lists_doubles(facekd: Callable, place: Path) -> None:
    alone = facekd("gallery", "calibrate")
    assert (alone.code, "1 person is enrolled" in alone.err) == (2, True)
    assert facekd("enroll", "Bo", place / "mirrored.jpg", "-m", "tiny.onnx", "--force").code == 0
    ran = facekd("gallery", "calibrate", "--json")
    told = json.loads(ran.out)
    assert (ran.code, told["people"]) == (0, 2)
    assert {one["needed"] for one in told["thresholds"]} == {78, 246, 776, 2450, 571, 5971}
    assert (place / "gallery.db-scores").stat().st_mode & 0o777 == 0o600
    listed = facekd("gallery", "dedupe")
    assert (listed.code, listed.out) == (0, "")
    assert "0 suspected duplicates among 2 people" in listed.err
