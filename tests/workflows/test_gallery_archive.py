"""Archives of galleries: what goes in comes out, nobody who was removed comes back, and a hostile file does
nothing."""

import hashlib
import json
import os
import shutil
import sqlite3
import stat
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_galleries import CONTRACT, embedding, enroll, template

from facekd.errors import FacekdError, InputOutput, Misfit, TooLarge, Unreadable, UsageError
from facekd.gallery import Contract, GalleryCheck, GalleryRecords, Template
from facekd.gallery import archive as archive_module
from facekd.workflows import check_archive, export_gallery, import_archive

STORED = Path(__file__).parent.parent / "stored"
People = dict[str, list[tuple[str, bytes, float, str]]]


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    path = tmp_path / "gallery.db"
    enroll(path, ("Ann", 1), ("Bo Lee", 2), ("王伟", 3))
    with GalleryRecords(path, CONTRACT) as records, records.transaction():
        records.add(
            "Ann", [template(4), Template(embedding(5), f"{5:064x}", 1.0, "2024-05-06T07:08:09+00:00")]
        )
    return path


@pytest.fixture
def archive(gallery: Path, tmp_path: Path) -> Path:
    export_gallery(gallery, tmp_path / "archive.jsonl")
    return tmp_path / "archive.jsonl"


def content(path: Path) -> People:
    with GalleryRecords(path, read_only=True) as records:
        return {
            person.name: sorted(
                (t.photo, t.embedding.tobytes(), t.quality, t.enrolled)
                for t in records.templates(person.name)
            )
            for person in records.people()
        }


def change(path: Path, *what: Callable[[GalleryRecords], object]) -> None:
    with GalleryRecords(path) as records:
        for one in what:
            with records.transaction():
                one(records)


def rows(path: Path, query: str) -> list[tuple]:
    db = sqlite3.connect(path)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


