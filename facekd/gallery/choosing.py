"""By what a gallery is searched: exactly, as long as nobody chose an index outside the records.

The choice lies in the gallery's database, so that whoever opens it searches alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Protocol

from facekd.errors import UsageError
from facekd.gallery.candidate_search import CandidateSearch
from facekd.gallery.candidates import CandidateIndex
from facekd.gallery.place import Place, ServerAddress
from facekd.gallery.postgres import chosen_search, outside
from facekd.gallery.postgres.gallery_server import GalleryServer
from facekd.gallery.postgres.outside_building import OutsideIndex
from facekd.gallery.postgres.vectors import PgVectorIndex
from facekd.gallery.records import GalleryRecords
from facekd.gallery.search import PeopleSearch, SearchIndex

#: no engine, that whose index lies in the gallery's own database, and that of a server outside
EXACT, IN_DATABASE, OUTSIDE = "exact", "pgvector", "milvus"


class DroppableIndex(CandidateIndex, Protocol):
    """An index that an operator chooses, and may do without again."""

    def drop(self) -> None:
        """Let there be none, nor anything that an interrupted build left."""
        ...


@dataclass(frozen=True)
class SearchChoice:
    """The ``engine`` of an index, and the ``place`` of its server where that is another one than the
    gallery's.

    When it was ``built``, of so many ``people`` of a ``space``, it was searched with ``probes`` (`recall`).
    ``recall_1`` is the share of them for whom the exact search's first was found first, ``recall_5`` the
    share of the exact search's first five that were among the five found.
    """

    engine: str
    place: str
    space: str
    built: str
    people: int
    probes: int
    recall_1: float
    recall_5: float


def _pgvector(server: GalleryServer, place: str) -> PgVectorIndex:
    return PgVectorIndex(server)


def _milvus(server: GalleryServer, place: str) -> OutsideIndex:
    def catch_up() -> None:
        with GalleryRecords(server.path) as records, records.transaction():
            pass

    return OutsideIndex(server, place, catch_up)


#: how each engine's index of a gallery on a ``server`` is opened, from the gallery and the ``place`` of the
#: choice
ENGINES: dict[str, Callable[[GalleryServer, str], DroppableIndex]] = {
    IN_DATABASE: _pgvector,
    OUTSIDE: _milvus,
}


def search_choice(records: GalleryRecords) -> SearchChoice | None:
    """What was chosen for this gallery; `None` for the exact search."""
    if records.server is None:
        return None
    found = chosen_search.read(records.server)
    return None if found is None else SearchChoice(*found)


def choose_search(place: Place, choice: SearchChoice | None) -> None:
    """Have the gallery searched by that from now on. Raises `UsageError` for a file, and `InputOutput` where
    this user is not the gallery's owner."""
    if not isinstance(place, ServerAddress):
        raise _only_databases(place)
    if choice is None:
        chosen_search.clear(place)
    else:
        chosen_search.write(place, astuple(choice))


def open_index(records: GalleryRecords, engine: str, place: str = "") -> DroppableIndex:
    """The index of ``engine``, whether it was built or not.

    Raises `UsageError` for an engine that there is not, for a gallery in a file, and for an encrypted one:
    the index would hold its templates in the clear.
    """
    if records.encryption is not None:
        raise UsageError(
            f"{records.path} is encrypted, and a search index would hold its templates in the clear",
            "It is searched exactly, in memory.",
        )
    if records.server is None:
        raise _only_databases(records.path)
    if engine not in ENGINES:
        raise UsageError(
            f"{records.path} is searched by {engine}, which this facekd does not know",
            "Use a newer facekd, or choose another engine: facekd gallery index --engine exact",
        )
    return ENGINES[engine](records.server, place)


def left_indexes(records: GalleryRecords) -> list[DroppableIndex]:
    """What interrupted builds may have left, in a gallery for which nothing is chosen."""
    if records.server is None or records.encryption is not None:
        return []
    place = outside.place_of(records.server.db)
    found = [open_index(records, IN_DATABASE)]
    return found if place is None else [*found, open_index(records, OUTSIDE, place)]


def has_index(records: GalleryRecords) -> bool:
    """Whether the gallery has a search index, or what an interrupted build left of one, chosen or not."""
    server = records.server
    if server is None:
        return False
    in_database = server.rows("SELECT to_regclass('facekd.vectors_due') IS NOT NULL") == [(True,)]
    return in_database or outside.place_of(server.db) is not None


def search_by(records: GalleryRecords, engine: str, place: str = "") -> CandidateSearch:
    """The search by the index of ``engine``, whether it was built or not. Raises as `open_index`."""
    index, server = open_index(records, engine, place), records.server
    if engine != OUTSIDE or server is None:
        return CandidateSearch(records, index)
    return CandidateSearch(records, index, lambda: outside.steady(server.path, server.db))


def people_search(records: GalleryRecords) -> tuple[PeopleSearch, SearchChoice | None]:
    """What the gallery is searched by; the exact search has read everybody then. Raises `Unreadable` where a
    template is damaged, and as `open_index`."""
    choice = search_choice(records)
    if choice is None:
        exact = SearchIndex.of(records)
        exact.refresh()
        return exact, None
    return search_by(records, choice.engine, choice.place), choice


def _only_databases(place: Place) -> UsageError:
    return UsageError(
        f"{place}: a gallery in a file is searched exactly, without an index beside it",
        "Move it to a database: facekd gallery copy FILE postgresql://USER@HOST/DATABASE",
    )
