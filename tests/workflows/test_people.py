"""The public Gallery, compared with the output of the commands for the same file."""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs
import pytest
from small_photos import need_mtcnn, portrait, shade, write_photos
from tiny_model import write_tiny_model

import facekd
from facekd.errors import CannotSay, InputOutput, Misfit, NoFace, NotFound, Unreadable, UsageError
from facekd.preprocess import Face, as_photo

STORED = Path(__file__).parent.parent / "stored" / "0.1.0"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_mtcnn()
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def recognizer(model: Path) -> facekd.Recognizer:
    return facekd.Recognizer(model, threshold=0.9)


@pytest.fixture
def gallery(tmp_path: Path, recognizer: facekd.Recognizer) -> facekd.Gallery:
    return facekd.Gallery(tmp_path / "gallery.db", recognizer=recognizer)


def test_what_python_enrolls_the_commands_find(
    facekd: Callable, gallery, photos: Path, model: Path, tmp_path: Path
) -> None:
    """One gallery filled from Python, another by the command: equal documents, equal scores."""
    other = tmp_path / "other.db"
    files = [photos / name for name in ("a.jpg", "b.jpg", "blank.jpg")]
    enrolled = gallery.enroll("Ann  Lee", files)
    ran = facekd("enroll", "Ann  Lee", *files, "--model", model, "--gallery", other, "--json")
    told = json.loads(ran.out)
    assert (enrolled.name, enrolled.added, enrolled.present, enrolled.templates) == (
        told["name"], told["added"], told["present"], told["templates"],
    )  # fmt: skip
    assert [f.reason for f in enrolled.failures] == [f["reason"] for f in told["failures"]] == ["no_face"]
    assert list(enrolled.notes) == told["notes"]
    assert enrolled.guard is told["guard"] is None
    claim = gallery.verify(photos / "c.jpg", "Ann Lee")
    verify = ("verify", "--claim", "Ann Lee", photos / "c.jpg", "--threshold", 0.9, "--model", model)
    for file in (other, gallery.path):
        answer = json.loads(facekd(*verify, "--gallery", file, "--json").out)
        assert (claim.same, claim.score) == (answer["same"], pytest.approx(answer["score"], abs=1e-6))
        assert (claim.claim, claim.templates) == (answer["claim"], answer["templates"])
        assert list(claim.notes) == answer["notes"]
    listed = json.loads(facekd("gallery", "list", "--gallery", gallery.path, "--json").out)
    assert [vars(person) for person in gallery.people()] == listed["people"]


def test_photos_in_every_form(gallery, photos: Path) -> None:
    pixels = portrait()
    given = [str(photos / "a.jpg"), (photos / "b.jpg").read_bytes(), pixels]
    assert gallery.enroll("Ann", given).added == 3
    again = gallery.enroll("Ann", given)
    assert (again.added, again.present) == (0, 3)
    for photo in given:
        assert gallery.verify(photo, "Ann").same is True
    with pytest.raises(CannotSay, match="photo 1: already enrolled as 'Ann'"):
        gallery.enroll("Bob", pixels)
    assert gallery.enroll("Cid", iter([shade(pixels, 9)])).added == 1


def test_a_folder_is_all_images_below_it(gallery, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "ann" / "more").mkdir(parents=True)
    shutil.copy(photos / "a.jpg", tmp_path / "ann")
    shutil.copy(photos / "b.jpg", tmp_path / "ann" / "more")
    (tmp_path / "ann" / "notes.txt").write_text("no photo")
    assert gallery.enroll("Ann", tmp_path / "ann").templates == 2


@pytest.mark.parametrize(
    ("files", "error", "code"),
    [
        (["blank.jpg"], NoFace, 3),
        (["blank.jpg", "blank.jpg"], NoFace, 3),
        (["two.jpg"], facekd.SeveralFaces, 3),
        (["two.jpg", "blank.jpg"], CannotSay, 3),
        (["cut.jpg"], Unreadable, 5),
        (["blank.jpg", "cut.jpg"], InputOutput, 5),
        (["absent.jpg"], InputOutput, 5),
    ],
)
def test_nobody_enrolled_is_an_error(gallery, photos: Path, files: list[str], error: type, code: int) -> None:
    with pytest.raises(error, match=files[0]) as caught:
        gallery.enroll("Ann", [photos / name for name in files])
    assert type(caught.value) is error
    assert caught.value.exit_code == code
    assert not gallery.path.exists()


def test_mistakes_in_the_call_leave_no_file(gallery, photos: Path) -> None:
    with pytest.raises(UsageError, match="no photo"):
        gallery.enroll("Ann", [])
    with pytest.raises(UsageError, match="the name is empty"):
        gallery.enroll(" ", photos / "a.jpg")
    with pytest.raises(UsageError, match="photo 2: pixels must be uint8"):
        gallery.enroll("Ann", [photos / "a.jpg", portrait() / 255])
    with pytest.raises(TypeError, match="not NoneType"):
        gallery.enroll("Ann", [None])  # type: ignore[list-item]
    with pytest.raises(InputOutput, match="no such gallery"):
        gallery.people()
    assert not gallery.path.exists()


