"""Check that a search index on another server holds exactly the people who are enrolled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import islice

from facekd.errors import FacekdError
from facekd.gallery.faults import Fault
from facekd.gallery.milvus.milvus_index import MilvusIndex
from facekd.gallery.names import shown
from facekd.gallery.postgres import outside
from facekd.gallery.postgres.gallery_server import GalleryServer

#: people looked up in one request
_AT_ONCE = 2000


def look(server: GalleryServer, chosen: str | None) -> Iterator[Fault]:
    """The faults of the index, if there is one, or one was ``chosen`` at that place."""
    place = outside.place_of(server.db) or chosen
    if place is None:
        return
    again = f"Rebuild the index: facekd gallery index --engine milvus --at {place}"
    try:
        with closing(outside.open_at(server.db, place)) as index:
            for message in _wrong(server, index):
                yield Fault("index", message, again)
    except FacekdError as error:
        yield Fault("index", error.cause, error.fix or again)


def _wrong(server: GalleryServer, index: MilvusIndex) -> Iterator[str]:
    ((word, space),) = server.rows("SELECT word, space FROM state, contract", types=(str, str))
    stamp = index.stamp()
    if stamp is None:
        yield "the search index is missing or incomplete"
        return
    if stamp.space != space:
        yield "the search index is of another space than the gallery"
        return
    if stamp.state != word:
        yield "the search index does not match the gallery, or was changed during the check"
    found = 0
    people = server.stream("SELECT uid, name FROM people")
    while some := dict(islice(people, _AT_ONCE)):
        held = index.held(list(some))
        found += len(held)
        for uid in some.keys() - held:
            yield f"'{shown(str(some[uid]))}' is not in the search index"
    if stamp.people > found:
        yield f"people in the search index who are not enrolled: {stamp.people - found:,}"
