"""gallery re-embed at the shell: who is moved to another model, and who stops the move."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from small_photos import album_of_three, portrait, save, shade
from tiny_model import write_tiny_model

from facekd.gallery import GalleryCheck, GalleryRecords


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of another space, whose embeddings have another length."""
    return write_tiny_model(tmp_path_factory.mktemp("other") / "other.onnx", seed=1, dim=48)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Photos of three people, as they were enrolled."""
    return album_of_three(tmp_path / "album")


@pytest.fixture
def gallery(facekd: Callable, operator: Path, photos: Path, album: Path) -> Path:
    assert facekd("enroll", "--from", album).code == 0
    return operator


@pytest.fixture
def heap(album: Path, tmp_path: Path) -> Path:
    """The same photos under other names, among others: one of nobody, one of nobody's face, a copy."""
    heap = tmp_path / "heap"
    (heap / "x" / "y").mkdir(parents=True)
    for number, file in enumerate(sorted(album.rglob("*.jpg"))):
        shutil.copy(file, heap / ("x/y" if number % 2 else ".") / f"p{number}.jpg")
    shutil.copy(album / "Bo" / "1.jpg", heap / "x" / "again.jpg")
    save(shade(portrait(), 40), heap / "stranger.jpg")
    (heap / "broken.jpg").write_text("no image")
    return heap


def rows(path: Path, query: str) -> list[tuple]:
    db = sqlite3.connect(path)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


WHO = (
    "SELECT people.id, name, uid, photo, enrolled FROM people JOIN templates ON person = people.id"
    " ORDER BY people.id, photo"
)


def test_a_gallery_is_moved(
    facekd: Callable, gallery: Path, heap: Path, album: Path, other: Path, tmp_path: Path
) -> None:
    before, contract = rows(gallery, WHO), rows(gallery, "SELECT space, model FROM contract")[0]
    audit = rows(gallery, "SELECT * FROM audit")
    old = [blob for (blob,) in rows(gallery, "SELECT embedding FROM templates")]
    ran = facekd("gallery", "re-embed", "--from", heap, "--model", other, "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told == {
        "schema": "gallery-re-embed/1", "gallery": str(gallery), "out": None,
        "from": {"model": contract[1], "space": contract[0]},
        "to": {"model": "other", "space": told["to"]["space"]},
        "people": 3, "templates": 4, "moved_people": 3, "moved": 4, "dropped": 0, "not_moved": [],
        "photos": {"read": 7, "unknown": 2, "copies": 1, "failures": []},
        "erasure": "done", "index": None, "failure": None,
    }  # fmt: skip
    assert rows(gallery, WHO) == before
    assert rows(gallery, "SELECT space, dim, model FROM contract") == [(told["to"]["space"], 48, "other")]
    added = rows(gallery, "SELECT action, person, templates FROM audit")[len(audit) :]
    assert added == [("re_embed", 0, 4)]
    assert list(GalleryCheck(gallery).faults()) == []
    content = gallery.read_bytes()
    assert not any(blob in content for blob in old)
    assert not list(gallery.parent.glob(".facekd-*"))
    # what the new model enrolls from the same photos is what is there now
    fresh = tmp_path / "fresh.db"
    assert facekd("enroll", "--from", album, "--model", other, "--gallery", fresh).code == 0
    templates = "SELECT photo, embedding, quality FROM templates ORDER BY photo"
    assert rows(gallery, templates) == rows(fresh, templates)
    assert list(GalleryCheck(gallery).faults()) == []
    asked = facekd("identify", album / "Bo" / "1.jpg", "--model", other, "--threshold", "0.999", "--json")
    assert json.loads(asked.out)["candidates"][0]["name"] == "Bo"
    # the old model is refused from now on
    assert facekd("identify", album / "Bo" / "1.jpg", "--threshold", "0.9").code == 4


def test_a_copy_is_moved_and_the_gallery_is_not(
    facekd: Callable, gallery: Path, heap: Path, other: Path, tmp_path: Path
) -> None:
    before, who, out = gallery.read_bytes(), rows(gallery, WHO), tmp_path / "new.db"
    call = ("gallery", "re-embed", "--from", heap, "--model", other, "--out")
    ran = facekd(*call, out)
    assert ran.code == 0, ran.err
    assert ran.out == f"moved 3 people, 4 templates from tiny to other: {out}\n"
    assert "7 photos read: 2 of nobody in the gallery, 1 copies" in ran.err
    assert gallery.read_bytes() == before
    assert (rows(out, WHO), out.stat().st_mode & 0o777) == (who, 0o600)
    assert rows(out, "SELECT model FROM contract") == [("other",)]
    assert list(GalleryCheck(out).faults()) == []
    assert facekd(*call, out).code == 2
    assert facekd(*call, out, "--force").code == 0
    assert facekd(*call, gallery, "--force").code == 2
    assert facekd("gallery", "re-embed", "--from", heap, "--model", other, "--force").code == 2
    assert gallery.read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {"album", "heap", "gallery.db", "new.db"}


