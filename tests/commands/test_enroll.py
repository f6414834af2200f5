import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tiny_model import write_tiny_model

from facekd.gallery import GalleryRecords
from facekd.workflows.recognizer import Recognizer


def people(gallery: Path) -> dict[str, int]:
    with GalleryRecords(gallery) as records:
        return {person.name: person.templates for person in records.people()}


def test_several_photos_of_one_person(facekd, operator: Path, photos: Path, tiny: Path) -> None:
    ran = facekd("enroll", "Ann Lee", photos / "a.jpg", photos / "b.jpg")
    assert ran.code == 0
    assert ran.err.count("\n") == ran.err.count("never calibrated") == 1
    assert ran.out == "enrolled Ann Lee: 2 new, 0 already there, 0 failed, 2 in the gallery\n"
    recognizer = Recognizer.load(tiny)
    with GalleryRecords(operator, recognizer.contract) as records:
        for file, template in zip(("a.jpg", "b.jpg"), records.templates("Ann Lee"), strict=True):
            assert template.photo == hashlib.sha256((photos / file).read_bytes()).hexdigest()
            expected = recognizer.recognise(photos / file).embedding
            np.testing.assert_allclose(template.embedding, expected, atol=1e-5)


def test_unusable_photos_are_reported_and_the_others_enrolled(facekd, operator: Path, photos: Path) -> None:
    files = ("a.jpg", "blank.jpg", "cut.jpg", "text.jpg", "empty.jpg", "absent.jpg", "two.jpg")
    ran = facekd("enroll", "Ann", *(photos / f for f in files), "--json")
    assert ran.code == 0
    answer = json.loads(ran.out)
    assert (answer["name"], answer["added"], answer["templates"]) == ("Ann", 1, 1)
    reasons = {Path(f["photo"]).name: f["reason"] for f in answer["failures"]}
    assert reasons == {
        "blank.jpg": "no_face",
        "cut.jpg": "unreadable",
        "text.jpg": "unreadable",
        "empty.jpg": "unreadable",
        "absent.jpg": "io",
        "two.jpg": "several_faces",
    }
    for file in files[1:]:
        assert file in ran.err


@pytest.mark.parametrize(
    ("files", "code"),
    [
        (["blank.jpg"], 3),
        (["two.jpg"], 3),
        (["cut.jpg"], 5),
        (["absent.jpg"], 5),
        (["absent/a.jpg"], 5),
        (["blank.jpg", "cut.jpg"], 3),
    ],
)
def test_without_a_usable_photo_nobody_is_enrolled(facekd, operator: Path, photos: Path, files, code) -> None:
    ran = facekd("enroll", "Ann", *(photos / f for f in files))
    assert (ran.code, ran.out) == (code, "")
    assert files[0] in ran.err
    assert not operator.exists() or people(operator) == {}


def test_several_faces_need_a_word(facekd, operator: Path, photos: Path) -> None:
    assert "--on-many" in facekd("enroll", "Ann", photos / "two.jpg").err
    assert facekd("enroll", "Ann", photos / "two.jpg", "--on-many", "largest").code == 0
    assert people(operator) == {"Ann": 1}


def test_the_same_photo_again_is_passed_over(facekd, operator: Path, photos: Path) -> None:
    facekd("enroll", "Ann", photos / "a.jpg")
    ran = facekd("enroll", "Ann", photos / "a.jpg", photos / "b.jpg", photos / "b.jpg", "--json")
    answer = json.loads(ran.out)
    assert (answer["added"], answer["present"], answer["templates"]) == (1, 2, 2)
    assert facekd("enroll", "Ann", photos / "a.jpg").code == 0


def test_one_photo_is_not_two_people(facekd, operator: Path, photos: Path) -> None:
    facekd("enroll", "Ann", photos / "a.jpg")
    ran = facekd("enroll", "Bo", photos / "a.jpg")
    assert (ran.code, ran.out) == (3, "")
    assert "already enrolled as 'Ann'" in ran.err
    assert people(operator) == {"Ann": 1}


def test_a_folder_is_all_its_photos(facekd, operator: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "ann" / "2024").mkdir(parents=True)
    shutil.copy(photos / "a.jpg", tmp_path / "ann")
    shutil.copy(photos / "b.jpg", tmp_path / "ann" / "2024")
    assert facekd("enroll", "Ann", tmp_path / "ann").code == 0
    assert people(operator) == {"Ann": 2}
    (tmp_path / "none").mkdir()
    assert facekd("enroll", "Bo", tmp_path / "none").code == 5


