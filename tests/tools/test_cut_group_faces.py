"""The tool that cuts the faces of groups: what it keeps of made-up photos, and what it leaves out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from tiny_model import write_tiny_model

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import cut_group_faces as tool

from facekd.card import ARCFACE_TEMPLATE
from facekd.errors import InputOutput
from facekd.preprocess import Face, open_source
from facekd.runtime import load_embedder
from facekd.verification import read_groups


class Finder:
    """Finds a face of ``height`` pixels in the middle of every photo that is not black."""

    name = "finder"

    def __init__(self, height: float = 150, score: float = 0.9) -> None:
        self.height, self.score = height, score

    def detect(self, pixels: np.ndarray) -> list[Face]:
        if not pixels.any():
            return []
        middle = np.array(pixels.shape[1::-1], np.float32) / 2
        box = np.concatenate([middle - self.height / 2, middle + self.height / 2]).astype(np.float32)
        points = (np.array(ARCFACE_TEMPLATE) - 56) * self.height / 112 + middle
        return [Face(box, self.score, points.astype(np.float32))]


def write_photo(path: Path, seed: int, noise: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pattern = np.random.default_rng(seed).integers(0, 256, (10, 10, 3))
    pattern = pattern + np.random.default_rng(noise).normal(0, 10, pattern.shape) * bool(noise)
    pixels = np.kron(np.clip(pattern, 0, 255), np.ones((20, 20, 1))).astype(np.uint8)
    cv2.imwrite(str(path), pixels)


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("a/25_1_2_20170116.jpg.chip.jpg", "Asian women"),
        ("18_0_0_20170116.png", "White men"),
        ("17_0_0_20170116.png", None),
        ("61_3_20170109150557335.jpg", None),
        ("25_2_1_20170116.jpg", None),
        ("25_0_5_20170116.jpg", None),
        ("readme.txt", None),
    ],
)
def test_the_group_is_that_of_the_name(name: str, group: str | None) -> None:
    assert tool.group_of(name) == group


@pytest.mark.parametrize(("age", "group"), [(18, 18), (29, 18), (30, 30), (44, 30), (45, 45), (99, 45)])
def test_ages_divide_groups(age: int, group: int) -> None:
    assert tool.group_of(f"{age}_0_3_1.jpg", (45, 30)) == f"Indian men from {group}"
    assert tool.group_of("17_0_3_1.jpg", (45, 30)) is None


def test_a_photo_is_left_out_for_the_first_reason_that_holds() -> None:
    basis = np.eye(6, dtype=np.float32)
    near = (basis[0] * 0.6 + basis[1] * 0.8).astype(np.float32)
    sifted = tool.Sifted(basis[:1], basis[5:])
    assert sifted.take(np.stack([basis[0], basis[1], near, basis[5], basis[2]])) == [
        "like a crop of the training packs", None, "same person as in a photo that is kept",
        "like somebody who is kept apart", None,
    ]  # fmt: skip
    # those of earlier batches too; what was left out does not count
    assert sifted.take(np.stack([basis[2], basis[3]])) == ["same person as in a photo that is kept", None]


def test_of_each_group_in_turn_in_an_order_of_the_seed() -> None:
    names = [f"{20 + n}_{n % 2}_0_{n}.jpg" for n in range(200)] + ["9_0_0_1.jpg"]
    batches = list(tool.tried(names, 0))
    assert [group for group, _ in batches] == ["White men", "White women"] * 2
    assert sorted(name for _, batch in batches for name in batch) == sorted(names[:-1])
    assert list(tool.tried(names[::-1], 0)) == batches != list(tool.tried(names, 1))


@pytest.mark.parametrize("finder", [Finder(40), Finder(score=0.3)])
def test_small_and_doubtful_faces_are_none(tmp_path: Path, finder: Finder) -> None:
    write_photo(tmp_path / "a.png", 0)
    content = (tmp_path / "a.png").read_bytes()
    assert tool.crop_of(content, "a", finder) is None
    assert tool.crop_of(content, "a", Finder()).shape == (112, 112, 3)
    assert tool.crop_of(b"no photo", "a", Finder()) is None
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((200, 200, 3), np.uint8))
    assert tool.crop_of((tmp_path / "black.png").read_bytes(), "black", Finder()) is None


def test_the_detector_sees_a_border() -> None:
    seen = tool.bordered(np.full((200, 100, 3), 7, np.uint8))
    assert seen.shape == (300, 150, 3)
    assert (seen[50:250, 25:125] == 7).all()
    assert int(seen.sum()) == 7 * 200 * 100 * 3


def photos_of_groups(folder: Path) -> None:
    for n in range(12):
        write_photo(folder / f"{20 + n}_{n % 2}_{n % 3}_{n}.jpg.chip.png", n)
    write_photo(folder / "50_0_0_again.png", 0, noise=1)
    write_photo(folder / "15_0_0_child.png", 99)


def test_a_pack_and_its_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos_of_groups(tmp_path / "photos")
    model = write_tiny_model(tmp_path / "tiny.onnx")
    crops = {}
    for number in (1, 2, 3):
        write_photo(tmp_path / "one.png", number)
        crops[number] = tool.crop_of((tmp_path / "one.png").read_bytes(), "x", Finder())
    for person, number in (("seen/x", 1), ("seen/held", 2)):
        (tmp_path / person).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / person / "1.png"), crops[number][..., ::-1])
    (tmp_path / "people.txt").write_text("held\n")
    np.save(tmp_path / "apart.npy", load_embedder(model).embed(crops[3][None]).astype(np.float16))
    monkeypatch.setattr(tool, "make_detector", lambda *given: Finder())
    monkeypatch.setattr(tool, "SAME_PERSON", 0.9)
    out, groups = tmp_path / "out.zip", tmp_path / "groups.csv"
    ran = CliRunner().invoke(tool.main, [
        str(tmp_path / "photos"), str(out), str(groups), "--detector", "scrfd:x", "--teacher", str(model),
        "--seen", str(tmp_path / "seen"), "--apart", str(tmp_path / "apart.npy"),
        "--people", str(tmp_path / "people.txt"),
    ])  # fmt: skip
    assert ran.exit_code == 0, ran.output
    kept = dict(read_groups(groups))
    assert sorted(open_source(out).names()) == sorted(kept)
    # 1 was seen, and 2; 3 is kept apart; of 0 and its copy one is kept
    people = {name.partition("/")[0].rpartition("_")[2] for name in kept}
    assert people - {"0", "again"} == {str(n) for n in range(4, 12)}
    assert len(people & {"0", "again"}) == 1
    assert kept["25_1_2_5/1.jpg"] == "Asian women"
    assert "     2 like a crop of the training packs" in ran.output
    assert "     1 like somebody who is kept apart" in ran.output
    assert "     1 same person as in a photo that is kept" in ran.output


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_photos_of_a_bare_git_directory(tmp_path: Path) -> None:
    photos_of_groups(tmp_path / "work" / "data" / "faces")

    def git(*words: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path / "work", check=True, capture_output=True)

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "photos")
    git("clone", "-q", "--bare", ".", str(tmp_path / "bare"))
    folder = tool.GitFolder(tmp_path / "bare", "data/faces/")
    names = folder.names()
    assert len(names) == 14
    for name in names[:2]:
        assert folder.read(name) == (tmp_path / "work" / name).read_bytes()
    with pytest.raises(InputOutput, match="not in this copy"):
        folder.read("data/faces/absent.png")


def test_at_most_so_many_of_a_group(tmp_path: Path) -> None:
    names = [f"{20 + n}_0_0_{n}.png" for n in range(10)]
    for n, name in enumerate(names):
        write_photo(tmp_path / name, n)
    embedder = SimpleNamespace(embed=lambda crops: crops.reshape(len(crops), -1)[:, :0].astype(np.float32))
    tally = tool.Tally()
    nobody = np.zeros((0, 0), np.float32)
    kept = tool.kept_crops(
        names, lambda name: (tmp_path / name).read_bytes(), Finder(), embedder,
        tool.Sifted(nobody, nobody), 4, tally,
    )  # fmt: skip
    assert len(list(kept)) == tally.kept["White men"] == 4
