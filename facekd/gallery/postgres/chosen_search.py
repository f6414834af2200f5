"""How a gallery in a database is searched, as it is stored there; nothing is stored for the exact search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from facekd.gallery.place import ServerAddress
from facekd.gallery.postgres import connecting, migrating
from facekd.gallery.postgres.gallery_server import GalleryServer

if TYPE_CHECKING:
    import psycopg

#: columns of the table, in the order in which they are read and written
COLUMNS = ("engine", "place", "space", "built", "people", "probes", "recall_1", "recall_5")
_TYPES = (str, str, str, str, int, int, float, float)


def read(server: GalleryServer) -> tuple[Any, ...] | None:
    """The values of `COLUMNS`; `None` if nothing was chosen."""
    if server.rows("SELECT to_regclass('facekd.search_index') IS NULL") == [(True,)]:
        return None
    rows = server.rows(f"SELECT {', '.join(COLUMNS)} FROM search_index", types=_TYPES)
    return rows[0] if rows else None


def write(address: ServerAddress, values: Sequence[Any]) -> None:
    """Store the choice, as the owner of the gallery."""
    with _owner(address) as db:
        db.execute(migrating.read_sql("search_index.sql").encode())
        migrating.grant(db)
        db.execute("DELETE FROM search_index")
        places = ", ".join(["%s"] * len(COLUMNS))
        db.execute(f"INSERT INTO search_index ({', '.join(COLUMNS)}) VALUES ({places})".encode(), values)


def clear(address: ServerAddress) -> None:
    """Choose the exact search, as the owner of the gallery."""
    with _owner(address) as db:
        db.execute("DROP TABLE IF EXISTS search_index")


@contextmanager
def _owner(address: ServerAddress) -> Iterator[psycopg.Connection]:
    with (
        connecting.explained(address),
        closing(connecting.connect(address)) as db,
        connecting.setting(db, "lock_timeout", connecting.LOCK_SECONDS),
        db.transaction(),
    ):
        migrating.act_as_owner(db)
        yield db
