"""`--annotate` of verify and identify: a picture beside the same answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

GREEN, RED = (ImageColor.getrgb(colour) for colour in ("#00805a", "#c4410c"))


def colours(file: Path) -> set[tuple[int, int, int]]:
    with Image.open(file) as picture:
        return {(r, g, b) for _, (r, g, b) in picture.convert("RGB").getcolors(1 << 24)}


def test_verify_draws_beside_the_same_answer(
    facekd: Callable, operator: Path, photos: Path, tmp_path: Path
) -> None:
    pair = ("verify", photos / "a.jpg", photos / "mirrored.jpg")
    for threshold, code, colour in (("-1", 0, GREEN), ("1", 1, RED)):
        alone = facekd(*pair, "--threshold", threshold)
        drawn = facekd(*pair, "--threshold", threshold, "--annotate", tmp_path / "out.png")
        assert (drawn.code, drawn.out, drawn.err) == (code, alone.out, alone.err)
        assert colour in colours(tmp_path / "out.png")
        with Image.open(tmp_path / "out.png") as picture:
            assert picture.width > 2 * 480


def test_the_crops_are_those_that_the_model_saw(
    facekd: Callable, operator: Path, photos: Path, tmp_path: Path, tiny: Path
) -> None:
    from facekd.reporting import draw_annotation
    from facekd.workflows import Recognizer, annotate_verification

    recognizer = Recognizer(tiny, threshold=0.5)
    pair = (photos / "a.jpg", photos / "mirrored.jpg")
    seen: list[np.ndarray] = []
    embed = recognizer.embedder.embed
    recognizer.embedder.embed = lambda crops: (seen.append(crops[0]), embed(crops))[1]  # type: ignore[method-assign]
    decision = recognizer.verify(*pair)
    annotation = annotate_verification(recognizer, decision, pair, "same person")
    for crop, photo in zip(seen[::2], annotation.photos, strict=True):  # each is followed by its mirror image
        np.testing.assert_array_equal(crop, photo.faces[0].crop)
    assert draw_annotation(annotation).shape[2] == 3


def test_a_photo_that_was_changed_is_not_drawn(photos: Path, tiny: Path, tmp_path: Path) -> None:
    from facekd.errors import InputOutput
    from facekd.workflows import Recognizer, annotate_verification

    first, second = tmp_path / "first.jpg", tmp_path / "second.jpg"
    first.write_bytes((photos / "a.jpg").read_bytes())
    second.write_bytes((photos / "b.jpg").read_bytes())
    recognizer = Recognizer(tiny, threshold=0.5)
    decision = recognizer.verify(first, second)
    second.write_bytes((photos / "mirrored.jpg").read_bytes())
    with pytest.raises(InputOutput, match="changed"):
        annotate_verification(recognizer, decision, (first, second), "same person")


def test_a_claim_and_a_search(facekd: Callable, operator: Path, photos: Path, tmp_path: Path) -> None:
    assert facekd("enroll", "Zoë Łuk", photos / "a.jpg").code == 0
    claim = ("verify", "--claim", "Zoë Łuk", photos / "b.jpg", "--threshold", "0.5")
    assert facekd(*claim, "--annotate", tmp_path / "claim.png").code == 0
    assert GREEN in colours(tmp_path / "claim.png")
    search = ("identify", photos / "b.jpg", "--threshold", "0.5")
    assert facekd(*search, "--annotate", tmp_path / "one.png").code == 0
    assert GREEN in colours(tmp_path / "one.png")
    both = facekd(
        "identify",
        photos / "two.jpg",
        "--all-faces",
        "--threshold",
        "0.99",
        "--annotate",
        tmp_path / "two.png",
    )
    assert both.code == 0, both.err
    assert {GREEN, RED} <= colours(tmp_path / "two.png")  # found in the one half, nobody in the other


def test_several_photos_go_into_a_folder(
    facekd: Callable, operator: Path, photos: Path, tmp_path: Path
) -> None:
    assert facekd("enroll", "Ann", photos / "a.jpg").code == 0
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for name in ("a.jpg", "blank.jpg", "two.jpg"):
        (tmp_path / "in" / name).write_bytes((photos / name).read_bytes())
    call = ("identify", tmp_path / "in", "--threshold", "0.5", "--annotate")
    assert facekd(*call, tmp_path / "out").code == 3
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["a.jpg", "two.jpg"]
    for place in (tmp_path / "out.jpg", tmp_path / "in"):
        assert facekd(*call, place).code == 2
    assert (tmp_path / "in" / "a.jpg").read_bytes() == (photos / "a.jpg").read_bytes()


def test_a_place_that_cannot_be_is_refused_before_anything_is_read(
    facekd: Callable, operator: Path, photos: Path, tmp_path: Path
) -> None:
    for place in ("out.pdf", "no/out.jpg"):
        for call in (("verify", "absent.jpg", "b.jpg"), ("identify", "absent.jpg")):
            ran = facekd(*call, "--threshold", "0.5", "--annotate", tmp_path / place)
            assert ran.code == 2, ran.err
    own = facekd("verify", photos / "a.jpg", photos / "b.jpg", "--annotate", photos / "b.jpg")
    assert (own.code, "the photo itself" in own.err) == (2, True)
    many = facekd("verify", "--all", photos, "--annotate", tmp_path / "out.jpg")
    assert (many.code, "--annotate draws one comparison" in many.err) == (2, True)


def test_without_an_answer_there_is_no_picture(
    facekd: Callable, operator: Path, photos: Path, tmp_path: Path
) -> None:
    pair = ("verify", photos / "a.jpg", photos / "blank.jpg", "--threshold", "0.5")
    assert facekd(*pair, "--annotate", tmp_path / "out.jpg").code == 3
    assert not (tmp_path / "out.jpg").exists()
