"""What `gallery check` finds, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

RESTORE = "Restore the gallery from a backup."
#: leaves out what belongs to nobody
MAKE_ANEW = (
    "Restore the gallery from a backup; or rescue the people who are intact: facekd gallery export, then "
    "facekd gallery import into a new gallery."
)


@dataclass(frozen=True)
class Fault:
    """Something that is not as it was written: ``kind`` is a word for machines, ``fix`` says what to do."""

    kind: str
    message: str
    fix: str
