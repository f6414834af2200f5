"""A gallery is copied between file and database, all of it, and a copy that was cut short is continued."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from made_galleries import CONTRACT, embedding, enroll, template

from facekd.errors import InputOutput, Misfit, NoKey, Unreadable, UsageError, WrongKey
from facekd.gallery import (
    NO_KEY,
    Contract,
    CopyKeys,
    GalleryCheck,
    GalleryRecords,
    Template,
    as_key,
    copy_gallery,
    copying,
    is_there,
    key_id,
)
from facekd.gallery.engine import open_engine
from facekd.gallery.keys import using_key
from facekd.gallery.place import Place, gallery_place
from facekd.workflows import export_gallery

Way = tuple[Place, Place]


@pytest.fixture(params=["file to file", "file to server", "server to file", "server to server"])
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Way:
    """From where to where."""

    def place(kind: str, name: str) -> Place:
        if kind == "file":
            return tmp_path / name
        return gallery_place(request.getfixturevalue("postgres").new_database())

    before, _, after = request.param.split()
    return place(before, "before.db"), place(after, "after.db")


def fill(place: Place) -> None:
    """People with several photos, somebody removed, somebody merged, a photo removed, a name that is odd."""
    enroll(place, *((f"p{seed}", seed) for seed in range(12)), ("Zoë 'Lee'", 50), ("Last", 51))
    with GalleryRecords(place, CONTRACT, by="door") as records, records.transaction():
        records.add("p1", [template(100), Template(embedding(101), "c" * 64, 0.1234567890123)])
        records.remove("p3")
        records.merge("p4", "p5")
        records.remove_photo("p1", "cccc")
        records.rename("p6", "Renamed")
        records.remove("Last")


def everything(place: Place) -> list[object]:
    with GalleryRecords(place, read_only=True) as records:
        return [
            records.contract,
            [(p, records.number_of(p.name), records.uid_of(p.name)) for p in records.people()],
            [
                (t.embedding.tobytes(), t.photo, t.quality, t.enrolled)
                for name in records.names()
                for t in records.templates(name)
            ],
            sorted(records.removals()),
            sorted(records.photo_removals()),
            list(records.audit_entries()),
        ]


def test_a_copy_holds_all_and_its_numbers_go_on(way: Way, tmp_path: Path) -> None:
    source, target = way
    fill(source)
    done: list[int] = []
    copied = copy_gallery(source, target, done.append)
    assert (copied.people, copied.present, copied.removed_people, copied.removed_photos) == (11, 0, 3, 1)
    assert sum(done) == copied.people
    assert everything(target) == everything(source)
    assert list(GalleryCheck(target).faults()) == []
    export_gallery(source, tmp_path / "source.jsonl")
    export_gallery(target, tmp_path / "target.jsonl")
    assert (tmp_path / "source.jsonl").read_bytes() == (tmp_path / "target.jsonl").read_bytes()
    for place in (source, target):  # the last person was removed: their number is not used again
        enroll(place, ("Next", 60))
        with GalleryRecords(place, read_only=True) as records:
            assert records.number_of("Next") == 15


def cut(after: int) -> Callable[[int], None]:
    """Interrupts a copy after this many people."""
    seen = 0

    def advance(people: int) -> None:
        nonlocal seen
        seen += people
        if seen >= after:
            raise KeyboardInterrupt

    return advance


def test_a_copy_that_was_cut_short_is_continued(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_PEOPLE", 2)
    monkeypatch.setattr(copying, "_ROWS", 3)
    source, target = way
    fill(source)
    for people in (2, 6, 10):
        with pytest.raises(KeyboardInterrupt):
            copy_gallery(source, target, cut(people))
        with GalleryRecords(target, read_only=True) as records:
            assert len(records.people()) == people
    copied = copy_gallery(source, target)
    assert (copied.people, copied.present) == (11, 10)
    assert everything(target) == everything(source)
    assert copy_gallery(source, target).present == 11
    assert everything(target) == everything(source)


def test_what_is_there_must_be_of_the_gallery(way: Way, tmp_path: Path) -> None:
    source, target = way
    fill(source)
    copy_gallery(source, target)
    with GalleryRecords(source) as records, records.transaction():
        records.remove("p7")
    with pytest.raises(UsageError, match="is not an incomplete copy"):
        copy_gallery(source, target)
    with pytest.raises(UsageError, match="to itself"):
        copy_gallery(source, source)
    other = tmp_path / "other.db"
    GalleryRecords(other, Contract("b" * 64, 64, "large", "mtcnn", "arcface-5pt/1"), create=True).close()
    with pytest.raises(Misfit):
        copy_gallery(source, other)


@pytest.mark.parametrize("change", ["rename", "add", "remove_photo"])
def test_a_copy_that_was_changed_is_no_copy(tmp_path: Path, change: str) -> None:
    source, target = tmp_path / "before.db", tmp_path / "after.db"
    fill(source)
    copy_gallery(source, target)
    before = everything(target)
    with GalleryRecords(target, CONTRACT) as records, records.transaction():
        if change == "rename":
            records.rename("p7", "other")
        elif change == "add":
            records.add("p7", [template(300)])
        else:
            records.remove_photo("p1", records.photos("p1")[0].photo)
    with pytest.raises(UsageError, match="is not an incomplete copy"):
        copy_gallery(source, target)
    assert everything(source) == before


def test_a_damaged_template_is_not_copied(tmp_path: Path) -> None:
    source, target = tmp_path / "before.db", tmp_path / "after.db"
    fill(source)
    db = sqlite3.connect(source)
    db.execute("UPDATE templates SET quality = 0.9 WHERE id = 9")
    db.commit()
    db.close()
    with pytest.raises(Unreadable, match="a template of 'p8' cannot be read"):
        copy_gallery(source, target)


def test_a_gallery_of_an_older_schema_is_migrated_and_copied(tmp_path: Path) -> None:
    stored = Path(__file__).parent.parent / "stored" / "schema-3" / "gallery.db"
    source = tmp_path / "old.db"
    source.write_bytes(stored.read_bytes())
    copied = copy_gallery(source, tmp_path / "new.db")
    assert copied.people > 0
    assert everything(tmp_path / "new.db") == everything(source)


KEY, OTHER_KEY = as_key(bytes(range(32))), as_key(bytes(range(1, 33)))


def encrypt(place: Place) -> None:
    with GalleryRecords(place) as records, records.transaction():
        records.encrypt(KEY)


def raw(place: Place) -> set[bytes]:
    """The bytes in the column of embeddings."""
    with closing(open_engine(place, read_only=True)) as engine:
        return {blob for (blob,) in engine.rows("SELECT embedding FROM templates")}


@pytest.mark.parametrize("to", ["the same key", "another key", "none"])
def test_an_encrypted_gallery_is_copied(way: Way, to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cryptography")
    monkeypatch.setattr(copying, "_PEOPLE", 2)
    source, target = way
    fill(source)
    clear = raw(source)
    encrypt(source)
    with pytest.raises(NoKey):
        copy_gallery(source, target)
    assert not is_there(target)
    keys, key = {
        "the same key": (CopyKeys(), KEY),
        "another key": (CopyKeys(target=OTHER_KEY), OTHER_KEY),
        "none": (CopyKeys(plain=True), NO_KEY),
    }[to]
    with using_key(KEY):
        expected = everything(source)
        with pytest.raises(KeyboardInterrupt):
            copy_gallery(source, target, cut(4), keys)
        copied = copy_gallery(source, target, keys=keys)
    assert (copied.people, copied.present) == (11, 4)
    assert copied.key_id == (None if key is NO_KEY else key_id(key.key()))
    with using_key(key):
        assert everything(target) == expected
        assert list(GalleryCheck(target).faults()) == []
    assert not raw(target) & raw(source)
    assert raw(target) == clear if key is NO_KEY else not raw(target) & clear


def test_the_copy_of_one_in_the_clear_is_encrypted_where_it_is_to_be(way: Way) -> None:
    pytest.importorskip("cryptography")
    source, target = way
    fill(source)
    copied = copy_gallery(source, target, keys=CopyKeys(target=KEY))
    assert copied.key_id == key_id(KEY.key())
    assert not raw(target) & raw(source)
    expected = everything(source)
    with using_key(KEY):
        assert everything(target) == expected
    with pytest.raises(UsageError, match="is not encrypted, but a key is given"), using_key(KEY):
        copy_gallery(source, target, keys=CopyKeys(target=KEY))


def test_a_copy_goes_on_only_as_it_began(tmp_path: Path) -> None:
    """Otherwise half of it might be in the clear."""
    pytest.importorskip("cryptography")
    source, target, plain = (tmp_path / name for name in ("before.db", "after.db", "plain.db"))
    fill(source)
    copy_gallery(source, plain)
    encrypt(source)
    with using_key(KEY):
        with pytest.raises(UsageError, match="is not encrypted, but a key is given"):
            copy_gallery(source, plain)
        copy_gallery(source, target, keys=CopyKeys(target=OTHER_KEY))
        before = target.read_bytes()
        for keys, error in (
            (CopyKeys(), WrongKey), (CopyKeys(plain=True), NoKey),
            (CopyKeys(target=OTHER_KEY, plain=True), UsageError),
        ):  # fmt: skip
            with pytest.raises(error):
                copy_gallery(source, target, keys=keys)
    with pytest.raises(WrongKey):
        copy_gallery(source, target, keys=CopyKeys(OTHER_KEY, OTHER_KEY))
    assert target.read_bytes() == before


def test_a_copy_that_gets_another_key_meanwhile_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cryptography")
    monkeypatch.setattr(copying, "_PEOPLE", 2)
    source, target = tmp_path / "before.db", tmp_path / "after.db"
    fill(source)

    def rotate(people: int) -> None:
        with GalleryRecords(target, key=KEY) as records, records.transaction():
            records.encrypt(OTHER_KEY)

    with pytest.raises(InputOutput, match="in the meantime"):
        copy_gallery(source, target, rotate, CopyKeys(target=KEY))
    assert list(GalleryCheck(target, OTHER_KEY).faults()) == []


def test_a_gallery_that_was_encrypted_before_is_copied_with_its_audit(way: Way) -> None:
    pytest.importorskip("cryptography")
    source, target = way
    fill(source)
    encrypt(source)
    with GalleryRecords(source, key=KEY) as records, records.transaction():
        records.encrypt(None)
    copy_gallery(source, target)
    assert everything(target) == everything(source)
    with GalleryRecords(target, read_only=True) as records:
        actions = [entry.action for entry in records.audit_entries()]
        assert records.encryption is None
    assert actions[-2:] == ["encrypt", "decrypt"]
    assert list(GalleryCheck(target).faults()) == []
