"""Renaming and merging people, removing one photo: what is left, and what no byte of is.

Names that are searched for end in a dot: the uid follows them in a row, and its digits would go on a number.
"""

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from made_galleries import CONTRACT, embedding, enroll, template

from facekd.errors import NotFound, UsageError
from facekd.gallery import GalleryRecords, ReadEntry, Template, moment


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """300 people of whom the first three have more photos than one."""
    path = tmp_path / "gallery.db"
    with GalleryRecords(path, CONTRACT, create=True) as records:
        for seed in range(300):
            with records.transaction():
                records.add(f"person number {seed}.", [template(seed)])
        with records.transaction():
            records.add("person number 0.", [template(1000), template(1001)])
            records.add("person number 1.", [template(1002)])
            records.add("person number 2.", [Template(embedding(1003), f"{1002:064x}", 0.5)])
    return path


def rows(path: Path, query: str) -> list[tuple]:
    db = sqlite3.connect(path)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def content(path: Path) -> bytes:
    beside = [path, path.with_name(path.name + "-wal")]
    return b"".join(file.read_bytes() for file in beside if file.exists())


def audit(path: Path) -> list[tuple]:
    return rows(path, "SELECT action, person, templates FROM audit WHERE action != 'add' ORDER BY id")


class TestRename:
    def test_the_old_name_leaves_the_file(self, path: Path) -> None:
        assert b"person number 140." in content(path)
        with GalleryRecords(path) as records:
            with records.transaction():
                assert records.rename("person number 140.", " Zoe\u0308  Lee") == "Zo\u00eb Lee"
            assert records.pending is False
            assert b"person number 140." not in content(path)
            assert records.templates("Zo\u00eb Lee")[0].photo == f"{140:064x}"
            with pytest.raises(NotFound):
                records.person("person number 140.")
        assert audit(path) == [("rename", 141, 1)]

    def test_a_name_that_somebody_has_is_refused(self, path: Path) -> None:
        with GalleryRecords(path) as records:
            with pytest.raises(UsageError, match="already enrolled") as caught, records.transaction():
                records.rename("person number 5.", "person  number 6.")
            assert caught.value.fix is not None
            assert "gallery merge 'person number 6.' 'person number 5.'" in caught.value.fix
            assert len(records.people()) == 300
        assert audit(path) == []

    @pytest.mark.parametrize("name", ["", "a\x1b[31mb", "a\nb", "x" * 201, "a\u202eb"])
    def test_what_cannot_be_a_name_is_refused(self, path: Path, name: str) -> None:
        with GalleryRecords(path) as records:
            with pytest.raises(UsageError, match="name"), records.transaction():
                records.rename("person number 5.", name)
            assert records.person("person number 5.").templates == 1

    def test_a_name_of_0_1_0_is_written_anew(self, path: Path) -> None:
        db = sqlite3.connect(path)
        db.execute("UPDATE people SET name = 'person  number\u00a07.' WHERE name = 'person number 7.'")
        db.commit()
        db.close()
        with GalleryRecords(path) as records:
            with records.transaction():
                assert records.rename("person number 7.", "person number 7.") == "person number 7."
            assert records.person("person number 7.").name == "person number 7."

    def test_to_the_same_name_changes_nothing(self, path: Path) -> None:
        with GalleryRecords(path) as records, records.transaction():
            assert records.rename("person number 5.", "person number 5.") == "person number 5."
        assert audit(path) == []


class TestRemovePhoto:
    def test_it_leaves_the_file(self, path: Path) -> None:
        with GalleryRecords(path) as records:
            before = content(path)
            assert embedding(1000).tobytes() in before
            assert f"{1000:064x}".encode() in before
            photos = records.photos("person number 0.")
            with records.transaction():
                assert records.remove_photo("person number 0.", photos[1].id) == photos[1]
            after = content(path)
            assert embedding(1000).tobytes() not in after
            assert embedding(1000).tobytes()[16:80] not in after
            assert f"{1000:064x}".encode() not in after
            assert embedding(1001).tobytes() in after
            assert [t.photo for t in records.templates("person number 0.")] == [f"{0:064x}", f"{1001:064x}"]
        assert audit(path) == [("remove_photo", 1, 1)]

    def test_a_damaged_one_can_be_removed(self, path: Path) -> None:
        db = sqlite3.connect(path)
        db.execute("UPDATE templates SET embedding = x'00' WHERE photo = ?", (f"{1000:064x}",))
        db.commit()
        db.close()
        with GalleryRecords(path) as records:
            with records.transaction():
                records.remove_photo("person number 0.", records.photos("person number 0.")[1].id)
            assert len(records.templates("person number 0.")) == 2

    def test_the_last_one_is_refused(self, path: Path) -> None:
        with GalleryRecords(path) as records:
            (photo,) = records.photos("person number 9.")
            with pytest.raises(UsageError, match="only photo") as caught, records.transaction():
                records.remove_photo("person number 9.", photo.id)
            assert "gallery remove NAME" in str(caught.value.fix)
            assert records.person("person number 9.").templates == 1

    @pytest.mark.parametrize("wrong", ["", "abc", "x" * 12, "%", "____", "' OR 1=1 --", "0" * 65])
    def test_what_is_no_id(self, path: Path, wrong: str) -> None:
        with GalleryRecords(path) as records:
            with pytest.raises(UsageError, match="not a photo id"), records.transaction():
                records.remove_photo("person number 0.", wrong)
            with pytest.raises(NotFound, match="abcd"), records.transaction():
                records.remove_photo("person number 0.", "abcd")
            assert records.person("person number 0.").templates == 3

    def test_ids_tell_a_persons_photos_apart(self, path: Path) -> None:
        """Those of the made gallery differ in their last digits only."""
        with GalleryRecords(path) as records:
            ids = [photo.id for photo in records.photos("person number 0.")]
            assert len(set(ids)) == 3
            with pytest.raises(UsageError, match="3 photos have ids"), records.transaction():
                records.remove_photo("person number 0.", "0000")
        with GalleryRecords(path, CONTRACT) as records:
            with records.transaction():
                records.add("Cy", [Template(embedding(i), f"{i:x}" * 64, 0.5) for i in range(3)])
            assert [photo.id for photo in records.photos("Cy")] == ["0" * 12, "1" * 12, "2" * 12]


