"""The entries and answers of the records, as plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contract:
    """How the templates of a gallery were made. Only ``space`` decides whether embeddings can be compared;
    the rest states their origin."""

    space: str
    dim: int
    model: str
    detector: str
    aligner: str


@dataclass(frozen=True)
class Person:
    """A person in the gallery: the number of photos, and the first and last date of enrolment."""

    name: str
    templates: int
    first: str
    last: str


@dataclass(frozen=True)
class Merged:
    """How many templates of ``other`` were given to the person ``name``, and how many that person already
    had."""

    name: str
    other: str
    moved: int
    present: int


@dataclass(frozen=True)
class TakenIn:
    """How many templates of an archive were ``added``, and how many ``withheld`` because they were removed
    here, as was the person if ``is_removed``; ``is_new`` if the person was not in the gallery before."""

    added: int
    withheld: int
    is_removed: bool = False
    is_new: bool = False
