"""Lead a gallery to another space: the same people and photos, with other embeddings.

The gallery's file stays the one that it is, and all of it changes in one transaction. Were another file put
in its place, a program that has the gallery open would go on writing to the old one, and what it acknowledges
would be lost; and SQLite would take the old file's write-ahead log for that of the new.
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
    """How many ``templates`` have a new embedding, and how many were ``dropped`` since there was none.
    ``pending`` says that another program was still reading the gallery: the old embeddings leave the file
    when it has finished."""

    templates: int
    dropped: int
    pending: bool


def move_gallery(
    path: Path, embeddings: EmbeddingStore, state: str, key: KeySource | None = None
) -> Moved | None:
    """Give the gallery at ``path`` the contract of ``embeddings``, and every template the embedding of its
    photo. Templates without one go, and people of whom none is left; whoever was removed stays removed.

    An encrypted gallery stays so, by its ``key``. `None`, and nothing is changed, where the gallery is not in
    ``state`` (`GalleryRecords.state`) any more.
    Raises `InputOutput` or `Unreadable` where the file fails: the gallery is then as it was.
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
            # the old embeddings are in the file until it is rewritten: by the next writer, should this one
            # be killed
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
    """As `move_gallery`, of a copy (mode 0600) that gets its name when it is whole; the gallery at ``path``
    is only read.

    Raises `UsageError` where there is such a file and ``replace`` is not given, or it is the gallery itself.
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
    """The copy is of another state of the gallery, and must not get its name."""


def _drop(db: sqlite3.Connection) -> int:
    """Delete what has no new embedding; return how many templates that were."""
    unmade = "photo NOT IN (SELECT photo FROM made.embeddings)"
    rows = db.execute(f"SELECT person, count(*) FROM templates WHERE {unmade} GROUP BY person").fetchall()
    for person, count in rows:
        audit.note(db, "drop", person, count, None)
    dropped = db.execute(f"DELETE FROM templates WHERE {unmade}").rowcount
    db.execute("DELETE FROM people WHERE id NOT IN (SELECT person FROM templates)")
    db.execute("DELETE FROM removed_photos WHERE person NOT IN (SELECT uid FROM people)")
    return dropped


def _exchange(db: sqlite3.Connection, embeddings: EmbeddingStore, cipher: Cipher | None) -> int:
    """The new contract, and new embeddings for all templates; return how many."""
    # templates refer to the space of the contract: both must change before that is checked
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
    # a ciphertext is another one each time: its checksum is that of the one that was stored
    db.execute(
        "UPDATE templates SET checksum = sealed(uid, name, photo, embedding, quality, enrolled)"
        " FROM people WHERE people.id = person"
    )
    audit.note(db, "re_embed", audit.NOBODY, moved, None)
    return moved


def _erase(path: Path, key: KeySource | None) -> bool:
    """Have the file rewritten without the old embeddings; whether some of them are still in it."""
    with GalleryRecords(path, key=key) as records:
        pending = records.pending
    with database.explained(path), closing(database.connect(path)) as db:
        return pending or bool(db.execute("SELECT count(*) FROM erasures").fetchone()[0])


def check_copy(path: Path, copy: Path, replace: bool) -> None:
    """Raise `UsageError` where `move_copy` would, before hours of work."""
    target = Path(os.path.realpath(copy))
    check_target(path, target, copy)
    if target.exists() and not replace:
        raise UsageError(f"{copy} exists", "Give another file, or replace it with --force.")
