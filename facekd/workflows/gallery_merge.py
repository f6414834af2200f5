"""Merge two people of a gallery, if they look alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from facekd.card import Card, read_card
from facekd.errors import NotThisPerson
from facekd.gallery import Contract, GalleryRecords, Merged, Place, shown
from facekd.runtime import fuse, load_embedder
from facekd.weights import shipped_model
from facekd.workflows.enrollment_guard import OWN_FMR, threshold_at


@dataclass(frozen=True)
class Resemblance:
    """How similar two people are: the ``score`` of their fused templates, and the ``threshold`` below which
    the guard of enrollment refuses photos as another person's (`None`: unknown)."""

    name: str
    other: str
    score: float
    threshold: float | None

    @property
    def refused(self) -> bool:
        return self.threshold is not None and self.score < self.threshold

    def __str__(self) -> str:
        if self.threshold is None:
            return f"score {self.score:.4f}; no threshold is known"
        return f"score {self.score:.4f}, {self.threshold:.4f} is needed"


def open_to_merge(gallery: Place, model: Path | None) -> tuple[GalleryRecords, Card | None]:
    """The gallery, and the card that judges scores in its space: that of ``model``, otherwise that of the
    shipped student if the gallery belongs to it; `None` if there is neither.

    Raises `Misfit` if ``model`` has another space, and what reading them raises.
    """
    if model is not None:
        embedder = load_embedder(model, need_card=True)
        contract = Contract(embedder.space, embedder.card.embedding.dim, embedder.name, "", "")
        return GalleryRecords(gallery, contract), embedder.card
    records = GalleryRecords(gallery)
    shipped = shipped_model()
    card = read_card(shipped)[0] if shipped else None
    return records, card if card and card.space == records.contract.space else None


def resemblance(records: GalleryRecords, name: str, other: str, card: Card | None) -> Resemblance:
    """How similar two people are. Raises `NotFound`, and `Unreadable` if a template is damaged."""
    first, second = records.person(name).name, records.person(other).name
    mine, theirs = (
        fuse([template.embedding for template in records.templates(person)]) for person in (first, second)
    )
    return Resemblance(first, second, float(mine @ theirs), threshold_at(card, OWN_FMR) if card else None)


def merge_people(
    records: GalleryRecords, name: str, other: str, card: Card | None, force: bool
) -> tuple[Merged, Resemblance]:
    """Give the photos of ``other`` to ``name``, in one transaction that compares them again. ``force``
    overrules the guard, which the audit records.

    Raises `NotThisPerson` if they do not look alike, and what `resemblance` raises.
    """
    with records.transaction():
        alike = resemblance(records, name, other, card)
        if alike.refused and not force:
            raise NotThisPerson(
                f"the photos of '{shown(alike.name)}' and '{shown(alike.other)}' do not look like the same "
                f"person ({alike})",
                "If they are the same person anyway, --force merges them.",
            )
        merged = records.merge(name, other)
        if alike.refused:
            records.note_forced(name, merged.moved)
    return merged, alike
