"""A gallery that is moved to another space, or backed up, wherever it is: in an SQLite file and in a
PostgreSQL database."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from made_galleries import CONTRACT, embedding, enroll, template

from facekd.errors import Misfit, UsageError
from facekd.gallery import (
    Contract,
    CopyKeys,
    EmbeddingStore,
    GalleryCheck,
    GalleryRecords,
    KeySource,
    Place,
    Template,
    as_key,
    back_up,
    copy_gallery,
    move_copy,
    move_gallery,
)

if TYPE_CHECKING:
    from gallery_backends import Backend

OTHER = Contract("b" * 64, 48, "other", "scrfd", "arcface-5pt/2")
KEY = as_key(bytes(range(32)))


def fill(place: Place, key: KeySource | None = None, names: bool = False) -> None:
    """Ann with two photos, Bo, Cy, and others who were removed: a person, and a photo of Bo."""
    with GalleryRecords(place, CONTRACT, create=True, key=key, encrypt_names=names) as records:
        for name, seeds in (("Ann", (1, 3)), ("Bo", (2, 6)), ("Cy", (4,)), ("Di", (5,)), ("Ed", (7,))):
            with records.transaction():
                records.add(name, [template(seed) for seed in seeds])
        for name in ("Di", "Ed"):
            with records.transaction():
                records.remove(name)
        with records.transaction():
            records.remove_photo("Bo", f"{6:064x}")


def made(store: EmbeddingStore, *seeds: int) -> None:
    """Put new embeddings of the photos of ``seeds`` into ``store``."""
    for seed in seeds:
        store.add(f"{seed:064x}", embedding(100 + seed, OTHER.dim), 0.25)


def everything(place: Place, key: KeySource | None = None) -> dict[str, list[Any]]:
    """All that the gallery holds apart from embeddings and qualities."""
    with GalleryRecords(place, read_only=True, key=key) as records:
        return {
            "people": [(records.number_of(name), records.uid_of(name), name) for name in records.names()],
            "photos": [(name, one.photo, one.enrolled) for name in records.names()
                       for one in records.photos(name)],
            "removals": [*records.removals()], "photo removals": [*records.photo_removals()],
            "audit": [*records.audit_entries()], "reads": [*records.read_entries()],
        }  # fmt: skip


def state_of(place: Place, key: KeySource | None = None) -> str:
    with GalleryRecords(place, read_only=True, key=key) as records:
        return str(records.state())


def faults(place: Place, key: KeySource | None = None) -> list[str]:
    return [fault.message for fault in GalleryCheck(place, key).faults()]


@pytest.mark.parametrize("encrypted", ["plain", "with names"])
def test_everybody_is_moved(
    place: Place, tmp_path: Path, encrypted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if encrypted != "plain":
        pytest.importorskip("cryptography")
    monkeypatch.setattr("facekd.gallery.moving._ROWS", 2)
    key = None if encrypted == "plain" else KEY
    fill(place, key, encrypted == "with names")
    before, state = everything(place, key), state_of(place, key)
    with EmbeddingStore(tmp_path / "x", OTHER, encrypted=key is not None) as store:
        made(store, 1, 2, 3, 4, 5)
        moved = move_gallery(place, store, state, key)
        assert moved is not None
        assert (moved.templates, moved.dropped, moved.pending) == (4, 0, False)
        assert move_gallery(place, store, state, key) is None
    after = everything(place, key)
    entry = after["audit"].pop()
    assert (entry.action, entry.person, entry.templates) == ("re_embed", 0, 4)
    assert after == before
    assert faults(place, key) == []
    with GalleryRecords(place, OTHER, key=key) as records:
        assert records.contract == OTHER
        for name, seeds in (("Ann", (1, 3)), ("Bo", (2,)), ("Cy", (4,))):
            for seed, one in zip(seeds, records.templates(name), strict=True):
                np.testing.assert_array_equal(one.embedding, embedding(100 + seed, OTHER.dim))
                assert one.quality == 0.25
        with records.transaction():  # and people are enrolled in the new space
            records.add("Fay", [Template(embedding(9, OTHER.dim), f"{9:064x}", 0.5)])


def test_who_has_no_new_embedding_is_dropped(place: Place, backend: Backend, tmp_path: Path) -> None:
    fill(place)
    with EmbeddingStore(tmp_path / "x", OTHER) as store:
        made(store, 1, 4)
        moved = move_gallery(place, store, state_of(place))
    assert moved is not None
    assert (moved.templates, moved.dropped) == (2, 2)
    with GalleryRecords(place, read_only=True) as records:
        assert [(one.name, one.templates) for one in records.people()] == [("Ann", 1), ("Cy", 1)]
        assert list(records.photo_removals()) == []
        audit = [(entry.action, entry.person, entry.templates) for entry in records.audit_entries()]
    assert audit[-3:] == [("drop", 1, 1), ("drop", 2, 1), ("re_embed", 0, 2)]
    assert backend.ask(place, "SELECT count(*) FROM erasures") == [(0,)]
    assert faults(place) == []


def test_a_move_that_fails_changes_nothing(place: Place, tmp_path: Path) -> None:
    fill(place)
    before, state = everything(place), state_of(place)

    class Broken(EmbeddingStore):
        def get(self, photo: str) -> tuple[bytes, float] | None:
            if photo == f"{4:064x}":
                raise ZeroDivisionError
            return super().get(photo)

    with Broken(tmp_path / "x", OTHER) as store:
        made(store, 1, 2, 3, 4)
        with pytest.raises(ZeroDivisionError):
            move_gallery(place, store, state)
    assert (everything(place), state_of(place)) == (before, state)
    assert faults(place) == []


def test_whoever_reads_meanwhile_sees_the_old_gallery(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facekd.gallery.database.BUSY_SECONDS", 0.1)
    enroll(place, ("Ann", 1), ("Bo", 2))
    with GalleryRecords(place, read_only=True) as reader, reader.snapshot():
        assert reader.names() == ["Ann", "Bo"]
        with EmbeddingStore(tmp_path / "x", OTHER) as store:
            made(store, 1, 2)
            moved = move_gallery(place, store, state_of(place))
        assert moved is not None
        assert moved.pending
        np.testing.assert_array_equal(reader.templates("Bo")[0].embedding, embedding(2))
    GalleryRecords(place).close()
    assert faults(place) == []


def test_who_opened_it_before_is_told_that_it_was_moved(place: Place, tmp_path: Path) -> None:
    enroll(place, ("Ann", 1), ("Bo", 2))
    with GalleryRecords(place, CONTRACT) as writer, GalleryRecords(place, read_only=True) as reader:
        with EmbeddingStore(tmp_path / "x", OTHER) as store:
            made(store, 1, 2)
            assert move_gallery(place, store, state_of(place)) is not None
        for read in (reader.everybody, lambda: reader.templates("Ann"), lambda: [*reader.directions()]):
            with pytest.raises(Misfit, match="was moved to another model"):
                read()
        with pytest.raises(Misfit, match="incompatible with small"), writer.transaction():
            writer.add("Cy", [template(3)])


def test_a_moved_copy_is_a_file(place: Place, tmp_path: Path) -> None:
    fill(place)
    before, state = everything(place), state_of(place)
    copy = tmp_path / "copy.db"
    with EmbeddingStore(copy, OTHER) as store:
        made(store, 1, 2, 3, 4)
        moved = move_copy(place, copy, store, state, replace=False)
        assert move_copy(place, tmp_path / "other.db", store, "another state", replace=False) is None
    assert moved is not None
    assert moved.templates == 4
    assert (everything(place), state_of(place)) == (before, state)
    with GalleryRecords(copy, OTHER) as records:
        assert records.names() == ["Ann", "Bo", "Cy"]
    assert {file.name for file in tmp_path.iterdir()} - {"gallery-1.db"} == {"copy.db"}


@pytest.mark.parametrize("encrypted", ["plain", "with names"])
def test_a_backup_holds_all_and_comes_back(
    place: Place, backend: Backend, tmp_path: Path, encrypted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if encrypted != "plain":
        pytest.importorskip("cryptography")
    monkeypatch.setattr("facekd.gallery.server_backup._ROWS", 2)
    key = None if encrypted == "plain" else KEY
    fill(place, key, encrypted == "with names")
    backup = tmp_path / "backup.db"
    size = back_up(place, backup)  # without the key
    assert (stat.S_IMODE(backup.stat().st_mode), backup.stat().st_size) == (0o600, size)
    assert everything(backup, key) == everything(place, key)
    assert state_of(backup, key) == state_of(place, key)
    assert faults(backup, key) == []
    stored = "SELECT person, photo, embedding, quality, checksum FROM templates ORDER BY id"
    assert backend.ask_file(backup, stored) == backend.ask(place, stored)
    with GalleryRecords(backup, CONTRACT, key=key) as records:
        with records.transaction():
            records.add("Fay", [template(9)])
        assert records.number_of("Fay") == 6
        np.testing.assert_array_equal(records.templates("Ann")[1].embedding, embedding(3))
    with pytest.raises(UsageError, match="exists"):
        back_up(place, backup)
    back_up(place, backup, replace=True)
    restored = backend.new()
    copy_gallery(backup, restored, keys=CopyKeys(source=key))
    assert everything(restored, key) == everything(place, key)


def test_a_backup_is_of_one_moment(place: Place, tmp_path: Path) -> None:
    """What another program has not committed is not in it."""
    enroll(place, ("Ann", 1))
    with GalleryRecords(place, CONTRACT) as records, records.transaction():
        records.add("Bo", [template(2)])
        back_up(place, tmp_path / "backup.db")
    with GalleryRecords(tmp_path / "backup.db", read_only=True) as records:
        assert records.names() == ["Ann"]


def test_what_was_removed_is_not_in_a_backup(place: Place, tmp_path: Path) -> None:
    fill(place)
    back_up(place, tmp_path / "backup.db")
    content = (tmp_path / "backup.db").read_bytes()
    assert embedding(1).tobytes() in content
    assert not any(embedding(seed).tobytes() in content for seed in (5, 6, 7))
    assert {file.name for file in tmp_path.iterdir()} - {"gallery-1.db"} == {"backup.db"}
