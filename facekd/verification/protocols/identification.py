"""Identification (1:N) from folders: ``gallery/PERSON/*``, ``probe/PERSON/*`` and ``unknown/*/*``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.errors import Unreadable
from facekd.preprocess import open_source
from facekd.verification.exclusion import nobody_known
from facekd.verification.protocols._base import Embed, checked_embeddings, register, without_embedding

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facekd.verification.results import IdentificationResult

_FORM = "The folder holds gallery/PERSON/..., probe/PERSON/... and, for the open set, unknown/PERSON/..."


@dataclass(frozen=True)
class Identification:
    """Photos by person: those ``enrolled``, the ``probes``, and those of people who are ``unknown`` to
    the gallery."""

    name: str
    source: str
    enrolled: dict[str, tuple[str, ...]]
    probes: tuple[tuple[str, str], ...]
    unknown: tuple[tuple[str, str], ...]

    @cached_property
    def photos(self) -> tuple[str, ...]:
        """Those enrolled, the probes, the unknown."""
        gallery = [photo for photos in self.enrolled.values() for photo in photos]
        return (*gallery, *(photo for photo, _ in (*self.probes, *self.unknown)))

    @property
    def people(self) -> None:
        """Photos are compared with templates here, not with each other."""

    @property
    def compared(self) -> None:
        """Searches, not pairs."""

    @property
    def left_out(self) -> None:
        """Nobody: see `without`."""

    def without(self, people: Sequence[str]) -> Identification:
        """Raises `UsageError`: a smaller gallery is a different search, with other error rates."""
        raise nobody_known(self.name)

    def evaluate(self, embed: Embed) -> IdentificationResult:
        """Enroll, search and evaluate. Raises `UsageError` if embeddings have the wrong shape or
        nobody could be enrolled."""
        from facekd.verification.identification import FPIRS, open_point, rank_points, search
        from facekd.verification.results import IdentificationResult

        rows = checked_embeddings(embed, self.photos)
        probes_from = len(rows) - len(self.probes) - len(self.unknown)
        unknown_from = len(rows) - len(self.unknown)
        people, templates = self._templates(rows[:probes_from])
        searches = search(
            templates, people, rows[probes_from:unknown_from], [person for _, person in self.probes],
            rows[unknown_from:],
        )  # fmt: skip
        return IdentificationResult(
            protocol=self.name,
            source=self.source,
            photos=len(rows),
            people=len(self.enrolled),
            failed=without_embedding(rows, self.photos),
            failed_probes=len(without_embedding(rows[probes_from:], self.photos[probes_from:])),
            not_enrolled=tuple(sorted(set(self.enrolled) - set(people))),
            searches=searches,
            ranks=rank_points(searches),
            points=tuple(open_point(searches, fpir) for fpir in FPIRS),
        )

    def _templates(self, rows: NDArray[np.float32]) -> tuple[list[str], NDArray[np.float32]]:
        """The people with an embedded photo, and their templates [G, D]."""
        import numpy as np

        from facekd.runtime import fuse

        people, templates, start = [], [], 0
        for person, photos in self.enrolled.items():
            own = rows[start : start + len(photos)]
            own = own[~np.isnan(own).all(axis=1)]
            start += len(photos)
            if len(own):
                people.append(person)
                templates.append(fuse(list(own)))
        return people, np.array(templates, np.float32).reshape(len(templates), rows.shape[1])


@register("identification", "1:N from folders gallery, probe and unknown", data_is_list=True)
def read(path: Path) -> Identification:
    """The folders in the folder or zip pack at ``path``; other images in it are ignored.

    Raises `Unreadable` if gallery or probes are empty, a probe is of nobody in the gallery, or an
    unknown person is in it.
    """
    parts: dict[str, list[tuple[str, str]]] = {"gallery": [], "probe": [], "unknown": []}
    for name in open_source(path).names():
        role, person, *rest = [*name.split("/"), "", ""]
        if role in parts and any(rest):
            parts[role].append((name, person))
    for role in ("gallery", "probe"):
        if not parts[role]:
            raise Unreadable(f"{path}: there is no photo in {role}/PERSON", _FORM)
    enrolled: dict[str, list[str]] = {}
    for name, person in parts["gallery"]:
        enrolled.setdefault(person, []).append(name)
    for name, person in parts["probe"]:
        if person not in enrolled:
            raise Unreadable(f"{path}: {name}: {person} is not in the gallery", _FORM)
    for name, person in parts["unknown"]:
        if person in enrolled:
            raise Unreadable(f"{path}: {name}: {person} is in the gallery, and therefore not unknown", _FORM)
    return Identification(
        "identification", str(path), {person: tuple(names) for person, names in enrolled.items()},
        tuple(parts["probe"]), tuple(parts["unknown"]),
    )  # fmt: skip
