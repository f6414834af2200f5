"""The tables of a gallery in PostgreSQL, as numbered SQL files in this folder: a new gallery runs all of
them, an old one those that are missing.

The number of a file is the schema to which it migrates, with the same meaning as in an SQLite file
(`gallery.migrations`): it defines what the rows mean. Files that were released must not be changed, because
galleries made with them exist: a change of the tables is one more file, and one more migration there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from facekd.errors import Unreadable
from facekd.gallery.place import ServerAddress
from facekd.gallery.postgres.connecting import LOCK_SECONDS, SCHEMA, setting
from facekd.gallery.template import now

if TYPE_CHECKING:
    import psycopg

_FOLDER = Path(__file__).parent
#: the advisory lock held while a gallery is created or migrated: "fkdG"
_LOCK = 0x666B6447


@cache
def migrations() -> dict[int, str]:
    """The SQL that migrates to each schema, in ascending order."""
    files = sorted(path for path in _FOLDER.glob("*.sql") if re.match(r"\d{4}_", path.name))
    return {int(path.name[:4]): path.read_text(encoding="utf-8") for path in files}


def latest() -> int:
    """The schema that this facekd writes."""
    return max(migrations())


def database_roles() -> str:
    """The SQL that creates roles of least privilege and gives a gallery to them."""
    return read_sql("roles.sql") + "\n" + read_sql("grants.sql")


def schema_of(db: psycopg.Connection) -> int:
    """The schema of the gallery; 0 if there is none."""
    if _one(db, "SELECT to_regclass(%s) IS NULL", f"{SCHEMA}.migrations"):
        return 0
    return int(_one(db, f"SELECT coalesce(max(number), 0) FROM {SCHEMA}.migrations"))


def check_schema(db: psycopg.Connection, address: ServerAddress) -> None:
    """Raise `Unreadable` if there is no gallery, or one of a newer facekd."""
    schema = schema_of(db)
    if not schema:
        raise Unreadable(f"{address}: no gallery in this database", "'facekd enroll' creates one.")
    if schema > latest():
        raise Unreadable(
            f"{address}: a gallery of schema {schema}; this facekd reads schemas up to {latest()}",
            "Use the version of facekd that wrote it, or a newer one.",
        )


def create(db: psycopg.Connection, fill: Callable[[], object]) -> None:
    """Create a gallery in a database that has none and ``fill`` it, in one transaction; of several programs
    that try at once, one does it."""
    with setting(db, "lock_timeout", LOCK_SECONDS), db.transaction():
        _begin(db)
        if not schema_of(db):
            _run(db)
            fill()


def migrate(db: psycopg.Connection) -> None:
    """Migrate a gallery of an older schema to the latest, in one transaction."""
    if 0 < schema_of(db) < latest():
        with setting(db, "lock_timeout", LOCK_SECONDS), db.transaction():
            _begin(db)
            _run(db)


def _begin(db: psycopg.Connection) -> None:
    """Wait for other programs that do the same, and act as the owner of the tables if that is allowed."""
    db.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    if _one(db, "SELECT to_regnamespace(%s) IS NULL", SCHEMA):
        db.execute(f"CREATE SCHEMA {SCHEMA}".encode())
    else:
        act_as_owner(db)


def act_as_owner(db: psycopg.Connection, how_long: Literal["LOCAL", "SESSION"] = "LOCAL") -> None:
    """Create objects in this transaction or session as the gallery's owner, if that is allowed."""
    owner = db.execute(
        "SELECT quote_ident(rolname), pg_has_role(nspowner, 'MEMBER') FROM pg_namespace"
        " JOIN pg_roles ON pg_roles.oid = nspowner WHERE nspname = %s",
        (SCHEMA,),
    ).fetchone()
    if owner is not None and owner[1]:
        db.execute(f"SET {how_long} ROLE {owner[0]}".encode())


def _run(db: psycopg.Connection) -> None:
    """Run the missing migrations."""
    db.execute(
        f"CREATE TABLE IF NOT EXISTS {SCHEMA}.migrations"
        " (number integer PRIMARY KEY, date text NOT NULL)".encode()
    )
    schema = schema_of(db)
    for number, sql in migrations().items():
        if number > schema:
            db.execute(sql.encode())
            db.execute(f"INSERT INTO {SCHEMA}.migrations VALUES (%s, %s)".encode(), (number, now()))
    grant(db)


def grant(db: psycopg.Connection) -> None:
    """Grant the roles of least privilege, if they exist, their rights to the existing tables."""
    db.execute(read_sql("grants.sql").encode())


def _one(db: psycopg.Connection, query: str, *values: object) -> Any:
    row = db.execute(query.encode(), values).fetchone()
    return row[0] if row else None


def read_sql(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
