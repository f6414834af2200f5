import hashlib
import json
import shutil
import sqlite3
import zipfile
from pathlib import Path

import numpy as np
import pytest
from carded import by_convention
from tiny_model import write_tiny_model

from facekd.card import Calibration, Counts, card_of, load_onnx, write_card
from facekd.gallery import GalleryRecords
from facekd.preprocess import ALIGNER
from facekd.workflows.recognizer import Recognizer


def people(gallery: Path) -> dict[str, int]:
    with GalleryRecords(gallery) as records:
        return {person.name: person.templates for person in records.people()}


def test_several_photos_of_one_person(facekd, operator: Path, photos: Path, tiny: Path) -> None:
    ran = facekd("enroll", "Ann Lee", photos / "a.jpg", photos / "b.jpg")
    assert ran.code == 0
    assert ran.err.count("\n") == ran.err.count("not calibrated") == 1
    assert ran.out == "enrolled Ann Lee: 2 new, 0 already there, 0 failed, 2 in the gallery\n"
    recognizer = Recognizer(tiny)
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
        (["blank.jpg", "cut.jpg"], 5),
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
    assert people(operator) == {"Ann": 1, "Bo": 1, "Di": 1}


def test_a_folder_ends_with_a_summary(facekd, operator: Path, tree: Path, photos: Path) -> None:
    """Who was not enrolled is named with the reasons, and a hint is given once."""
    shutil.copy(photos / "cut.jpg", tree / "Cy")
    for person in ("Eve", "Flo"):
        (tree / person).mkdir()
        shutil.copy(photos / "two.jpg", tree / person)
    shutil.copy(photos / "two.jpg", tree / "Ann")
    (tree / "G\u200by").mkdir()
    shutil.copy(photos / "c.jpg", tree / "G\u200by")
    ran = facekd("enroll", "--from", tree)
    assert ran.code == 5  # the gravest: a photo of Cy is no image
    assert ran.err.splitlines()[-7:] == [
        "3 of 7 people enrolled: 3 photos new, 0 already there",
        "not enrolled: Cy (1 no_face, 1 unreadable)",
        "not enrolled: Eve (1 several_faces)",
        "not enrolled: Flo (1 several_faces)",
        f"not enrolled: {tree}/G\\u200by (1 name)",
        "photos not enrolled: 3 several_faces, 1 no_face, 1 unreadable, 1 name",
        "--on-many best takes the largest face near the centre of a photo with several.",
    ]
    assert ran.err.count("--on-many") == 1
    again = facekd("enroll", "--from", tree)
    assert "3 of 7 people enrolled: 0 photos new, 3 already there" in again.err


def test_json_says_what_the_guard_did(facekd, operator: Path, tree: Path) -> None:
    lines = [json.loads(line) for line in facekd("enroll", "--from", tree, "--json").out.splitlines()]
    assert [line["enrolled"] for line in lines] == [True, True, False, True]
    assert {(line["forced"], line["guard"]) for line in lines} == {(0, None)}
    assert ["not calibrated" in str(line["notes"]) for line in lines] == [True, True, False, True]
    assert [line["warnings"] for line in lines] == [[]] * 4


def calibrated(folder: Path) -> Path:
    """A model whose thresholds every face in ``photos`` but the mirrored one reaches with every other."""
    counts = Counts(mated=100, non_mated=100_000, false_matches=100, false_non_matches=1)
    entries = tuple(
        Calibration(
            fmr=fmr, threshold=threshold, low=fmr / 2, high=fmr * 2, data="held-out people", counts=counts,
            detector="mtcnn", aligner=ALIGNER,
        )
        for fmr, threshold in ((1e-2, 0.9), (1e-3, 0.95))
    )  # fmt: skip
    return write_tiny_model(folder / "calibrated.onnx", calibration=entries)


