"""Faults that `gallery check` reports, and their remedies; and what is no fault, but a move meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from facekd.errors import Misfit
from facekd.gallery.place import Place

RESTORE = "Restore the gallery from a backup."
#: leaves out templates without a person
MAKE_ANEW = (
    "Restore the gallery from a backup; or rescue the people who are intact: facekd gallery export, then "
    "facekd gallery import into a new gallery."
)


@dataclass(frozen=True)
class Fault:
    """A difference from what was written: ``kind`` is a word for programs, ``fix`` the remedy."""

    kind: str
    message: str
    fix: str


def moved_meanwhile(place: Place) -> Misfit:
    """The error to raise if the gallery at ``place`` was moved to another model since it was opened."""
    return Misfit(
        f"{place} was moved to another model while it was open",
        "Start again with the gallery's model: --model.",
    )
