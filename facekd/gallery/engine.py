"""The interface of the storage behind the records: an SQLite file, or a database of a server."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from facekd.gallery import creation, database
from facekd.gallery.gallery_file import GalleryFile
from facekd.gallery.place import Place
from facekd.gallery.postgres import gallery_server
from facekd.gallery.unmade import UnmadeGallery, can_be_made

Row = tuple[Any, ...]

#: inserts the contract into a new gallery
CONTRACT = "INSERT INTO contract (space, dim, model, detector, aligner, created) VALUES (?, ?, ?, ?, ?, ?)"


class Cursor(Protocol):
    """The result of a statement."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """Executes statements, written with a ``?`` for each value."""

    def execute(self, query: str, values: Sequence[Any] = ..., /) -> Cursor: ...

    def executemany(self, query: str, values: Iterable[Sequence[Any]], /) -> Cursor: ...


class Engine(Protocol):
    """An open gallery; ``path`` is its place. Failures raise `InputOutput` or `Unreadable`.

    After a transaction, ``pending`` states whether bytes of removed data remain because another program is
    reading.
    """

    path: Any
    pending: bool

    @property
    def db(self) -> Connection: ...

    def close(self) -> None: ...

    def rows(self, query: str, *values: object, types: tuple[type, ...] = ()) -> list[Row]:
        """All rows of ``query``. With the ``types`` of its columns, raises `Unreadable` if damage has changed
        the type of a value."""
        ...

    def stream(self, query: str, *values: object) -> Iterator[Row]:
        """As `rows`, without keeping all of them in memory."""
        ...

    def check_types(self, row: Row, types: tuple[type, ...]) -> None: ...

    def damaged(self, what: str) -> Exception:
        """The `Unreadable` to raise if the gallery does not hold what was written."""
        ...

    def reading(self) -> AbstractContextManager[None]:
        """Failures of reading inside become clear errors."""
        ...

    def snapshot(self) -> AbstractContextManager[None]:
        """Everything read inside is from one moment, whatever others write in the meantime."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """As `GalleryRecords.transaction`."""
        ...

    def noting(self) -> AbstractContextManager[None]:
        """A transaction that does not change who is enrolled."""
        ...

    def must_change(self) -> None:
        """Raise `RuntimeError` outside of a transaction."""
        ...

    def owe_erasure(self) -> None:
        """Have deleted data erased after this transaction, or by the next writer if this one is
        killed."""
        ...

    def expect_erasure(self) -> None:
        """Have what the next transaction writes erased by the next writer if that transaction fails."""
        ...

    def erase(self) -> bool:
        """Erase data that was deleted earlier and remains; return whether all of it is gone."""
        ...

    def rewrite_templates(self, changed: Sequence[Row]) -> None:
        """Replace embeddings, given by embedding, checksum and number of each template."""
        ...

    def replace_templates(self, changed: Sequence[Row]) -> None:
        """Give templates another embedding: embedding, quality, checksum and number of each."""
        ...

    def change_space(self, space: str) -> None:
        """Have the gallery and all its templates be of another space."""
        ...

    def rewrite_names(self, changed: Sequence[Row]) -> None:
        """Replace stored names, given by name, lookup and number of each person."""
        ...

    def version(self) -> int:
        """A number that changes when another program has changed the gallery."""
        ...

    @property
    def schema(self) -> int: ...

    def schemas(self) -> tuple[int, int]:
        """The schema of the gallery, and the one to which this facekd migrates it before a change."""
        ...

    def state(self) -> str | None:
        """As `GalleryRecords.state`."""
        ...

    def unfolded(self) -> list[Row]:
        """Number and name of people, including all whose name is not folded (`names.fold`)."""
        ...

    def size(self) -> int:
        """Size of the gallery in bytes."""
        ...

    def is_indexed(self) -> bool:
        """Whether there is a search index with templates in the clear; inside a transaction."""
        ...

    def due(self) -> list[str]:
        """The uids of people whose entry in the search index is outdated, of many only some; inside a
        transaction."""
        ...

    def put_directions(self, rows: Mapping[str, NDArray[np.float32]]) -> None:
        """Write these directions [D], by uid, to the search index."""
        ...

    def last_number(self) -> int:
        """The highest number that a person ever had."""
        ...

    def number_after(self, number: int) -> None:
        """Give no new person a number up to ``number``."""
        ...


def open_engine(place: Place, read_only: bool) -> Engine:
    """Open the gallery at ``place``."""
    if isinstance(place, Path):
        return GalleryFile(place, read_only)
    return gallery_server.GalleryServer(place, read_only)


def make_gallery(place: Place, fill: Callable[[Connection], object]) -> None:
    """Make sure that there is a gallery at ``place``; ``fill`` fills the tables of a new one, in a
    transaction."""
    if isinstance(place, Path):
        creation.create(place, _whole(fill))
    else:
        gallery_server.create(place, fill)


def plan_gallery(place: Place, fill: Callable[[Connection], object]) -> Engine | None:
    """A stand-in for the gallery at ``place`` until `make_gallery` makes it. `None` if the gallery exists or
    is made at once: in a database, and if there is a file already. Raises `InputOutput` if no file can be
    made."""
    if isinstance(place, Path) and can_be_made(place):
        return UnmadeGallery(place, _whole(fill))
    make_gallery(place, fill)
    return None


def _whole(fill: Callable[[Connection], object]) -> creation.Fill:
    """A function that turns an empty file into a gallery."""

    def fill_file(db: sqlite3.Connection) -> None:
        database.create_schema(db)
        fill(db)

    return fill_file


def is_there(place: Place) -> bool:
    """Whether there is a file, or a gallery in the database. Raises `InputOutput` if the server cannot be
    reached."""
    return place.exists() if isinstance(place, Path) else gallery_server.is_there(place)
