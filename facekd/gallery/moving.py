"""Move a gallery to another space: the same people and photos, with other embeddings.

The gallery is changed in place, in one transaction. If another file replaced that of a gallery, a program
that has the gallery open would continue to write to the old one, whose acknowledged changes would be lost;
and SQLite would take the old file's write-ahead log for that of the new one.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from facekd.errors import InputOutput, UsageError
from facekd.gallery import audit
from facekd.gallery.backup import back_up, check_target
from facekd.gallery.embedding_store import EmbeddingStore
from facekd.gallery.encryption import Cipher
from facekd.gallery.engine import Engine, Row, open_engine
from facekd.gallery.keys import KeySource, key_in_use
from facekd.gallery.new_file import open_new
from facekd.gallery.open_gallery import OpenGallery
from facekd.gallery.place import Place
from facekd.gallery.template_rows import Owner, TemplateRows

#: templates that are moved at once
_ROWS = 1000


@dataclass(frozen=True)
class Moved:
    """How many ``templates`` have a new embedding, and how many were ``dropped`` because there was none.
    ``pending`` means that another program was still reading the gallery: the old embeddings are erased when
    it has finished."""

    templates: int
    dropped: int
    pending: bool


def move_gallery(
    place: Place, embeddings: EmbeddingStore, state: str, key: KeySource | None = None
) -> Moved | None:
    """Give the gallery at ``place`` the contract of ``embeddings``, and every template the embedding of its
    photo. Templates without one are dropped, and people without templates; people who were removed stay
    removed.

    An encrypted gallery stays encrypted with its ``key``. Returns `None`, and changes nothing, if the gallery
    is no longer in ``state`` (`GalleryRecords.state`). Raises `InputOutput` or `Unreadable` if the storage
    fails, `UsageError` if a search index holds templates of the old space: the gallery is then unchanged.
    """
    gallery = OpenGallery(open_engine(place, read_only=False), key_in_use(key), None, ())
    with closing(gallery.file) as file:
        if file.state() != state:
            return None
        file.expect_erasure()
        try:
            with file.transaction():
                if file.state() != state:
                    raise _Changed
                if file.is_indexed():
                    raise UsageError(
                        f"{place} has a search index, of the space that the gallery is to leave",
                        "Drop the index first: facekd gallery index --engine exact",
                    )
                templates, dropped = _Move(file, embeddings, gallery.cipher_now()).make()
        except _Changed:
            return None
        return Moved(templates, dropped, file.pending)


def move_copy(
    place: Place,
    copy: Path,
    embeddings: EmbeddingStore,
    state: str,
    replace: bool,
    key: KeySource | None = None,
) -> Moved | None:
    """As `move_gallery`, for a copy in a file (mode 0600), which gets its name once it is complete; the
    gallery at ``place`` is only read.

    Raises `UsageError` if the file exists already and ``replace`` is not given, or is the gallery itself.
    """
    check_target(place, Path(os.path.realpath(copy)), copy)
    try:
        with open_new(copy, replace) as unfinished:
            back_up(place, unfinished, replace=True)
            moved = move_gallery(unfinished, embeddings, state, key)
            if moved is None:
                raise _Changed
            return moved
    except _Changed:
        return None


class _Changed(Exception):
    """The gallery, or its copy, is in another state: nothing must be changed, and no file get its name."""


class _Move:
    """Moves the gallery in ``file``, which ``cipher`` encrypts, inside a transaction."""

    def __init__(self, file: Engine, embeddings: EmbeddingStore, cipher: Cipher | None) -> None:
        self._file, self._embeddings = file, embeddings
        self._stored = TemplateRows(embeddings.contract, file.schema, cipher)
        #: templates without a new embedding, by the number of their person
        self._dropped = Counter[int]()

    def make(self) -> tuple[int, int]:
        """Move all templates; return how many, and how many were dropped."""
        self._file.owe_erasure()
        contract, moved = self._embeddings.contract, 0
        self._file.db.execute(
            "UPDATE contract SET dim = ?, model = ?, detector = ?, aligner = ?",
            (contract.dim, contract.model, contract.detector, contract.aligner),
        )
        for rows in self._blocks():
            moved += self._exchange(rows)
        if self._file.rows("SELECT count(*) FROM templates") != [(moved,)]:
            raise self._file.damaged("a template belongs to no person")
        self._forget_people()
        self._file.change_space(contract.space)
        audit.note(self._file.db, "re_embed", audit.NOBODY, moved, None)
        return moved, self._dropped.total()

    def _blocks(self) -> Iterator[list[Row]]:
        """All templates, not in one query, since they are changed meanwhile."""
        last = -1
        while rows := self._file.rows(
            "SELECT templates.id, person, uid, name, photo, enrolled FROM templates"
            " JOIN people ON people.id = person WHERE templates.id > ? ORDER BY templates.id LIMIT ?",
            last, _ROWS, types=(int, int, str, str, str, str),
        ):  # fmt: skip
            yield rows
            last = rows[-1][0]

    def _exchange(self, rows: list[Row]) -> int:
        """Give these templates their new embeddings, or drop them; return how many have one."""
        changed, lacking = [], []
        for number, person, uid, name, photo, enrolled in rows:
            made = self._embeddings.get(photo)
            if made is None:
                self._dropped[person] += 1
                lacking.append(number)
                continue
            clear, quality = made
            blob, seal = self._stored.written(Owner(uid, name), photo, clear, quality, enrolled)
            changed.append((blob, quality, seal, number))
        self._file.replace_templates(changed)
        if lacking:
            places = ", ".join("?" * len(lacking))
            self._file.db.execute(f"DELETE FROM templates WHERE id IN ({places})", lacking)
        return len(changed)

    def _forget_people(self) -> None:
        """Delete people without templates."""
        for person, count in sorted(self._dropped.items()):
            audit.note(self._file.db, "drop", person, count, None)
        for statement in (
            "DELETE FROM people WHERE NOT EXISTS (SELECT 1 FROM templates WHERE person = people.id)",
            "DELETE FROM removed_photos"
            " WHERE NOT EXISTS (SELECT 1 FROM people WHERE uid = removed_photos.person)",
        ):
            self._file.db.execute(statement)


def check_copy(place: Place, copy: Path, replace: bool) -> None:
    """Raise the `UsageError` of `move_copy`, before hours of work."""
    target = Path(os.path.realpath(copy))
    check_target(place, target, copy)
    if target.exists() and not replace:
        raise UsageError(f"{copy} exists", "Choose another file, or replace it with --force.")


def check_movable(place: Place) -> None:
    """Raise `InputOutput` if `move_gallery` would fail because of the user's rights to a database, before
    hours of work."""
    if isinstance(place, Path):
        return
    with closing(open_engine(place, read_only=True)) as file:
        query = "SELECT has_table_privilege('contract', 'UPDATE') AND NOT pg_is_in_recovery()"
        if file.rows(query) != [(True,)]:
            raise InputOutput(
                f"{place}: only the gallery's owner may move it to another model, on the primary server",
                "Run this command as the owner, or write a moved copy: --out FILE.",
            )
