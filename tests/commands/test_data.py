"""`facekd data`: conversion between folder, zip and RecordIO, and people of a test in the training."""

from __future__ import annotations

import hashlib
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
from facekd.preprocess import identity_of, open_source
from facekd.preprocess.sources.recordio import Image, write_records
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


def contents(path: Path) -> dict[str | None, set[bytes]]:
    """The bytes of each identity's images."""
    source, found = open_source(path), {}
    for name in source.names():
        found.setdefault(identity_of(name), set()).add(source.read(name))
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
    assert sorted(folder.people) == sorted(records.people) == ["a", "a b", "c"]
    assert sorted(folder.counts()) == sorted(records.counts())
    first = records.names.index("a/000000002.jpg")
    assert np.array_equal(records.read(first), folder.read(folder.names.index("a/1.webp")))
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_folders_that_are_no_identities(crops: Path, tmp_path: Path) -> None:
    target = tmp_path / "flat.rec"
    assert main(["data", "convert", str(crops), str(target), "--unlabelled"]) == 0
    assert set(contents(target)) == {None}


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
        assert "points outside the target" in capsys.readouterr().err
        assert not (tmp_path / target).exists()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "model.onnx"
    write_tiny_model(file, dim=32)
    return file


def write_photos(folder: Path, photos: dict[str, bytes]) -> Path:
    for name, packed in photos.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(packed)
    return folder


Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def check(crops: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    def run(tested: dict[str, bytes], *options: str) -> tuple[int, str, str]:
        photos = write_photos(tmp_path / "photos", tested)
        given = ["--against", str(photos), "--model", str(model), "--aligned", *options]
        code = main(["data", "check", str(crops), *given])
        return code, *capsys.readouterr()

    return run


def test_a_photo_that_was_compressed_again_is_found(check: Check, tmp_path: Path) -> None:
    listing = tmp_path / "near.txt"
    code, out, err = check({"x.jpg": picture(1, ".jpg", 60)}, "--json", "--list", str(listing))
    answer = json.loads(out)
    assert code == 4
    assert "show people of the test set" in err
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
    assert "none of the photos gave an embedding" in err


def test_the_people_of_the_test_are_counted_and_named(check: Check, tmp_path: Path) -> None:
    tested = {
        "Bo/1.png": picture(1, ".jpg", 60),
        "Ann/2.png": picture(4, ".jpg", 60),
        "Cid/1.png": picture(77, ".png"),
    }
    named = tmp_path / "people.txt"
    code, out, err = check(tested, "--people", str(named))
    assert code == 4
    assert named.read_text() == "Ann\nBo\n"
    assert "2 people of the test set in" in err
    assert "2 at 0.5 or more, like 2 people of the test set, 2 at 0.9 or more" in out


def test_people_need_folders(check: Check, tmp_path: Path) -> None:
    named = tmp_path / "people.txt"
    code, out, err = check(
        {"x.jpg": picture(1, ".jpg"), "Ann/1.png": picture(4, ".png")}, "--people", str(named)
    )
    assert (code, out, named.exists()) == (2, "", False)
    assert "1 photos are not in a person's folder, the first of them x.jpg" in err


def test_photos_without_folders_are_of_nobody_known(check: Check) -> None:
    code, out, _ = check({"x.jpg": picture(1, ".jpg")}, "--json")
    assert (code, json.loads(out)["people"]) == (4, None)


@pytest.fixture
def stated(crops: Path, model: Path, tmp_path: Path) -> Path:
    """A recipe of two packs, one of which it leaves out entirely: of five crops one is held out, one
    excluded; seven more are in no folder."""
    for seed in range(7):
        write_photos(tmp_path / "more", {f"{seed}.png": picture(100 + seed, ".png")})
        write_photos(tmp_path / "none", {"gone.png": picture(200, ".png")})
    (tmp_path / "heldout.txt").write_text("a b\n")
    (tmp_path / "exclude.txt").write_text("crops/a/2.jpg\nnone/gone.png\n")
    file = tmp_path / "recipe.toml"
    file.write_text(
        '[data]\nlabelled = ["crops"]\nunlabelled = ["more", "none"]\nheldout = "heldout.txt"\n'
        'exclude = ["exclude.txt"]\nshare = 1.0\n'
        f'[teacher]\nmodels = ["{model.name}"]\n'
        '[[loss]]\nname = "cosine"\n[schedule]\nimages = 96\nbatch = 8\n'
    )
    return file


def test_a_recipe_is_checked_by_what_it_trains_on(
    stated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All twelve images are photos of the test; those that the recipe leaves out are not found."""
    tested = {f"P{n}/1.png": picture(n, (".png", ".webp", ".jpg", ".png", ".png")[n]) for n in range(5)}
    tested |= {f"P{n}/1.png": picture(n, ".png") for n in (*range(100, 107), 200)}
    photos, named = write_photos(tmp_path / "photos", tested), tmp_path / "people.txt"
    given = ["data", "check", "--recipe", str(stated), "--against", str(photos), "--aligned", "--json"]
    assert main([*given, "--people", str(named)]) == 4
    answer = json.loads(capsys.readouterr().out)
    assert answer["crops"] == 10
    found = {near["crop"] for near in answer["near"] if near["cosine"] > 0.98}
    assert found == {"crops/a/1.webp", "crops/c/d/1.png", "crops/alone.png"} | {
        f"more/{n}.png" for n in range(7)
    }
    assert named.read_text().split() == answer["people"]
    assert {"P1", "P3", "P4"} | {f"P{n}" for n in range(100, 107)} <= set(answer["people"])
    stated.write_text(stated.read_text().replace("share = 1.0", "share = 0.5"))
    assert main(given) == 4
    half = json.loads(capsys.readouterr().out)
    names = ["crops/a/1.webp", "crops/c/d/1.png", "crops/alone.png", *(f"more/{n}.png" for n in range(7))]
    low = {n for n in names if hashlib.sha256(n.split("/", 1)[1].encode()).digest()[0] < 128}
    assert half["crops"] == len(low) < 10
    assert {near["crop"] for near in half["near"] if near["cosine"] > 0.98} == low


def test_crops_of_a_recipe_are_embedded_once(
    stated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time they come from the cache of targets; a crop cut anew is embedded anew."""
    photos = write_photos(
        tmp_path / "photos", {"A/1.png": picture(100, ".png"), "B/1.png": picture(50, ".png")}
    )
    given = ["data", "check", "--recipe", str(stated), "--against", str(photos), "--aligned", "--json"]
    assert main(given) == 4
    first = capsys.readouterr()
    assert "labels 10 views" in first.err

    def fail(*_: object) -> None:
        raise AssertionError("asked again")

    with monkeypatch.context() as patched:
        patched.setattr("facekd.models.teachers.onnx.OnnxTeacher.targets", fail)
        assert main(given) == 4
    second = capsys.readouterr()
    assert second.out == first.out
    assert "labels" not in second.err
    write_photos(tmp_path / "more", {"0.png": picture(50, ".png")})
    assert main(given) == 4
    alike = {near["crop"]: near["photo"] for near in json.loads(capsys.readouterr().out)["near"]}
    assert json.loads(first.out)["near"][0]["photo"] == "A/1.png"
    assert alike["more/0.png"] == "B/1.png"


def test_a_recipe_names_the_model_or_the_option_does(
    stated: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = write_photos(tmp_path / "photos", {"A/1.png": picture(50, ".png")})
    given = ["data", "check", "--recipe", str(stated), "--against", str(photos), "--aligned"]
    stated.write_text(stated.read_text().replace("model.onnx", "net.safetensors"))
    assert main(given) == 2
    told = capsys.readouterr().err
    assert "first teacher is not an ONNX file (net.safetensors)" in told
    assert "--model FILE.onnx" in told
    assert main([*given, "--model", str(model)]) == 0
    assert (
        "10 crops against 1 photos: 0 at 0.5 or more, like 0 people of the test set"
        in capsys.readouterr().out
    )
    stated.write_text(stated.read_text().replace("net.safetensors", "absent.onnx"))
    assert main(given) == 5
    assert "absent.onnx" in capsys.readouterr().err
    (tmp_path / "more").rename(tmp_path / "moved")
    assert main([*given, "--model", str(model)]) == 5
    assert "more: no such file or folder" in capsys.readouterr().err


def test_crops_or_a_recipe(
    stated: Path, crops: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["data", "check", "--against", str(crops), "--aligned"]
    for arguments in ([], [str(crops), "--recipe", str(stated)]):
        assert main([*given, "--model", str(model), *arguments]) == 2
        assert "Give either CROPS... or --recipe" in capsys.readouterr().err
    assert main([*given, str(crops)]) == 2
    assert "Missing option '--model'" in capsys.readouterr().err
    assert main([*given, "--recipe", str(crops / "absent.toml")]) == 2
    assert "does not exist" in capsys.readouterr().err