@pytest.fixture
def tree(tmp_path: Path, photos: Path) -> Path:
    for person, file in (("Ann", "a.jpg"), ("Bo", "b.jpg"), ("Cy", "blank.jpg"), ("Di", "mirrored.jpg")):
        (tmp_path / "people" / person).mkdir(parents=True)
        shutil.copy(photos / file, tmp_path / "people" / person)
    return tmp_path / "people"


def test_everybody_from_a_folder(facekd, operator: Path, tree: Path) -> None:
    ran = facekd("enroll", "--from", tree)
    assert ran.code == 3  # Cy has no usable photo
    assert [line.split(":")[0] for line in ran.out.splitlines()] == [
        "enrolled Ann", "enrolled Bo", "enrolled Di"
    ]  # fmt: skip
    assert "Cy" in ran.err
    assert people(operator) == {"Ann": 1, "Bo": 1, "Di": 1}


def test_json_lines_for_a_folder(facekd, operator: Path, tree: Path) -> None:
    lines = [json.loads(line) for line in facekd("enroll", "--from", tree, "--json").out.splitlines()]
    assert [(line["name"], line["added"]) for line in lines] == [("Ann", 1), ("Bo", 1), ("Cy", 0), ("Di", 1)]
    shutil.rmtree(tree / "Cy")
    again = facekd("enroll", "--from", tree, "--json")
    assert again.code == 0
    assert {json.loads(line)["present"] for line in again.out.splitlines()} == {1}


def test_everybody_from_a_zip(facekd, operator: Path, tree: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "people.zip", "w") as pack:
        for file in tree.rglob("*.jpg"):
            pack.write(file, file.relative_to(tree))
    assert facekd("enroll", "--from", tmp_path / "people.zip").code == 3
    assert people(operator) == {"Ann": 1, "Bo": 1, "Di": 1}


def test_a_photo_in_nobodys_folder(facekd, operator: Path, tree: Path, photos: Path) -> None:
    shutil.copy(photos / "c.jpg", tree)
    ran = facekd("enroll", "--from", tree)
    assert ran.code == 2
    assert "c.jpg" in ran.err


def test_a_model_of_another_space_does_not_fit(facekd, operator: Path, photos: Path, tmp_path: Path) -> None:
    facekd("enroll", "Ann", photos / "a.jpg")
    other = write_tiny_model(tmp_path / "other.onnx", seed=1)
    ran = facekd("enroll", "Bo", photos / "b.jpg", "--model", other)
    assert (ran.code, ran.out) == (4, "")
    assert "tiny" in ran.err
    assert "other" in ran.err
    assert people(operator) == {"Ann": 1}


@pytest.mark.parametrize(
    "arguments",
    [(), ("Ann",), ("--from", "x", "Ann"), ("", "x.jpg"), ("a\nb", "x.jpg"), ("x" * 300, "x.jpg")],
)
def test_calls_that_make_no_sense(facekd, operator: Path, arguments: tuple[str, ...]) -> None:
    ran = facekd("enroll", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert not operator.exists()


def test_a_gallery_that_is_none(facekd, operator: Path, photos: Path) -> None:
    for gallery in (photos / "a.jpg", photos, photos / "no" / "gallery.db"):
        ran = facekd("enroll", "Ann", photos / "a.jpg", "--gallery", gallery)
        assert (ran.code, ran.out) == (5, "")
        assert "Traceback" not in ran.err


@pytest.mark.needs_faces
def test_real_people(facekd, operator: Path, faces: Path, tmp_path: Path) -> None:
    """Each of six people of LFW, enrolled from one photo, is nearest to their other photo."""
    with zipfile.ZipFile(faces / "lfw.zip") as pack:
        by_person: dict[str, list[str]] = {}
        for name in pack.namelist():
            by_person.setdefault(name.split("/")[0], []).append(name)
        chosen = [files[:2] for files in by_person.values() if len(files) >= 2][:6]
        pack.extractall(tmp_path / "lfw", [name for files in chosen for name in files])
    model = faces / "models" / "edgeface_xs.onnx"
    detector = f"scrfd:{faces / 'detectors' / 'scrfd_500m.onnx'}"
    recognizer = Recognizer.load(model, detector)
    for enrolled, _ in chosen:
        ran = facekd(
            "enroll", enrolled.split("/")[0], tmp_path / "lfw" / enrolled,
            "--model", model, "--detector", detector, "--on-many", "best",
        )  # fmt: skip
        assert ran.code == 0
    with GalleryRecords(operator, recognizer.contract) as records:
        names = [person.name for person in records.people()]
        rows = np.stack([records.templates(name)[0].embedding for name in names])
    for _, probe in chosen:
        scores = rows @ recognizer.recognise(tmp_path / "lfw" / probe).embedding
        assert names[int(scores.argmax())] == probe.split("/")[0]