def test_several_faces_by_policy_and_the_guard_overruled(photos: Path, tmp_path: Path) -> None:
    from facekd.card import Calibration, Counts

    counts = Counts(mated=10, non_mated=10_000, false_matches=10, false_non_matches=1)
    entries = tuple(
        Calibration(
            fmr=fmr, threshold=threshold, low=fmr / 2, high=fmr * 2, data="made up", counts=counts,
            detector="mtcnn", aligner="facekd-five-points-2",
        )
        for fmr, threshold in ((1e-2, 0.5), (1e-3, 0.6))
    )  # fmt: skip
    model = write_tiny_model(tmp_path / "calibrated.onnx", calibration=entries)
    gallery = facekd.Gallery(tmp_path / "gallery.db", recognizer=facekd.Recognizer(model))
    assert gallery.enroll("Ann", photos / "two.jpg", on_many="largest").added == 1
    assert gallery.enroll("Ann", photos / "a.jpg", force=True).added == 1
    with pytest.raises(CannotSay, match="looks like 'Ann'"):
        gallery.enroll("Bob", photos / "b.jpg")
    forced = gallery.enroll("Bob", photos / "b.jpg", force=True)
    assert (forced.forced, [warning.reason for warning in forced.warnings]) == (1, ["other_person"])
    assert gallery.verify(photos / "c.jpg", "Bob").threshold.fmr == 1e-3


def test_remove(gallery, photos: Path) -> None:
    gallery.enroll("Ann Lee", photos / "a.jpg")
    removed = gallery.remove("Ann Lee")
    assert (removed.name, removed.templates, removed.pending) == ("Ann Lee", 1, False)
    assert b"Ann Lee" not in gallery.path.read_bytes()
    for call in (lambda: gallery.remove("Ann Lee"), lambda: gallery.verify(photos / "a.jpg", "Ann Lee")):
        with pytest.raises(NotFound, match="'Ann Lee' is not enrolled"):
            call()


def test_no_reader_of_its_own_keeps_erased_bytes(gallery, photos: Path) -> None:
    """Several galleries on one file, all used before: none of them keeps a file open."""
    gallery.enroll("Ann", photos / "a.jpg")
    other = facekd.Gallery(gallery.path, recognizer=gallery.recognizer)
    assert len(other.people()) == 1
    assert other.verify(photos / "b.jpg", "Ann").same
    assert gallery.remove("Ann").pending is False
    assert other.people() == []


def test_reading_needs_no_model_and_writes_nothing(photos: Path, tmp_path: Path, monkeypatch) -> None:
    """A gallery of version 0.1.0, which is migrated when it is first opened for writing."""
    old = Path(shutil.copy(STORED / "gallery.db", tmp_path / "old.db"))
    content = old.read_bytes()
    made_then = facekd.Recognizer(STORED / "model.onnx", threshold=-1)
    monkeypatch.setattr("facekd.workflows.people.Recognizer", None)
    names = ["Ann Lee", "Bob", "Zoë 李"]
    assert [person.name for person in facekd.Gallery(old).people()] == names
    claim = facekd.Gallery(old, recognizer=made_then).verify(photos / "a.jpg", "Ann Lee")
    assert (claim.same, claim.templates) == (True, 2)
    assert old.read_bytes() == content
    assert facekd.Gallery(old).remove("Bob").templates > 0


def test_another_space_is_refused(gallery, photos: Path, tmp_path: Path) -> None:
    gallery.enroll("Ann", photos / "a.jpg")
    other = facekd.Recognizer(write_tiny_model(tmp_path / "other.onnx", seed=1), threshold=0.5)
    foreign = facekd.Gallery(gallery.path, recognizer=other)
    for call in (
        lambda: foreign.enroll("Bob", photos / "b.jpg"),
        lambda: foreign.verify(photos / "b.jpg", "Ann"),
    ):
        with pytest.raises(Misfit, match="made with tiny"):
            call()


def test_another_detector_is_noted(gallery, photos: Path) -> None:
    gallery.enroll("Ann", photos / "a.jpg")

    class Still:
        """Finds in every photo what MTCNN finds, under another name."""

        name = "still"

        def detect(self, pixels: np.ndarray) -> list[Face]:
            return gallery.recognizer.detector.detect(pixels)

    other = facekd.Recognizer(gallery.recognizer.embedder, detector=Still(), threshold=0.9)
    foreign = facekd.Gallery(gallery.path, recognizer=other)
    note = f"{gallery.path} was made with detector mtcnn, this is still"
    assert foreign.verify(photos / "b.jpg", "Ann").notes == (note,)
    assert note in foreign.enroll("Ann", photos / "c.jpg").notes


