"""Verify: are two photos, or a photo and an enrolled person, the same person?"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facekd.card import Card, ScoreMap
from facekd.errors import CannotSay, InputOutput, UsageError
from facekd.gallery import GalleryRecords
from facekd.preprocess import ALIGNER
from facekd.runtime import fuse
from facekd.verification import log_likelihood_ratio, probability
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
class Evidence:
    """What a score says by the card's score map: the natural ``log_likelihood_ratio`` of one person
    against two, and the ``probability`` of one person where both are equally likely beforehand."""

    log_likelihood_ratio: float
    probability: float


@dataclass(frozen=True)
class Decision:
    """``score`` is the cosine in [-1, 1]; ``photos`` what was taken of each photo; ``evidence`` is
    `None` where the card has no score map; for a claim, the ``claim``ed name and how many
    ``templates`` stand behind it."""

    same: bool
    score: float
    threshold: Threshold
    photos: tuple[Recognised, ...]
    evidence: Evidence | None = None
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
        "Give --threshold, or measure one into its card: facekd calibrate MODEL --data PEOPLE.",
    )


def doubts(threshold: Threshold, detector: str, score_map: ScoreMap | None = None) -> list[str]:
    """Why a calibrated threshold, and the probability, may not hold here, in one note or none: crops were
    made another way when they were measured."""
    measured: dict[tuple[str, str], list[tuple[str, str]]] = {}
    if threshold.source == "card":
        then = (threshold.detector, threshold.aligner)
        measured.setdefault(then, []).append(("the threshold was calibrated", "the false match rate"))
    if score_map is not None:
        then = (score_map.detector, score_map.aligner)
        measured.setdefault(then, []).append(("the score map was fitted", "the probability"))
    here = {"detector": detector, "aligner": ALIGNER}
    how: list[str] = []
    doubtful: list[str] = []
    differing: set[str] = set()
    for then, what in measured.items():
        other = {part: was for part, was in zip(here, then, strict=True) if was != here[part]}
        if other:
            parts = " and ".join(f"{part} {was}" for part, was in other.items())
            how.append(" and ".join(done for done, _ in what) + f" with {parts}")
            doubtful += [value for _, value in what]
            differing |= other.keys()
    if not how:
        return []
    this = " and ".join(now for part, now in here.items() if part in differing)
    return [f"{'; '.join(how)}; this is {this}: {' and '.join(doubtful)} may differ"]


def evidence(card: Card, score: float) -> Evidence | None:
    """What ``score`` says by the score map of ``card``; `None` without one."""
    if card.score_map is None:
        return None
    ratio = float(log_likelihood_ratio(card.score_map.curve, score))
    return Evidence(ratio, float(probability(ratio)))


def verify_photos(
    recognizer: Recognizer, first: PhotoPath, second: PhotoPath, threshold: Threshold
) -> Decision:
    """Compare two photos. Raises what `Recognizer.recognise` does, naming the photo."""
    photos = _recognise(recognizer, first), _recognise(recognizer, second)
    score = cosine(photos[0].embedding, photos[1].embedding)
    said = evidence(recognizer.embedder.card, score)
    return Decision(score >= threshold.value, score, threshold, photos, said)


def verify_claim(
    recognizer: Recognizer, records: GalleryRecords, name: str, photo: PhotoPath, threshold: Threshold
) -> Decision:
    """Compare a photo with an enrolled person. Raises `NotFound` for the name, `UsageError` where the
    ``threshold`` is the card's and the gallery was made in another space, for which it says nothing."""
    shared = recognizer.shares_space(records.contract)
    if not shared and threshold.source == "card":
        raise UsageError(
            f"no threshold is known between {recognizer.embedder.name} and {records.contract.model}, which "
            f"{records.path} was made with",
            "Give --threshold: facekd compatibility MODEL OTHER measures it.",
        )
    templates = records.templates(name)
    found = _recognise(recognizer, photo)
    score = cosine(fuse([template.embedding for template in templates]), found.embedding)
    said = evidence(recognizer.embedder.card, score) if shared else None
    return Decision(
        score >= threshold.value, score, threshold, (found,), said, records.person(name).name, len(templates)
    )


def _recognise(recognizer: Recognizer, photo: PhotoPath) -> Recognised:
    """`Recognizer.recognise`, whose errors then know their photo."""
    try:
        return recognizer.recognise(photo)
    except (CannotSay, InputOutput) as error:
        error.photo = os.fspath(photo)
        raise


def cosine(one: Floats, other: Floats) -> float:
    """Of two unit vectors; rounding beyond 1 is cut off."""
    return float(np.clip(np.dot(one, other), -1.0, 1.0))