class TestRoundTrip:
    def test_into_a_new_gallery(self, gallery: Path, archive: Path, tmp_path: Path) -> None:
        new = tmp_path / "new.db"
        done = import_archive(archive, new)
        assert (done.people, done.new, done.added, done.present) == (3, 3, 5, 0)
        assert content(new) == content(gallery)
        assert rows(new, "SELECT name, uid FROM people ORDER BY 1") == rows(
            gallery, "SELECT name, uid FROM people ORDER BY 1"
        )
        assert list(GalleryCheck(new).faults()) == []
        with GalleryRecords(new) as records:
            assert records.contract == CONTRACT
        assert {file.name for file in tmp_path.iterdir()} == {"gallery.db", "archive.jsonl", "new.db"}
        assert stat.S_IMODE(new.stat().st_mode) == 0o600

    def test_into_itself_changes_nothing(self, gallery: Path, archive: Path) -> None:
        before = content(gallery)
        done = import_archive(archive, gallery)
        assert (done.new, done.added, done.present) == (0, 0, 5)
        assert content(gallery) == before
        assert rows(gallery, "SELECT count(*) FROM audit WHERE action != 'add'") == [(0,)]

    def test_what_is_missing_is_added_under_the_name_that_a_person_has(
        self, gallery: Path, archive: Path
    ) -> None:
        db = sqlite3.connect(gallery)
        db.execute("DELETE FROM templates WHERE photo = ?", (f"{4:064x}",))
        db.commit()
        db.close()
        change(gallery, lambda records: records.rename("Ann", "Ann Smith"))
        done = import_archive(archive, gallery)
        assert (done.new, done.added, done.present) == (0, 1, 4)
        assert len(content(gallery)["Ann Smith"]) == 3
        assert "Ann" not in content(gallery)
        assert b'Ann"' not in gallery.read_bytes()

    def test_many_photos_of_a_person(self, tmp_path: Path) -> None:
        path = tmp_path / "gallery.db"
        with GalleryRecords(path, CONTRACT, create=True) as records, records.transaction():
            records.add("Ann", [template(seed) for seed in range(600)])
            records.add("Bo", [template(seed) for seed in range(1000, 1256)])
        export_gallery(path, tmp_path / "a.jsonl")
        import_archive(tmp_path / "a.jsonl", tmp_path / "new.db")
        assert content(tmp_path / "new.db") == content(path)

    def test_an_empty_gallery(self, tmp_path: Path) -> None:
        GalleryRecords(tmp_path / "gallery.db", CONTRACT, create=True).close()
        export_gallery(tmp_path / "gallery.db", tmp_path / "a.jsonl")
        assert import_archive(tmp_path / "a.jsonl", tmp_path / "new.db").people == 0
        assert content(tmp_path / "new.db") == {}

    @pytest.mark.parametrize("folder", ["0.1.0", "schema-3"])
    def test_galleries_of_older_schemas(self, tmp_path: Path, folder: str) -> None:
        old = Path(shutil.copy(STORED / folder / "gallery.db", tmp_path / "old.db"))
        before = content(old)
        export_gallery(old, tmp_path / "a.jsonl")
        import_archive(tmp_path / "a.jsonl", tmp_path / "new.db")
        assert content(tmp_path / "new.db") == content(old) == before

    def test_another_space_does_not_fit(self, archive: Path, tmp_path: Path) -> None:
        other = tmp_path / "other.db"
        GalleryRecords(other, Contract("b" * 64, 64, "large", "mtcnn", "a"), create=True).close()
        with pytest.raises(Misfit, match="is incompatible with the gallery") as caught:
            import_archive(archive, other)
        assert caught.value.exit_code == 4
        assert content(other) == {}

    @pytest.mark.parametrize("umask", [0o000, 0o022])
    def test_an_archive_is_private(self, gallery: Path, tmp_path: Path, umask: int) -> None:
        before = os.umask(umask)
        try:
            export_gallery(gallery, tmp_path / "a.jsonl")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "a.jsonl").stat().st_mode) == 0o600

    def test_exporting_changes_nothing_and_replaces_nothing_unasked(
        self, gallery: Path, archive: Path
    ) -> None:
        before = gallery.read_bytes()
        with pytest.raises(UsageError, match="exists"):
            export_gallery(gallery, archive)
        export_gallery(gallery, archive, replace=True)
        assert gallery.read_bytes() == before

    def test_an_export_is_of_one_moment(self, gallery: Path, tmp_path: Path, monkeypatch) -> None:
        """Somebody is enrolled and somebody removed between two of its reads."""
        original, done = GalleryRecords.templates, []

        def templates(self: GalleryRecords, name: str) -> list[Template]:
            if not done:
                done.append(True)
                enroll(gallery, ("Eve", 9))
                change(gallery, lambda records: records.remove("Bo Lee"))
            return original(self, name)

        monkeypatch.setattr(GalleryRecords, "templates", templates)
        header = export_gallery(gallery, tmp_path / "a.jsonl")
        monkeypatch.undo()
        assert (header.people, header.templates) == (3, 5)
        import_archive(tmp_path / "a.jsonl", tmp_path / "new.db")
        assert list(content(tmp_path / "new.db")) == ["Ann", "Bo Lee", "王伟"]

    def test_what_cannot_be_exported_is_said(self, gallery: Path, tmp_path: Path) -> None:
        target = tmp_path / "a.jsonl"
        db = sqlite3.connect(gallery, isolation_level=None)
        db.execute("UPDATE people SET name = 'Bo\x1b[31m' WHERE name = 'Bo Lee'")
        with pytest.raises(UsageError, match="cannot go into an archive") as caught:
            export_gallery(gallery, target)
        assert "gallery rename" in str(caught.value.fix)
        db.execute("UPDATE people SET name = 'Ann ' WHERE id = 2")
        with pytest.raises(UsageError, match="differ only in white space: 'Ann'"):
            export_gallery(gallery, target)
        db.execute("UPDATE people SET name = 'Bo Lee' WHERE id = 2")
        with GalleryRecords(gallery, CONTRACT) as records, records.transaction():
            records.add("Bo Lee", [Template(embedding(7), f"{7:064x}", 7.0)])
        with pytest.raises(Unreadable, match=r"cannot .*quality") as caught:
            export_gallery(gallery, target)
        assert "gallery check" in str(caught.value.fix)
        db.execute("UPDATE templates SET embedding = x'00' WHERE person = 2")
        with pytest.raises(Unreadable, match="a template of 'Bo Lee'"):
            export_gallery(gallery, target)
        db.close()
        assert not target.exists()


