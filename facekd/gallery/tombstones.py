"""Records of removals, so that an older archive does not bring back people who were removed.

For a person this is their random uid. For a photo it is a seal: SHA-256 over the person's uid and the photo's
digest, which reveals nothing to anybody who does not have both. Neither holds a name or an embedding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from facekd.gallery.engine import Connection
from facekd.gallery.template import now

_NEW_PHOTO = "INSERT INTO removed_photos (seal, person, date) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


@dataclass(frozen=True)
class Whereabouts:
    """What became of the person with a uid: they are ``person`` (their number), or ``removed``, or were never
    in this gallery."""

    person: int | None = None
    removed: bool = False


def look_up(db: Connection, uid: str) -> Whereabouts:
    """The person with ``uid``; for somebody who was merged into another person, that person."""
    found = db.execute("SELECT id FROM people WHERE uid = ?", (uid,)).fetchone()
    if found:
        return Whereabouts(person=found[0])
    grave = db.execute("SELECT merged_into FROM removed_people WHERE uid = ?", (uid,)).fetchone()
    if grave is None:
        return Whereabouts()
    found = db.execute("SELECT id FROM people WHERE uid = ?", grave).fetchone()
    return Whereabouts(person=found[0]) if found else Whereabouts(removed=True)


def bury(db: Connection, person: int) -> None:
    """Record the removal of ``person``, and all who were merged into them. Call it before deleting them."""
    uid = uid_of(db, person)
    db.execute("UPDATE removed_people SET merged_into = NULL WHERE merged_into = ?", (uid,))
    db.execute("DELETE FROM removed_photos WHERE person = ?", (uid,))
    _dig(db, uid, None)


def bury_merged(db: Connection, person: int, into: int) -> None:
    """Record that ``person`` was merged into ``into``. Call it before deleting them."""
    uid, other = uid_of(db, person), uid_of(db, into)
    db.execute("UPDATE removed_people SET merged_into = ? WHERE merged_into = ?", (other, uid))
    db.execute("UPDATE removed_photos SET person = ? WHERE person = ?", (other, uid))
    _dig(db, uid, other)


def bury_photo(db: Connection, person: int, photo: str) -> None:
    """Record that ``photo`` (its SHA-256) is removed from ``person``, under each uid archives may use."""
    uid = uid_of(db, person)
    for one in _uids_of(db, person):
        row = (_seal(one, photo), uid, now())
        db.execute(_NEW_PHOTO, row)


def is_photo_removed(db: Connection, uid: str, photo: str) -> bool:
    """Whether ``photo`` was removed from the person with ``uid``."""
    query = "SELECT count(*) FROM removed_photos WHERE seal = ?"
    return bool(db.execute(query, (_seal(uid, photo),)).fetchone()[0])


def restore(db: Connection, uid: str) -> None:
    """Forget that the person with ``uid`` was removed."""
    db.execute("DELETE FROM removed_people WHERE uid = ? AND merged_into IS NULL", (uid,))


def restore_photos(db: Connection, person: int, photos: Iterable[str]) -> None:
    """Forget that ``photos`` were removed from ``person``, who has them again."""
    uids = _uids_of(db, person)
    seals = [(_seal(uid, photo),) for photo in photos for uid in uids]
    db.executemany("DELETE FROM removed_photos WHERE seal = ?", seals)


def learn(db: Connection, uid: str, date: str, merged_into: str | None) -> None:
    """Record a person's removal stated in an archive, unless the person is here or it is recorded already."""
    if look_up(db, uid) == Whereabouts():
        into = look_up(db, merged_into).person if merged_into else None
        row = (uid, date, None if into is None else uid_of(db, into))
        db.execute("INSERT INTO removed_people (uid, date, merged_into) VALUES (?, ?, ?)", row)


def learn_photo(db: Connection, seal: str, uid: str, date: str) -> None:
    """Record a photo's removal stated in an archive, if the person is here."""
    person = look_up(db, uid).person
    if person is not None:
        row = (seal, uid_of(db, person), date)
        db.execute(_NEW_PHOTO, row)


def uid_of(db: Connection, person: int) -> str:
    return str(db.execute("SELECT uid FROM people WHERE id = ?", (person,)).fetchone()[0])


def _uids_of(db: Connection, person: int) -> list[str]:
    """The uids of a person and of all who were merged into them."""
    uid = uid_of(db, person)
    merged = db.execute("SELECT uid FROM removed_people WHERE merged_into = ?", (uid,))
    return [uid, *(row[0] for row in merged.fetchall())]


def _dig(db: Connection, uid: str, into: str | None) -> None:
    row = (uid, now(), into)
    db.execute(
        "INSERT INTO removed_people (uid, date, merged_into) VALUES (?, ?, ?)"
        " ON CONFLICT (uid) DO UPDATE SET date = excluded.date, merged_into = excluded.merged_into",
        row,
    )


def _seal(uid: str, photo: str) -> str:
    return hashlib.sha256(f"facekd removed photo\n{uid}\n{photo}\n".encode()).hexdigest()
