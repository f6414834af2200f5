"""Make two people of a gallery one, if they look like it."""

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
    """How much two people look alike: the ``score`` of their fused templates, and the ``threshold`` below
    which the guard of enrollment takes photos for another person's (`None`: it knows none)."""

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
    """The gallery, and the card that judges scores in its space: that of ``model``, else that of the student
    that ships where the gallery is its own; `None` where there is neither.

    Raises `Misfit` where ``model`` is of another space, and what reading either of them raises.
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
    """Raises `NotFound`, and `Unreadable` where a template of either is damaged."""
    first, second = records.person(name).name, records.person(other).name
    mine, theirs = (
        fuse([template.embedding for template in records.templates(person)]) for person in (first, second)
    )
    return Resemblance(first, second, float(mine @ theirs), threshold_at(card, OWN_FMR) if card else None)


def merge_people(
    records: GalleryRecords, name: str, other: str, card: Card | None, force: bool
) -> tuple[Merged, Resemblance]:
    """Give the photos of ``other`` to ``name``, in one transaction with a last look at both. ``force``
    overrules the guard, which the audit notes.

    Raises `NotThisPerson` where they do not look like one person, and as `resemblance` does.
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
