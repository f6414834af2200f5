"""What the records need of where a gallery is kept, an SQLite file or a database of a server."""

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

Row = tuple[Any, ...]

#: fills a new gallery
CONTRACT = "INSERT INTO contract (space, dim, model, detector, aligner, created) VALUES (?, ?, ?, ?, ?, ?)"


class Cursor(Protocol):
    """What a statement gave."""

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
    """An open gallery; ``path`` is where it is kept. Failures raise `InputOutput` or `Unreadable`.

    ``pending`` says after a transaction whether the bytes of what was removed are still there, since somebody
    is reading.
    """

    path: Any
    pending: bool

    @property
    def db(self) -> Connection: ...

    def close(self) -> None: ...

    def rows(self, query: str, *values: object, types: tuple[type, ...] = ()) -> list[Row]:
        """All rows of ``query``. With ``types`` of its columns, raise `Unreadable` where damage has turned
        a value into something else."""
        ...

    def stream(self, query: str, *values: object) -> Iterator[Row]:
        """As `rows`, without holding all of them."""
        ...

    def check_types(self, row: Row, types: tuple[type, ...]) -> None: ...

    def damaged(self, what: str) -> Exception:
        """The `Unreadable` to raise where the gallery does not hold what was written."""
        ...

    def reading(self) -> AbstractContextManager[None]:
        """Failures of what is read inside are put into words."""
        ...

    def snapshot(self) -> AbstractContextManager[None]:
        """All that is read inside is of one moment, whatever others write meanwhile."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """As `GalleryRecords.transaction`."""
        ...

    def noting(self) -> AbstractContextManager[None]:
        """A transaction of what is no change of who is enrolled."""
        ...

    def must_change(self) -> None:
        """Raise `RuntimeError` outside of a transaction."""
        ...

    def owe_erasure(self) -> None:
        """Have what is deleted erased after this transaction; by the next writer, should this one be
        killed."""
        ...

    def erase(self) -> bool:
        """Erase what was deleted before and is still there; whether all of it is gone."""
        ...

    def version(self) -> int:
        """A number that is another one after another program has changed the gallery."""
        ...

    @property
    def schema(self) -> int: ...

    def schemas(self) -> tuple[int, int]:
        """The schema of the gallery, and the one that this facekd leads it to when it changes it."""
        ...

    def state(self) -> str | None:
        """As `GalleryRecords.state`."""
        ...

    def unfolded(self) -> list[Row]:
        """Number and name of people, among them all whose name is not folded (`names.fold`)."""
        ...

    def size(self) -> int:
        """Bytes that the gallery takes."""
        ...

    def due(self) -> list[str]:
        """The uids of people whom the search index in the database does not hold as they are now, some of
        them where they are many; inside of a transaction."""
        ...

    def put_directions(self, rows: Mapping[str, NDArray[np.float32]]) -> None:
        """Have the search index in the database hold these directions [D], by uid."""
        ...

    def last_number(self) -> int:
        """The highest number that a person ever had."""
        ...

    def number_after(self, number: int) -> None:
        """Give nobody new a number up to ``number``."""
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

        def fill_file(db: sqlite3.Connection) -> None:
            database.create_schema(db)
            fill(db)

        creation.create(place, fill_file)
    else:
        gallery_server.create(place, fill)


def is_there(place: Place) -> bool:
    """Whether there is a file, or a gallery in the database. Raises `InputOutput` where the server cannot be
    asked."""
    return place.exists() if isinstance(place, Path) else gallery_server.is_there(place)