class TestWhere:
    @pytest.fixture
    def data(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.delenv("FACEKD_GALLERY", raising=False)
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home" / "share"))
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        return Path(platformdirs.user_data_dir("facekd"))

    def test_by_default_in_the_users_data_folder_for_its_owner_alone(
        self, data: Path, recognizer, photos: Path
    ) -> None:
        gallery = facekd.Gallery(recognizer=recognizer)
        assert gallery.path == data / "gallery.db"
        with pytest.raises(InputOutput, match="no such gallery"):
            gallery.people()
        assert not data.exists()  # looking makes nothing
        gallery.enroll("Ann", photos / "a.jpg")
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        assert stat.S_IMODE(gallery.path.stat().st_mode) == 0o600

    def test_where_the_environment_says(
        self, data: Path, recognizer, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FACEKD_GALLERY", str(tmp_path / "absent" / "staff.db"))
        gallery = facekd.Gallery(recognizer=recognizer)
        assert gallery.path == tmp_path / "absent" / "staff.db"
        with pytest.raises(InputOutput, match="cannot be created"):
            gallery.enroll("Ann", photos / "a.jpg")  # nobody asked for the folder
        gallery.path.parent.mkdir()
        gallery.enroll("Ann", photos / "a.jpg")
        assert facekd.Gallery().path == gallery.path
        assert facekd.Gallery(tmp_path / "other.db").path == tmp_path / "other.db"
        assert not data.exists()


class TestClosing:
    def test_after_the_block_it_is_closed(self, gallery, photos: Path) -> None:
        with gallery as entered:
            assert entered is gallery
            gallery.enroll("Ann", photos / "a.jpg")
        for call in (
            gallery.people,
            lambda: gallery.remove("Ann"),
            lambda: gallery.verify(photos / "a.jpg", "Ann"),
            lambda: gallery.enroll("Bob", photos / "c.jpg"),
            gallery.__enter__,
        ):
            with pytest.raises(UsageError, match="is closed"):
                call()
        gallery.close()
        assert [person.name for person in facekd.Gallery(gallery.path).people()] == ["Ann"]

    def test_an_error_in_the_block_comes_out_and_what_was_enrolled_stays(self, gallery, photos: Path) -> None:
        def enroll_and_fail() -> None:
            with gallery:
                gallery.enroll("Ann", photos / "a.jpg")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            enroll_and_fail()
        assert len(facekd.Gallery(gallery.path).people()) == 1


class TestThreads:
    def test_many_at_once(self, gallery) -> None:
        """Each of eight threads enrolls a person of its own and all enroll one together, verify and list,
        all by one Gallery: every template is there, every answer is that of a thread alone."""
        pixels = portrait()
        gallery.enroll("Shared", pixels)
        alone = gallery.verify(shade(pixels, 1), "Shared").score
        failed: list[BaseException] = []
        scores: list[float] = []
        start = threading.Barrier(8)

        def work(number: int) -> None:
            try:
                start.wait()
                gallery.enroll(f"P{number}", shade(pixels, 10 + number))
                gallery.enroll("Shared", shade(pixels, 30 + number))
                scores.append(gallery.verify(shade(pixels, 10 + number), f"P{number}").score)
                assert f"P{number}" in {person.name for person in gallery.people()}
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        held = {person.name: person.templates for person in gallery.people()}
        assert held == {"Shared": 9, **{f"P{number}": 1 for number in range(8)}}
        np.testing.assert_allclose(scores, 1.0, atol=1e-5)
        assert alone == pytest.approx(gallery.recognizer.verify(pixels, shade(pixels, 1)).score, abs=1e-6)

    def test_one_photo_is_looked_at_at_a_time(self, recognizer) -> None:
        """A detector that would notice another thread in it."""
        inside = threading.Lock()
        finder = recognizer.detector

        class Alone:
            name = "alone"

            def detect(self, pixels: np.ndarray) -> list[Face]:
                assert inside.acquire(blocking=False), "two threads in one detector"
                try:
                    return finder.detect(pixels)
                finally:
                    inside.release()

        shared = facekd.Recognizer(recognizer.embedder, detector=Alone())
        expected = shared.embed(portrait())
        found: list[np.ndarray] = []
        threads = [threading.Thread(target=lambda: found.append(shared.embed(portrait()))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        for embedding in found:
            np.testing.assert_allclose(embedding, expected, atol=1e-6)

    def test_what_another_program_enrolls_is_seen(self, gallery, recognizer, photos: Path) -> None:
        """Also if the file was replaced, for example by a restored copy."""
        gallery.enroll("Ann", photos / "a.jpg")
        copy = gallery.path.with_name("copy.db")
        shutil.copy(gallery.path, copy)
        gallery.enroll("Bob", photos / "mirrored.jpg")
        assert len(gallery.people()) == 2
        copy.replace(gallery.path)
        assert [person.name for person in gallery.people()] == ["Ann"]
        db = sqlite3.connect(gallery.path)
        (digest,) = db.execute("SELECT photo FROM templates").fetchone()
        db.close()
        assert digest == as_photo(photos / "a.jpg").sha256
