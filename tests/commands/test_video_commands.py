"""enroll and identify on videos, at the shell."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from moving_pictures import moved, write_video
from PIL import Image
from small_photos import need_mtcnn, portrait, shade

from facekd.gallery import GalleryRecords
from facekd.preprocess import digest_of, read_video

SHAPE = (240, 480)
STEPS = 20


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds each. one.mp4: a face that moves to the right. two.mp4: two of the same size, side by side.
    aside.mp4: a small one beside it. blank.mp4: none. text.mp4: no video."""
    need_mtcnn()
    folder, face = tmp_path_factory.mktemp("clips"), portrait()
    small = cv2.resize(face[:, ::-1], (110, 110), interpolation=cv2.INTER_AREA)
    one = [moved(shade(face, step), SHAPE, 20 + 4 * step) for step in range(STEPS)]
    two = [np.concatenate([f[:, :240], f[:, 239::-1]], axis=1) for f in (moved(face, SHAPE, 20),)] * STEPS
    aside = [frame.copy() for frame in one]
    for frame in aside:
        frame[110:220, 350:460] = small
    blank = [np.full((*SHAPE, 3), 120, np.uint8)] * STEPS
    for name, frames in (("one", one), ("two", two), ("aside", aside), ("blank", blank)):
        write_video(folder / f"{name}.mp4", frames)
    (folder / "text.mp4").write_text("not a video")
    return folder


def held(gallery: Path) -> dict[str, list[str]]:
    with GalleryRecords(gallery, read_only=True) as records:
        return {name: [photo.photo for photo in records.photos(name)] for name in records.names()}


