"""Folders and zips of drawn people."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from facekd.errors import InputOutput, UsageError
from facekd.samples import draw, draw_people, person, person_seed


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*.jpg"))}


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "people"
    draw_people(folder, people=3, photos=2, seed=5, workers=1, size=96)
    return folder


def test_tree_and_counts(album: Path, tmp_path: Path):
    files = files_of(album)
    assert list(files) == [f"person-{p:04d}/{n:04d}.jpg" for p in (1, 2, 3) for n in (1, 2)]
    steps: list[int] = []
    counts = draw_people(tmp_path / "again", 3, 2, seed=5, workers=1, size=96, progress=steps.append)
    assert files_of(tmp_path / "again") == files
    assert (counts.people, counts.photos, counts.bytes) == (3, 6, sum(map(len, files.values())))
    assert steps == [2, 2, 2]


def test_files_hold_what_draw_gives(album: Path):
    decoded = cv2.imread(str(album / "person-0002" / "0001.jpg"))[..., ::-1].astype(int)
    drawn = draw(person(person_seed(5, 1)), 0, 96).astype(int)
    assert np.abs(decoded - drawn).mean() < 6


def test_two_processes_and_a_zip_give_the_same_files(album: Path, tmp_path: Path):
    pack = tmp_path / "people.zip"
    draw_people(pack, people=3, photos=2, seed=5, workers=2, size=96)
    with zipfile.ZipFile(pack) as archive:
        assert all(i.compress_type == zipfile.ZIP_STORED for i in archive.infolist())
        assert {n: archive.read(n) for n in archive.namelist()} == files_of(album)
    assert [p.name for p in tmp_path.iterdir()] == ["people.zip"]


def test_ranges_of_one_population_meet_without_overlap(album: Path, tmp_path: Path):
    draw_people(tmp_path / "last", people=1, photos=2, seed=5, first=2, workers=1, size=96)
    assert files_of(tmp_path / "last") == {
        n: d for n, d in files_of(album).items() if n.startswith("person-0003")
    }


def test_another_seed_draws_others(album: Path, tmp_path: Path):
    draw_people(tmp_path / "others", people=1, photos=1, seed=6, workers=1, size=96)
    assert files_of(tmp_path / "others")["person-0001/0001.jpg"] not in files_of(album).values()


def test_nothing_is_left_when_drawing_stops(tmp_path: Path):
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    for name in ("half.zip", "half"):
        with pytest.raises(KeyboardInterrupt):
            draw_people(tmp_path / name, people=2, photos=1, workers=1, size=64, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_refusals(album: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="already exists"):
        draw_people(album, people=1, photos=1)
    for people, photos, first in ((0, 1, 0), (1, 0, 0), (1, 1, -1)):
        with pytest.raises(UsageError, match="nothing to draw"):
            draw_people(tmp_path / "none", people, photos, first=first)
    with pytest.raises(UsageError, match="pixels"):
        draw_people(tmp_path / "none", 1, 1, size=20)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputOutput, match="cannot be written"):
        draw_people(tmp_path / "file" / "people", 1, 1, workers=1)
