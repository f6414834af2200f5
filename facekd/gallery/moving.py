"""Move a gallery to another space: the same people and photos, with other embeddings.

The gallery's file is changed in place, in one transaction. If another file replaced it, a program that has
the gallery open would continue to write to the old one, whose acknowledged changes would be lost; and SQLite
would take the old file's write-ahead log for that of the new one.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path

from facekd.errors import UsageError
from facekd.gallery import audit, database, search_file
from facekd.gallery.backup import back_up, check_target
from facekd.gallery.embedding_store import EmbeddingStore
from facekd.gallery.encryption import Cipher, cipher_of, stated_in
from facekd.gallery.keys import KeySource, key_in_use
from facekd.gallery.migrations import schema_of
from facekd.gallery.new_file import open_new
from facekd.gallery.records import GalleryRecords
from facekd.gallery.template_rows import Owner, TemplateRows


@dataclass(frozen=True)
class Moved:
    """How many ``templates`` have a new embedding, and how many were ``dropped`` because there was none.
    ``pending`` means that another program was still reading the gallery: the old embeddings are erased from
    the file when it has finished."""

    templates: int
    dropped: int
    pending: bool


def move_gallery(
    path: Path, embeddings: EmbeddingStore, state: str, key: KeySource | None = None
) -> Moved | None:
    """Give the gallery at ``path`` the contract of ``embeddings``, and every template the embedding of its
    photo. Templates without one are dropped, and people without templates; people who were removed stay
    removed.

    An encrypted gallery stays encrypted with its ``key``. Returns `None`, and changes nothing, if the gallery
    is no longer in ``state`` (`GalleryRecords.state`). Raises `InputOutput` or `Unreadable` if the file
    fails: the gallery is then unchanged.
    """
    with database.explained(path), closing(database.connect(path)) as db:
        database.check_schema(db, path)
        database.make_durable(db, path)
        database.migrate(db)
        db.execute("ATTACH ? AS made", (str(embeddings.path),))
        with database.write_transaction(db):
            if db.execute("SELECT word FROM state").fetchall() != [(state,)]:
                return None
            cipher = cipher_of(stated_in(db, path, schema_of(db)), path, key_in_use(key))
            dropped = _drop(db)
            moved = _exchange(db, embeddings, cipher)
            # the old embeddings are in the file until it is rewritten, if this process is killed by the next
            # writer
            db.execute("INSERT INTO erasures DEFAULT VALUES")
            search_file.forget(path)
    return Moved(moved, dropped, _erase(path, key))


def move_copy(
    path: Path,
    copy: Path,
    embeddings: EmbeddingStore,
    state: str,
    replace: bool,
    key: KeySource | None = None,
) -> Moved | None:
    """As `move_gallery`, for a copy (mode 0600), which gets its name once it is complete; the gallery at
    ``path`` is only read.

    Raises `UsageError` if the file exists already and ``replace`` is not given, or is the gallery itself.
    """
    check_target(path, Path(os.path.realpath(copy)), copy)
    try:
        with open_new(copy, replace) as unfinished:
            back_up(path, unfinished, replace=True)
            moved = move_gallery(unfinished, embeddings, state, key)
            if moved is None:
                raise _Changed
            return moved
    except _Changed:
        return None


class _Changed(Exception):
    """The copy has another state than the gallery, and must not get its name."""


def _drop(db: sqlite3.Connection) -> int:
    """Delete templates without a new embedding, and people without templates; return the number of
    templates."""
    unmade = "photo NOT IN (SELECT photo FROM made.embeddings)"
    rows = db.execute(f"SELECT person, count(*) FROM templates WHERE {unmade} GROUP BY person").fetchall()
    for person, count in rows:
        audit.note(db, "drop", person, count, None)
    dropped = db.execute(f"DELETE FROM templates WHERE {unmade}").rowcount
    db.execute("DELETE FROM people WHERE id NOT IN (SELECT person FROM templates)")
    db.execute("DELETE FROM removed_photos WHERE person NOT IN (SELECT uid FROM people)")
    return dropped


def _exchange(db: sqlite3.Connection, embeddings: EmbeddingStore, cipher: Cipher | None) -> int:
    """Write the new contract, and new embeddings for all templates; return their number."""
    # templates refer to the contract's space: the reference must be checked after both have changed
    db.execute("PRAGMA defer_foreign_keys = ON")
    contract = embeddings.contract
    db.execute(
        "UPDATE contract SET space = ?, dim = ?, model = ?, detector = ?, aligner = ?", astuple(contract)
    )
    stored = TemplateRows(contract, schema_of(db), cipher)

    def write(uid: str, name: str, photo: str, blob: bytes, quality: float, enrolled: str) -> bytes:
        clear = embeddings.clear(photo, blob)
        return stored.written(Owner(uid, name), photo, clear, quality, enrolled)[0]

    def seal(uid: str, name: str, photo: str, blob: bytes, quality: float, enrolled: str) -> str:
        return stored.seal(Owner(uid, name), photo, blob, quality, enrolled)

    db.create_function("written", 6, write)
    db.create_function("sealed", 6, seal, deterministic=True)
    moved = db.execute(
        "UPDATE templates SET space = ?, quality = new.quality,"
        " embedding = written(uid, name, new.photo, new.embedding, new.quality, enrolled)"
        " FROM made.embeddings AS new, people WHERE new.photo = templates.photo AND people.id = person",
        (contract.space,),
    ).rowcount
    # a ciphertext differs each time: the checksum must be that of the stored one
    db.execute(
        "UPDATE templates SET checksum = sealed(uid, name, photo, embedding, quality, enrolled)"
        " FROM people WHERE people.id = person"
    )
    audit.note(db, "re_embed", audit.NOBODY, moved, None)
    return moved


def _erase(path: Path, key: KeySource | None) -> bool:
    """Rewrite the file without the old embeddings; return whether some of them remain."""
    with GalleryRecords(path, key=key) as records:
        pending = records.pending
    with database.explained(path), closing(database.connect(path)) as db:
        return pending or bool(db.execute("SELECT count(*) FROM erasures").fetchone()[0])


def check_copy(path: Path, copy: Path, replace: bool) -> None:
    """Raise the `UsageError` of `move_copy`, before hours of work."""
    target = Path(os.path.realpath(copy))
    check_target(path, target, copy)
    if target.exists() and not replace:
        raise UsageError(f"{copy} exists", "Choose another file, or replace it with --force.")
