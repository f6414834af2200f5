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


def move_gallery(path: Path, embeddings: EmbeddingStore, state: str) -> Moved | None:
    """Give the gallery at ``path`` the contract of ``embeddings``, and every template the embedding of its
    photo. Templates without one go, and people of whom none is left; whoever was removed stays removed.

    `None`, and nothing is changed, where the gallery is not in ``state`` (`GalleryRecords.state`) any more.
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
            dropped = _drop(db)
            moved = _exchange(db, embeddings)
            # the old embeddings are in the file until it is rewritten: by the next writer, should this one
            # be killed
            db.execute("INSERT INTO erasures DEFAULT VALUES")
            search_file.forget(path)
    return Moved(moved, dropped, _erase(path))


def move_copy(path: Path, copy: Path, embeddings: EmbeddingStore, state: str, replace: bool) -> Moved | None:
    """As `move_gallery`, of a copy (mode 0600) that gets its name when it is whole; the gallery at ``path``
    is only read.

    Raises `UsageError` where there is such a file and ``replace`` is not given, or it is the gallery itself.
    """
    check_target(path, Path(os.path.realpath(copy)), copy)
    try:
        with open_new(copy, replace) as unfinished:
            back_up(path, unfinished, replace=True)
            moved = move_gallery(unfinished, embeddings, state)
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


def _exchange(db: sqlite3.Connection, embeddings: EmbeddingStore) -> int:
    """The new contract, and new embeddings for all templates; return how many."""
    # templates refer to the space of the contract: both must change before that is checked
    db.execute("PRAGMA defer_foreign_keys = ON")
    contract = embeddings.contract
    db.execute(
        "UPDATE contract SET space = ?, dim = ?, model = ?, detector = ?, aligner = ?", astuple(contract)
    )
    stored = TemplateRows(contract, schema_of(db))

    def seal(uid: str, name: str, photo: str, blob: bytes, quality: float, enrolled: str) -> str:
        return stored.seal(Owner(uid, name), photo, blob, quality, enrolled)

    db.create_function("sealed", 6, seal, deterministic=True)
    moved = db.execute(
        "UPDATE templates SET space = ?, embedding = new.embedding, quality = new.quality,"
        " checksum = sealed(uid, name, new.photo, new.embedding, new.quality, enrolled)"
        " FROM made.embeddings AS new, people WHERE new.photo = templates.photo AND people.id = person",
        (contract.space,),
    ).rowcount
    audit.note(db, "re_embed", audit.NOBODY, moved, None)
    return moved


def _erase(path: Path) -> bool:
    """Have the file rewritten without the old embeddings; whether some of them are still in it."""
    with GalleryRecords(path) as records:
        pending = records.pending
    with database.explained(path), closing(database.connect(path)) as db:
        return pending or bool(db.execute("SELECT count(*) FROM erasures").fetchone()[0])


def check_copy(path: Path, copy: Path, replace: bool) -> None:
    """Raise `UsageError` where `move_copy` would, before hours of work."""
    target = Path(os.path.realpath(copy))
    check_target(path, target, copy)
    if target.exists() and not replace:
        raise UsageError(f"{copy} exists", "Give another file, or replace it with --force.")