class TestEnroll:
    def test_the_best_frames_are_enrolled_once(self, facekd: Callable, operator: Path, clips: Path) -> None:
        ran = facekd("enroll", "Ann Lee", clips / "one.mp4", "--json")
        assert ran.code == 0, ran.err
        told = json.loads(ran.out)
        assert (told["added"], told["present"], told["templates"], told["failures"]) == (5, 0, 5, [])
        (video,) = told["videos"]
        frames = {digest_of(frame.pixels): frame.time for frame in read_video(clips / "one.mp4")}
        assert (video["video"], video["faces"], video["other_tracks"]) == (
            str(clips / "one.mp4"), len(frames), 0,
        )  # fmt: skip
        enrolled = held(operator)["Ann Lee"]
        assert {one["sha256"]: one["time"] for one in video["frames"]} == {
            digest: pytest.approx(time) for digest, time in frames.items() if digest in enrolled
        }
        assert len(video["frames"]) == 5
        again = json.loads(facekd("enroll", "Ann Lee", clips / "one.mp4", "--json").out)
        assert (again["added"], again["present"], again["templates"]) == (0, 5, 5)
        ran = facekd("enroll", "Bo", clips / "one.mp4")
        assert (ran.code, "already enrolled as 'Ann Lee'" in ran.err) == (3, True)

    def test_so_many_frames(self, facekd: Callable, operator: Path, clips: Path) -> None:
        ran = facekd("enroll", "Ann", clips / "one.mp4", "--frames", "2", "--per-second", "5")
        assert ran.code == 0, ran.err
        assert "2 of 10 faces taken, at " in ran.err
        assert ran.out == "enrolled Ann: 2 new, 0 already there, 0 failed, 2 in the gallery\n"

    def test_a_small_face_aside_is_not_enrolled(self, facekd: Callable, operator: Path, clips: Path) -> None:
        told = json.loads(facekd("enroll", "Ann", clips / "aside.mp4", "--json").out)
        assert (told["added"], told["videos"][0]["other_tracks"]) == (5, 1)
        # the face that moves is the one: it is found in a video of it alone, and the other is not
        ran = facekd("identify", clips / "one.mp4", "--threshold", "0.95", "--json")
        assert json.loads(ran.out)["name"] == "Ann"

    def test_nobody_of_two(self, facekd: Callable, operator: Path, clips: Path) -> None:
        ran = facekd("enroll", "Ann", clips / "two.mp4", "--json")
        told = json.loads(ran.out)
        assert (ran.code, told["enrolled"], [f["reason"] for f in told["failures"]]) == (
            3, False, ["several_faces"],
        )  # fmt: skip
        assert "Use a video that one person dominates" in ran.err
        assert "near the centre of a photo" not in ran.err
        assert list(operator.parent.iterdir()) == []
        ran = facekd("enroll", "Ann", clips / "two.mp4", "--on-many", "best", "--per-second", "1")
        assert (ran.code, list(held(operator))) == (0, ["Ann"])

    def test_a_video_that_cannot_be_used_keeps_no_photo_out(
        self, facekd: Callable, operator: Path, clips: Path, photos: Path
    ) -> None:
        ran = facekd("enroll", "Ann", clips / "blank.mp4", photos / "a.jpg", clips / "text.mp4", "--json")
        told = json.loads(ran.out)
        assert (ran.code, told["added"]) == (0, 1)
        assert [failure["reason"] for failure in told["failures"]] == ["no_face", "unreadable"]
        assert "no usable face in 6 frames (6 no_face)" in told["failures"][0]["message"]

    @pytest.mark.parametrize(("name", "code"), [("blank", 3), ("text", 5), ("absent", 5)])
    def test_no_video_to_enroll(
        self, facekd: Callable, operator: Path, clips: Path, name: str, code: int
    ) -> None:
        ran = facekd("enroll", "Ann", clips / f"{name}.mp4")
        assert (ran.code, "Traceback" in ran.err) == (code, False)

    def test_a_camera(
        self, facekd: Callable, operator: Path, clips: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from facekd.workflows import video_enrollment

        asked = []

        def camera(number: int, seconds: float, per_second: float):
            asked.append((number, seconds, per_second))
            return read_video(clips / f"{seen}.mp4", per_second)

        monkeypatch.setattr(video_enrollment, "read_camera", camera)
        how = ("--camera", "1", "--seconds", "2", "--per-second", "1")
        seen = "two"
        ran = facekd("enroll", "Ann", *how)
        assert (ran.code, "camera 1: 2 faces were tracked, and none clearly dominates" in ran.err) == (
            3,
            True,
        )
        seen = "aside"
        ran = facekd("enroll", "Ann", *how, "--json")
        told = json.loads(ran.out)
        assert (ran.code, told["added"], told["videos"][0]["video"]) == (0, 2, "camera 1")
        assert asked == [(1, 2, 1)] * 2
        assert held(operator) == {"Ann": [frame["sha256"] for frame in told["videos"][0]["frames"]]}

    def test_a_camera_that_is_not_there(self, facekd: Callable, operator: Path) -> None:
        ran = facekd("enroll", "Ann", "--camera", "77", "--json")
        (failure,) = json.loads(ran.out)["failures"]
        assert (ran.code, failure["reason"], failure["message"]) == (
            5, "io", "camera 77: there is no such camera, or another program uses it",
        )  # fmt: skip

    def test_what_cannot_be_asked(self, facekd: Callable, operator: Path, clips: Path) -> None:
        for given in (("Ann", clips / "one.mp4"), ("--from", clips), ()):
            assert facekd("enroll", *given, "--camera", "0").code == 2

    @pytest.mark.parametrize("form", ["folder", "list"])
    def test_videos_of_many_people(
        self, facekd: Callable, operator: Path, clips: Path, photos: Path, tmp_path: Path, form: str
    ) -> None:
        """A photo and a video of one, a broken video of another beside a good photo, none of a third."""
        files = {
            "Ann": (clips / "one.mp4", photos / "a.jpg"),
            "Bo": (clips / "text.mp4", photos / "mirrored.jpg"),
            "Cy": (clips / "blank.mp4",),
        }
        folder = tmp_path / "people"
        for name, theirs in files.items():
            (folder / name).mkdir(parents=True)
            for file in theirs:
                (folder / name / file.name).symlink_to(file)
        if form == "list":
            lines = [f"{name},{name}/{file.name}" for name, theirs in files.items() for file in theirs]
            (folder / "people.csv").write_text("\n".join(["name,photo", *lines]))
        everybody = folder / "people.csv" if form == "list" else folder
        ran = facekd("enroll", "--from", everybody, "--per-second", "1", "--json")
        ann, bo, cy = map(json.loads, ran.out.splitlines())
        assert ran.code == 3
        assert {name: len(theirs) for name, theirs in held(operator).items()} == {"Ann": 3, "Bo": 1}
        assert [(one["video"], one["faces"]) for one in ann["videos"]] == [(str(folder / "Ann/one.mp4"), 2)]
        for person, file, reason in ((bo, "Bo/text.mp4", "unreadable"), (cy, "Cy/blank.mp4", "no_face")):
            (failure,) = person["failures"]
            assert (failure["photo"], failure["reason"]) == (str(folder / file), reason)
        assert "one.mp4: 2 of 2 faces taken, at 0.00, 1.00 s" in ran.err


class TestIdentify:
    @pytest.fixture
    def ann(self, facekd: Callable, operator: Path, photos: Path) -> Path:
        assert facekd("enroll", "Ann Lee", photos / "a.jpg").code == 0
        return operator

    def test_an_answer_for_each_person(self, facekd: Callable, ann: Path, clips: Path) -> None:
        ran = facekd("identify", clips / "two.mp4", "--threshold", "0.9", "--json")
        assert ran.code == 0, ran.err
        lines = [json.loads(line) for line in ran.out.splitlines()]
        assert [(line["schema"], line["photo"]) for line in lines] == [
            ("identify/1", str(clips / "two.mp4"))
        ] * 2
        assert [line["decision"] for line in lines] == ["found", "nobody"]
        assert [line["name"] for line in lines] == ["Ann Lee", None]
        seen = {"first": 0.0, "last": pytest.approx(1.7), "frames": 6}
        # every frame is the same picture up to compression, so none of them is taken for another
        for number, line in enumerate(lines, start=1):
            assert line["track"] == {"number": number, **seen, "used": line["track"]["used"]}
            assert 1 <= line["track"]["used"] <= 5
        assert lines[0]["faces"][0]["box"][2] < 240 < lines[1]["faces"][0]["box"][0]

    def test_each_is_audited(self, facekd: Callable, ann: Path, clips: Path) -> None:
        wanted = [clips / f"{name}.mp4" for name in ("two", "blank", "text")]
        assert facekd("identify", *wanted, "--threshold", "0.9", "--audit").code == 5
        with GalleryRecords(ann, read_only=True) as records:
            found = [(entry.person, entry.result, entry.reason) for entry in records.read_entries()]
        assert found == [
            (1, "found", None), (0, "nobody", None), (0, "failed", "no_face"), (0, "failed", "unreadable"),
        ]  # fmt: skip

    def test_text(self, facekd: Callable, ann: Path, clips: Path, photos: Path) -> None:
        ran = facekd("identify", photos / "b.jpg", clips / "one.mp4", "--threshold", "0.9")
        assert ran.code == 0, ran.err
        first, _, second, _ = ran.out.splitlines()
        assert first == f"{photos / 'b.jpg'}: Ann Lee (threshold 0.9000, given)"
        assert second == f"{clips / 'one.mp4'} from 0.00 to 1.70 s: Ann Lee (threshold 0.9000, given)"
        assert "1 photo, 1 video: 2 found" in ran.err

    @pytest.mark.parametrize("form", ["folder", "list"])
    def test_videos_among_photos(
        self, facekd: Callable, ann: Path, clips: Path, photos: Path, tmp_path: Path, form: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        names = ["in/a.jpg", "in/text.mp4", "in/two.mp4"]
        (tmp_path / "door" / "in").mkdir(parents=True)
        for name, file in zip(names, (photos / "a.jpg", clips / "text.mp4", clips / "two.mp4"), strict=True):
            (tmp_path / "door" / name).symlink_to(file)
        text = "photo,taken\n" + "".join(f"{name},today\n" for name in names)
        wanted = tmp_path / "door"
        if form == "list":
            wanted = Path("-")
            monkeypatch.chdir(tmp_path / "door")
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        ran = facekd("identify", wanted, "--threshold", "0.9", "--per-second", "1", "--json")
        lines = [json.loads(line) for line in ran.out.splitlines()]
        assert [(line["photo"], line["decision"]) for line in lines] == [
            ("in/a.jpg", "found"), ("in/text.mp4", None), ("in/two.mp4", "found"), ("in/two.mp4", "nobody"),
        ]  # fmt: skip
        assert (ran.code, lines[1]["failure"]["reason"]) == (5, "unreadable")
        assert "1 photo, 2 videos: 2 found" in ran.err

    def test_a_list_that_is_none(self, facekd: Callable, ann: Path, tmp_path: Path) -> None:
        listed = tmp_path / "photos.csv"
        for text, told in (
            ("a.jpg\n", "A list of photos begins with photo"), ("photo\n", "no photo is listed"),
            ("photo,b\n,1\n", "line 2: expected a photo"),
        ):  # fmt: skip
            listed.write_text(text)
            ran = facekd("identify", listed, "--threshold", "0.9")
            assert (ran.code, ran.out, told in ran.err) == (5, "", True)

    @pytest.mark.parametrize(("name", "code", "reason"), [("blank", 3, "no_face"), ("text", 5, "unreadable")])
    def test_no_answer(
        self, facekd: Callable, ann: Path, clips: Path, name: str, code: int, reason: str
    ) -> None:
        ran = facekd("identify", clips / f"{name}.mp4", "--threshold", "0.9", "--json")
        assert (ran.code, json.loads(ran.out)["failure"]["reason"]) == (code, reason)
        assert "Traceback" not in ran.err

    def test_nobody_is_an_answer(self, facekd: Callable, ann: Path, clips: Path) -> None:
        ran = facekd("identify", clips / "one.mp4", "--threshold", "1")
        assert (ran.code, "nobody" in ran.out) == (0, True)

    def test_a_camera(
        self, facekd: Callable, ann: Path, clips: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from facekd.workflows import video

        asked = []

        def camera(number: int, seconds: float, per_second: float):
            asked.append((number, seconds, per_second))
            return read_video(clips / "one.mp4", per_second)

        monkeypatch.setattr(video, "read_camera", camera)
        ran = facekd("identify", "--camera", "0", "--seconds", "2", "--threshold", "0.9", "--json")
        told = json.loads(ran.out)
        assert (ran.code, asked) == (0, [(0, 2, 3)])
        assert (told["photo"], told["name"], told["track"]["number"]) == ("camera 0", "Ann Lee", 1)

    def test_a_camera_that_is_not_there(self, facekd: Callable, ann: Path) -> None:
        ran = facekd("identify", "--camera", "77", "--threshold", "0.9", "--json")
        assert (ran.code, json.loads(ran.out)["failure"]["reason"]) == (5, "io")
        assert "camera 77: there is no such camera" in ran.err

    def test_what_cannot_be_asked(self, facekd: Callable, ann: Path, clips: Path, tmp_path: Path) -> None:
        clip = clips / "one.mp4"
        assert facekd("identify", clip, "--camera", "0").code == 2
        assert facekd("identify", clip, "--annotate", tmp_path / "a.jpg").code == 2
        assert facekd("identify", clip, "--per-second", "0").code == 2


def test_from_python(clips: Path, tiny: Path, tmp_path: Path) -> None:
    import facekd
    from facekd.errors import NoFace, SeveralFaces

    recognizer = facekd.Recognizer(tiny, threshold=0.9)
    gallery = facekd.Gallery(tmp_path / "gallery.db", recognizer=recognizer)
    assert gallery.enroll("Ann", [clips / "one.mp4", portrait()]).added == 6
    assert gallery.enroll("Ann", clips / "one.mp4").added == 0
    for name, error in (("two", SeveralFaces), ("blank", NoFace)):
        with pytest.raises(error, match=name):
            gallery.enroll("Bo", clips / f"{name}.mp4")
    found = gallery.identify_video(clips / "two.mp4")
    assert [(one.track.number, one.faces[0].name) for one in found if one.track] == [(1, "Ann"), (2, None)]
    (failed,) = gallery.identify_video(clips / "text.mp4")
    assert (failed.faces, failed.failure.reason if failed.failure else None) == ((), "unreadable")


@pytest.mark.needs_faces
def test_real_people(facekd: Callable, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped student: a film of two people, one after the other in the same place; one of them was
    enrolled from a film made of another photo."""
    from facekd.weights import shipped_model

    if shipped_model() is None:
        pytest.skip("no shipped student here")
    monkeypatch.setenv("FACEKD_GALLERY", str(tmp_path / "gallery.db"))
    monkeypatch.delenv("FACEKD_MODEL", raising=False)
    with zipfile.ZipFile(faces / "lfw.zip") as pack:
        names = sorted(name for name in pack.namelist() if name.endswith(".jpg"))

        def picture(ending: str) -> np.ndarray:
            name = next(name for name in names if name.endswith(ending))
            return np.asarray(Image.open(io.BytesIO(pack.read(name))).convert("RGB"))

        known, again = (picture(f"Serena_Williams_000{number}.jpg") for number in (1, 3))
        stranger = picture("Tony_Blair_0018.jpg")

    def film(name: str, *pictures: np.ndarray) -> Path:
        frames = [moved(p, (290, 420), 20 + 6 * step) for p in pictures for step in range(10)]
        return write_video(tmp_path / name, frames)

    ran = facekd("enroll", "Serena", film("known.mp4", known), "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["templates"] >= 3
    ran = facekd("identify", film("both.mp4", again, stranger), "--json")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [(line["name"], line["decision"]) for line in lines] == [("Serena", "found"), (None, "nobody")]
    assert lines[0]["track"]["last"] < 1 <= lines[1]["track"]["first"]
    ran = facekd("enroll", "Two", film("two.mp4", again, stranger))
    assert (ran.code, "several_faces" in ran.err) == (3, True)
