"""Move a gallery to another space: all of it or nothing, and nothing of the old one remains."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from pathlib import Path

import pytest
from made_galleries import CONTRACT, embedding, enroll, template

from facekd.errors import InputOutput, Misfit, UsageError
from facekd.gallery import (
    Contract,
    EmbeddingStore,
    GalleryCheck,
    GalleryRecords,
    back_up,
    check_copy,
    move_copy,
    move_gallery,
    search_file,
)

OTHER = Contract("b" * 64, 48, "other", "scrfd", "arcface-5pt/2")
OLD = Path(__file__).parent.parent / "stored" / "0.1.0" / "gallery.db"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "gallery.db"
    enroll(path, ("Ann", 1), ("Bo", 2))
    with GalleryRecords(path, CONTRACT) as records, records.transaction():
        records.add("Ann", [template(3)])
    return path


def state_of(path: Path) -> str:
    with GalleryRecords(path, read_only=True) as records:
        state = records.state()
    assert state is not None
    return state


def photos_of(path: Path) -> dict[str, list[str]]:
    with GalleryRecords(path, read_only=True) as records:
        return {name: [photo.photo for photo in records.photos(name)] for name in records.names()}


def fill(store: EmbeddingStore, photos: list[str]) -> None:
    for place, photo in enumerate(photos):
        store.add(photo, embedding(100 + place, OTHER.dim), 0.25)


def content_of(path: Path) -> bytes:
    files = [path, path.with_name(path.name + "-wal")]
    return b"".join(file.read_bytes() for file in files if file.exists())


def test_what_is_moved(path: Path) -> None:
    before = photos_of(path)
    with EmbeddingStore(path, OTHER) as store:
        assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
        fill(store, [f"{seed:064x}" for seed in (1, 2, 3, 4)])
        assert f"{4:064x}" in store
        assert f"{5:064x}" not in store
        moved = move_gallery(path, store, state_of(path))
    assert moved is not None
    assert (moved.templates, moved.dropped, moved.pending) == (3, 0, False)
    assert {file.name for file in path.parent.iterdir()} == {"gallery.db"}
    with GalleryRecords(path, OTHER) as records:
        assert records.contract == OTHER
        assert photos_of(path) == before
        (first, third), (second,) = records.templates("Ann"), records.templates("Bo")
    for place, one in enumerate((first, second, third)):
        assert (one.embedding == embedding(100 + place, OTHER.dim)).all()
        assert one.quality == 0.25
    assert not any(embedding(seed).tobytes() in content_of(path) for seed in (1, 2, 3))
    assert list(GalleryCheck(path).faults()) == []


def test_what_is_kept_to_search_faster_goes_first(path: Path) -> None:
    files = search_file.files_of(path)
    for file in files:
        file.write_bytes(embedding(1).tobytes())
    with EmbeddingStore(path, OTHER) as store:
        fill(store, [f"{seed:064x}" for seed in (1, 2, 3)])
        move_gallery(path, store, state_of(path))
    assert not any(file.exists() for file in files)


def test_another_state(path: Path) -> None:
    state = state_of(path)
    enroll(path, ("Cy", 4))
    before = content_of(path)
    with EmbeddingStore(path, OTHER) as store:
        fill(store, [f"{seed:064x}" for seed in (1, 2, 3)])
        assert move_gallery(path, store, state) is None
        assert move_copy(path, path.with_name("new.db"), store, state, False) is None
    assert content_of(path) == before
    assert {file.name for file in path.parent.iterdir()} == {"gallery.db"}


def test_while_another_program_reads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sees the old gallery to the end, and then the old embeddings go."""
    monkeypatch.setattr("facekd.gallery.database.BUSY_SECONDS", 0.1)
    with sqlite3.connect(path) as reader, EmbeddingStore(path, OTHER) as store:
        reader.execute("BEGIN")
        assert reader.execute("SELECT space FROM contract").fetchone() == (CONTRACT.space,)
        fill(store, [f"{seed:064x}" for seed in (1, 2, 3)])
        moved = move_gallery(path, store, state_of(path))
        assert moved is not None
        assert moved.pending
        rows = reader.execute("SELECT embedding FROM templates ORDER BY photo").fetchall()
        assert rows == [(embedding(seed).tobytes(),) for seed in (1, 2, 3)]
        reader.execute("ROLLBACK")
    reader.close()
    GalleryRecords(path).close()
    assert not any(embedding(seed).tobytes() in content_of(path) for seed in (1, 2, 3))


def test_while_another_program_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from facekd.gallery import database

    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    with GalleryRecords(path, CONTRACT) as records, EmbeddingStore(path, OTHER) as store:
        fill(store, [f"{seed:064x}" for seed in (1, 2, 3)])
        state = state_of(path)
        with records.transaction():
            records.add("Cy", [template(4)])
            with pytest.raises(InputOutput, match="another program is writing"):
                move_gallery(path, store, state)
        assert records.names() == ["Ann", "Bo", "Cy"]


def test_a_gallery_of_version_0_1_0(tmp_path: Path) -> None:
    path = Path(shutil.copy(OLD, tmp_path / "old.db"))
    GalleryRecords(path).close()
    before = photos_of(path)
    with EmbeddingStore(path, OTHER) as store:
        fill(store, [photo for photos in before.values() for photo in photos])
        moved = move_gallery(path, store, state_of(path))
    assert moved is not None
    assert (moved.templates, photos_of(path)) == (6, before)
    assert list(GalleryCheck(path).faults()) == []


def test_a_damaged_template_is_whole_again(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE templates SET embedding = x'00' WHERE person = 2")
    db.close()
    assert [fault.kind for fault in GalleryCheck(path).faults()] == ["template"]
    with EmbeddingStore(path, OTHER) as store:
        fill(store, [f"{seed:064x}" for seed in (1, 2, 3)])
        move_gallery(path, store, state_of(path))
    assert list(GalleryCheck(path).faults()) == []


def test_a_store_takes_embeddings_of_its_space_only(path: Path) -> None:
    with EmbeddingStore(path, OTHER) as store:
        with pytest.raises(Misfit):
            store.add("0" * 64, embedding(1), 0.5)
        with pytest.raises(ValueError, match="unit length"):
            store.add("0" * 64, 2 * embedding(1, OTHER.dim), 0.5)
    with pytest.raises(InputOutput), EmbeddingStore(path / "nowhere" / "x", OTHER):
        pass


def test_where_a_copy_may_not_be(path: Path, tmp_path: Path) -> None:
    back_up(path, tmp_path / "there.db")
    (tmp_path / "link.db").symlink_to(path)
    (tmp_path / "used.db-wal").touch()
    for name, replace in (("there.db", False), ("gallery.db", True), ("link.db", True), ("used.db", True)):
        with pytest.raises(UsageError):
            check_copy(path, tmp_path / name, replace)
    check_copy(path, tmp_path / "there.db", True)
    check_copy(path, tmp_path / "new.db", False)
