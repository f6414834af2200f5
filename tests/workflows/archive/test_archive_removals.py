"""Archives of galleries: nobody who was removed comes back, and nobody gets what is another person's."""

import shutil
from pathlib import Path

import pytest
from archived_galleries import change, content, rows
from made_galleries import CONTRACT, embedding, enroll, template

from facekd.errors import UsageError
from facekd.gallery import GalleryCheck, GalleryRecords
from facekd.workflows import export_gallery, import_archive


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
        with pytest.raises(UsageError, match="'Bo Lee' is already enrolled"):
            import_archive(archive, gallery, restore_removed=True)
        assert content(gallery) == before

    def test_a_photo_that_somebody_else_has(self, gallery: Path, archive: Path, tmp_path: Path) -> None:
        other = tmp_path / "other.db"
        enroll(other, ("Zed", 3))
        with pytest.raises(UsageError, match="but to another person in the archive"):
            import_archive(archive, other)
        assert list(content(other)) == ["Zed"]

    def test_one_photo_of_two_people_leaves_no_new_gallery(self, gallery: Path, tmp_path: Path) -> None:
        with GalleryRecords(gallery, CONTRACT) as records, records.transaction():
            records.add("Bo Lee", [template(1)])
        export_gallery(gallery, tmp_path / "a.jsonl")
        with pytest.raises(UsageError, match="but to another person in the archive"):
            import_archive(tmp_path / "a.jsonl", tmp_path / "new.db")
        assert {file.name for file in tmp_path.iterdir()} == {"gallery.db", "a.jsonl"}
