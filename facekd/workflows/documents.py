"""Answers for operators as documents: those that ``--json`` prints and the service sends.

Their keys are a public contract: keys are added, never renamed.
"""

from __future__ import annotations

from typing import Any

from facekd.errors import CannotSay, InputOutput, NotFound
from facekd.gallery import GalleryRecords
from facekd.verification import PRIOR
from facekd.workflows.enroll import Enrolled
from facekd.workflows.people import Removed
from facekd.workflows.photo_notes import notes_of
from facekd.workflows.recognizer import Recognizer, Verification
from facekd.workflows.thresholds import Threshold


def verification_notes(decision: Verification, limit: Threshold) -> list[str]:
    """Notes about a decision and about each of its photos."""
    return [*decision.notes, *(note for photo in decision.photos for note in notes_of(photo, limit.fmr))]


def verification_document(decision: Verification, recognizer: Recognizer, notes: list[str]) -> dict[str, Any]:
    """The document of a completed comparison."""
    said = decision.evidence
    return {
        "same": decision.same,
        "score": decision.score,
        "probability": said.probability if said else None,
        "log_likelihood_ratio": said.log_likelihood_ratio if said else None,
        "failure": None,
        **_setting(decision.threshold, recognizer),
        "claim": decision.claim,
        "templates": decision.templates,
        "photos": [
            {
                "path": photo.photo,
                "faces": photo.faces,
                "box": [round(float(v), 1) for v in photo.face.box],
                "quality": round(photo.quality, 3),
                "faults": [fault.reason for fault in photo.faults],
            }
            for photo in decision.photos
        ],
        "notes": notes,
    }


def unverified_document(
    error: CannotSay | InputOutput | NotFound, limit: Threshold, recognizer: Recognizer, claim: str | None
) -> dict[str, Any]:
    """The document of a comparison that failed, with the same keys."""
    return {
        "same": None,
        "score": None,
        "probability": None,
        "log_likelihood_ratio": None,
        "failure": {
            "photo": error.photo,
            "reason": error.reason,
            "message": error.cause,
            "fix": error.fix,
        },
        **_setting(limit, recognizer),
        "claim": claim,
        "templates": None,
        "photos": [],
        "notes": recognizer.doubts(),
    }


def _setting(limit: Threshold, recognizer: Recognizer) -> dict[str, Any]:
    return {
        "prior": PRIOR,
        "threshold": {"value": limit.value, "source": limit.source, "fmr": limit.fmr, "data": limit.data},
        "model": {"name": recognizer.embedder.name, "space": recognizer.embedder.space},
        "detector": recognizer.detector.name,
    }


def enrolled_document(entry: Enrolled) -> dict[str, Any]:
    """The outcome of a person's photos."""
    return {
        "name": entry.name,
        "added": entry.added,
        "present": entry.present,
        "templates": entry.templates,
        "failures": [{"photo": f.photo, "reason": f.reason, "message": f.message} for f in entry.failures],
        "enrolled": bool(entry.templates),
        "warnings": [{"photo": w.photo, "reason": w.reason, "message": w.message} for w in entry.warnings],
        "forced": entry.forced,
        "guard": entry.guard.to_dict() if entry.guard else None,
        "notes": list(entry.notes),
        **({"videos": [video.to_dict() for video in entry.videos]} if entry.videos else {}),
    }


def people_document(records: GalleryRecords, gallery: str) -> dict[str, Any]:
    """The people enrolled in ``gallery``, which is its name in the document."""
    contract = records.contract
    return {
        "gallery": gallery,
        "model": contract.model, "space": contract.space, "dim": contract.dim,
        "detector": contract.detector, "aligner": contract.aligner,
        "people": [
            {"name": p.name, "templates": p.templates, "first": p.first, "last": p.last}
            for p in records.people()
        ],
    }  # fmt: skip


def person_document(records: GalleryRecords, name: str) -> dict[str, Any]:
    """The photos of one person. Raises `NotFound`."""
    person = records.person(name)
    return {
        "name": person.name,
        "number": records.number_of(person.name),
        "photos": [
            {"id": p.id, "sha256": p.photo, "enrolled": p.enrolled, "quality": p.quality}
            for p in records.photos(person.name)
        ],
    }


def removed_document(removed: Removed) -> dict[str, Any]:
    """Who was removed, and whether the erasure is pending."""
    erasure = "pending" if removed.pending else "done"
    return {"name": removed.name, "templates": removed.templates, "erasure": erasure}