class TestRemoved:
    """Nobody who was removed comes back with an archive that was made before."""

    def test_a_person(self, gallery: Path, archive: Path) -> None:
        change(gallery, lambda records: records.remove("Bo Lee"))
        done = import_archive(archive, gallery)
        assert (done.new, done.added, done.removed_people, done.removed_photos) == (0, 0, 1, 0)
        assert "Bo Lee" not in content(gallery)
        assert embedding(2).tobytes() not in gallery.read_bytes()

    def test_a_person_who_is_restored(self, gallery: Path, archive: Path) -> None:
        before = content(gallery)
        change(gallery, lambda records: records.remove("Bo Lee"))
        done = import_archive(archive, gallery, restore_removed=True)
        assert (done.new, done.added, done.removed_people) == (1, 1, 0)
        assert content(gallery) == before
        assert rows(gallery, "SELECT * FROM removed_people") == []
        assert [r[0] for r in rows(gallery, "SELECT action FROM audit ORDER BY id")][-3:] == [
            "remove", "restore", "import"
        ]  # fmt: skip

    def test_a_photo(self, gallery: Path, archive: Path) -> None:
        with GalleryRecords(gallery) as records, records.transaction():
            records.remove_photo("Ann", records.photos("Ann")[1].id)
        done = import_archive(archive, gallery)
        assert (done.added, done.removed_people, done.removed_photos) == (0, 0, 1)
        assert len(content(gallery)["Ann"]) == 2
        assert embedding(4).tobytes() not in gallery.read_bytes()
        assert f"{4:064x}".encode() not in gallery.read_bytes()
        assert import_archive(archive, gallery, restore_removed=True).added == 1
        assert len(content(gallery)["Ann"]) == 3
        assert rows(gallery, "SELECT * FROM removed_photos") == []

    def test_a_photo_that_was_enrolled_again_is_no_longer_removed(self, gallery: Path, archive: Path) -> None:
        with GalleryRecords(gallery, CONTRACT) as records:
            with records.transaction():
                records.remove_photo("Ann", records.photos("Ann")[1].id)
            with records.transaction():
                records.add("Ann", [template(4)])
        assert rows(gallery, "SELECT * FROM removed_photos") == []
        done = import_archive(archive, gallery)
        assert (done.present, done.removed_photos) == (5, 0)

    def test_somebody_who_was_merged_stays_merged(self, gallery: Path, archive: Path) -> None:
        change(gallery, lambda records: records.merge("Ann", "Bo Lee"))
        done = import_archive(archive, gallery)
        assert (done.new, done.added, done.present) == (0, 0, 5)
        assert list(content(gallery)) == ["Ann", "王伟"]
        with GalleryRecords(gallery) as records, records.transaction():
            merged = next(photo for photo in records.photos("Ann") if photo.photo == f"{2:064x}")
            records.remove_photo("Ann", merged.id)
        assert import_archive(archive, gallery).removed_photos == 1
        change(gallery, lambda records: records.merge("王伟", "Ann"))
        assert import_archive(archive, gallery).new == 0
        assert len(content(gallery)["王伟"]) == 4
        change(gallery, lambda records: records.remove("王伟"))
        assert import_archive(archive, gallery).removed_people == 3
        assert content(gallery) == {}
        assert rows(gallery, "SELECT * FROM removed_photos") == []

    def test_removals_go_along_into_archives(self, gallery: Path, archive: Path, tmp_path: Path) -> None:
        with GalleryRecords(gallery) as records, records.transaction():
            records.remove("Bo Lee")
            records.remove_photo("Ann", records.photos("Ann")[1].id)
        later, new = tmp_path / "later.jsonl", tmp_path / "new.db"
        export_gallery(gallery, later)
        import_archive(later, new)
        done = import_archive(archive, new)
        assert (done.added, done.removed_people, done.removed_photos) == (0, 1, 1)
        assert content(new) == content(gallery)

    def test_an_archive_removes_nobody(self, gallery: Path, archive: Path, tmp_path: Path) -> None:
        copy = Path(shutil.copy(gallery, tmp_path / "copy.db"))
        with GalleryRecords(copy) as records, records.transaction():
            records.remove("Bo Lee")
            records.remove_photo("Ann", records.photos("Ann")[1].id)
        export_gallery(copy, tmp_path / "later.jsonl")
        before = content(gallery)
        import_archive(tmp_path / "later.jsonl", gallery)
        assert content(gallery) == before
        assert list(GalleryCheck(gallery).faults()) == []

    def test_an_archive_tells_no_names_of_the_removed(self, gallery: Path, tmp_path: Path) -> None:
        with GalleryRecords(gallery) as records, records.transaction():
            records.remove("Bo Lee")
            records.remove_photo("Ann", records.photos("Ann")[1].id)
        export_gallery(gallery, tmp_path / "a.jsonl")
        text = (tmp_path / "a.jsonl").read_text()
        assert "Bo Lee" not in text
        assert f"{4:064x}" not in text


