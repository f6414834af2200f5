"""How a gallery is searched: exactly, unless an index outside the records was chosen.

The choice is stored in the gallery's database, so that every program searches it in the same way.
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

#: the exact search; the engine with its index in the gallery's own database; that of another server
EXACT, IN_DATABASE, OUTSIDE = "exact", "pgvector", "milvus"


class DroppableIndex(CandidateIndex, Protocol):
    """An index that an operator can choose, and drop again."""

    def drop(self) -> None:
        """Delete the index and everything that an interrupted build left of one."""
        ...


@dataclass(frozen=True)
class SearchChoice:
    """The ``engine`` of an index, and the ``place`` of its server if that is not the gallery's.

    When it was ``built`` from so many ``people`` of a ``space``, its recall was measured with so many
    ``probes`` (`recall`): ``recall_1`` is the share of them for which the exact search's first was found
    first, ``recall_5`` the share of the exact search's first five that were among the five found.
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


#: by engine, the function that opens the index of a gallery, given its server and the ``place`` chosen
ENGINES: dict[str, Callable[[GalleryServer, str], DroppableIndex]] = {
    IN_DATABASE: _pgvector,
    OUTSIDE: _milvus,
}


def search_choice(records: GalleryRecords) -> SearchChoice | None:
    """The choice for this gallery; `None` for the exact search."""
    if records.server is None:
        return None
    found = chosen_search.read(records.server)
    return None if found is None else SearchChoice(*found)


def choose_search(place: Place, choice: SearchChoice | None) -> None:
    """Store how the gallery is searched from now on (`None`: exactly). Raises `UsageError` for a file, and
    `InputOutput` if this user is not the gallery's owner."""
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
