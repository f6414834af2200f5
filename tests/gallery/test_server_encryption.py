"""Galleries encrypted at rest in PostgreSQL: the contents of the server's files, which key opens them, who
may change it. For what also applies to files, see test_encryption.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest
from made_galleries import CONTRACT, DIM, embedding, enroll, enroll_in_tables, template

pytest.importorskip("cryptography")
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from facekd import Gallery
from facekd.errors import InputOutput, NoKey, Unreadable, UsageError, WrongKey
from facekd.gallery import (
    GalleryCheck,
    GalleryRecords,
    KeySource,
    SearchIndex,
    as_key,
    encryption,
    gallery_place,
    key_id,
    search_memory,
    using_key,
)
from facekd.workflows import decrypt_gallery, encrypt_gallery, rotate_key

if TYPE_CHECKING:
    from postgres_server import PostgresServer

KEY, OTHER_KEY = as_key(bytes(range(32))), as_key(bytes(range(1, 33)))
SEEDS = {"Ann": (1, 2), "Bo": (3,), "Zoë 李": (4,)}
CLEAR = [embedding(seed).astype("<f4").tobytes() for seed in (1, 2, 3, 4)]

#: encrypts the gallery, and is killed before what was there is erased
_KILLED = """
import os, signal, sys
from facekd.gallery import GalleryRecords, as_key
from facekd.gallery.postgres import erasing
with GalleryRecords(sys.argv[1]) as records:
    erasing.erase = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    with records.transaction():
        records.encrypt(as_key(bytes(range(32))))
