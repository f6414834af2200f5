"""Comparisons listed pair by pair, in folds: the common part of LFW and similar lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from facekd import files
from facekd.errors import Unreadable, UsageError
from facekd.preprocess import identity_of, wrapper_of
from facekd.verification.exclusion import LeftOut, find_people, nobody_known
from facekd.verification.protocols._base import Embed, checked_embeddings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facekd.verification.results import PairResult

#: the number of folds if a list has none
_FOLDS = 10


@dataclass(frozen=True)
class Pair:
    """Two photos, whether they show one person, and the fold (`None`: the list has none)."""

    first: str
    second: str
    mated: bool
    fold: str | None = None


def folder_of(name: str, root: str = "") -> str:
    """The person of a photo, the first folder below ``root``; "" if there is none."""
    return identity_of(name, root) or ""


@dataclass(frozen=True)
class PairList:
    """A protocol of listed pairs. ``fold`` [P] indexes ``fold_names``; ``folds_from`` says where
    the folds come from; ``person_of`` returns the person of a photo; ``left_out`` is what was removed from
    the list."""

    name: str
    source: str
    pairs: tuple[Pair, ...]
    fold: NDArray[np.int64]
    fold_names: tuple[str, ...]
    folds_from: str
    person_of: Callable[[str], str] = folder_of
    left_out: LeftOut | None = None

    @cached_property
    def photos(self) -> tuple[str, ...]:
        return tuple(sorted({name for pair in self.pairs for name in (pair.first, pair.second)}))

    @cached_property
    def people(self) -> tuple[str, ...] | None:
        """The person of each photo, from its name; `None` if the pairs contradict that."""
        person = {name: self.person_of(name) for name in self.photos}
        if all((person[p.first] == person[p.second]) == p.mated for p in self.pairs):
            return tuple(person[name] for name in self.photos)
        return None

    @property
    def compared(self) -> list[tuple[str, str]]:
        """The photos of each pair."""
        return [(pair.first, pair.second) for pair in self.pairs]

    def without(self, people: Sequence[str]) -> PairList:
        """The list without the pairs with one of ``people``; otherwise as `Protocol.without`.

        The other pairs keep their folds, even if folds were made by order, so that their thresholds hardly
        change; a fold without pairs is dropped. Photos that occur in removed pairs only are removed too.
        """
        import numpy as np

        if self.people is None:
            raise nobody_known(self.name)
        found, unknown = find_people(people, self.people, self.name)
        ends = [{self.person_of(pair.first), self.person_of(pair.second)} for pair in self.pairs]
        keep = np.array([found.isdisjoint(persons) for persons in ends])
        rest = self._of_pairs(keep)
        photos = set(self.photos) - set(rest.photos)
        others = sum(self.person_of(photo) not in found for photo in photos)
        lost = np.array([pair.mated for pair in self.pairs])[~keep]
        gone = LeftOut(
            tuple(sorted(found)), unknown, len(photos), others, int(lost.sum()), int((~lost).sum())
        )
        return replace(rest, left_out=gone)

    def _of_pairs(self, keep: NDArray[np.bool_]) -> PairList:
        """The list of the pairs where ``keep`` [P] is true, in their folds."""
        import numpy as np

        pairs = tuple(pair for pair, kept in zip(self.pairs, keep.tolist(), strict=True) if kept)
        numbers, fold, sizes = np.unique(self.fold[keep], return_inverse=True, return_counts=True)
        mated = np.array([pair.mated for pair in pairs], bool)
        with_mated, with_non_mated = (np.unique(fold[kind]).size for kind in (mated, ~mated))
        if min(with_mated, with_non_mated) < 2:
            raise UsageError(
                f"{self.source}: without these people {with_mated} fold(s) with mated and {with_non_mated} "
                "with non-mated pairs are left",
                "The threshold of a fold is chosen on the other folds, so at least two of each are needed.",
            )
        short = 2 * numbers.size - with_mated - with_non_mated
        kinds = f", {short} with pairs of one kind only" if short else ""
        left = f"of these, {numbers.size} with {sizes.min()} to {sizes.max()} pairs are left{kinds}"
        names, told = tuple(self.fold_names[number] for number in numbers), f"{self.folds_from}; {left}"
        return replace(self, pairs=pairs, fold=fold, fold_names=names, folds_from=told)

    def evaluate(self, embed: Embed) -> PairResult:
        """Evaluate the pairs and, if folders name people, all pairs of the photos.

        Raises `UsageError` if embeddings have the wrong shape or too few comparisons are
        completed to choose a threshold.
        """
        import numpy as np

        from facekd.verification.listed_pairs import judge_pairs

        embeddings = checked_embeddings(embed, self.photos)
        place = {name: index for index, name in enumerate(self.photos)}
        ends = np.array([(place[p.first], place[p.second]) for p in self.pairs])
        mated = np.array([p.mated for p in self.pairs])
        return judge_pairs(self, embeddings, ends, mated)


def pair_list(
    name: str, source: Path, pairs: Sequence[Pair], person_of: Callable[[str], str] | None = None
) -> PairList:
    """A `PairList` of ``pairs``, with the folds that they state or with folds by order.

    Without stated folds, the mated pairs are cut in order into ten runs of nearly equal
    length, the non-mated pairs likewise, and a fold is one run of each (fewer folds if a class has
    fewer than ten pairs). Raises `Unreadable` if only some pairs state a fold, or
    there are fewer than two folds.
    """
    import numpy as np

    mated = np.array([pair.mated for pair in pairs], bool)
    stated = [pair.fold for pair in pairs if pair.fold is not None]
    if stated and len(stated) < len(pairs):
        raise Unreadable(f"{source}: {len(pairs) - len(stated)} of {len(pairs)} pairs have no fold")
    if stated:
        names = tuple(dict.fromkeys(stated))
        fold = np.array([names.index(label) for label in stated])
        told = f"{len(names)} folds as listed"
    else:
        count = int(min(_FOLDS, mated.sum(), (~mated).sum()))
        names = tuple(str(index + 1) for index in range(count))
        fold = np.zeros(len(pairs), np.int64)
        for kind in (mated, ~mated):
            fold[kind] = np.arange(kind.sum()) * count // max(int(kind.sum()), 1)
        told = f"no folds listed: {count} by the order of the list, mated and non-mated pairs separately"
    if len(names) < 2:
        raise Unreadable(
            f"{source}: {int(mated.sum())} mated and {int((~mated).sum())} non-mated pairs in "
            f"{len(names)} fold(s)",
            "The threshold of a fold is chosen on the other folds, so at least two are needed.",
        )
    if person_of is None:
        photos = (photo for pair in pairs for photo in (pair.first, pair.second))
        person_of = partial(folder_of, root=wrapper_of(photos))
    return PairList(name, str(source), tuple(pairs), fold, names, told, person_of)


def read_text(path: Path) -> str:
    """The text of a list, without a byte order mark."""
    return files.read_text(path)
