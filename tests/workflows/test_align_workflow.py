"""A folder of photos to a folder or pack of crops: the tree, the report, stopping and going on."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from facekd.card.contract import BoxCrop, LandmarkCrop
from facekd.errors import InputOutput, Unreadable, UsageError
from facekd.preprocess import cut, decode, find_face
from facekd.preprocess.align_report import report_path
from facekd.preprocess.crop_store import is_safe
from facekd.preprocess.detectors import make_detector
from facekd.workflows.align import AlignSettings, align_photos, crop_names, nth_name

pytestmark = pytest.mark.usefixtures("cache")

PORTRAIT = np.ascontiguousarray(skimage.data.astronaut()[20:240, 120:340])
EMPTY = np.zeros((120, 120, 3), np.uint8)


def write(file: Path, pixels: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, quality=95)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two people, a photo of nobody, and files that are none."""
    folder = tmp_path / "photos"
    write(folder / "ada" / "one.jpg", PORTRAIT)
    write(folder / "ada" / "two.png", PORTRAIT[:, ::-1])
    write(folder / "bea" / "deep" / "er" / "three.webp", PORTRAIT[4:, 7:])
    write(folder / "nobody.jpg", EMPTY)
    (folder / "cut.jpg").write_bytes((folder / "ada" / "one.jpg").read_bytes()[:3000])
    (folder / "void.png").touch()
    (folder / "notes.txt").write_text("not a photo")
    return folder


def lines(target: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in report_path(target).read_text().splitlines()]


def entries(target: Path) -> dict[str, dict[str, Any]]:
    return {entry["photo"]: entry for entry in lines(target)[1:]}


