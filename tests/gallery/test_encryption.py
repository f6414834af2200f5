"""Galleries encrypted at rest: the contents of the file, compared with `cryptography`'s own, and which key
opens it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from made_galleries import CONTRACT, DIM, embedding, template

pytest.importorskip("cryptography")
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from facekd.errors import InputOutput, NoKey, Unreadable, UsageError, WrongKey
from facekd.gallery import GalleryCheck, GalleryRecords, KeySource, SearchIndex, as_key, back_up, key_id
from facekd.gallery import search as search_module
from facekd.gallery.keys import key_from_command, key_from_file, key_from_text, make_key_file, using_key

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
SEEDS = {"Ann": (1, 2), "Bo": (3,), "Zoë 李": (4,)}


def source(key: bytes = KEY) -> KeySource:
    return as_key(key)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "gallery.db"
    fill(path)
    with GalleryRecords(path) as records, records.transaction():
        assert records.encrypt(source()) == 4
    return path


def fill(path: Path, key: KeySource | None = None) -> None:
    with GalleryRecords(path, CONTRACT, create=True, key=key) as records, records.transaction():
        for name, seeds in SEEDS.items():
            records.add(name, [template(seed) for seed in seeds])


def query(path: Path, statement: str, *values: object) -> list[tuple]:
    db = sqlite3.connect(path, isolation_level=None)
    try:
        return db.execute(statement, values).fetchall()
    finally:
        db.close()


def decrypt_by_hand(path: Path, key: bytes) -> dict[str, bytes]:
    """Every embedding by its photo, as docs/encryption.md states the format."""
    ((scheme, salt),) = query(path, "SELECT scheme, salt FROM encryption")
    ((space, dim),) = query(path, "SELECT space, dim FROM contract")
    assert scheme == "AES-256-GCM/1"
    info = b"facekd gallery AES-256-GCM/1 templates"
    aes = AESGCM(HKDF(SHA256(), 32, bytes.fromhex(salt), info).derive(key))
    found = {}
    for *said, blob in query(
        path,
        "SELECT uid, name, photo, quality, enrolled, embedding FROM templates"
        " JOIN people ON people.id = person",
    ):
        bound = b"facekd row\n" + json.dumps([space, dim, *said]).encode() + b"\n"
        found[said[2]] = aes.decrypt(blob[:12], blob[12:], bound)
    return found


def expected(*seeds: int) -> dict[str, bytes]:
    return {f"{seed:064x}": embedding(seed).astype("<f4").tobytes() for seed in seeds}


def everything(path: Path) -> bytes:
    """All bytes of all files beside the gallery, and it."""
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


def encrypt_and_fail(records: GalleryRecords) -> None:
    with records.transaction():
        records.encrypt(source(OTHER_KEY))
        raise ZeroDivisionError


class TestWhatLiesInTheFile:
    def test_an_independent_program_decrypts_it(self, path: Path) -> None:
        assert decrypt_by_hand(path, KEY) == expected(1, 2, 3, 4)
        with pytest.raises(InvalidTag):
            decrypt_by_hand(path, OTHER_KEY)

    def test_no_template_is_left_in_the_clear(self, tmp_path: Path) -> None:
        path = tmp_path / "gallery.db"
        fill(path)
        blobs = expected(1, 2, 3, 4).values()
        assert all(blob in everything(path) for blob in blobs)
        with GalleryRecords(path) as records:
            with records.transaction():
                records.encrypt(source())
            assert not records.pending
            assert not any(blob in everything(path) for blob in blobs)
        assert not any(blob[:16] in everything(path) for blob in blobs)

    def test_one_that_is_made_with_a_key_never_held_any(self, tmp_path: Path) -> None:
        fill(tmp_path / "gallery.db", source())
        assert not any(
            blob[:16] in everything(tmp_path / "gallery.db") for blob in expected(1, 2, 3, 4).values()
        )
        assert decrypt_by_hand(tmp_path / "gallery.db", KEY) == expected(1, 2, 3, 4)

    def test_rotation_leaves_no_old_ciphertext(self, path: Path) -> None:
        old = [blob for (blob,) in query(path, "SELECT embedding FROM templates")]
        with GalleryRecords(path, key=source()) as records, records.transaction():
            assert records.encrypt(source(OTHER_KEY)) == 4
        assert not any(blob[12:28] in everything(path) for blob in old)
        assert decrypt_by_hand(path, OTHER_KEY) == expected(1, 2, 3, 4)
        with pytest.raises(WrongKey):
            GalleryRecords(path, key=source())

    def test_nonces_and_salts_differ(self, path: Path, tmp_path: Path) -> None:
        nonces = [blob[:12] for (blob,) in query(path, "SELECT embedding FROM templates")]
        fill(tmp_path / "other.db", source())
        nonces += [blob[:12] for (blob,) in query(tmp_path / "other.db", "SELECT embedding FROM templates")]
        assert len(set(nonces)) == 8
        assert query(path, "SELECT salt FROM encryption") != query(
            tmp_path / "other.db", "SELECT salt FROM encryption"
        )

    def test_decrypting_gives_back_what_was_there(self, path: Path) -> None:
        with GalleryRecords(path, key=source()) as records, records.transaction():
            records.encrypt(None)
        rows = dict(query(path, "SELECT photo, embedding FROM templates"))
        assert rows == expected(1, 2, 3, 4)
        with GalleryRecords(path) as records:
            assert records.encryption is None
            actions = [(entry.action, entry.person, entry.templates) for entry in records.audit_entries()]
        assert actions[-2:] == [("encrypt", 0, 4), ("decrypt", 0, 4)]
        assert list(GalleryCheck(path).faults()) == []


class TestUse:
    def test_changes_bind_templates_to_their_new_owner(self, path: Path) -> None:
        with GalleryRecords(path, CONTRACT, key=source()) as records:
            with records.transaction():
                records.rename("Ann", "Anna")
                records.merge("Anna", "Bo")
                records.add("New", [template(5)])
                records.remove("Zoë 李")
            assert records.everybody().names == ("Anna", "New")
            for seed, found in zip((1, 2, 3), records.templates("Anna"), strict=True):
                np.testing.assert_array_equal(found.embedding, embedding(seed))
        assert decrypt_by_hand(path, KEY) == expected(1, 2, 3, 5)
        assert list(GalleryCheck(path, source()).faults()) == []

    def test_the_search_keeps_no_file(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(search_module, "_WORTH_A_FILE", 1)
        with GalleryRecords(path, CONTRACT, read_only=True, key=source()) as records:
            found = SearchIndex.of(records).search(embedding(3)[None], 1)
        assert found.names == (("Bo",),)
        assert [file.name for file in path.parent.iterdir()] == ["gallery.db"]

    def test_encrypting_deletes_what_the_search_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(search_module, "_WORTH_A_FILE", 1)
        path = tmp_path / "gallery.db"
        fill(path)
        with GalleryRecords(path, CONTRACT) as records:
            SearchIndex.of(records).search(embedding(3)[None], 1)
            assert (tmp_path / "gallery.db-search").exists()
            with records.transaction():
                records.encrypt(source())
        assert not (tmp_path / "gallery.db-search").exists()

    def test_a_backup_is_encrypted_as_it_is(self, path: Path, tmp_path: Path) -> None:
        back_up(path, tmp_path / "copy.db")
        assert decrypt_by_hand(tmp_path / "copy.db", KEY) == expected(1, 2, 3, 4)

    def test_who_opened_it_before_neither_reads_nor_writes_it_otherwise(self, tmp_path: Path) -> None:
        """It must not write plain templates to a gallery that another program has encrypted in the
        meantime."""
        path = tmp_path / "gallery.db"
        fill(path)
        with GalleryRecords(path, CONTRACT) as early:
            with GalleryRecords(path) as records, records.transaction():
                records.encrypt(source())
            with pytest.raises(InputOutput, match="in the meantime"), early.transaction():
                early.add("New", [template(5)])
            with pytest.raises(InputOutput, match="in the meantime"):
                early.templates("Ann")
            with pytest.raises(InputOutput, match="in the meantime"):
                early.everybody()
        assert decrypt_by_hand(path, KEY) == expected(1, 2, 3, 4)

    def test_the_file_itself_takes_no_template_in_the_clear(self, path: Path) -> None:
        """Whichever code writes it."""
        clear = embedding(7).tobytes()
        columns = "person, space, photo, embedding, quality, enrolled"
        for statement in (
            "UPDATE templates SET embedding = ?",
            f"INSERT INTO templates ({columns}) SELECT 1, space, '{7:064x}', ?, 1.0, '' FROM contract",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="in the clear"):
                query(path, statement, clear)
        assert decrypt_by_hand(path, KEY) == expected(1, 2, 3, 4)

    def test_a_failure_leaves_it_as_it_was(self, path: Path) -> None:
        before = query(path, "SELECT embedding, checksum FROM templates")
        with pytest.raises(ZeroDivisionError), GalleryRecords(path, key=source()) as records:
            encrypt_and_fail(records)
        assert query(path, "SELECT embedding, checksum FROM templates") == before
        assert decrypt_by_hand(path, KEY) == expected(1, 2, 3, 4)

    def test_damage_is_not_encrypted_away(self, tmp_path: Path) -> None:
        path = tmp_path / "gallery.db"
        fill(path)
        query(path, "UPDATE templates SET checksum = '' WHERE photo = ?", f"{3:064x}")
        with (
            GalleryRecords(path) as records,
            pytest.raises(Unreadable, match="cannot be read"),
            records.transaction(),
        ):
            records.encrypt(source())
        assert query(path, "SELECT count(*) FROM encryption") == [(0,)]
        assert dict(query(path, "SELECT photo, embedding FROM templates")) == expected(1, 2, 3, 4)


class TestKeys:
    def test_a_gallery_opens_with_its_key_alone(self, path: Path) -> None:
        for open_it in (GalleryRecords, GalleryCheck):
            with pytest.raises(WrongKey, match=f"has the id {key_id(OTHER_KEY)}.*{key_id(KEY)}") as wrong:
                open_it(path, key=source(OTHER_KEY))
            assert (wrong.value.exit_code, wrong.value.reason) == (5, "wrong_key")
        with pytest.raises(NoKey) as missing:
            GalleryRecords(path)
        assert (missing.value.exit_code, missing.value.reason) == (2, "no_key")

    def test_a_key_for_a_plain_gallery_is_refused(self, tmp_path: Path) -> None:
        fill(tmp_path / "gallery.db")
        with pytest.raises(UsageError, match="not encrypted, but a key is given"):
            GalleryRecords(tmp_path / "gallery.db", CONTRACT, create=True, key=source())

    def test_one_whose_mark_was_deleted_is_not_taken_for_plain(self, path: Path) -> None:
        query(path, "DELETE FROM encryption")
        with GalleryRecords(path) as records, pytest.raises(Unreadable):
            records.templates("Ann")
        assert {fault.kind for fault in GalleryCheck(path).faults()} == {"template"}

    def test_of_another_scheme(self, path: Path) -> None:
        query(path, "UPDATE encryption SET scheme = 'ROT13/1'")
        with pytest.raises(Unreadable, match="'ROT13/1'"):
            GalleryRecords(path, key=source())

    def test_a_key_that_was_exchanged_with_the_gallerys_is_read_again(
        self, path: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "key"
        make_key_file(file)
        kept = key_from_file(file)
        with GalleryRecords(path, key=source()) as records, records.transaction():
            records.encrypt(kept)
        GalleryRecords(path, key=kept).close()
        make_key_file(tmp_path / "new")
        with GalleryRecords(path, key=kept) as records, records.transaction():
            records.encrypt(key_from_file(tmp_path / "new"))
        (tmp_path / "new").replace(file)
        GalleryRecords(path, key=kept).close()

    @pytest.mark.parametrize(
        "text",
        [KEY.hex(), KEY.hex().upper(), base64.b64encode(KEY).decode(), "_" * 42 + "8="],
    )
    def test_how_a_key_is_written(self, tmp_path: Path, text: str) -> None:
        key = KEY if text[0] != "_" else b"\xff" * 32
        (tmp_path / "key").write_text(f"{text}\n")
        (tmp_path / "key").chmod(0o600)
        assert key_from_file(tmp_path / "key").key() == key
        assert key_from_text(text, "it").key() == key
        assert key_from_command(f"echo {text}", "it").key() == key

    @pytest.mark.parametrize(
        "text", ["", "correct horse battery staple", "00" * 31, "zz" * 32, "é" * 32, "A" * 999]
    )
    def test_what_is_no_key_is_not_shown(self, text: str) -> None:
        with pytest.raises(UsageError, match="not a key") as raised:
            key_from_text(text, "FACEKD_GALLERY_KEY").key()
        assert not text or text not in str(raised.value)
        with pytest.raises(UsageError):
            as_key(text.encode())

    @pytest.mark.skipif(os.name != "posix", reason="modes")
    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
    def test_others_may_not_read_it(self, tmp_path: Path, mode: int) -> None:
        make_key_file(tmp_path / "key")
        assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
        (tmp_path / "key").chmod(mode)
        with pytest.raises(UsageError, match=f"mode 0{mode:o}"):
            key_from_file(tmp_path / "key").key()

    def test_files_that_are_none(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no such key file"):
            key_from_file(tmp_path / "absent").key()
        with pytest.raises(InputOutput, match="a folder"):
            key_from_file(tmp_path).key()
        make_key_file(tmp_path / "key")
        before = (tmp_path / "key").read_bytes()
        with pytest.raises(UsageError, match="exists"):
            make_key_file(tmp_path / "key")
        assert (tmp_path / "key").read_bytes() == before

    @pytest.mark.parametrize(
        ("command", "kind", "told"),
        [
            ("false", InputOutput, "false failed"),
            ("no-such-program-here", InputOutput, "cannot be started"),
            ("echo 'unfinished", UsageError, "not a command"),
            (" ", UsageError, "no command"),
            ("echo passphrase", UsageError, "not a key"),
        ],
    )
    def test_commands_that_give_none(self, command: str, kind: type[Exception], told: str) -> None:
        with pytest.raises(kind, match=told):
            key_from_command(command, "key_command").key()

    def test_a_command_is_no_shell(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError):
            key_from_command(f"echo x ; touch {tmp_path / 'made'}", "key_command").key()
        assert list(tmp_path.iterdir()) == []

    def test_where_the_key_comes_from(
        self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The call's, then that of the command that runs, then the environment's: file, key, command."""
        calls = tmp_path / "calls"
        script = tmp_path / "script"
        script.write_text(f"#!/bin/sh\necho >> {calls}\necho {KEY.hex()}\n")
        script.chmod(0o700)
        monkeypatch.setenv("FACEKD_GALLERY_KEY_COMMAND", str(script))
        for _ in range(2):
            GalleryRecords(path).close()
        assert calls.read_text() == "\n", "one key for all openings"
        monkeypatch.setenv("FACEKD_GALLERY_KEY", OTHER_KEY.hex())
        with pytest.raises(WrongKey, match="FACEKD_GALLERY_KEY "):
            GalleryRecords(path)
        monkeypatch.setenv("FACEKD_GALLERY_KEY", KEY.hex())
        GalleryRecords(path).close()
        make_key_file(tmp_path / "key")
        monkeypatch.setenv("FACEKD_GALLERY_KEY_FILE", str(tmp_path / "key"))
        with pytest.raises(WrongKey, match=str(tmp_path / "key")):
            GalleryRecords(path)
        with using_key(source()):
            GalleryRecords(path).close()
            with pytest.raises(WrongKey):
                GalleryRecords(path, key=source(OTHER_KEY))
        GalleryRecords(path, key=source()).close()


