"""People who are left out of an evaluation: which of the names exist, and what is left out with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from facekd.errors import UsageError


@dataclass(frozen=True)
class LeftOut:
    """What was left out of a protocol with ``people``: ``photos`` in all, ``others`` of them of people
    who remain, but in no remaining comparison; and comparisons. The names ``unknown`` match nobody in the
    protocol."""

    people: tuple[str, ...]
    unknown: tuple[str, ...]
    photos: int
    others: int
    mated: int
    non_mated: int

    @property
    def sentence(self) -> str:
        also = f" ({self.others:,} of them of other people, in no comparison that is left)"
        return (
            f"Left out: {len(self.people):,} people, {self.mated:,} mated and {self.non_mated:,} non-mated "
            f"comparisons; with them {self.photos:,} photos{also if self.others else ''}."
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "people": len(self.people),
            "unknown": list(self.unknown),
            "photos": self.photos,
            "photos_of_others": self.others,
            "comparisons": {"mated": self.mated, "non_mated": self.non_mated},
        }


def nobody_known(protocol: str) -> UsageError:
    """The error for leaving people out of a ``protocol`` that does not compare photos of known people."""
    return UsageError(
        f"protocol {protocol} does not compare photos of known people: none can be left out",
        "People are known if each has a folder of photos: --protocol people, or a pair list of such photos.",
    )


def find_people(
    names: Iterable[str], people: Collection[str], protocol: str
) -> tuple[frozenset[str], tuple[str, ...]]:
    """The ``people`` of ``protocol`` that ``names`` match, and the names that match nobody.

    A name may have further folders in front, since the photos may be below some. Raises `UsageError` if
    no name matches.
    """
    known = set(people)
    meant = {name: next((end for end in _ends(name) if end in known), None) for name in names}
    found = frozenset(person for person in meant.values() if person is not None)
    if not found:
        raise UsageError(
            f"protocol {protocol}: none of the names to leave out matches one of its {len(known):,} people",
            f"A person has the name of the folder of photos: {min(known)}.",
        )
    return found, tuple(name for name, person in meant.items() if person is None)


def _ends(name: str) -> Iterator[str]:
    """``c/a/b``, ``a/b`` and ``b`` for the folder ``c/a/b``."""
    parts = name.strip("/").split("/")
    return ("/".join(parts[start:]) for start in range(len(parts)))


def count_all_pairs(people: Iterable[str]) -> tuple[int, int]:
    """How many mated and non-mated comparisons there are among photos of ``people`` [N]."""
    counts = Counter(people)
    mated = sum(count * (count - 1) // 2 for count in counts.values())
    return mated, counts.total() * (counts.total() - 1) // 2 - mated
