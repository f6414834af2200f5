"""Where a gallery can be kept, an SQLite file or a PostgreSQL database, for tests of what it promises in
either."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.gallery.place import Place, gallery_place

if TYPE_CHECKING:
    from postgres_server import PostgresServer


class Backend:
    """Makes places for galleries, and reads what is stored there."""

    def __init__(self, folder: Path, server: PostgresServer | None) -> None:
        self._folder, self.server = folder, server
        self._made = 0

    def new(self) -> Place:
        self._made += 1
        if self.server is not None:
            return gallery_place(self.server.new_database())
        return self._folder / f"gallery-{self._made}.db"

    def ask(self, place: Place, query: str) -> list[tuple]:
        """What a program that is not facekd finds, or changes."""
        if self.server is not None:
            return self.server.ask(
                query.replace("x'00'", "'\\x00'"), f"{place}&options=-csearch_path%3Dfacekd"
            )
        return self.ask_file(Path(str(place)), query)

    @staticmethod
    def ask_file(path: Path, query: str) -> list[tuple]:
        """As `ask`, of a gallery in a file."""
        db = sqlite3.connect(path, isolation_level=None)
        try:
            return db.execute(query).fetchall()
        finally:
            db.close()
