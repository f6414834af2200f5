"""kill -9 in the middle of an enrolment: what was acknowledged is there, what was not is whole or
absent, and repeating the command completes it."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_photos import need_mtcnn, portrait, save, shade
from tiny_model import write_tiny_model

from facekd.gallery import GalleryRecords

PEOPLE = 9
PHOTOS = 2


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_mtcnn()
    folder = tmp_path_factory.mktemp("work")
    write_tiny_model(folder / "tiny.onnx")
    for person in range(PEOPLE):
        (folder / "people" / f"p{person:02d}").mkdir(parents=True)
        for photo in range(PHOTOS):
            pixels = shade(portrait(), PHOTOS * person + photo)
            save(pixels, folder / "people" / f"p{person:02d}" / f"{photo}.jpg")
    return folder


def enroll(work: Path, gallery: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "facekd", "enroll", "--from", str(work / "people")]
    command += ["--model", str(work / "tiny.onnx"), "--gallery", str(gallery)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_whole(gallery: Path) -> None:
    db = sqlite3.connect(gallery)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    db.close()


@pytest.mark.parametrize("acknowledged", [1, 4])
def test_a_killed_enrolment_keeps_what_it_acknowledged(work: Path, tmp_path: Path, acknowledged: int) -> None:
    gallery = tmp_path / "gallery.db"
    process = enroll(work, gallery)
    lines = [process.stdout.readline() for _ in range(acknowledged)]
    process.kill()
    lines += process.stdout.readlines()  # what it still got out of the door counts as well
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    said = {line.split()[1].rstrip(":") for line in lines if line.endswith("\n")}
    with GalleryRecords(gallery) as records:
        there = {person.name: person.templates for person in records.people()}
    assert said <= there.keys()
    assert set(there.values()) == {PHOTOS}  # nobody by half
    assert len(there) < PEOPLE
    check_whole(gallery)

    again = enroll(work, gallery)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    skipped = [line for line in out.splitlines() if f"0 new, {PHOTOS} already there" in line]
    assert len(skipped) == len(there)
    with GalleryRecords(gallery) as records:
        assert {p.name: p.templates for p in records.people()} == {f"p{i:02d}": PHOTOS for i in range(PEOPLE)}


_WRITER = """
import sys
import numpy as np
from facekd.gallery import Contract, GalleryRecords, Template
rng = np.random.default_rng(0)
with GalleryRecords(sys.argv[1], Contract("a" * 64, 512, "m", "d", "a"), create=True) as records:
    start = len(records.people())
    print("ready", flush=True)
    for number in range(start, start + 100_000):
        rows = rng.normal(size=(5, 512))
        rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        with records.transaction():
            records.add(f"p{number}", [Template(r, f"{number:060x}{i:04x}", 1.0) for i, r in enumerate(rows)])
            if number % 7 == 6:
                records.remove(f"p{number - 3}")
                records.add(f"p{number - 3}", [Template(rows[0], f"{number:060x}ffff", 1.0)])
        print(number, flush=True)
"""


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """Five times over: a writer of people of five templates, which now and then replaces somebody
    and so rewrites the file, is killed after a random time."""
    gallery = tmp_path / "gallery.db"
    moments = random.Random(0)
    said: set[str] = set()
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(gallery)],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert process.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.05, 0.6))
        process.kill()
        said |= {f"p{line.strip()}" for line in process.stdout if line.endswith("\n")}
        process.wait()
        check_whole(gallery)
        with GalleryRecords(gallery) as records:
            there = {person.name: person.templates for person in records.people()}
            for name in there:
                assert len(records.templates(name)) == there[name]
        assert said <= there.keys()
        assert set(there.values()) <= {1, 5}
    assert len(said) > 5
