"""`facekd data`: conversion between folder, zip and RecordIO, and people of a test in the training."""

from __future__ import annotations

import itertools
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_model import write_tiny_model

from facekd.cli.main import main
from facekd.preprocess import open_source
from facekd.preprocess.recordio import Image, write_records
from facekd.runtime import load_embedder
from facekd.training.data import open_crops


def picture(seed: int, suffix: str, quality: int = 95) -> bytes:
    base = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    setting = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == ".jpg" else []
    return cv2.imencode(suffix, cv2.resize(base, (112, 112)), setting)[1].tobytes()


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """Three people, whose folders' names sort oddly, and one crop of nobody known."""
    for number, name in enumerate(["a b/1.png", "a/1.webp", "a/2.jpg", "c/d/1.png", "alone.png"]):
        place = tmp_path / "crops" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture(number, place.suffix))
    return tmp_path / "crops"


def contents(path: Path) -> dict[str, set[bytes]]:
    """The bytes of each identity's images."""
    source, found = open_source(path), {}
    for name in source.names():
        found.setdefault(name.rpartition("/")[0], set()).add(source.read(name))
    return found


def test_from_form_to_form_nothing_is_lost(crops: Path, tmp_path: Path) -> None:
    way = [crops, tmp_path / "one.zip", tmp_path / "two.rec", tmp_path / "three.zip", tmp_path / "four"]
    for source, target in itertools.pairwise(way):
        assert main(["data", "convert", str(source), str(target)]) == 0
        assert contents(target) == contents(crops)
    with zipfile.ZipFile(way[3]) as pack:
        assert {m.compress_type for m in pack.infolist()} == {zipfile.ZIP_STORED}
        suffixes = {Path(name).suffix for name in pack.namelist()}
    assert suffixes == {".png", ".webp", ".jpg"}  # a .rec does not say; the bytes do
    folder, records = (open_crops([path]) for path in (crops, way[2]))
    assert sorted(folder.people) == sorted(records.people) == ["a", "a b", "c/d"]
    assert sorted(folder.counts()) == sorted(records.counts())
    first = records.names.index("a/000000002.jpg")
    assert np.array_equal(records.read(first), folder.read(folder.names.index("a/1.webp")))
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_folders_that_are_no_identities(crops: Path, tmp_path: Path) -> None:
    target = tmp_path / "flat.rec"
    assert main(["data", "convert", str(crops), str(target), "--unlabelled"]) == 0
    assert set(contents(target)) == {""}


def test_what_is_there_is_not_replaced(
    crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "one.zip"
    target.write_bytes(b"mine")
    assert main(["data", "convert", str(crops), str(target)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert target.read_bytes() == b"mine"
    assert main(["data", "convert", str(crops), str(target), "--force"]) == 0
    assert main(["data", "convert", str(target), str(crops), "--force"]) == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["data", "convert", str(empty), str(tmp_path / "x.zip")]) == 5
    assert not (tmp_path / "x.zip").exists()


def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = tmp_path / "evil.rec"
    write_records(pack, [Image(picture(0, ".png"), "../../outside")])
    for target in ("out", "out.zip"):
        assert main(["data", "convert", str(pack), str(tmp_path / target)]) == 5
        assert "leads elsewhere" in capsys.readouterr().err
        assert not (tmp_path / target).exists()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "model.onnx"
    write_tiny_model(file, dim=32)
    return file


Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def check(crops: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    def run(tested: dict[str, bytes], *options: str) -> tuple[int, str, str]:
        photos = tmp_path / "photos"
        photos.mkdir()
        for name, packed in tested.items():
            (photos / name).write_bytes(packed)
        given = ["--against", str(photos), "--model", str(model), "--aligned", *options]
        code = main(["data", "check", str(crops), *given])
        return code, *capsys.readouterr()

    return run


def test_a_photo_that_was_compressed_again_is_found(check: Check, tmp_path: Path) -> None:
    listing = tmp_path / "near.txt"
    code, out, err = check({"x.jpg": picture(1, ".jpg", 60)}, "--json", "--list", str(listing))
    answer = json.loads(out)
    assert code == 4
    assert "show people of the test" in err
    assert answer["same"] >= 1
    assert answer["near"][0]["crop"] == "crops/a/1.webp"
    assert answer["near"][0]["photo"] == "x.jpg"
    assert answer["crops"] == 5
    left = open_crops([tmp_path / "crops"], exclude=[listing])
    assert "a/1.webp" not in left.names


def test_a_face_that_is_only_near_is_listed_and_not_refused(
    check: Check, model: Path, tmp_path: Path
) -> None:
    """A photo half of which is a training crop: its cosine lies between the two bounds."""
    crop, stranger = (cv2.imdecode(np.frombuffer(picture(n, ".png"), np.uint8), 1) for n in (4, 99))
    photo = cv2.addWeighted(crop, 0.5, stranger, 0.5, 0)
    packed = cv2.imencode(".png", photo)[1].tobytes()
    source = open_source(tmp_path / "crops")
    shown = [cv2.imdecode(np.frombuffer(source.read(name), np.uint8), 1) for name in source.names()]
    rows = load_embedder(model).embed(np.stack([*shown, photo])[..., ::-1])
    cosines = dict(zip(source.names(), rows[:-1] @ rows[-1], strict=True))
    expected = float(cosines.pop("alone.png"))
    assert 0.5 < expected < 0.9
    assert max(cosines.values()) < 0.5
    listing = tmp_path / "near.txt"
    code, out, err = check({"x.png": packed}, "--json", "--list", str(listing))
    assert code == 0, err
    answer = json.loads(out)
    assert answer["same"] == 0
    (near,) = answer["near"]
    assert (near["crop"], near["photo"]) == ("crops/alone.png", "x.png")
    assert near["cosine"] == pytest.approx(
        float(rows[source.names().index("alone.png")] @ rows[-1]), abs=1e-3
    )
    assert listing.read_text() == "crops/alone.png\n"
    assert "people of the test" not in err


def test_photos_that_cannot_be_read_are_counted(check: Check) -> None:
    code, out, _ = check({"x.png": picture(1, ".png"), "y.png": b"broken"})
    assert code == 4
    assert "5 crops against 2 photos" in out
    assert "1 without an embedding" in out


def test_a_test_without_a_usable_photo_is_an_error(check: Check) -> None:
    code, _, err = check({"y.png": b"broken"})
    assert code == 5
    assert "no photo of these gave an embedding" in err