class TestMerge:
    def test_all_photos_go_to_one_and_the_other_name_leaves_the_file(self, path: Path) -> None:
        """Of the photo that both have, each with an embedding of its own, the first person's is kept."""
        with GalleryRecords(path) as records:
            with records.transaction():
                merged = records.merge("person number 1.", "person number 2.")
            assert (merged.moved, merged.present) == (1, 1)
            after = content(path)
            assert embedding(1003).tobytes() not in after
            assert embedding(1002).tobytes() in after
            found = records.templates("person number 1.")
            assert [t.photo for t in found] == [f"{seed:064x}" for seed in (1, 2, 1002)]
            with pytest.raises(NotFound):
                records.person("person number 2.")
        assert rows(path, "SELECT count(*) FROM people WHERE name = 'person number 2.'") == [(0,)]
        assert rows(path, "PRAGMA foreign_key_check") == []
        assert audit(path) == [("merge", 2, 1), ("merged", 3, 2)]

    def test_the_name_leaves_the_bytes(self, path: Path) -> None:
        with GalleryRecords(path) as records, records.transaction():
            records.merge("person number 1.", "person number 140.")
        assert b"person number 140." not in content(path)
        assert embedding(140).tobytes() in content(path)

    def test_with_oneself_is_refused(self, path: Path) -> None:
        with GalleryRecords(path) as records:
            with pytest.raises(UsageError, match="already the same person"), records.transaction():
                records.merge("person number 1.", "person  number 1.")
            with pytest.raises(NotFound), records.transaction():
                records.merge("person number 1.", "Nobody")
            assert len(records.people()) == 300


class TestAudit:
    def test_since_a_moment(self, path: Path) -> None:
        db = sqlite3.connect(path)
        db.execute("UPDATE audit SET date = '2024-02-03T04:05:06+00:00' WHERE id <= 100")
        db.commit()
        db.close()
        with GalleryRecords(path, read_only=True) as records:
            whole = list(records.audit_entries())
            assert len(whole) == 303
            assert (whole[0].action, whole[0].person, whole[0].templates) == ("add", 1, 1)
            assert len(list(records.audit_entries(moment("2024-02-04")))) == 203
            assert len(list(records.audit_entries(moment("2024-02-03T05:05:06+01:00")))) == 303

    def test_pruning_is_audited(self, path: Path) -> None:
        db = sqlite3.connect(path)
        db.execute("UPDATE audit SET date = '2024-02-03T04:05:06+00:00' WHERE id <= 100")
        db.commit()
        db.close()
        with GalleryRecords(path) as records:
            with records.transaction():
                assert records.prune_audit(moment("2024-02-04")) == 100
                assert records.prune_audit(moment("2024-02-04")) == 0
            entries = list(records.audit_entries())
        assert (len(entries), entries[-1].action, entries[-1].person, entries[-1].templates) == (
            204, "prune", 0, 100
        )  # fmt: skip

    def test_pruning_takes_the_claims_and_searches_along_or_alone(self, path: Path) -> None:
        old = "2024-02-03T04:05:06+00:00"
        claim = ReadEntry("claim", 1, "same", "small", "a" * 12, date=old)
        with GalleryRecords(path) as records:
            records.note_reads([claim, replace(claim, date="2024-02-05T00:00:00+00:00")])
            for reads_only in (True, False):
                with records.transaction():
                    assert records.prune_audit(moment("2024-02-04"), reads_only) == (1 if reads_only else 0)
                assert [entry.date[:10] for entry in records.read_entries()] == ["2024-02-05"]
                assert [*records.audit_entries()][-1].action == "prune"
            assert len(list(records.audit_entries())) == 304
            assert list(records.read_entries(moment("2024-02-06"))) == []
            with records.transaction():
                assert records.prune_audit(moment("2024-02-06")) == 1
            assert list(records.read_entries()) == []
            assert [*records.audit_entries()][-1].templates == 1

    @pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01", "' OR 1=1", "0001-01-01T00:00:00+14:00"])
    def test_what_is_no_date(self, text: str) -> None:
        with pytest.raises(UsageError, match="not a date"):
            moment(text)


def test_old_galleries_have_an_audit_and_photos_too(tmp_path: Path) -> None:
    stored = Path(__file__).parent.parent / "stored"
    for folder, entries in (("0.1.0", 5), ("schema-3", 6)):
        path = Path(shutil.copy(stored / folder / "gallery.db", tmp_path))
        before = path.read_bytes()
        with GalleryRecords(path, read_only=True) as records:
            assert len(list(records.audit_entries())) == entries
            assert len(records.photos("Ann Lee")) == 2
        assert path.read_bytes() == before


def test_changes_need_a_transaction(path: Path) -> None:
    enroll(path, ("Ann", 1))
    with GalleryRecords(path) as records:
        for change in (
            lambda: records.rename("Ann", "Bo"),
            lambda: records.merge("Ann", "person number 1."),
            lambda: records.remove_photo("person number 0.", "0000"),
            lambda: records.prune_audit("2024"),
        ):
            with pytest.raises(RuntimeError):
                change()