class TestGuard:
    @pytest.fixture
    def gallery(self, operator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("FACEKD_MODEL", str(calibrated(tmp_path)))
        return operator

    def test_somebody_else_under_a_name(self, facekd, gallery: Path, photos: Path) -> None:
        assert facekd("enroll", "Ann", photos / "a.jpg").err == ""
        ran = facekd("enroll", "Ann", photos / "b.jpg", photos / "mirrored.jpg", "--json")
        told = json.loads(ran.out)
        assert (ran.code, told["added"]) == (0, 1)
        assert [failure["reason"] for failure in told["failures"]] == ["not_this_person"]
        assert (told["guard"]["others"], told["guard"]["not_this_person"]) == (0, 0.9)
        assert "mirrored.jpg: does not look like the photos of 'Ann'" in ran.err
        assert ran.err.count("--force") == 1
        assert facekd("enroll", "Ann", photos / "mirrored.jpg").code == 3

    def test_one_person_under_two_names(self, facekd, gallery: Path, photos: Path) -> None:
        facekd("enroll", "Ann", photos / "a.jpg")
        ran = facekd("enroll", "Anna", photos / "b.jpg")
        assert (ran.code, ran.out) == (3, "")
        assert "not enrolled (other_person)" in ran.err
        assert "looks like 'Ann'" in ran.err
        assert people(gallery) == {"Ann": 1}
        ran = facekd("enroll", "Anna", photos / "b.jpg", "--force")
        assert (ran.code, ran.out.split(":")[0]) == (0, "enrolled Anna")
        assert "enrolled anyway (other_person)" in ran.err
        assert people(gallery) == {"Ann": 1, "Anna": 1}
        db = sqlite3.connect(gallery)
        assert db.execute("SELECT action FROM audit").fetchall() == [("add",), ("add",), ("force",)]
        db.close()


def test_a_name_that_is_a_file(facekd, operator: Path, photos: Path, monkeypatch) -> None:
    monkeypatch.chdir(photos)
    for name in ("a.jpg", photos / "a.jpg", "text.jpg"):
        ran = facekd("enroll", name, "b.jpg")
        assert (ran.code, ran.out) == (2, "")
        assert "is a file: the first argument is the person's name" in ran.err
        assert f'facekd enroll "Ann Lee" {name}' in ran.err
    assert not operator.exists()


def test_a_name_that_is_a_folder_is_a_name(
    facekd, operator: Path, photos: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Ann").mkdir()
    shutil.copy(photos / "a.jpg", tmp_path / "Ann")
    assert facekd("enroll", "Ann", "Ann/").code == 0
    assert people(operator) == {"Ann": 1}


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
    model = by_convention(faces / "models" / "edgeface_xs.onnx", tmp_path)
    detector = f"scrfd:{faces / 'detectors' / 'scrfd_500m.onnx'}"
    recognizer = Recognizer(model, detector=detector)
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


@pytest.mark.needs_faces
def test_the_guard_with_real_people(facekd, operator: Path, faces: Path, tmp_path: Path) -> None:
    """Three people of LFW: their own further photos are taken, the others' and second names are not."""
    network = load_onnx(faces / "models" / "edgeface_xs.onnx")
    # thresholds of edgeface_xs on 350 people of the training packs
    counts = Counts(mated=3000, non_mated=1_400_000, false_matches=140, false_non_matches=1)
    entries = tuple(
        Calibration(
            fmr=fmr, threshold=threshold, low=fmr / 2, high=fmr * 2, data="others", counts=counts,
            detector="scrfd", aligner=ALIGNER,
        )
        for fmr, threshold in ((1e-2, 0.198), (1e-3, 0.275), (1e-4, 0.353))
    )  # fmt: skip
    card = card_of(network, "edgeface_xs")[0].model_copy(update={"calibration": entries})
    write_card(network, card, tmp_path / "edgeface.onnx")
    with zipfile.ZipFile(faces / "lfw.zip") as pack:
        listed = [name for name in pack.namelist() if name.endswith(".jpg")]
        by_person = {name.split("/")[0]: [] for name in listed}
        for name in listed:
            by_person[name.split("/")[0]].append(tmp_path / name)
        photo = dict([(name, files) for name, files in by_person.items() if len(files) >= 3][:3])
        pack.extractall(tmp_path, [str(p.relative_to(tmp_path)) for files in photo.values() for p in files])
    names = list(photo)
    common = (
        "--model", tmp_path / "edgeface.onnx", "--on-many", "best",
        "--detector", f"scrfd:{faces / 'detectors' / 'scrfd_500m.onnx'}",
    )  # fmt: skip
    for name in names:
        assert facekd("enroll", name, *photo[name][:2], *common).code == 0
    assert people(operator) == dict.fromkeys(names, 2)
    for place, name in enumerate(names):
        mine, other = photo[name][2], photo[names[place - 1]][2]
        told = facekd("enroll", name, mine, other, *common, "--json")
        answer = json.loads(told.out)
        assert (told.code, answer["added"]) == (0, 1)
        assert [failure["photo"] for failure in answer["failures"]] == [str(other)]
        second = facekd("enroll", f"{name} again", other, *common)
        assert (second.code, "other_person" in second.err) == (3, True)