def test_photos_may_lie_in_a_zip(facekd: Callable, gallery: Path, album: Path, other: Path) -> None:
    pack = album.with_suffix(".zip")
    with zipfile.ZipFile(pack, "w") as file:
        for number, photo in enumerate(album.rglob("*.jpg")):
            file.write(photo, f"all/{number}.jpg")
    assert facekd("gallery", "re-embed", "--from", pack, "--model", other).code == 0
    assert rows(gallery, "SELECT count(*) FROM templates") == [(4,)]


class TestPeopleWhoCannotBeMoved:
    def test_without_photos(self, facekd: Callable, gallery: Path, heap: Path, other: Path) -> None:
        """Bo's photos are away, and one of Ann's two."""
        for name in ("x/again.jpg", "p2.jpg", "p0.jpg"):
            (heap / name).unlink()
        before = gallery.read_bytes()
        call = ("gallery", "re-embed", "--from", heap, "--model", other, "--json")
        ran = facekd(*call)
        assert ran.code == 5
        told = json.loads(ran.out)
        assert told["not_moved"] == [
            {"name": "Ann", "moved": 1, "not_moved": 1, "reasons": {"no_photo": 1}},
            {"name": "Bo", "moved": 0, "not_moved": 1, "reasons": {"no_photo": 1}},
        ]
        assert (told["moved"], told["moved_people"], told["erasure"]) == (0, 0, None)
        assert told["failure"]["reason"] == "not_moved"
        assert "not moved: Bo (1 no_photo)" in ran.err
        assert "1 of 3 people cannot be moved" in ran.err
        assert "--drop-missing" in ran.err
        assert gallery.read_bytes() == before
        ran = facekd(*call, "--drop-missing")
        assert ran.code == 0, ran.err
        told = json.loads(ran.out)
        assert (told["moved_people"], told["moved"], told["dropped"]) == (2, 2, 2)
        assert rows(gallery, "SELECT name FROM people ORDER BY name") == [("Ann",), ("Cy",)]
        assert rows(gallery, "SELECT action, person, templates FROM audit ORDER BY id DESC LIMIT 3") == [
            ("re_embed", 0, 2), ("drop", 2, 1), ("drop", 1, 1),
        ]  # fmt: skip
        assert list(GalleryCheck(gallery).faults()) == []
        assert b"Bo" not in gallery.read_bytes()

    def test_by_photos_that_the_new_pipeline_refuses(
        self, facekd: Callable, gallery: Path, heap: Path, other: Path, photos: Path
    ) -> None:
        """A photo with two faces was enrolled by a policy that takes one."""
        assert facekd("enroll", "Di", photos / "two.jpg", "--on-many", "best").code == 0
        shutil.copy(photos / "two.jpg", heap)
        call = ("gallery", "re-embed", "--from", heap, "--model", other)
        ran = facekd(*call)
        assert ran.code == 3
        assert "photo not used (several_faces)" in ran.err
        assert "not moved: Di (1 several_faces)" in ran.err
        assert facekd(*call, "--on-many", "best").code == 0
        assert rows(gallery, "SELECT count(*) FROM people") == [(4,)]

    def test_nobody_would_be_left(self, facekd: Callable, gallery: Path, tmp_path: Path, other: Path) -> None:
        before = gallery.read_bytes()
        (tmp_path / "strangers").mkdir()
        save(shade(portrait(), 50), tmp_path / "strangers" / "s.jpg")
        place = tmp_path / "strangers"
        ran = facekd("gallery", "re-embed", "--from", place, "--model", other, "--drop-missing")
        assert ran.code == 5
        assert "3 of 3 people cannot be moved" in ran.err
        assert "--drop-missing" not in ran.err
        assert gallery.read_bytes() == before


def test_whoever_was_removed_stays_removed(
    facekd: Callable, gallery: Path, heap: Path, album: Path, other: Path, tmp_path: Path
) -> None:
    """Their photos are in the folder. An archive of the same people in the new space does not bring them
    back, nor a photo that was removed."""
    first, second = (photo for photo, *_ in rows(gallery, "SELECT photo FROM templates WHERE person = 1"))
    full, archive = tmp_path / "full.db", tmp_path / "full.jsonl"
    assert facekd("gallery", "re-embed", "--from", heap, "--model", other, "--out", full).code == 0
    assert facekd("gallery", "export", archive, "--yes", "--gallery", full).code == 0
    assert facekd("gallery", "remove", "Bo", "--yes").code == 0
    assert facekd("gallery", "remove", "Ann", "--photo", second[:12], "--yes").code == 0
    ran = facekd("gallery", "re-embed", "--from", heap, "--model", other, "--json")
    told = json.loads(ran.out)
    assert (ran.code, told["people"], told["templates"], told["moved"]) == (0, 2, 2, 2)
    assert [(name, photo) for _, name, _, photo, _ in rows(gallery, WHO)][:1] == [("Ann", first)]
    ran = facekd("gallery", "import", archive, "--json")
    told = json.loads(ran.out)
    assert (told["added"], told["removed_people"], told["removed_photos"]) == (0, 1, 1)


