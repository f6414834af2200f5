"""A folder for each person: every photo against every other, mated and non-mated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from facekd.errors import Unreadable
from facekd.preprocess.source import identity_of, open_source
from facekd.verification.people import AllPairsResult, judge_people
from facekd.verification.protocols.base import Embed, checked_embeddings, register, without_embedding


@dataclass(frozen=True)
class People:
    """``photos`` [N] with their ``people`` [N]."""

    name: str
    source: str
    photos: tuple[str, ...]
    people: tuple[str, ...]

    @property
    def compared(self) -> None:
        """All with all: far too many scores to keep."""

    def evaluate(self, embed: Embed) -> AllPairsResult:
        """Judge all comparisons. Raises `UsageError` where embeddings have the wrong shape, or too
        few photos gave one."""
        rows = checked_embeddings(embed, self.photos)
        failed = without_embedding(rows, self.photos)
        return judge_people(self.name, self.source, rows, self.people, len(self.photos), failed)


@register("people")
def read(path: Path) -> People:
    """The photos in the folder or pack at ``path``; a person is the folder that a photo lies in.

    Raises `Unreadable` where a photo lies in no folder, or there are not two persons.
    """
    photos = open_source(path).names()
    people = [identity_of(photo) for photo in photos]
    strays = [photo for photo, person in zip(photos, people, strict=True) if person is None]
    if strays:
        raise Unreadable(
            f"{path}: {len(strays)} photos lie in no person's folder, the first is {strays[0]}",
            "Every photo lies in a folder that is named after its person.",
        )
    if len(set(people)) < 2:
        raise Unreadable(f"{path}: photos of {len(set(people))} persons; non-mated comparisons need two")
    return People(
        "people", str(path), tuple(photos), tuple(person for person in people if person is not None)
    )
