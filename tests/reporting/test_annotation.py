"""The picture of an answer: what is marked where, in which letters, and in which file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from facekd.errors import UsageError
from facekd.reporting import (
    Annotation,
    MarkedFace,
    MarkedPhoto,
    check_annotation,
    check_annotation_folder,
    draw_annotation,
    file_in,
    write_annotation,
)
from facekd.reporting.annotation import drawable

GREEN, RED, BLUE = (ImageColor.getrgb(colour) for colour in ("#00805a", "#c4410c", "#0072b2"))
POINTS = ((250.0, 250.0), (350.0, 250.0), (300.0, 300.0), (260.0, 350.0), (340.0, 350.0))
BOX = (200.0, 200.0, 400.0, 420.0)
#: pixels from the edge to the photo
MARGIN = 16


def marked(
    matches: bool | None = True, label: str = "Ann", grey: int = 120, size: tuple[int, int] = (640, 640)
) -> MarkedPhoto:
    crop = np.full((112, 112, 3), (200, 30, 200), np.uint8)
    face = MarkedFace(BOX, POINTS, label, crop, matches)
    return MarkedPhoto("door.jpg", np.full((*size, 3), grey, np.uint8), (face,))


def drawn(*photos: MarkedPhoto, verdict: str = "same person", lines: tuple[str, ...] = ()) -> np.ndarray:
    return draw_annotation(Annotation(photos, verdict, lines, True))


@pytest.mark.parametrize(("matches", "colour"), [(True, GREEN), (False, RED), (None, BLUE)])
def test_box_and_landmarks_lie_where_the_photo_has_them(
    matches: bool | None, colour: tuple[int, int, int]
) -> None:
    picture = drawn(marked(matches))
    for x, y in (*POINTS, (BOX[0], 300), (BOX[2], 300), (300, BOX[3])):
        assert tuple(picture[MARGIN + int(y), MARGIN + int(x)]) == colour, (x, y)
    assert tuple(picture[MARGIN + 220, MARGIN + 300]) == (120, 120, 120)  # the rest is the photo


def test_two_photos_and_their_crops_stand_side_by_side() -> None:
    picture = drawn(marked(grey=90, size=(480, 480)), marked(grey=150, size=(480, 480)))
    row = picture[MARGIN + 20]
    first, second = (np.flatnonzero((row == grey).all(axis=1)) for grey in (90, 150))
    assert first.max() < second.min()
    crops = (picture[MARGIN + 600] == (200, 30, 200)).all(axis=1)
    starts = np.flatnonzero(np.diff(crops.astype(int)) == 1)
    assert len(starts) == 2


def test_a_small_photo_is_enlarged_and_a_large_one_reduced_with_its_marks() -> None:
    small = drawn(MarkedPhoto("s.jpg", np.full((64, 64, 3), 120, np.uint8), ()))
    assert small.shape[1] >= 640
    large = np.full((3200, 3200, 3), 120, np.uint8)
    box = (1000.0, 1000.0, 2000.0, 2000.0)
    face = MarkedFace(box, ((1500.0, 1500.0),), "", np.zeros((112, 112, 3), np.uint8), True)
    picture = drawn(MarkedPhoto("l.jpg", large, (face,)))
    assert picture.shape[1] <= 1700
    assert tuple(picture[MARGIN + 750, MARGIN + 750]) == GREEN


def test_labels_do_not_cover_each_other() -> None:
    photo = marked(label="Ann")
    twice = MarkedPhoto("two.jpg", photo.pixels, (photo.faces[0], photo.faces[0]))
    picture = drawn(twice)
    for top in (BOX[1] - 20, BOX[3] + 6):  # above and below
        assert tuple(picture[MARGIN + int(top), MARGIN + int(BOX[0]) + 2]) == GREEN


@pytest.mark.parametrize("size", [(20, 1200), (1200, 20), (1, 1)])
def test_it_holds_whatever_the_shape_and_the_words(size: tuple[int, int]) -> None:
    picture = drawn(
        marked(label="N" * 500, size=size), verdict="V" * 500, lines=("word " * 200, "", "x" * 900)
    )
    assert picture.dtype == np.uint8
    assert max(picture.shape) < 4000


def test_what_the_font_lacks_is_escaped() -> None:
    assert drawable("Zoë Łuk Ńå Ελένη Жанна") == "Zoë Łuk Ńå Ελένη Жанна"
    assert drawable("漢字 Ann") == "\\u6f22\\u5b57 Ann"
    assert drawable("a\nb\x1b[31m\u202e") == "a\\nb\\x1b[31m\\u202e"
    assert drawable("\U0001f9d1") == "\\U0001f9d1"


def test_letters_are_drawn_and_not_boxes() -> None:
    """Two letters that the font has no glyph for would look the same."""
    pictures = [drawn(marked(label="")), *(drawn(marked(label=""), verdict=name) for name in "ŁЖ漢字")]
    shapes = {picture.tobytes() for picture in pictures}
    assert len(shapes) == len(pictures)


class TestFiles:
    @pytest.mark.parametrize(
        ("suffix", "kind"), [("jpg", "JPEG"), ("JPEG", "JPEG"), ("png", "PNG"), ("webp", "WEBP")]
    )
    def test_the_suffix_says_the_format(self, tmp_path: Path, suffix: str, kind: str) -> None:
        file = tmp_path / f"out.{suffix}"
        file.write_text("old")
        check_annotation(file, [])
        annotation = Annotation((marked(),), "same person", (), True)
        write_annotation(annotation, file)
        with Image.open(file) as picture:
            assert (picture.format, picture.size) == (kind, draw_annotation(annotation).shape[1::-1])
        assert list(tmp_path.iterdir()) == [file]

    def test_what_is_refused(self, tmp_path: Path) -> None:
        photo = tmp_path / "a.jpg"
        photo.write_text("a photo")
        (tmp_path / "folder.jpg").mkdir()
        (tmp_path / "link.jpg").symlink_to(photo)
        for path, told in (
            ("out.pdf", "end with .jpg"), ("out", "end with .jpg"), ("no/out.jpg", "folder does not exist"),
            ("folder.jpg", "is a folder"), ("a.jpg", "the photo itself"), ("link.jpg", "the photo itself"),
        ):  # fmt: skip
            with pytest.raises(UsageError, match=told):
                check_annotation(tmp_path / path, [photo])

    def test_a_folder_is_not_that_of_the_photos(self, tmp_path: Path) -> None:
        photos, out = tmp_path / "photos", tmp_path / "out"
        (photos / "below").mkdir(parents=True)
        out.mkdir()
        (photos / "a.jpg").write_text("a photo")
        check_annotation_folder(out, [photos, photos / "a.jpg"])
        check_annotation_folder(photos / "below", [photos / "a.jpg"])
        for folder, given in ((photos, photos), (photos / "below", photos), (photos, photos / "a.jpg")):
            with pytest.raises(UsageError, match="the photos are in this folder"):
                check_annotation_folder(folder, [given])
        with pytest.raises(UsageError, match="give a folder that exists"):
            check_annotation_folder(tmp_path / "absent", [photos])

    def test_a_file_in_it_for_every_photo(self, tmp_path: Path) -> None:
        taken: set[str] = set()
        names = [
            "Ann/a.jpg",
            "Ann_a.png",
            "../../etc/a.jpg",
            "/abs/a.jpg",
            "漢.jpg",
            ".jpg",
            "x" * 300 + ".jpg",
            "ä" * 150,
        ]
        files = [file_in(tmp_path, name, taken) for name in names]
        assert [file.name for file in files[:6]] == [
            "Ann_a.jpg", "Ann_a-2.jpg", "etc_a.jpg", "abs_a.jpg", "_u6f22.jpg", "jpg.jpg"
        ]  # fmt: skip
        assert {file.parent for file in files} == {tmp_path}
        assert len({file.name.lower() for file in files}) == len(files)
        for file in files:
            file.write_text("fits")