def tree(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


CROPS = ["ada/one.webp", "ada/two.webp", "bea/deep/er/three.webp"]


def test_a_folder_keeps_its_tree_and_the_report_says_all(photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "crops"
    done = align_photos([photos], target, jobs=1)
    assert tree(target) == CROPS
    assert (done.photos, done.with_face, done.crops, done.resumed) == (6, 3, 3, 0)
    assert done.reasons == {"no_face": 1, "unreadable": 2}
    head = lines(target)[0]
    assert (head["detector"], head["on_many"], head["format"]) == ("mtcnn", "best", "webp")
    assert head["crop"]["size"] == 112
    said = entries(target)
    assert list(said) == sorted(said)
    assert {name: entry.get("reason") for name, entry in said.items()} == {
        "ada/one.jpg": None,
        "ada/two.png": None,
        "bea/deep/er/three.webp": None,
        "cut.jpg": "unreadable",
        "nobody.jpg": "no_face",
        "void.png": "unreadable",
    }
    assert "empty" in said["void.png"]["detail"]


def test_crop_and_report_are_what_the_parts_give(photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "crops"
    align_photos([photos], target, jobs=1)
    photo = decode(photos / "ada" / "two.png")
    face = find_face(photo, make_detector("mtcnn", threads=1))
    crop = decode(target / "ada" / "two.webp").pixels
    assert np.array_equal(crop, cut(photo.pixels, face, LandmarkCrop(size=112)))
    entry = entries(target)["ada/two.png"]
    assert (entry["sha256"], entry["found"]) == (photo.sha256, 1)
    (said,) = entry["faces"]
    assert said["crop"] == "ada/two.webp"
    assert np.allclose(said["box"], face.box, atol=1e-3)
    assert np.allclose(said["landmarks"], face.landmarks, atol=1e-3)
    assert said["score"] == pytest.approx(face.score, abs=1e-4)
    assert 0 < said["quality"] <= 1


def test_a_pack_has_stored_members_and_equals_the_folder(photos: Path, tmp_path: Path) -> None:
    source = tmp_path / "photos.zip"
    with zipfile.ZipFile(source, "w") as pack:
        for name in tree(photos):
            pack.write(photos / name, name)
    align_photos([source], tmp_path / "crops.zip", jobs=1)
    align_photos([photos], tmp_path / "crops", jobs=1)
    with zipfile.ZipFile(tmp_path / "crops.zip") as pack:
        assert pack.testzip() is None
        assert pack.namelist() == CROPS
        assert {info.compress_type for info in pack.infolist()} == {zipfile.ZIP_STORED}
        for name in CROPS:
            assert pack.read(name) == (tmp_path / "crops" / name).read_bytes()
    assert entries(tmp_path / "crops.zip") == entries(tmp_path / "crops")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_many_processes_give_what_one_gives(tmp_path: Path) -> None:
    for number in range(40):
        write(tmp_path / "photos" / f"{number:02}.jpg", PORTRAIT[number : number + 150, 20:190])
    align_photos([tmp_path / "photos"], tmp_path / "one", jobs=1)
    align_photos([tmp_path / "photos"], tmp_path / "two", jobs=2)
    assert report_path(tmp_path / "one").read_bytes() == report_path(tmp_path / "two").read_bytes()
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_single_photos(photos: Path, tmp_path: Path) -> None:
    done = align_photos([photos / "ada" / "one.jpg", photos / "ada" / "two.png"], tmp_path / "crops.zip")
    assert done.crops == 2
    with pytest.raises(UsageError, match="is a folder"):
        align_photos([photos / "ada" / "one.jpg", photos / "ada"], tmp_path / "more")
    with pytest.raises(UsageError, match="does not exist"):
        align_photos([photos / "ada" / "one.jpg", photos / "ada" / "three.jpg"], tmp_path / "more")


@pytest.mark.parametrize("target_name", ["crops", "crops.zip"])
def test_going_on_does_only_what_is_missing(photos: Path, tmp_path: Path, target_name: str) -> None:
    target = tmp_path / target_name
    align_photos([photos], target, jobs=1)
    before = report_path(target).read_bytes()
    assert align_photos([photos], target, jobs=1).resumed == 6
    assert report_path(target).read_bytes() == before
    write(photos / "cleo" / "four.jpg", PORTRAIT[2:])
    done = align_photos([photos], target, jobs=1)
    assert (done.photos, done.with_face, done.resumed) == (7, 4, 6)
    if target.suffix:
        assert zipfile.ZipFile(target).namelist() == sorted([*CROPS, "cleo/four.webp"])
    else:
        (target / "ada" / "one.webp").unlink()
        assert align_photos([photos], target, jobs=1).resumed == 6
        assert tree(target) == sorted([*CROPS, "cleo/four.webp"])


def test_other_settings_need_force(photos: Path, tmp_path: Path) -> None:
    for target in (tmp_path / "crops", tmp_path / "crops.zip"):
        align_photos([photos], target, AlignSettings(on_many="largest"), jobs=1)
        with pytest.raises(UsageError, match=r"other settings.*on_many largest"):
            align_photos([photos], target, jobs=1)
        done = align_photos([photos], target, AlignSettings(format="png"), jobs=1, force=True)
        assert done.resumed == 0
        names = zipfile.ZipFile(target).namelist() if target.suffix else tree(target)
        assert names == [name.replace(".webp", ".png") for name in CROPS]


@pytest.mark.parametrize("format", ["png", "jpg"])
def test_formats(photos: Path, tmp_path: Path, format: str) -> None:
    align_photos([photos / "ada"], tmp_path / "webp", jobs=1)
    align_photos([photos / "ada"], tmp_path / format, AlignSettings(format=format), jobs=1)
    lossless = decode(tmp_path / "webp" / "one.webp").pixels.astype(int)
    other = decode(tmp_path / format / f"one.{format}").pixels
    assert np.abs(lossless - other).mean() <= (0 if format == "png" else 2)


def test_other_crop_specs(photos: Path, tmp_path: Path) -> None:
    box = AlignSettings(crop=BoxCrop(size=160, margin=14))
    align_photos([photos / "ada"], tmp_path / "crops", box, jobs=1)
    assert decode(tmp_path / "crops" / "one.webp").pixels.shape == (160, 160, 3)


def test_several_faces(tmp_path: Path) -> None:
    write(tmp_path / "photos" / "pair.png", np.concatenate([PORTRAIT, PORTRAIT[:, ::-1]], axis=1))
    counts = {}
    for policy in ("best", "all", "skip"):
        done = align_photos([tmp_path / "photos"], tmp_path / policy, AlignSettings(on_many=policy), jobs=1)
        assert entries(tmp_path / policy)["pair.png"]["found"] == 2
        counts[policy] = (done.crops, done.several, done.reasons)
    assert counts == {"best": (1, 1, {}), "all": (2, 0, {}), "skip": (0, 0, {"several_faces": 1})}
    assert tree(tmp_path / "all") == ["pair.webp", "pair~2.webp"]
    boxes = [face["box"] for face in entries(tmp_path / "all")["pair.png"]["faces"]]
    assert boxes[0][0] < boxes[1][0]


def test_crop_names_never_collide() -> None:
    photos = ["a.jpg", "a.png", "b.jpg", "c.d.jpg", "x/a.jpg", "p.jpg", "p~2.jpg", "p~x.jpg"]
    single = crop_names(photos, "webp", many=False)
    assert (single["a.jpg"], single["a.png"]) == ("a.jpg.webp", "a.png.webp")
    assert (single["b.jpg"], single["c.d.jpg"], single["x/a.jpg"]) == ("b.webp", "c.d.webp", "x/a.webp")
    assert (single["p.jpg"], single["p~2.jpg"]) == ("p.webp", "p~2.webp")
    many = crop_names(photos, "webp", many=True)
    made = [nth_name(crop, index) for crop in many.values() for index in range(4)]
    assert len(set(made)) == len(made)
    assert nth_name("x/a.webp", 2) == "x/a~3.webp"


def test_a_pack_cannot_write_outside(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(PORTRAIT).save(file, "PNG")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as pack:
        for name in ("../out.png", "/tmp/out.png", "a/../../out.png", "good.png"):
            pack.writestr(name, file.getvalue())
    done = align_photos([tmp_path / "photos.zip"], tmp_path / "in" / "crops", jobs=1)
    assert done.reasons == {"unreadable": 3}
    assert tree(tmp_path / "in") == ["crops.report.jsonl", "crops/good.webp"]
    assert tree(tmp_path) == ["in/crops.report.jsonl", "in/crops/good.webp", "photos.zip"]


@pytest.mark.parametrize("name", ["", "/a", "../a", "a/../b", "C:\\a", "a\0", "a\udcff"])
def test_unsafe_names(name: str) -> None:
    assert not is_safe(name)
    assert is_safe("a/b.c/...d.jpg")


def test_crops_never_land_among_the_photos(photos: Path, tmp_path: Path) -> None:
    for target in (photos, photos / "crops", photos / "crops.zip"):
        with pytest.raises(UsageError, match="source or inside it"):
            align_photos([photos], target)
    stranger = tmp_path / "stranger"
    write(stranger / "holiday.jpg", PORTRAIT)
    with pytest.raises(UsageError, match="no report of an earlier run"):
        align_photos([photos], stranger)
    (tmp_path / "stranger.zip").write_bytes(b"something else")
    with pytest.raises(UsageError, match="no report of an earlier run"):
        align_photos([photos], tmp_path / "stranger.zip")
    align_photos([photos], stranger, jobs=1, force=True)
    assert tree(stranger) == sorted([*CROPS, "holiday.jpg"])


def test_what_cannot_be_used(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputOutput, match="no image"):
        align_photos([tmp_path / "empty"], tmp_path / "crops")
    with pytest.raises(UsageError, match="policy"):
        align_photos([photos], tmp_path / "crops", AlignSettings(on_many="first"))
    with pytest.raises(UsageError, match="format"):
        align_photos([photos], tmp_path / "crops", AlignSettings(format="gif"))
    with pytest.raises(UsageError, match="no detector"):
        align_photos([photos], tmp_path / "crops", AlignSettings(detector="eyes"))
    with pytest.raises(InputOutput):
        align_photos([tmp_path / "absent"], tmp_path / "crops")
    (tmp_path / "file").touch()
    with pytest.raises(InputOutput, match="cannot be written"):
        align_photos([photos], tmp_path / "file" / "crops")
    assert not (tmp_path / "crops").exists()


def test_a_report_that_is_none(photos: Path, tmp_path: Path) -> None:
    report_path(tmp_path / "crops").write_text("hello\n")
    with pytest.raises(Unreadable, match="line 1"):
        align_photos([photos], tmp_path / "crops")


def test_two_runs_at_once_do_not_mix(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    seen = []

    def start_another(title: str, total: int | None) -> Any:
        with pytest.raises(UsageError, match="another run"):
            align_photos([photos], tmp_path / "crops", jobs=1)
        seen.append(total)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        align_photos([photos], tmp_path / "crops", jobs=1, progress=start_another)
    assert seen == [6]
    assert align_photos([photos], tmp_path / "crops", jobs=1).crops == 3


# --- stopping ----------------------------------------------------------------------------------


def assert_consistent(target: Path) -> int:
    """Every photo in the report has its crops, whole; returns how many photos there are."""
    parts = target.with_name(f".{target.name}.parts") if target.suffix else target
    content = report_path(target).read_bytes()
    whole = [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
    for entry in whole[1:]:
        for face in entry["faces"]:
            assert decode(parts / face["crop"]).pixels.shape == (112, 112, 3)
    return len(whole) - 1


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children_of(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            found += [int(entry.name)] if int(parent) == pid else []
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
@pytest.mark.parametrize(("target_name", "how"), [("crops.zip", signal.SIGKILL), ("crops", signal.SIGINT)])
def test_a_run_stopped_in_the_middle(tmp_path: Path, target_name: str, how: signal.Signals) -> None:
    for number in range(60):
        write(tmp_path / "photos" / f"{number:02}.jpg", PORTRAIT[number % 9 :, 10:])
    target = tmp_path / target_name
    command = [sys.executable, "-m", "facekd", "align", str(tmp_path / "photos"), str(target), "--jobs", "2"]
    # a shell's background align ignores SIGINT and hands that on; the child must not
    usual = signal.signal(signal.SIGINT, signal.SIG_DFL)
    run = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    signal.signal(signal.SIGINT, usual)
    journal = report_path(target)
    wait_for(lambda: journal.exists() and journal.read_bytes().count(b"\n") > 8)
    workers = children_of(run.pid)
    assert len(workers) >= 2
    os.kill(run.pid, how)
    code = run.wait(60)
    assert code == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    done = assert_consistent(target)
    assert 8 <= done < 60
    assert target.is_dir() == (target_name == "crops")
    if how == signal.SIGKILL:
        with journal.open("ab") as file:
            file.write(b'{"photo": "59.jpg", "fac')  # what a kill within a write leaves
    second = align_photos([tmp_path / "photos"], target, jobs=1)
    assert (second.photos, second.crops) == (60, 60)
    assert second.resumed == done
    names = zipfile.ZipFile(target).namelist() if target.suffix else tree(target)
    assert names == [f"{number:02}.webp" for number in range(60)]
    assert len(lines(target)) == 61


def test_a_pack_stays_the_old_one_until_the_new_one_is_whole(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "crops.zip"
    align_photos([photos], target, jobs=1)
    old = target.read_bytes()
    write(photos / "cleo" / "four.jpg", PORTRAIT[2:])

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "writestr", full_disk)
        with pytest.raises(OSError, match="No space"):
            align_photos([photos], target, jobs=1)
    assert target.read_bytes() == old
    done = align_photos([photos], target, jobs=1)
    assert (done.crops, done.resumed) == (4, 7)
    assert len(zipfile.ZipFile(target).namelist()) == 4


def test_a_photo_that_breaks_the_code_does_not_end_the_run(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facekd.workflows import align

    real = align.cut

    def breaks(pixels: np.ndarray, *rest: Any) -> np.ndarray:
        if pixels.shape[0] == PORTRAIT.shape[0] - 4:
            raise ZeroDivisionError("a bug")
        return real(pixels, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(align, "cut", breaks)
        done = align_photos([photos], tmp_path / "crops", jobs=1)
    assert done.reasons["failed"] == 1
    assert "ZeroDivisionError: a bug" in entries(tmp_path / "crops")["bea/deep/er/three.webp"]["detail"]
    again = align_photos([photos], tmp_path / "crops", jobs=1)
    assert (again.resumed, again.crops) == (5, 3)
    assert dataclasses.asdict(again)["reasons"] == {"no_face": 1, "unreadable": 2}
