"""The plan of `drill_kills.py`: whom each writer enrolls, removes and merges, and who must be there after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kill_writers import PHOTOS, name
from load_service import usable_photos

from facekd.workflows import Recognizer

#: people, and the digests of their photos
People = dict[str, set[str]]


@dataclass
class Plan:
    """Each writer enrolls ``people``, given by number; of every four, the second is removed, and the fourth
    is merged into the third."""

    people: dict[int, int]
    asking: frozenset[int]

    def changes(self, writer: int, kinds: str) -> list[tuple[str, int]]:
        """The changes of a writer, by person; ``kinds`` are separated by commas."""
        last = self.people[writer] - 1
        found = []
        for number in range(last + 1):
            if "enroll" in kinds:
                found.append(("enroll", number))
            if "remove" in kinds and number % 4 == 1:
                found.append(("remove", number))
            # the service merges nobody
            if "merge" in kinds and number % 4 == 2 and number < last and writer not in self.asking:
                found.append(("merge", number))
        return found

    def after(self, photos: Callable[[int, int], set[str]], done: list[str]) -> People:
        """Everybody who must be enrolled after the changes of the kinds ``done``, in this order."""
        there: People = {}
        for kinds in done:
            for writer in self.people:
                for kind, number in self.changes(writer, kinds):
                    one = name(writer, number)
                    if kind == "enroll":
                        there[one] = photos(writer, number)
                    elif kind == "remove":
                        del there[one]
                    else:
                        there[one] = there[one] | there.pop(name(writer, number + 1))
        return there


def some_photos(place: Path, model: Path, plan: Plan, folder: Path) -> dict[int, dict[int, list[Path]]]:
    """The photos of each person whom a writer enrolls through the service: files in ``folder``."""
    theirs = [(writer, number) for writer in sorted(plan.asking) for number in range(plan.people[writer])]
    found = usable_photos(place, Recognizer(model), PHOTOS * len(theirs)) if theirs else []
    given: dict[int, dict[int, list[Path]]] = {writer: {} for writer in plan.asking}
    for place_in, (writer, number) in enumerate(theirs):
        given[writer][number] = []
        for content in found[PHOTOS * place_in : PHOTOS * (place_in + 1)]:
            file = folder / f"{writer}-{number}-{len(given[writer][number])}"
            file.write_bytes(content)
            given[writer][number].append(file)
    return given


def plan_of(enrollments: int, writers: int, by_service: int) -> Plan:
    """A plan for ``enrollments``; every fourth writer uses the service, and these make ``by_service`` of
    them."""
    asking = frozenset(range(3, writers, 4))
    others = [writer for writer in range(writers) if writer not in asking]
    shares = dict.fromkeys(range(writers), 0)
    for group, count in ((sorted(asking), by_service), (others, enrollments - by_service)):
        for number in range(count):
            shares[group[number % len(group)]] += 1
    return Plan(shares, asking)