class TestCheck:
    def test_a_whole_one_with_and_without_the_key(self, path: Path) -> None:
        for key in (source(), None):
            checked = GalleryCheck(path, key)
            assert list(checked.faults()) == []
            assert (checked.templates, checked.encrypted, checked.without_key) == (4, True, key is None)

    def test_a_plain_one_is_not_called_encrypted(self, tmp_path: Path) -> None:
        fill(tmp_path / "gallery.db")
        checked = GalleryCheck(tmp_path / "gallery.db")
        assert (list(checked.faults()), checked.encrypted, checked.without_key) == ([], False, False)

    def test_damage_shows_without_the_key(self, path: Path) -> None:
        ((blob,),) = query(path, "SELECT embedding FROM templates WHERE photo = ?", f"{3:064x}")
        for changed in (blob[:-1] + bytes([blob[-1] ^ 1]), blob[: 4 * DIM + 4], b""):
            query(path, "UPDATE templates SET embedding = ? WHERE photo = ?", changed, f"{3:064x}")
            for key in (None, source()):
                (fault,) = GalleryCheck(path, key).faults()
                assert "'Bo' (photo 000000000000) is damaged: its " in fault.message
            with GalleryRecords(path, key=source()) as records, pytest.raises(Unreadable):
                records.templates("Bo")

    def test_a_forged_template_shows_with_the_key(self, path: Path) -> None:
        """Its checksum, which anybody can compute, is right."""
        rows = query(
            path,
            "SELECT uid, name, photo, quality, enrolled FROM templates JOIN people ON people.id = person"
            " WHERE name = 'Bo'",
        )
        forged = os.urandom(4 * DIM + 28)
        said = json.dumps([CONTRACT.space, DIM, *rows[0]]).encode()
        seal = hashlib.sha256(b"facekd row\n" + said + b"\n" + forged).hexdigest()
        query(
            path,
            "UPDATE templates SET embedding = ?, checksum = ? WHERE photo = ?",
            forged,
            seal,
            f"{3:064x}",
        )
        assert list(GalleryCheck(path).faults()) == []
        (fault,) = GalleryCheck(path, source()).faults()
        assert "was not encrypted with the gallery's key" in fault.message
        with GalleryRecords(path, key=source()) as records:
            with pytest.raises(Unreadable):
                records.templates("Bo")
            with pytest.raises(Unreadable):
                records.everybody()
