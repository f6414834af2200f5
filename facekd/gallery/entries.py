"""What the records hold and answer, as plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contract:
    """What every template of a gallery was made with. Only ``space`` decides whether embeddings
    can be compared; the rest says where they come from."""

    space: str
    dim: int
    model: str
    detector: str
    aligner: str


@dataclass(frozen=True)
class Person:
    """An entry of the gallery: how many photos, the first and the last date of enrolment."""

    name: str
    templates: int
    first: str
    last: str


@dataclass(frozen=True)
class Merged:
    """How many templates of ``other`` went to the person ``name``, and how many that person had already."""

    name: str
    other: str
    moved: int
    present: int


@dataclass(frozen=True)
class TakenIn:
    """How many templates of an archive were ``added``, and how many ``withheld`` since they were removed
    here, as the person was where ``is_removed``; ``is_new`` if the person was not here before."""

    added: int
    withheld: int
    is_removed: bool = False
    is_new: bool = False
