"""Faults that `gallery check` reports, and their remedies."""

from __future__ import annotations

from dataclasses import dataclass

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
