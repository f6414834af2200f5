"""Archives of galleries: what goes in comes out."""

import os
import shutil
import sqlite3
import stat
import tracemalloc
from pathlib import Path

import pytest
from archived_galleries import change, content, rows
from made_galleries import CONTRACT, embedding, enroll, template

from facekd.errors import Misfit, Unreadable, UsageError
from facekd.gallery import Contract, GalleryCheck, GalleryRecords, Template
from facekd.workflows import check_archive, export_gallery, import_archive

STORED = Path(__file__).parents[2] / "stored"


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
