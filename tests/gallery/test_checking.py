"""Every kind of damage that a check finds, and what it says to do."""

import shutil
import sqlite3
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_galleries import CONTRACT, embedding, enroll, template

from facekd.errors import InputOutput, Unreadable
from facekd.gallery import Fault, GalleryCheck, GalleryRecords, Template
from facekd.gallery.migrations import latest

STORED = Path(__file__).parent.parent / "stored"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "gallery.db"
    enroll(path, ("Ann", 1), ("Bo Lee", 2), ("Cy", 3))
    with GalleryRecords(path, CONTRACT) as records, records.transaction():
        records.add("Cy", [template(4)])
        records.remove("Ann")
    return path


def check(path: Path) -> list[Fault]:
    before = path.read_bytes()
    faults = list(GalleryCheck(path).faults())
    assert path.read_bytes() == before
    assert all(fault.message and fault.fix for fault in faults)
    return faults


def change(path: Path, *statements: tuple | str) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        db.execute(*((statement,) if isinstance(statement, str) else statement))
    db.close()


def test_a_whole_gallery_has_none(path: Path) -> None:
    checked = GalleryCheck(path)
    assert list(checked.faults()) == []
    assert (checked.people, checked.templates, checked.schema) == (2, 3, latest())


@pytest.mark.parametrize(("folder", "schema"), [("0.1.0", 1), ("schema-3", 3)])
def test_one_of_an_older_schema_has_none(tmp_path: Path, folder: str, schema: int) -> None:
    path = Path(shutil.copy(STORED / folder / "gallery.db", tmp_path))
    checked = GalleryCheck(path)
    assert list(checked.faults()) == []
    assert (checked.people, checked.templates, checked.schema) == (3, 6, schema)


def test_it_reads_while_somebody_writes(path: Path) -> None:
    with GalleryRecords(path, CONTRACT) as records, records.transaction():
        records.add("Di", [template(5)])
        checked = GalleryCheck(path)
        assert list(checked.faults()) == []
        assert checked.people == 2


OTHER = "UPDATE templates SET {} WHERE photo = '%064x'" % 2  # noqa: UP031


@pytest.mark.parametrize(
    ("statement", "kind", "told", "fix"),
    [
        (
            (OTHER.format("embedding = ?"), ((-embedding(2)).tobytes(),)),
            "template", "'Bo Lee' (photo 000000000000) is damaged: its checksum",
            "facekd gallery remove 'Bo Lee' --photo 000000000000",
        ),
        ((OTHER.format("embedding = ?"), ((embedding(2) * 2).tobytes(),)), "template", "unit length", ""),
        ((OTHER.format("embedding = ?"), (np.full(64, np.nan, "<f4").tobytes(),)), "template", "unit", ""),
        (OTHER.format("embedding = x'00'"), "template", "not one of 64 values", ""),
        (OTHER.format("quality = 1.5"), "template", "quality", ""),
        (OTHER.format("enrolled = 'yesterday'"), "template", "date", ""),
        (OTHER.format("photo = 'x' || substr(photo, 2)"), "template", "digest", ""),
        (OTHER.format("photo = '%064x'" % 3), "template", "checksum", ""),  # noqa: UP031
        (OTHER.format("space = 'b'"), "template", "another space", ""),
        ("DELETE FROM templates WHERE person = 2", "no_template", "'Bo Lee'", "remove 'Bo Lee'"),
        ("DELETE FROM people WHERE name = 'Cy'", "orphan", "belongs to no person", "gallery export"),
        ("UPDATE people SET name = 'a\x1b[31mb' WHERE id = 2", "name", "a\\u001b[31mb", "gallery rename"),
        ("UPDATE people SET name = 'Bo  Lee' WHERE id = 2", "name", "spelled alike", "rename 'Bo  Lee'"),
        ("UPDATE people SET name = CAST(x'ff41' AS TEXT) WHERE id = 2", "name", "\\udcffA", "gallery rename"),
        ("UPDATE people SET uid = '' WHERE id = 2", "uid", "'Bo Lee'", "backup"),
        ("INSERT INTO removed_people SELECT uid, '', NULL FROM people", "tombstone", "both enrolled", ""),
        ("UPDATE audit SET action = 'wash' WHERE id = 1", "reference", "row 1 of audit", "backup"),
        ("DELETE FROM contract", "contract", "missing", "backup"),
        ("DROP INDEX templates_by_photo", "schema", "index templates_by_photo is missing", "backup"),
        ("CREATE TABLE other (x)", "schema", "table other does not belong", "gallery import"),
        ("ALTER TABLE people ADD COLUMN age INTEGER", "schema", "table people differs from schema", "backup"),
    ],
)  # fmt: skip
def test_what_is_found(path: Path, statement: tuple | str, kind: str, told: str, fix: str) -> None:
    change(path, statement)
    found = [fault for fault in check(path) if fault.kind == kind]
    assert found, check(path)
    assert told in found[0].message
    assert fix in found[0].fix
    assert all(fault.message.isprintable() for fault in found)


def test_a_photo_of_two_people(path: Path) -> None:
    with GalleryRecords(path, CONTRACT) as records, records.transaction():
        records.add("Di", [template(3)])
    (fault,) = check(path)
    assert fault.kind == "photo_twice"
    assert "for 2 people" in fault.message
    assert "gallery merge" in fault.fix


def test_a_database_that_is_cut_or_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "gallery.db"
    enroll(path, *((f"p{seed}", seed) for seed in range(200)))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(Unreadable, match="damaged"):
        check(path)
    page = content.index(embedding(100).tobytes()) // 8192 * 8192
    path.write_bytes(content[:page] + b"\xa5" * 8192 + content[page + 8192 :])
    assert {fault.kind for fault in check(path)} >= {"database"}


def test_every_changed_byte_of_a_template_is_found(path: Path) -> None:
    content = path.read_bytes()
    place = content.index(embedding(2).tobytes())
    for offset in range(0, 256, 17):
        changed = bytearray(content)
        changed[place + offset] ^= 4
        path.write_bytes(bytes(changed))
        assert [fault.kind for fault in check(path)] == ["template"]


def test_what_is_no_gallery_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputOutput, match="no such gallery"):
        GalleryCheck(tmp_path / "absent.db")
    (tmp_path / "text.db").write_text("no database " * 100)
    with pytest.raises(Unreadable, match="not a facekd gallery"):
        GalleryCheck(tmp_path / "text.db")


def test_memory_does_not_grow_with_the_gallery(tmp_path: Path) -> None:
    path = tmp_path / "gallery.db"
    rng = np.random.default_rng(0)

    def peak(photos: int, check: Callable[[], object]) -> int:
        with GalleryRecords(path, CONTRACT, create=True) as records, records.transaction():
            rows = rng.normal(size=(photos, 64))
            rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
            start = 0 if not records.people() else 100_000
            records.add(f"p{photos}", [Template(r, f"{start + i:064x}", 0.5) for i, r in enumerate(rows)])
        tracemalloc.start()
        check()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    small = peak(100, lambda: check(path))
    streamed = peak(5000, lambda: list(GalleryCheck(path).faults()))
    assert streamed < max(small, 200_000)
