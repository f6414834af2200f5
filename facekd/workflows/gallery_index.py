"""Choose how a gallery is searched: build an index outside the records and measure its recall, or drop it."""

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
    """How a gallery of ``people`` is searched; ``choice`` is `None` for the exact search. ``current`` states
    whether the index matches the gallery's current state."""

    choice: SearchChoice | None
    people: int
    current: bool = True

    def to_dict(self) -> dict[str, Any]:
        """``indexed`` is the number of people when the index was built."""
        nothing = dict.fromkeys(("built", "indexed", "probes", "recall_1", "recall_5"))
        told = nothing | {"engine": EXACT, "place": ""} | (asdict(self.choice) if self.choice else {})
        indexed = self.choice.people if self.choice else None
        told |= {"people": self.people, "indexed": indexed, "current": self.current}
        return {key: value for key, value in told.items() if key != "space"}


def look_at_index(records: GalleryRecords) -> IndexLook:
    """How the gallery is searched. Raises `InputOutput` if the index cannot be reached."""
    choice = search_choice(records)
    if choice is None:
        return IndexLook(None, records.count())
    search = search_by(records, choice.engine, choice.place)
    return IndexLook(choice, records.count(), search.is_current())


def build_index(records: GalleryRecords, engine: str, place: str = "") -> IndexLook:
    """Build the index of ``engine``, measure its recall, and search the gallery by it from then on; until
    then it is searched exactly. Others may use the gallery in the meantime.

    Raises `UsageError` if the gallery cannot have an index, `InputOutput` if this user may not build it.
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
    """Search the gallery exactly from now on, and drop its index, or what an interrupted build left of one.

    Raises `InputOutput` if this user may not drop it.
    """
    if records.server is not None:
        choice = search_choice(records)
        choose_search(records.path, None)
        if choice is not None and choice.engine in ENGINES:  # an index of a newer facekd is left alone
            open_index(records, choice.engine, choice.place).drop()
        for index in left_indexes(records):
            index.drop()
    return IndexLook(None, records.count())
