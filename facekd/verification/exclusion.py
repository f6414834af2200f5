"""Persons whom an evaluation leaves out: who of those named is there, and what goes with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from facekd.errors import UsageError


@dataclass(frozen=True)
class LeftOut:
    """What was taken from a protocol with ``people``: ``photos`` in all, ``others`` of them of persons
    who stay, but named by no comparison that is left; and comparisons. Nobody of the protocol is called
    by a name in ``unknown``."""

    people: tuple[str, ...]
    unknown: tuple[str, ...]
    photos: int
    others: int
    mated: int
    non_mated: int

    @property
    def sentence(self) -> str:
        also = f", {self.others:,} of which show others and are in no comparison that is left"
        return (
            f"Left out: {len(self.people):,} persons, {self.mated:,} mated and {self.non_mated:,} non-mated "
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
    """What is wrong with leaving persons out of a ``protocol`` that compares no photos of known ones."""
    return UsageError(
        f"protocol {protocol} does not compare photos of known people: none can be left out",
        "Persons are known where photos lie in a folder for each: --protocol people, or a list of such ones.",
    )


def find_people(
    names: Iterable[str], people: Collection[str], protocol: str
) -> tuple[frozenset[str], tuple[str, ...]]:
    """Those of the ``people`` of ``protocol`` who are meant by ``names``, and the names that mean nobody.

    A name may begin with further folders, as the photos may lie below some. Raises `UsageError` where
    nobody is meant.
    """
    known = set(people)
    meant = {name: next((end for end in _ends(name) if end in known), None) for name in names}
    found = frozenset(person for person in meant.values() if person is not None)
    if not found:
        raise UsageError(
            f"protocol {protocol}: nobody of its {len(known):,} persons is named to be left out",
            f"A person is named as the folder of the photos is: {min(known)}.",
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
