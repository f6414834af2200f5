"""Verify a claim: compare a photo with an enrolled person."""

from __future__ import annotations

from facekd.errors import FacekdError, UsageError
from facekd.gallery import GalleryRecords
from facekd.preprocess import PhotoLike
from facekd.runtime import fuse
from facekd.workflows.gallery_thresholds import own_scores, threshold_for_claims
from facekd.workflows.read_audit import ReadAudit
from facekd.workflows.recognizer import Recognizer, Verification, cosine
from facekd.workflows.thresholds import Threshold, among_similar, doubts, evidence


def verify_claim(
    recognizer: Recognizer,
    records: GalleryRecords,
    name: str,
    photo: PhotoLike,
    threshold: Threshold,
    photo_name: str = "",
) -> Verification:
    """Compare a photo with an enrolled person. The card's ``threshold`` is replaced by the gallery's own at
    the same false match rate if it has enough people for that (`gallery_thresholds`). ``photo_name`` is the
    photo's name, by default its path. If the records audit reads, the result is durably recorded when this
    returns or raises.

    Raises `NotFound` for the name; `UsageError` if the ``threshold`` is the card's and the gallery belongs to
    another space, for which it was not measured; `InputOutput` if the result cannot be recorded; and what
    `Recognizer.recognise` raises for the photo.
    """
    audit = ReadAudit.of(recognizer, records)
    try:
        decision = _compared(recognizer, records, name, photo, threshold, photo_name)
    except FacekdError as error:
        audit.note_failed_claim(name, error, threshold.fmr)
        raise
    audit.note_claim(decision)
    return decision


def _compared(
    recognizer: Recognizer, records: GalleryRecords, name: str, photo: PhotoLike, threshold: Threshold,
    photo_name: str,
) -> Verification:  # fmt: skip
    shared = recognizer.shares_space(records.contract)
    if not shared and threshold.source == "card":
        raise UsageError(
            f"no threshold is known between {recognizer.embedder.name} and {records.contract.model}, which "
            f"{records.path} was made with",
            "Give --threshold, as measured by facekd compatibility MODEL OTHER.",
        )
    card = recognizer.embedder.card
    if threshold.source == "card" and threshold.fmr is not None:
        own = own_scores(records)
        fitting = threshold_for_claims(own, threshold.fmr, recognizer.detector.name) if own else None
        threshold = fitting or threshold
    templates = records.templates(name)
    found = recognizer.recognise(photo, photo_name)
    score = cosine(fuse([template.embedding for template in templates]), found.embedding)
    prepared = [f"{records.path} was {one}" for one in recognizer.differences(records.contract)]
    return Verification(
        same=score >= threshold.value,
        score=score,
        threshold=threshold,
        photos=(found,),
        evidence=evidence(card, score) if shared else None,
        claim=records.person(name).name,
        templates=len(templates),
        notes=(
            *doubts(threshold, recognizer.detector.name, card.score_map),
            *among_similar(card, threshold),
            *prepared,
        ),
    )