"""


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    """A gallery in the clear."""
    url = postgres.new_database()
    fill(url)
    return url


@pytest.fixture
def encrypted(url: str) -> str:
    encrypt_gallery(gallery_place(url), KEY)
    return url


def fill(url: str) -> None:
    with GalleryRecords(url, CONTRACT, create=True) as records, records.transaction():
        for name, seeds in SEEDS.items():
            records.add(name, [template(seed) for seed in seeds])


def decrypt_by_hand(postgres: PostgresServer, url: str, key: KeySource) -> list[bytes]:
    """Every embedding, as docs/encryption.md states the format."""
    ((scheme, salt),) = postgres.ask("SELECT scheme, salt FROM facekd.encryption", url)
    assert scheme == "AES-256-GCM/1"
    info = b"facekd gallery AES-256-GCM/1 templates"
    aes = AESGCM(HKDF(SHA256(), 32, bytes.fromhex(salt), info).derive(key.key()))
    rows = postgres.ask(
        "SELECT uid, name, photo, quality, enrolled, embedding FROM facekd.templates"
        " JOIN facekd.people ON people.id = person ORDER BY templates.id",
        url,
    )
    return [
        aes.decrypt(
            blob[:12], blob[12:], b"facekd row\n" + json.dumps([CONTRACT.space, DIM, *said]).encode() + b"\n"
        )
        for *said, blob in rows
    ]


def traces(postgres: PostgresServer, pieces: list[bytes]) -> list[str]:
    """The files of the cluster that hold any of ``pieces``, once the write-ahead log has turned over."""
    for query in ("CHECKPOINT", "SELECT pg_switch_wal()", "CHECKPOINT"):
        postgres.ask(query, "postgres")
    found = []
    for path in postgres.data.rglob("*"):
        with suppress(FileNotFoundError):  # the server deletes files, too
            content = path.read_bytes() if path.is_file() else b""
            found += [str(path.relative_to(postgres.data))] if any(map(content.count, pieces)) else []
    return found


def test_no_template_is_left_in_the_clear(postgres: PostgresServer, url: str) -> None:
    assert traces(postgres, CLEAR)
    done = encrypt_gallery(gallery_place(url), KEY)
    assert (done.templates, done.key_id, done.pending) == (4, key_id(KEY.key()), False)
    assert traces(postgres, [piece for blob in CLEAR for piece in (blob[:32], blob[-32:])]) == []
    assert decrypt_by_hand(postgres, url, KEY) == CLEAR
    old = [blob for (blob,) in postgres.ask("SELECT embedding FROM facekd.templates", url)]
    done = rotate_key(gallery_place(url), OTHER_KEY, KEY)
    assert (done.templates, done.pending) == (4, False)
    assert traces(postgres, [blob[12:44] for blob in old]) == []
    assert decrypt_by_hand(postgres, url, OTHER_KEY) == CLEAR
    assert decrypt_gallery(gallery_place(url), OTHER_KEY).templates == 4
    with GalleryRecords(url) as records:
        assert [entry.action for entry in records.audit_entries()][-3:] == [
            "encrypt",
            "rotate_key",
            "decrypt",
        ]
        for name, seeds in SEEDS.items():
            for found, seed in zip(records.templates(name), seeds, strict=True):
                np.testing.assert_array_equal(found.embedding, embedding(seed))
    assert list(GalleryCheck(gallery_place(url)).faults()) == []


def test_one_that_is_made_with_a_key_never_held_any(postgres: PostgresServer) -> None:
    """Nor does the write-ahead log."""
    url, clear = postgres.new_database(), embedding(777).tobytes()
    with using_key(KEY):
        enroll(url, ("Ann", 777))
    assert postgres.files_with(clear[:32]) == []
    assert decrypt_by_hand(postgres, url, KEY) == [clear]


def test_more_templates_than_are_written_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encryption, "_BLOCK", 3)
    assert encrypt_gallery(gallery_place(url), KEY).templates == 4
    assert list(GalleryCheck(gallery_place(url), KEY).faults()) == []


def test_every_opening_needs_the_key(encrypted: str) -> None:
    place = gallery_place(encrypted)
    with pytest.raises(NoKey):
        GalleryRecords(encrypted)
    for opened in (
        lambda key: GalleryRecords(encrypted, read_only=True, key=key),
        lambda key: GalleryRecords(encrypted, CONTRACT, create=True, key=key),
        lambda key: GalleryCheck(place, key),
        lambda key: rotate_key(place, KEY, key),
        lambda key: decrypt_gallery(place, key),
        lambda key: Gallery(encrypted, key=key.key()).people(),
    ):
        with pytest.raises(WrongKey, match=f"{key_id(OTHER_KEY.key())}.*{key_id(KEY.key())}"):
            opened(OTHER_KEY)
    with pytest.raises(UsageError, match="already encrypted"):
        encrypt_gallery(place, OTHER_KEY)
    with using_key(KEY), GalleryRecords(encrypted) as records:
        assert records.names() == sorted(SEEDS)


def test_a_key_for_a_plain_gallery_is_refused(url: str) -> None:
    for opened in (
        lambda: GalleryRecords(url, CONTRACT, create=True, key=KEY),
        lambda: GalleryCheck(gallery_place(url), KEY),
        lambda: rotate_key(gallery_place(url), OTHER_KEY, KEY),
    ):
        with pytest.raises(UsageError, match="is not encrypted"):
            opened()


def test_changes_bind_templates_to_their_new_owner(postgres: PostgresServer, encrypted: str) -> None:
    with GalleryRecords(encrypted, CONTRACT, key=KEY) as records:
        with records.transaction():
            records.rename("Ann", "Anna")
            records.merge("Anna", "Bo")
            records.add("New", [template(5)])
            records.remove("Zoë 李")
        assert records.everybody().names == ("Anna", "New")
    expected = [*CLEAR[:3], embedding(5).tobytes()]
    assert decrypt_by_hand(postgres, encrypted, KEY) == expected
    assert list(GalleryCheck(gallery_place(encrypted), KEY).faults()) == []


def test_the_database_itself_takes_no_template_in_the_clear(postgres: PostgresServer, encrypted: str) -> None:
    for statement in (
        "UPDATE facekd.templates SET embedding = %s",
        "INSERT INTO facekd.templates (person, space, photo, embedding, quality, enrolled, checksum)"
        f" SELECT 1, space, '{7:064x}', %s, 1.0, '', '' FROM facekd.contract",
    ):
        with pytest.raises(Exception, match="in the clear"):
            postgres.ask(statement, encrypted, (embedding(7).tobytes(),))
    with pytest.raises(Exception, match="one_encryption"):
        postgres.ask("INSERT INTO facekd.encryption SELECT * FROM facekd.encryption", encrypted)
    assert decrypt_by_hand(postgres, encrypted, KEY) == CLEAR


def test_who_opened_it_before_neither_reads_nor_writes_it_otherwise(
    postgres: PostgresServer, url: str
) -> None:
    with GalleryRecords(url, CONTRACT) as early:
        encrypt_gallery(gallery_place(url), KEY)
        with pytest.raises(InputOutput, match="in the meantime"), early.transaction():
            early.add("New", [template(5)])
        for read in (lambda: early.templates("Ann"), early.everybody):
            with pytest.raises(InputOutput, match="in the meantime"):
                read()
    assert decrypt_by_hand(postgres, url, KEY) == CLEAR


def test_damage_shows_with_and_without_the_key(postgres: PostgresServer, encrypted: str) -> None:
    postgres.ask("UPDATE facekd.templates SET person = 3 - person WHERE person < 3", encrypted)
    for key in (None, KEY):
        check = GalleryCheck(gallery_place(encrypted), key)
        assert len(list(check.faults())) == 3
        assert check.without_key is (key is None)
    with GalleryRecords(encrypted, key=KEY) as records, pytest.raises(Unreadable, match="'Ann'"):
        records.templates("Ann")
    with pytest.raises(Unreadable, match="cannot be read"):
        rotate_key(gallery_place(encrypted), OTHER_KEY, KEY)
    with GalleryRecords(encrypted, key=KEY) as records:
        assert len(records.templates("Zoë 李")) == 1


def test_what_is_searched_is_kept_in_memory_of_those_who_have_the_key(encrypted: str) -> None:
    with GalleryRecords(encrypted, read_only=True, key=KEY) as records:
        assert SearchIndex.of(records).search(embedding(3)[None], 1).names == (("Bo",),)
        state = str(records.state())
    assert search_memory.load(encrypted, CONTRACT.space, state) is not None
    rotate_key(gallery_place(encrypted), OTHER_KEY, KEY)
    with GalleryRecords(encrypted, read_only=True, key=OTHER_KEY) as records:
        assert search_memory.load(encrypted, CONTRACT.space, str(records.state())) is None


def encrypt_and_fail(records: GalleryRecords) -> None:
    with records.transaction():
        records.encrypt(KEY)
        raise ZeroDivisionError


def test_a_failure_leaves_it_as_it_was(url: str) -> None:
    with pytest.raises(ZeroDivisionError), GalleryRecords(url) as records:
        encrypt_and_fail(records)
    with GalleryRecords(url) as records:
        assert records.everybody().names == tuple(sorted(SEEDS))
    assert list(GalleryCheck(gallery_place(url)).faults()) == []


def test_the_next_writer_erases_what_was_left_by_one_that_was_killed(
    postgres: PostgresServer, url: str
) -> None:
    command = [sys.executable, "-c", _KILLED, url]
    assert subprocess.run(command, check=False, env=os.environ).returncode == -signal.SIGKILL
    assert traces(postgres, CLEAR)
    GalleryRecords(url, key=KEY).close()
    assert traces(postgres, [blob[:32] for blob in CLEAR]) == []
    assert decrypt_by_hand(postgres, url, KEY) == CLEAR


def test_none_but_the_owner_changes_it(postgres: PostgresServer) -> None:
    users = postgres.team_of(postgres.new_database())
    fill(users["owner"])
    with pytest.raises(InputOutput, match="may not do that"):
        encrypt_gallery(gallery_place(users["writer"]), KEY)
    assert encrypt_gallery(gallery_place(users["owner"]), KEY).pending is False
    with using_key(KEY):
        enroll(users["writer"], ("Cy", 5))
        with GalleryRecords(users["reader"], read_only=True) as records:
            assert records.everybody().names == ("Ann", "Bo", "Cy", "Zoë 李")
        with pytest.raises(InputOutput, match="may not do that"):
            decrypt_gallery(gallery_place(users["writer"]))
    with pytest.raises(NoKey):
        GalleryRecords(users["reader"], read_only=True)


def test_a_gallery_of_the_schema_before_is_encrypted(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facekd.gallery.postgres import migrating

    url = postgres.new_database()
    with monkeypatch.context() as then:
        before = {number: sql for number, sql in migrating.migrations().items() if number <= 10}
        then.setattr(migrating, "migrations", lambda: before)
        GalleryRecords(url, CONTRACT, create=True).close()
        enroll_in_tables(postgres, url, "Ann", 1)
    with GalleryRecords(url, read_only=True) as records:
        assert (records.encryption, records.schema()[0]) == (None, 10)
    with pytest.raises(UsageError, match="is not encrypted"):
        GalleryRecords(url, read_only=True, key=KEY)
    encrypt_gallery(gallery_place(url), KEY)
    assert decrypt_by_hand(postgres, url, KEY) == CLEAR[:1]
