"""Crops on disk: their names, labels and pixels.

A labelled folder or pack holds a folder per identity; in an unlabelled one the folders have no
meaning. Several of both form one `CropSet`. Only names are kept in memory; pixels are read on
demand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facekd.errors import InputOutput, Misfit, UsageError
from facekd.preprocess import Source, decode, identities_in, open_source
from facekd.training.data.name_lists import NameList, read_list, read_rows

#: the label of an unlabelled crop
UNLABELLED = -1


@dataclass(frozen=True)
class CropSet:
    """Crops and their identities. ``labels`` is int64 [N], an index into ``people`` or -1."""

    sources: tuple[Source, ...]
    where: NDArray[np.int32]
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    people: tuple[str, ...]
    size: int = 112
    _digest: list[str] = field(default_factory=list, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> NDArray[np.uint8]:
        """Crop ``index`` as uint8 RGB [size, size, 3].

        Raises `Unreadable` if it is not an image, `Misfit` if it has another size.
        """
        pixels = decode(self.encoded(index), self.place(index)).pixels
        if pixels.shape != (self.size, self.size, 3):
            raise Misfit(
                f"{self.place(index)}: {pixels.shape[1]} x {pixels.shape[0]} pixels, not {self.size}",
                "Training needs aligned crops: make them with 'facekd align'.",
            )
        return pixels

    def encoded(self, index: int) -> bytes:
        """The encoded file of crop ``index``. Raises `InputOutput` if it cannot be read."""
        return self.sources[self.where[index]].read(self.names[index])

    def place(self, index: int) -> str:
        """The location of crop ``index``."""
        return f"{self.sources[self.where[index]].path}/{self.names[index]}"

    def called(self, index: int) -> str:
        """Crop ``index`` as ``pack/crop``, the form used in exclusion lists."""
        return f"{_pack(self.sources[self.where[index]])}/{self.names[index]}"

    def weighted(self, weights: Mapping[str, float]) -> NDArray[np.float64]:
        """The weight [N] of every crop: that of the longest of the names, packs or folders (``pack/folder``),
        that it is in, 1 if it is in none. Raises `UsageError` if there are no crops under a name."""
        found = np.ones(len(self))
        called = [self.called(index) for index in range(len(self))]
        for name in sorted(weights, key=len):
            inside = np.array([one.startswith(f"{name.rstrip('/')}/") for one in called], bool)
            if not inside.any():
                raise UsageError(
                    f"sampling.weights: there are no training crops in '{name}'",
                    f"Name a pack or a folder in it, such as '{called[0].rpartition('/')[0]}'.",
                )
            found[inside] = weights[name]
        return found

    @property
    def digest(self) -> str:
        """SHA-256 of the crops in order: their names, their packs' names, and a stamp that changes when a
        crop is cut again under its old name (`Source.stamp`)."""
        if not self._digest:
            sha = hashlib.sha256()
            for where, name in zip(self.where.tolist(), self.names, strict=True):
                source = self.sources[where]
                sha.update(f"{source.path.name}/{name} {source.stamp(name)}\n".encode())
            self._digest.append(sha.hexdigest())
        return self._digest[0]

    def counts(self) -> NDArray[np.int64]:
        """Crops of each identity, [people]."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self.people))

    def take(self, chosen: NDArray[np.bool_]) -> CropSet:
        """The crops where ``chosen`` [N] is true; identities without a crop are dropped."""
        labels = self.labels[chosen]
        kept = np.unique(labels[labels >= 0])
        renumber = np.full(len(self.people) + 1, UNLABELLED, np.int64)
        renumber[kept] = np.arange(len(kept))
        return CropSet(
            self.sources,
            self.where[chosen],
            tuple(name for name, keep in zip(self.names, chosen.tolist(), strict=True) if keep),
            renumber[labels],
            tuple(self.people[k] for k in kept),
            self.size,
        )

    def sampled(self, share: float) -> CropSet:
        """About ``share`` of the crops, chosen by a hash of their names: a smaller share is a subset of
        a larger one, and adding other crops does not change which of these are chosen."""
        limit = int(share * 2**64)
        drawn = (hashlib.sha256(name.encode()).digest()[:8] for name in self.names)
        return self.take(np.array([int.from_bytes(d, "big") < limit for d in drawn]))

    def capped(self, most: int) -> CropSet:
        """At most ``most`` crops of every identity, evenly spaced among its own; all unlabelled crops
        are kept."""
        keep = self.labels < 0
        order = np.argsort(self.labels, kind="stable")
        ends = np.cumsum(self.counts()) + int(keep.sum())
        for start, end in zip([int(keep.sum()), *ends[:-1].tolist()], ends.tolist(), strict=True):
            count = min(most, end - start)
            keep[order[np.linspace(start, end - 1, count).round().astype(int)]] = True
        return self.take(keep)

    def describe(self) -> str:
        """One line: crops, identities, how many are labelled."""
        labelled = int((self.labels >= 0).sum())
        few = int((self.counts() < 3).sum())
        return (
            f"{len(self):,} crops: {labelled:,} of {len(self.people):,} identities "
            f"({few:,} with fewer than three crops), {len(self) - labelled:,} unlabelled"
        )