def test_a_gallery_of_this_very_model_is_left_alone(facekd: Callable, gallery: Path, heap: Path) -> None:
    ran = facekd("gallery", "re-embed", "--from", heap)
    assert (ran.code, "already" in ran.err) == (2, True)


def test_other_folders(facekd: Callable, gallery: Path, tmp_path: Path, other: Path) -> None:
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe.zip")
    for name in ("empty", "absent", "pipe.zip"):
        ran = facekd("gallery", "re-embed", "--from", tmp_path / name, "--model", other)
        assert (ran.code, "Traceback" in ran.err) == (5, False)


def test_what_was_enrolled_meanwhile_is_moved_too(
    facekd: Callable, gallery: Path, heap: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody enrolls the stranger, and renames Cy, while the photos are looked at."""
    from facekd.workflows import gallery_re_embed

    changes = [
        lambda: facekd("enroll", "Stranger", heap / "stranger.jpg"),
        lambda: facekd("gallery", "rename", "Cy", "Cyril"),
    ]
    embedded = []
    embed, move = gallery_re_embed._Look._embed, gallery_re_embed.move_gallery

    def counted(self, photo, data, digest) -> None:
        if digest not in self.store:
            embedded.append(digest)
        embed(self, photo, data, digest)

    def interfered(*arguments):
        if changes:
            assert changes.pop()().code == 0
        return move(*arguments)

    monkeypatch.setattr(gallery_re_embed._Look, "_embed", counted)
    monkeypatch.setattr(gallery_re_embed, "move_gallery", interfered)
    ran = facekd("gallery", "re-embed", "--from", heap, "--model", other, "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert (told["people"], told["moved"], told["photos"]["unknown"]) == (4, 5, 1)
    assert rows(gallery, "SELECT name FROM people ORDER BY name") == [
        ("Ann",), ("Bo",), ("Cyril",), ("Stranger",),
    ]  # fmt: skip
    assert len(embedded) == len(set(embedded)) == 5
    assert list(GalleryCheck(gallery).faults()) == []


def test_a_program_that_has_the_gallery_open_adds_nothing_of_the_old_space(
    facekd: Callable, gallery: Path, heap: Path, other: Path
) -> None:
    from facekd.errors import Misfit

    with GalleryRecords(gallery) as opened:
        contract = opened.contract
    with GalleryRecords(gallery, contract) as opened:
        template = opened.templates("Ann")[0]
        assert facekd("gallery", "re-embed", "--from", heap, "--model", other).code == 0
        with pytest.raises(Misfit), opened.transaction():
            opened.add("Eve", [template])
    assert rows(gallery, "SELECT count(*) FROM people") == [(3,)]
    assert list(GalleryCheck(gallery).faults()) == []


_KILLED = """
import os, signal, sys
from facekd.cli.main import main
from facekd.workflows import gallery_re_embed
# a job in the background of a shell has it ignored
signal.signal(signal.SIGINT, signal.default_int_handler)
embed, count = gallery_re_embed._Look._embed, 0
def cut_short(self, *arguments):
    global count
    embed(self, *arguments)
    count += 1
    if count == 2:
        os.kill(os.getpid(), int(sys.argv[1]))
gallery_re_embed._Look._embed = cut_short
raise SystemExit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(("sent", "code"), [("SIGKILL", -9), ("SIGTERM", -15), ("SIGINT", 130)])
def test_ended_while_it_looks_at_photos(
    facekd: Callable, gallery: Path, heap: Path, other: Path, sent: str, code: int
) -> None:
    before = gallery.read_bytes()
    command = [sys.executable, "-c", _KILLED, str(int(signal.Signals[sent]))]
    ran = subprocess.run(
        [*command, "gallery", "re-embed", "--from", heap, "--model", other], capture_output=True, text=True
    )
    assert (ran.returncode, "Traceback" in ran.stderr) == (code, False), ran.stderr
    assert gallery.read_bytes() == before
    left = list(gallery.parent.glob(".facekd-*"))
    assert [file.stat().st_mode & 0o777 for file in left] == ([0o600] if code < 0 else [])
    assert facekd("gallery", "re-embed", "--from", heap, "--model", other).code == 0


def test_templates_that_were_exchanged_are_not_moved(facekd, gallery: Path, album: Path, other: Path) -> None:
    """Each would be made whole, and stay another person's."""
    db = sqlite3.connect(gallery)
    first, second = (row[0] for row in db.execute("SELECT id FROM people ORDER BY id LIMIT 2").fetchall())
    db.execute(
        "UPDATE templates SET person = ? - person WHERE person IN (?, ?)", (first + second, first, second)
    )
    db.commit()
    db.close()
    content = gallery.read_bytes()
    ran = facekd("gallery", "re-embed", "--from", album, "--model", other, "--gallery", gallery)
    assert ran.code == 5
    assert "a template of" in ran.err
    assert gallery.read_bytes() == content
