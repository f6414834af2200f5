"""Galleries with encrypted names, in files and in PostgreSQL: what is stored, how people are found, and what
is detected."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from made_galleries import CONTRACT, DIM, embedding, enroll, name_as_typed, template

pytest.importorskip("cryptography")
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from facekd.errors import InputOutput, NotFound, Unreadable, UsageError
from facekd.gallery import (
    CopyKeys,
    FusedTemplates,
    GalleryCheck,
    GalleryRecords,
    SearchIndex,
    as_key,
    copy_gallery,
    encryption,
    using_key,
)
from facekd.gallery.engine import open_engine
from facekd.gallery.place import Place, gallery_place
from facekd.workflows import decrypt_gallery, encrypt_gallery, export_gallery, import_archive, rotate_key

if TYPE_CHECKING:
    from postgres_server import PostgresServer

KEY, OTHER_KEY = as_key(bytes(range(32))), as_key(bytes(range(1, 33)))
#: of which no part is in what else a gallery or a server's files hold
NAMES = ("Quirina Ybárra", "Xanthe Vosskuhl", "李永芳 Zoë")


class Backend:
    """A place for a gallery, and all bytes that are kept of it."""

    def __init__(self, folder: Path, server: PostgresServer | None) -> None:
        self._folder, self._server = folder, server

    def new(self, name: str = "gallery.db") -> Place:
        return self._folder / name if self._server is None else gallery_place(self._server.new_database())

    def traces(self, *pieces: bytes) -> list[str]:
        """The files, write-ahead logs included, that hold any of them; those of a server after two
        checkpoints."""
        folder = self._folder
        if self._server is not None:
            folder = self._server.data
            for query in ("CHECKPOINT", "SELECT pg_switch_wal()", "CHECKPOINT"):
                self._server.ask(query, "postgres")
        found = []
        for path in folder.rglob("*"):
            with suppress(FileNotFoundError):  # a server deletes files, too
                content = path.read_bytes() if path.is_file() else b""
                found += [path.name] if any(piece in content for piece in pieces) else []
        return found

    def ask(self, place: Place, query: str) -> list[tuple]:
        """What a program that is not facekd finds, or changes."""
        if self._server is not None:
            return self._server.ask(query, f"{place}&options=-csearch_path%3Dfacekd")
        with closing(sqlite3.connect(str(place), isolation_level=None)) as db:
            return db.execute(query).fetchall()


@pytest.fixture(params=["file", "server"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    server = request.getfixturevalue("postgres") if request.param == "server" else None
    (tmp_path / "galleries").mkdir()
    return Backend(tmp_path / "galleries", server)


@pytest.fixture
def place(backend: Backend) -> Place:
    """A gallery whose names are encrypted."""
    place = backend.new()
    fill(place)
    done = encrypt_gallery(place, KEY, names=True)
    assert (done.templates, done.names, done.pending) == (4, True, False)
    return place


def fill(place: Place) -> None:
    enroll(place, *zip(NAMES, (1, 2, 3), strict=True))
    with GalleryRecords(place, CONTRACT) as records, records.transaction():
        records.add(NAMES[0], [template(4)])


def pieces(*names: str) -> list[bytes]:
    return [name.encode() for name in names] + [word.encode() for name in names for word in name.split()]


def keys_by_hand(place: Place, key: bytes) -> dict[str, bytes]:
    with closing(open_engine(place, read_only=True)) as engine:
        ((scheme, salt, names),) = engine.rows("SELECT scheme, salt, names FROM encryption")
    assert (scheme, names) == ("AES-256-GCM/1", 1)
    return {
        purpose: HKDF(
            SHA256(), 32, bytes.fromhex(salt), f"facekd gallery {scheme} {purpose}".encode()
        ).derive(key)
        for purpose in ("templates", "names", "lookup")
    }


def test_an_independent_program_decrypts_it(place: Place) -> None:
    """As docs/encryption.md states the format."""
    keys = keys_by_hand(place, KEY.key())
    found = {}
    with closing(open_engine(place, read_only=True)) as engine:
        people = engine.rows("SELECT id, uid, name, lookup FROM people")
        templates = engine.rows("SELECT person, photo, quality, enrolled, embedding, checksum FROM templates")
    for number, uid, stored, lookup in people:
        blob = base64.b64decode(stored)
        clear = AESGCM(keys["names"]).decrypt(blob[:12], blob[12:], f"facekd name\n{uid}\n".encode())
        assert len(clear) == 64
        name = clear[: clear.rindex(b"\x80")]
        assert lookup == hmac.new(keys["lookup"], name, hashlib.sha256).hexdigest()
        found[number] = uid, stored, name.decode()
    assert sorted(name for _, _, name in found.values()) == sorted(NAMES)
    for person, photo, quality, enrolled, blob, seal in templates:
        uid, stored, _ = found[person]
        said = json.dumps([CONTRACT.space, DIM, uid, stored, photo, quality, enrolled])
        bound = b"facekd row\n" + said.encode() + b"\n"
        clear = AESGCM(keys["templates"]).decrypt(blob[:12], blob[12:], bound)
        assert clear == embedding(int(photo, 16)).tobytes()
        assert seal == hashlib.sha256(bound + blob).hexdigest()


def test_no_name_is_left_in_the_clear(backend: Backend) -> None:
    place = backend.new()
    fill(place)
    assert backend.traces(*pieces(*NAMES))
    encrypt_gallery(place, KEY, names=True)
    assert backend.traces(*pieces(*NAMES)) == []
    with GalleryRecords(place, CONTRACT, key=KEY) as records, records.transaction():
        records.add("Wolfhart Ulmendorf", [template(5)])
        records.rename(NAMES[1], "Jovanka Pfeil")
        records.merge("Jovanka Pfeil", NAMES[2])
    assert backend.traces(*pieces("Wolfhart Ulmendorf", "Jovanka Pfeil")) == []
    old = [stored.encode() for (stored,) in backend.ask(place, "SELECT name FROM people")]
    lookups = [lookup.encode() for (lookup,) in backend.ask(place, "SELECT lookup FROM people")]
    assert backend.traces(*old, *lookups)
    done = rotate_key(place, OTHER_KEY, KEY)
    assert (done.names, done.pending) == (True, False)
    assert backend.traces(*old, *lookups, *pieces("Wolfhart Ulmendorf", "Jovanka Pfeil", *NAMES)) == []
    decrypt_gallery(place, OTHER_KEY)
    with GalleryRecords(place) as records:
        assert records.names() == ["Jovanka Pfeil", "Quirina Ybárra", "Wolfhart Ulmendorf"]
    assert backend.ask(place, "SELECT count(*) FROM people WHERE lookup IS NOT NULL") == [(0,)]
    assert list(GalleryCheck(place).faults()) == []


def test_one_that_is_made_so_never_held_any(backend: Backend) -> None:
    place = backend.new()
    names = ("Ottilie Brandt", "Kasimir Xuereb")
    with GalleryRecords(place, CONTRACT, create=True, key=KEY, encrypt_names=True) as records:
        for name, seed in zip(names, (1, 2), strict=True):
            with records.transaction():
                records.add(name, [template(seed)])
    assert backend.traces(*pieces(*names)) == []
    assert list(GalleryCheck(place, KEY).faults()) == []


def test_people_are_found_listed_and_searched(place: Place) -> None:
    with GalleryRecords(place, CONTRACT, key=KEY) as records:
        assert records.names() == sorted(NAMES)
        assert [(one.name, one.templates) for one in records.people()] == [
            (NAMES[0], 2), (NAMES[1], 1), (NAMES[2], 1)
        ]  # fmt: skip
        assert records.person("  Quirina   Ybárra ").name == NAMES[0]
        assert records.person("Quirina Yba\u0301rra").templates == 2
        assert records.name_of("New  One") == "New One"
        for nobody in ("Xanthe", "Xanthe vosskuhl", "", "\udcff", "a\0b"):
            with pytest.raises(NotFound):
                records.person(nobody)
        assert records.holders(f"{2:064x}") == [NAMES[1]]
        assert [one.photo for one in records.photos(NAMES[0])] == [f"{1:064x}", f"{4:064x}"]
        np.testing.assert_array_equal(records.templates(NAMES[2])[0].embedding, embedding(3))
        assert records.everybody().names == tuple(sorted(NAMES))
        assert SearchIndex.of(records).search(embedding(2)[None], 1).names == ((NAMES[1],),)
        fused = FusedTemplates(records)
        fused.refresh()
        assert fused.names == sorted(NAMES)
        with pytest.raises(UsageError, match="is already enrolled"), records.transaction():
            records.rename(NAMES[1], NAMES[2])
        with records.transaction():
            assert records.add(NAMES[1], [template(6)]) == 1
            assert records.remove(NAMES[2]) == 1
        assert records.names() == [NAMES[0], NAMES[1]]
        assert records.person(NAMES[1]).templates == 2
    assert list(GalleryCheck(place, KEY).faults()) == []


def test_names_may_be_encrypted_later_and_more_people_than_at_once(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encryption, "_BLOCK", 2)
    place = backend.new()
    fill(place)
    assert encrypt_gallery(place, KEY).names is False
    assert encrypt_gallery(place, KEY, names=True).names is True
    for names in (False, True):
        with pytest.raises(UsageError, match="is already encrypted"):
            encrypt_gallery(place, KEY, names)
    with GalleryRecords(place, key=KEY) as records:
        assert records.names() == sorted(NAMES)
        actions = [entry.action for entry in records.audit_entries()]
    assert actions[-2:] == ["encrypt", "encrypt"]
    assert list(GalleryCheck(place, KEY).faults()) == []


@pytest.mark.parametrize(
    ("column", "spare", "told"),
    [
        ("name", "A" * 124, "was not encrypted with the gallery's key for this person"),
        ("lookup", "0" * 64, "would not be found by their name"),
    ],
)
def test_names_that_were_exchanged_are_noticed(
    backend: Backend, place: Place, column: str, spare: str, told: str
) -> None:
    first, second = (
        backend.ask(place, f"SELECT {column} FROM people WHERE id = {number}")[0][0] for number in (1, 2)
    )
    for number, value in ((1, spare), (2, first), (1, second)):
        backend.ask(place, f"UPDATE people SET {column} = '{value}' WHERE id = {number}")
    with GalleryRecords(place, key=KEY) as records, pytest.raises(Unreadable, match=r"person [12] cannot be"):
        records.person(NAMES[0])
    faults = [fault.message for fault in GalleryCheck(place, KEY).faults() if fault.kind == "name"]
    assert len(faults) == 2
    assert all(told in fault for fault in faults)


def test_a_check_without_the_key_names_nobody(backend: Backend, place: Place) -> None:
    check = GalleryCheck(place)
    assert (list(check.faults()), check.without_key, check.people) == ([], True, 3)
    backend.ask(place, "UPDATE templates SET quality = 0.75 WHERE person = 1")
    without = [fault.message for fault in GalleryCheck(place).faults()]
    with_key = [fault.message for fault in GalleryCheck(place, KEY).faults()]
    assert len(without) == len(with_key) == 2
    assert all("person 1" in message for message in without)
    assert all(f"'{NAMES[0]}'" in message for message in with_key)


def test_the_gallery_itself_takes_no_name_in_the_clear(backend: Backend, place: Place) -> None:
    for statement in (
        "UPDATE people SET name = 'Ann'",
        "UPDATE people SET lookup = NULL",
        f"INSERT INTO people (name, uid, lookup) VALUES ('Ann Lee', 'x', '{'0' * 64}')",
    ):
        with pytest.raises(Exception, match="in the clear"):
            backend.ask(place, statement)


def test_who_has_no_key_cannot_turn_it_off(backend: Backend, place: Place) -> None:
    """Otherwise later names would be written in the clear."""
    backend.ask(place, "UPDATE encryption SET names = 0")
    for opened in (GalleryRecords, GalleryCheck):
        with pytest.raises(Unreadable, match="encryption settings are not what was written"):
            opened(place, key=KEY)
    backend.ask(place, "UPDATE encryption SET names = 1")
    with GalleryRecords(place, key=KEY) as records:
        assert records.names() == sorted(NAMES)


def test_who_opened_it_before_says_so(backend: Backend) -> None:
    place = backend.new()
    fill(place)
    with GalleryRecords(place, CONTRACT) as early:
        encrypt_gallery(place, KEY, names=True)
        for read in (early.names, early.people, lambda: early.person(NAMES[0]), lambda: early.holders("x")):
            with pytest.raises(InputOutput, match="in the meantime"):
                read()
        with pytest.raises(InputOutput, match="in the meantime"), early.transaction():
            early.add("New", [template(5)])
    assert backend.ask(place, "SELECT count(*) FROM people WHERE lookup IS NULL") == [(0,)]


def test_archives_and_copies(backend: Backend, place: Place, tmp_path: Path) -> None:
    with using_key(KEY):
        with pytest.raises(UsageError, match="an archive is not"):
            export_gallery(place, tmp_path / "archive")
        export_gallery(place, tmp_path / "archive", plain=True)
        assert import_archive(tmp_path / "archive", place).present == 4
    assert NAMES[0] in (tmp_path / "archive").read_text()
    copies = {
        name: backend.new(f"{name}.db") for name in ("same", "other", "of one in the clear", "half", "plain")
    }
    with using_key(KEY):
        copy_gallery(place, copies["same"])
        copy_gallery(place, copies["other"], keys=CopyKeys(target=OTHER_KEY))
    assert copy_gallery(place, copies["same"], keys=CopyKeys(KEY)).present == 3
    for name, key in (("same", KEY), ("other", OTHER_KEY)):
        with GalleryRecords(copies[name], key=key) as records:
            assert (records.names(), records.encryption.names) == (sorted(NAMES), True)
        assert list(GalleryCheck(copies[name], key).faults()) == []
    assert backend.traces(*pieces(*NAMES)) == []
    with GalleryRecords(copies["half"], CONTRACT, create=True, key=KEY):
        pass
    with pytest.raises(UsageError, match="without encrypted names"):
        copy_gallery(place, copies["half"], keys=CopyKeys(KEY))
    copy_gallery(place, copies["plain"], keys=CopyKeys(KEY, plain=True))
    with GalleryRecords(copies["plain"]) as records:
        assert (records.names(), records.encryption) == (sorted(NAMES), None)
    copy_gallery(copies["plain"], copies["of one in the clear"], keys=CopyKeys(target=KEY, names=True))
    with GalleryRecords(copies["of one in the clear"], key=KEY) as records:
        assert (records.names(), records.encryption.names) == (sorted(NAMES), True)
    for keys in (CopyKeys(names=True), CopyKeys(names=True, plain=True)):
        with pytest.raises(UsageError):
            copy_gallery(copies["plain"], backend.new("x.db"), keys=keys)


def test_a_name_of_0_1_0_has_to_be_written_anew_first(tmp_path: Path) -> None:
    path = tmp_path / "gallery.db"
    fill(path)
    name_as_typed(path, {NAMES[1]: "Xanthe  Vosskuhl"})
    with pytest.raises(UsageError, match="'Xanthe  Vosskuhl' is not in normalised form"):
        encrypt_gallery(path, KEY, names=True)
    with GalleryRecords(path) as records:
        assert records.encryption is None
        with records.transaction():
            records.rename("Xanthe  Vosskuhl", NAMES[1])
    assert encrypt_gallery(path, KEY, names=True).names