def open_crops(
    labelled: Sequence[Path] = (),
    unlabelled: Sequence[Path] = (),
    merge: Path | None = None,
    exclude: Sequence[Path] = (),
    doubts: Path | None = None,
    heldout: Path | None = None,
    warn: Callable[[str], None] = lambda text: None,
    root: str | None = None,
) -> CropSet:
    """All crops of the given folders and packs as one set.

    ``merge``: CSV with columns ``label`` and ``merge_into``: two labels of one identity.
    ``exclude``: text files, one identity or one crop as ``pack/name`` per line; left out.
    ``doubts``: CSV with columns ``pack`` and ``crop``: crops whose label is not used.
    ``heldout``: a text file, one identity per line: left out under every label that is merged with it.
    ``root``: the folder in each of the ``labelled`` that holds the identities' folders (`identities_in`).

    Names in lists that match nothing are passed to ``warn``; in ``heldout`` they are a `RecipeError`.
    """
    same = _merged(merge)
    lists = [NameList(file, tuple(read_list(file))) for file in exclude]
    unwanted = {name for listed in lists for name in listed.names}
    held = NameList(heldout, tuple(read_list(heldout))) if heldout else None
    held_out = {_root(name, same) for name in held.names} if held else set()
    doubted = [f"{row['pack']}/{row['crop']}" for row in read_rows(doubts, "pack", "crop")]
    doubtful = set(doubted)
    sources = [open_source(path) for path in (*labelled, *unlabelled)]
    if not sources:
        raise InputOutput("the recipe names no training data")
    where: list[int] = []
    names: list[str] = []
    people: dict[str, int] = {}
    labels: list[int] = []
    known: set[str] = set()
    listed_crops: set[str] = set()
    for number, source in enumerate(sources):
        pack = _pack(source)
        people_of: dict[str, str | None] = dict.fromkeys(source.names())
        if number < len(labelled):
            people_of = identities_in(source, root).of
        for name, person in people_of.items():
            merged = _root(person, same) if person else None
            full = f"{pack}/{name}"
            if person and merged:
                known |= {person, merged}
            if full in unwanted or full in doubtful:
                listed_crops.add(full)
            if full in unwanted or person in unwanted or merged in unwanted or merged in held_out:
                continue
            use_label = merged is not None and full not in doubtful
            where.append(number)
            names.append(name)
            labels.append(people.setdefault(merged, len(people)) if use_label and merged else UNLABELLED)
    if held:
        held.require_all(known, labelled)
    lists += [NameList(merge, tuple(same))] if merge else []
    lists += [NameList(doubts, tuple(doubted))] if doubts else []
    for told in (listed.warning(known | listed_crops) for listed in lists):
        if told:
            warn(told)
    if not names:
        raise InputOutput(f"no crops in {', '.join(str(s.path) for s in sources)}")
    return CropSet(
        tuple(sources), np.array(where, np.int32), tuple(names), np.array(labels, np.int64), tuple(people)
    )


def open_identities(
    labelled: Sequence[Path], wanted: Iterable[str], merge: Path | None = None, root: str | None = None
) -> CropSet:
    """Only the crops of the identities ``wanted``, with those as labels."""
    crops = open_crops(labelled, merge=merge, root=root)
    same = _merged(merge)
    names = {_root(name, same) for name in wanted}
    keep = np.array([person in names for person in crops.people])
    if not keep.size:
        return crops.take(np.zeros(len(crops), bool))
    return crops.take((crops.labels >= 0) & keep[crops.labels])


def _pack(source: Source) -> str:
    return source.path.name.removesuffix(".zip")


def _merged(merge: Path | None) -> dict[str, str]:
    """The label that each merged label counts as."""
    return {row["label"]: row["merge_into"] for row in read_rows(merge, "label", "merge_into")}


def _root(label: str, same: dict[str, str]) -> str:
    seen = {label}
    while label in same and same[label] not in seen:
        label = same[label]
        seen.add(label)
    return label
