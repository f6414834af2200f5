"""Choose what a gallery is searched by: build an index outside the records, measure it, drop it, look at
it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from facekd.gallery import (
    ENGINES,
    EXACT,
    GalleryRecords,
    SearchChoice,
    choose_search,
    left_indexes,
    measure_recall,
    now,
    open_index,
    search_by,
    search_choice,
)


@dataclass(frozen=True)
class IndexLook:
    """What a gallery is searched by, ``choice`` being `None` for the exact search, and how many ``people``
    there are to be found now. ``current`` says whether the index is of the gallery's present state."""

    choice: SearchChoice | None
    people: int
    current: bool = True

    def to_dict(self) -> dict[str, Any]:
        """With the people that the index was built of as ``indexed``."""
        nothing = dict.fromkeys(("built", "indexed", "probes", "recall_1", "recall_5"))
        told = nothing | {"engine": EXACT, "place": ""} | (asdict(self.choice) if self.choice else {})
        indexed = self.choice.people if self.choice else None
        told |= {"people": self.people, "indexed": indexed, "current": self.current}
        return {key: value for key, value in told.items() if key != "space"}


def look_at_index(records: GalleryRecords) -> IndexLook:
    """Raises `InputOutput` where the index cannot be asked."""
    choice = search_choice(records)
    if choice is None:
        return IndexLook(None, records.count())
    search = search_by(records, choice.engine, choice.place)
    return IndexLook(choice, records.count(), search.is_current())


def build_index(records: GalleryRecords, engine: str, place: str = "") -> IndexLook:
    """Build the index of ``engine`` anew, measure its recall, and have the gallery searched by it from then
    on; until then it is searched exactly. Others may use the gallery meanwhile.

    Raises `UsageError` where the gallery can have none, `InputOutput` where this user may not build it.
    """
    search = search_by(records, engine, place)
    chosen = search_choice(records)
    if chosen is not None:
        choose_search(records.path, None)
        if (chosen.engine, chosen.place) != (engine, place) and chosen.engine in ENGINES:
            open_index(records, chosen.engine, chosen.place).drop()
    search.rebuild()
    people, recall = records.count(), measure_recall(records, search)
    space = records.contract.space
    choice = SearchChoice(engine, place, space, now(), people, recall.probes, recall.at_1, recall.at_5)
    choose_search(records.path, choice)
    return IndexLook(choice, people, search.is_current())


def drop_index(records: GalleryRecords) -> IndexLook:
    """Search the gallery exactly, and drop the index that there was, or what an interrupted build left.

    Raises `InputOutput` where this user may not drop it.
    """
    if records.server is not None:
        choice = search_choice(records)
        choose_search(records.path, None)
        if choice is not None and choice.engine in ENGINES:  # that of a newer facekd is left where it is
            open_index(records, choice.engine, choice.place).drop()
        for index in left_indexes(records):
            index.drop()
    return IndexLook(None, records.count())
