"""Verify: are two photos, or a photo and an enrolled person, the same person?"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facekd.card import Card
from facekd.errors import UsageError
from facekd.gallery import GalleryRecords
from facekd.preprocess import ALIGNER
from facekd.workflows.recognizer import Recognised, Recognizer

Floats = NDArray[np.float32]
PhotoPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Threshold:
    """The score from which two faces are the same person. ``source`` is "option" or "card"; a
    card states at which false match rate, on which data and with which detector and aligner it
    was measured."""

    value: float
    source: str
    fmr: float | None = None
    data: str = ""
    detector: str = ""
    aligner: str = ""


@dataclass(frozen=True)
class Decision:
    """``score`` is the cosine in [-1, 1]; ``photos`` what was taken of each photo; for a claim,
    the ``claim``ed name and how many ``templates`` stand behind it."""

    same: bool
    score: float
    threshold: Threshold
    photos: tuple[Recognised, ...]
    claim: str | None = None
    templates: int | None = None


def choose_threshold(card: Card, threshold: float | None = None, fmr: float | None = None) -> Threshold:
    """The ``threshold`` given, else the card's calibration at ``fmr``, else its strictest one.

    Raises `UsageError` where there is none: no threshold holds for every model.
    """
    if threshold is not None:
        if fmr is not None:
            raise UsageError("--threshold and --fmr say the same thing twice", "Give one of them.")
        if not math.isfinite(threshold):
            raise UsageError("--threshold: not a number")
        return Threshold(threshold, "option")
    found = card.at(fmr)
    if found is not None:
        return Threshold(found.threshold, "card", found.fmr, found.data, found.detector, found.aligner)
    if card.calibration:
        known = ", ".join(f"{entry.fmr:g}" for entry in card.calibration)
        raise UsageError(f"{card.name} has no threshold at FMR {fmr:g}", f"It has them at: {known}.")
    raise UsageError(
        f"no threshold is known: {card.name} was never calibrated",
        "Give --threshold, or use a model that 'facekd export' wrote: it measures one into the card.",
    )


def doubts(threshold: Threshold, detector: str) -> list[str]:
    """Why a calibrated threshold may not hold here: crops were made another way when it was
    measured."""
    if threshold.source != "card":
        return []
    pairs = (("detector", threshold.detector, detector), ("aligner", threshold.aligner, ALIGNER))
    return [
        f"the threshold was calibrated with {what} {then}, this is {here}: its false match rate may differ"
        for what, then, here in pairs
        if then != here
    ]


def verify_photos(
    recognizer: Recognizer, first: PhotoPath, second: PhotoPath, threshold: Threshold
) -> Decision:
    """Compare two photos. Raises what `Recognizer.recognise` does, naming the photo."""
    photos = recognizer.recognise(first), recognizer.recognise(second)
    score = cosine(photos[0].embedding, photos[1].embedding)
    return Decision(score >= threshold.value, score, threshold, photos)


def verify_claim(
    recognizer: Recognizer, records: GalleryRecords, name: str, photo: PhotoPath, threshold: Threshold
) -> Decision:
    """Compare a photo with an enrolled person. Raises `NotFound` for the name."""
    templates = records.templates(name)
    found = recognizer.recognise(photo)
    score = cosine(fuse([template.embedding for template in templates]), found.embedding)
    return Decision(
        score >= threshold.value, score, threshold, (found,), records.person(name).name, len(templates)
    )


def fuse(embeddings: list[Floats]) -> Floats:
    """One embedding [D] for a person's several: the direction of their mean.

    The best of k scores would be a new chance of a false match with every photo, and the
    threshold, which was calibrated on single comparisons, would no longer keep its rate. The mean
    direction is one comparison again, of a better template.
    """
    mean = np.mean(embeddings, axis=0)
    # embeddings that cancel out have no direction; 0 then scores 0 against everybody
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)


def cosine(one: Floats, other: Floats) -> float:
    """Of two unit vectors; rounding beyond 1 is cut off."""
    return float(np.clip(np.dot(one, other), -1.0, 1.0))