class TestConflicts:
    def test_a_name_that_somebody_else_has(self, gallery: Path, archive: Path) -> None:
        with GalleryRecords(gallery, CONTRACT) as records:
            with records.transaction():
                records.remove("Bo Lee")
            with records.transaction():
                records.add("Bo Lee", [template(8)])
        before = content(gallery)
        import_archive(archive, gallery)
        with pytest.raises(UsageError, match="'Bo Lee' is enrolled already"):
            import_archive(archive, gallery, restore_removed=True)
        assert content(gallery) == before

    def test_a_photo_that_somebody_else_has(self, gallery: Path, archive: Path, tmp_path: Path) -> None:
        other = tmp_path / "other.db"
        enroll(other, ("Zed", 3))
        with pytest.raises(UsageError, match="belongs to another person"):
            import_archive(archive, other)
        assert list(content(other)) == ["Zed"]

    def test_one_photo_of_two_people_leaves_no_new_gallery(self, gallery: Path, tmp_path: Path) -> None:
        with GalleryRecords(gallery, CONTRACT) as records, records.transaction():
            records.add("Bo Lee", [template(1)])
        export_gallery(gallery, tmp_path / "a.jsonl")
        with pytest.raises(UsageError, match="belongs to another person"):
            import_archive(tmp_path / "a.jsonl", tmp_path / "new.db")
        assert {file.name for file in tmp_path.iterdir()} == {"gallery.db", "a.jsonl"}


Lines = list[dict[str, Any]]


