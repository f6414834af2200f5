"""A folder for each person: every photo is compared with every other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.errors import Unreadable, UsageError
from facekd.preprocess import NAMING, identities_in, open_source
from facekd.verification.exclusion import LeftOut, count_all_pairs, find_people
from facekd.verification.protocols._base import Embed, checked_embeddings, register, without_embedding

if TYPE_CHECKING:
    from facekd.verification.results import AllPairsResult


@dataclass(frozen=True)
class People:
    """``photos`` [N] with their ``people`` [N]."""

    name: str
    source: str
    photos: tuple[str, ...]
    people: tuple[str, ...]
    left_out: LeftOut | None = None

    @property
    def compared(self) -> None:
        """`None`: all are compared with all, which is too many scores to keep."""

    def without(self, people: Sequence[str]) -> People:
        """The photos of the other people; otherwise as `Protocol.without`."""
        found, unknown = find_people(people, self.people, self.name)
        kept = [place for place, person in enumerate(self.people) if person not in found]
        rest = tuple(self.people[place] for place in kept)
        (mated, non_mated), (all_mated, all_non_mated) = count_all_pairs(rest), count_all_pairs(self.people)
        if not mated or not non_mated:
            raise UsageError(
                f"{self.source}: without {len(found):,} of its {len(set(self.people)):,} people, {mated:,} "
                f"mated and {non_mated:,} non-mated comparisons are left; both kinds are needed"
            )
        gone = LeftOut(
            tuple(sorted(found)), unknown, len(self.people) - len(rest), 0,
            all_mated - mated, all_non_mated - non_mated,
        )  # fmt: skip
        return replace(self, photos=tuple(self.photos[place] for place in kept), people=rest, left_out=gone)

    def evaluate(self, embed: Embed) -> AllPairsResult:
        """Evaluate all comparisons. Raises `UsageError` if embeddings have the wrong shape, or too
        few photos have one."""
        from facekd.verification.known_people import judge_people

        rows = checked_embeddings(embed, self.photos)
        failed = without_embedding(rows, self.photos)
        return judge_people(self.name, self.source, rows, self.people, len(self.photos), failed)


@register("people", "a folder per person, all with all", data_is_list=True, takes_root=True)
def read(path: Path, root: str | None = None) -> People:
    """The photos in the folder or pack at ``path``, and their people (see `identities_in`, also for
    ``root``).

    Raises `Unreadable` if a photo is in no folder, or there are fewer than two people.
    """
    found = identities_in(open_source(path), root)
    if found.nobodys:
        raise Unreadable(
            f"{path}: {len(found.nobodys)} photos are not in a person's folder, "
            f"for example {found.nobodys[0]}",
            NAMING,
        )
    photos, people = tuple(found.of), tuple(person for person in found.of.values() if person is not None)
    if len(set(people)) < 2:
        raise Unreadable(f"{path}: photos of {len(set(people))} people; non-mated comparisons need two")
    return People("people", str(path), photos, people)
