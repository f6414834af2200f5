"""The guard of enrollment: do new photos show the person, and nobody else who is enrolled?

Once two people share a name, or one person has two, a gallery gives wrong answers. So photos are compared
with those enrolled before they become templates.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facekd.card import Card
from facekd.errors import NotFound
from facekd.gallery import FusedTemplates, GalleryRecords, Template, shown
from facekd.runtime import fuse
from facekd.verification import normal_deviate

Floats = NDArray[np.float32]

#: a photo whose score with the person's own is below the threshold at this FMR is taken for somebody else's
OWN_FMR = 1e-2
#: the share of new people who may be refused because they look like somebody enrolled: a false positive
#: identification rate, which N comparisons reach at about the Nth part of it as FMR
WRONGLY_REFUSED = 1e-2


@dataclass(frozen=True)
class GuardThresholds:
    """The thresholds for a gallery of this size. A photo below ``not_this_person`` is not the person's; one
    at or above ``other_person`` is taken for one of the ``others``; one at or above ``looks_like``, the
    threshold of `verify`, causes a warning. `None` if the card has no such threshold."""

    others: int
    not_this_person: float | None
    other_person: float | None
    looks_like: float | None

    def to_dict(self) -> dict[str, float | int | None]:
        return {
            "others": self.others,
            "not_this_person": self.not_this_person,
            "other_person": self.other_person,
            "looks_like": self.looks_like,
        }


@dataclass(frozen=True)
class Finding:
    """A reason against a photo: ``reason`` is one word for programs; if not ``refused``, it is only a
    warning."""

    reason: str
    message: str
    refused: bool


def threshold_at(card: Card, fmr: float) -> float | None:
    """The threshold at ``fmr`` by the card's calibration; `None` if ``fmr`` is outside the rates measured.

    Between two rates, the threshold is interpolated linearly over the normal deviate of the FMR, the scale
    of a DET curve: exact for normally distributed scores.
    """
    entries = sorted(card.calibration, key=lambda entry: -entry.fmr)
    rates = [entry.fmr for entry in entries]
    if not entries or not min(rates) * (1 - 1e-6) <= fmr <= max(rates) * (1 + 1e-6):
        return None
    places = -normal_deviate(rates)
    return float(np.interp(-normal_deviate(fmr), places, [entry.threshold for entry in entries]))


class EnrollmentGuard:
    """Compares new photos with everybody in ``records``, by the thresholds in ``card``."""

    def __init__(self, card: Card, records: GalleryRecords) -> None:
        self._card = card
        self._enrolled = FusedTemplates(records)
        self._own = threshold_at(card, OWN_FMR)

    @property
    def is_on(self) -> bool:
        """Whether the model is calibrated: otherwise scores cannot be judged."""
        return bool(self._card.calibration)

    def thresholds(self, others: int) -> GuardThresholds:
        """The thresholds with ``others`` enrolled besides the person."""
        rates = [entry.fmr for entry in self._card.calibration]
        other = (
            threshold_at(self._card, min(WRONGLY_REFUSED / others, max(rates))) if others and rates else None
        )
        normal = self._card.at()
        return GuardThresholds(others, self._own, other, normal.threshold if normal else None)

    def notes(self, others: int) -> list[str]:
        """The limitations of the guard, to be printed."""
        name = self._card.name
        if not self.is_on:
            return [
                f"{name} is not calibrated: new photos are not compared with the person's others or with "
                "other people's ('facekd calibrate' makes that possible)"
            ]
        told = []
        if self._own is None:
            told.append(
                f"the card of {name} has no threshold at FMR {OWN_FMR:g}: new photos are not compared with "
                "the person's others ('facekd calibrate' makes that possible)"
            )
        strictest = min(entry.fmr for entry in self._card.calibration)
        if others and self.thresholds(others).other_person is None:
            told.append(
                f"the calibration of {name} ends at FMR {strictest:g}, too high for a gallery of more than "
                f"{WRONGLY_REFUSED / strictest:,.0f} people: a photo that looks like another person's is "
                "enrolled with a warning"
            )
        return told

    def prepare(self) -> None:
        """Read who is enrolled, so that `judge`, which blocks other programs, does not have to."""
        if self.is_on:
            with suppress(NotFound):  # removed in the meantime: `judge` reads everybody again
                self._enrolled.refresh()

    def judge(self, name: str, photos: Sequence[Template]) -> tuple[dict[str, Finding], GuardThresholds]:
        """The findings about the new ``photos`` of the person ``name``, by digest, and the thresholds used.

        Must be called in the transaction that adds them, so that nobody else is added in between. Raises
        `Unreadable` if a template is damaged.
        """
        self._enrolled.refresh()
        embeddings = np.stack([photo.embedding for photo in photos])
        mine = self._enrolled.of(name)
        own = None if mine is None else embeddings @ mine
        limits = self.thresholds(len(self._enrolled.names) - (mine is not None))
        found = self._like_others(name, embeddings, own, limits)
        rest = [place for place in range(len(photos)) if not _refuses(found.get(place))]
        if limits.not_this_person is not None and rest:
            unlike = (
                _unlike_each_other(name, embeddings[rest], limits.not_this_person)
                if own is None
                else _unlike_own(name, own[rest], limits.not_this_person)
            )
            found |= {rest[place]: finding for place, finding in unlike.items()}
        return {photos[place].photo: finding for place, finding in found.items()}, limits

    def _like_others(
        self, name: str, embeddings: Floats, own: Floats | None, limits: GuardThresholds
    ) -> dict[int, Finding]:
        """Findings about photos, by index, because of other people."""
        if not limits.others:
            return {}
        names = self._enrolled.names
        scores = self._enrolled.scores(embeddings)
        if own is not None:
            scores[:, names.index(name)] = -np.inf
        found = {}
        for place, nearest in enumerate(scores.argmax(axis=1)):
            mine = None if own is None else float(own[place])
            like = _like_another(names[nearest], float(scores[place, nearest]), mine, limits)
            if like is not None:
                found[place] = like
        return found

    def update(self, name: str) -> None:
        """Take in what was added to the person ``name``, once it is committed."""
        if self.is_on:
            self._enrolled.update(name)


def _refuses(finding: Finding | None) -> bool:
    return finding is not None and finding.refused


def _like_another(other: str, score: float, own: float | None, limits: GuardThresholds) -> Finding | None:
    """The finding about a photo whose most similar other person is ``other``. It is not refused if it is
    even more similar to the person's ``own`` photos, as a twin's may be."""
    reached = limits.other_person is not None and score >= limits.other_person
    if reached and (own is None or own <= score):
        others = "1 other person" if limits.others == 1 else f"{limits.others:,} other people"
        message = (
            f"looks like '{shown(other)}' (score {score:.4f}; with {others} enrolled, "
            f"one new person in a hundred reaches {limits.other_person:.4f})"
        )
        return Finding("other_person", message, refused=True)
    if reached or (limits.looks_like is not None and score >= limits.looks_like):
        return Finding("looks_like", f"may show '{shown(other)}' (score {score:.4f})", refused=False)
    return None


def _unlike_own(name: str, scores: Floats, threshold: float) -> dict[int, Finding]:
    """Findings about photos, by index, whose score with the person's own is too low."""
    return {
        int(place): Finding(
            "not_this_person",
            f"does not look like the photos of '{shown(name)}' (score {scores[place]:.4f}, "
            f"{threshold:.4f} is needed)",
            refused=True,
        )
        for place in np.flatnonzero(scores < threshold)
    }


def _unlike_each_other(name: str, embeddings: Floats, threshold: float) -> dict[int, Finding]:
    """Findings about photos of a new person, by index, that are unlike most of the others.

    If more than half are, all are refused: it is unclear which of them show the person.
    """
    scores = embeddings @ embeddings.T
    like = scores >= threshold
    np.fill_diagonal(like, True)
    centre = max(range(len(embeddings)), key=lambda place: (like[place].sum(), scores[place].sum()))
    with_most = embeddings @ fuse(list(embeddings[like[centre]]))
    if 2 * (with_most >= threshold).sum() > len(embeddings):
        return _unlike_own(name, with_most, threshold)
    message = f"most of the {len(embeddings)} photos given for '{shown(name)}' do not show the same person"
    return {place: Finding("not_this_person", message, True) for place in range(len(embeddings))}