def written(path: Path, lines: list[Any]) -> Path:
    """An archive of ``lines`` (dictionaries, or text as it is) whose sum is right."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    body = "".join(f"{text}\n" for text in texts).encode("utf-8", "surrogatepass")
    path.write_bytes(body + json.dumps({"sha256": hashlib.sha256(body).hexdigest()}).encode() + b"\n")
    return path


def put(key: str, value: Any, line: int = 2) -> Callable[[Lines], None]:
    def change(lines: Lines) -> None:
        lines[line][key] = value

    return change


def vector(row: np.ndarray, dtype: str = "<f4") -> Callable[[Lines], None]:
    """Put ``row`` where a template is, with its right checksum."""
    import base64

    def change(lines: Lines) -> None:
        blob = row.astype(dtype).tobytes()
        said = f"facekd template\n{CONTRACT.space}\n{CONTRACT.dim}\n{lines[2]['template']}\n".encode()
        lines[2]["embedding"] = base64.b64encode(blob).decode()
        lines[2]["checksum"] = hashlib.sha256(said + blob).hexdigest()

    return change


HOSTILE: dict[str, Callable[[Lines], object]] = {
    "not a number": vector(np.full(64, np.nan)),
    "infinite": vector(np.full(64, np.inf)),
    "zeros": vector(np.zeros(64)),
    "too long": vector(embedding(1) * 1.01),
    "float64": vector(embedding(1), "<f8"),
    "float16": vector(embedding(1), "<f2"),
    "big-endian": vector(embedding(1), ">f4"),
    "of another length": vector(embedding(1, 32)),
    "another vector under this checksum": put("embedding", "AAAA" * 85 + "AA=="),
    "no base64": put("embedding", "?" * 344),
    "an embedding that is a list": put("embedding", [0.1] * 64),
    "no text in an embedding": put("embedding", "é" * 344),
    "checksum": put("checksum", "0" * 64),
    "checksum of another type": put("checksum", None),
    "photo": put("template", "../../etc/passwd"),
    "photo in capitals": put("template", "A" * 64),
    "quality above 1": put("quality", 1.01),
    "quality below 0": put("quality", -0.01),
    "quality that is true": put("quality", True),
    "quality that is a text": put("quality", "0.5"),
    "quality that is huge": put("quality", 10**400),
    "date": put("enrolled", "yesterday"),
    "date that is long": put("enrolled", "2024-05-06T07:08:09+00:00" + "0" * 100),
    "date of control characters": put("enrolled", "\x1b[31m2024"),
    "another key": put("extra", 1),
    "no key": lambda lines: lines[2].pop("quality"),
    "uid": put("person", "'; DROP TABLE people", 1),
    "uid that is a number": put("person", 7, 1),
    "name of control characters": put("name", "Ann\x1b[31m", 1),
    "name of a line break": put("name", "Ann\nBo", 1),
    "name that reorders": put("name", "Ann\u202e", 1),
    "name that is half a character": put("name", "\ud800", 1),
    "name that is empty": put("name", " ", 1),
    "name that is long": put("name", "x" * 201, 1),
    "name that is a list": put("name", ["Ann"], 1),
    "the same person twice": put("person", None, 5),
    "the same name twice": put("name", " Ann ", 5),
    "the same photo twice": lambda lines: lines.insert(3, lines[2]),
    "a person without a template": lambda lines: lines.insert(1, {"person": "e" * 32, "name": "Eve"}),
    "a person without a template at the end": lambda lines: lines.append({"person": "e" * 32, "name": "Eve"}),
    "a template of nobody": lambda lines: lines.insert(1, lines[2]),
    "a template after a removal": lambda lines: lines.insert(
        2, {"removed": "e" * 32, "date": "2024-01-01", "merged_into": None}
    ),
    "removed and there": lambda lines: lines.append(
        {"removed": lines[1]["person"], "date": "2024-01-01", "merged_into": None}
    ),
    "removed twice": lambda lines: lines.extend(
        [{"removed": "e" * 32, "date": "2024-01-01", "merged_into": None}] * 2
    ),
    "merged into a path": lambda lines: lines.append(
        {"removed": "e" * 32, "date": "2024-01-01", "merged_into": "/etc/passwd"}
    ),
    "fewer people than it says": put("people", 9, 0),
    "more people than it says": put("people", 2, 0),
    "more templates than it says": put("templates", 4, 0),
    "counts that are none": put("people", -1, 0),
    "counts that are text": put("people", "3", 0),
    "another format": put("format", "tar", 0),
    "another version": put("version", 2, 0),
    "a version that is text": put("version", "1\x1b[31m", 0),
    "no contract": put("contract", None, 0),
    "a contract of another length": put("contract", vars(CONTRACT) | {"dim": 32}, 0),
    "a contract of no length": put("contract", vars(CONTRACT) | {"dim": 0}, 0),
    "a contract of a huge length": put("contract", vars(CONTRACT) | {"dim": 2**31}, 0),
    "a contract of a true length": put("contract", vars(CONTRACT) | {"dim": True}, 0),
    "a contract whose space is a path": put("contract", vars(CONTRACT) | {"space": "../" * 20 + "abcd"}, 0),
    "a contract of control characters": put("contract", vars(CONTRACT) | {"model": "\x1b[31m"}, 0),
    "a contract with more": put("contract", vars(CONTRACT) | {"path": "/etc/passwd"}, 0),
    "a line that is a list": lambda lines: lines.insert(1, ["person"]),  # type: ignore[arg-type]
    "a line that is a number": lambda lines: lines.insert(1, 7),  # type: ignore[arg-type]
    "a line that is empty": lambda lines: lines.insert(1, ""),  # type: ignore[arg-type]
    "a line of another kind": lambda lines: lines.insert(1, {"pickle": "gASV"}),
    "a line that is deep": lambda lines: lines.insert(1, "[" * 60_000),  # type: ignore[arg-type]
    "a line of NaN": lambda lines: lines.insert(1, '{"person": NaN, "name": "x"}'),  # type: ignore[arg-type]
    "a line with a key twice": lambda lines: lines.insert(
        1, '{"person": "%s", "person": "%s", "name": "x"}' % ("e" * 32, "f" * 32)  # type: ignore[arg-type] # noqa: UP031
    ),
    "a line that is no UTF-8": lambda lines: lines.insert(1, "\udcff"),  # type: ignore[arg-type]
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused_whole(gallery: Path, archive: Path, tmp_path: Path, what: str) -> None:
    """Into a new gallery and into one in use: neither changes, whatever stood before the bad line."""
    lines = [json.loads(line) for line in archive.read_text().splitlines()[:-1]]
    uid = lines[1]["person"]
    HOSTILE[what](lines)
    if what == "the same person twice":
        lines[5]["person"] = uid
    bad, kept = written(tmp_path / "bad.jsonl", lines), tmp_path / "kept.db"
    GalleryRecords(kept, CONTRACT, create=True).close()
    before = kept.read_bytes()
    for target in (kept, tmp_path / "new.db"):
        with pytest.raises((Unreadable, Misfit)) as caught:
            import_archive(bad, target)
        assert caught.value.exit_code == 5
        assert str(caught.value).replace("\n", "").isprintable()
    assert kept.read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {
        "gallery.db", "archive.jsonl", "bad.jsonl", "kept.db"
    }  # fmt: skip


def test_what_is_checked_is_what_an_unchanged_archive_passes(archive: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in archive.read_text().splitlines()[:-1]]
    assert check_archive(written(tmp_path / "same.jsonl", lines)).templates == 5


def test_every_cut_and_every_changed_byte_is_noticed(archive: Path, tmp_path: Path) -> None:
    whole, bad = archive.read_bytes(), tmp_path / "bad.jsonl"
    for place in range(0, len(whole) - 1, 37):
        bad.write_bytes(whole[:place])
        with pytest.raises(Unreadable):
            check_archive(bad)
        changed = bytearray(whole)
        changed[place] ^= 1
        bad.write_bytes(bytes(changed))
        with pytest.raises(FacekdError):
            check_archive(bad)
    bad.write_bytes(whole + b"\n")
    with pytest.raises(Unreadable, match="something follows"):
        check_archive(bad)


class TestLimits:
    def test_a_line_that_never_ends(self, archive: Path, tmp_path: Path) -> None:
        bad = tmp_path / "bad.jsonl"
        with bad.open("wb") as file:
            file.write(archive.read_bytes().splitlines(keepends=True)[0])
            file.truncate(20_000_000_000)  # a hole: no disk is used
        tracemalloc.start()
        with pytest.raises(TooLarge, match="line 2 is longer"):
            check_archive(bad)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
        tracemalloc.stop()

    @pytest.mark.parametrize(("key", "limit"), [("people", "MAX_PEOPLE"), ("templates", "MAX_TEMPLATES")])
    def test_rows(self, archive: Path, tmp_path: Path, monkeypatch, key: str, limit: str) -> None:
        lines = [json.loads(line) for line in archive.read_text().splitlines()[:-1]]
        lines[0][key] = 10**9
        with pytest.raises(TooLarge, match="limit"):
            check_archive(written(tmp_path / "bad.jsonl", lines))
        monkeypatch.setattr(archive_module, limit, 2)
        with pytest.raises(TooLarge, match="limit is 2"):
            check_archive(archive)

    def test_removals(self, archive: Path, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(archive_module, "MAX_REMOVED", 2)
        lines = [json.loads(line) for line in archive.read_text().splitlines()[:-1]]
        lines += [{"removed": f"{i:032x}", "date": "2024-01-01", "merged_into": None} for i in range(3)]
        with pytest.raises(TooLarge, match="more than 2 removals"):
            check_archive(written(tmp_path / "bad.jsonl", lines))

    def test_other_files(self, tmp_path: Path) -> None:
        (tmp_path / "zip").write_bytes(b"PK\x03\x04" + b"\x00" * 1000)
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "empty").touch()
        for name in ("zip", "pipe", "empty", "absent", "."):
            with pytest.raises(InputOutput):
                import_archive(tmp_path / name, tmp_path / "new.db")
        assert not (tmp_path / "new.db").exists()

    def test_removals_that_point_in_a_circle(self, archive: Path, tmp_path: Path) -> None:
        lines = [json.loads(line) for line in archive.read_text().splitlines()[:-1]]
        ring = ["e" * 32, "f" * 32]
        for one, other in (ring, ring[::-1]):
            lines.append({"removed": one, "date": "2024-01-01", "merged_into": other})
        import_archive(written(tmp_path / "ring.jsonl", lines), tmp_path / "new.db")
        assert rows(tmp_path / "new.db", "SELECT uid, merged_into FROM removed_people ORDER BY uid") == [
            (uid, None) for uid in ring
        ]


def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    peaks = []
    for people in (100, 1000):
        path, archive = tmp_path / f"{people}.db", tmp_path / f"{people}.jsonl"
        with GalleryRecords(path, CONTRACT, create=True) as records, records.transaction():
            for seed in range(people):
                records.add(f"p{seed}", [template(seed)])
        export_gallery(path, archive)
        tracemalloc.start()
        check_archive(archive)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    per_person = (peaks[1] - peaks[0]) / 900
    assert per_person < 300  # numbers and names, to notice one that comes twice; an embedding has 256 bytes
