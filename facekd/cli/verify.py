"""Decide whether two photos, or a photo and an enrolled person, are the same person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facekd.cli.options import (
    ANY_PATH,
    any_quality_option,
    detector_option,
    device_option,
    gallery_option,
    json_option,
    operators_model_option,
    threshold_option,
)
from facekd.cli.output import answer, answer_json, say, say_failure
from facekd.errors import CannotSay, Exit, InputOutput, NotFound

if TYPE_CHECKING:
    from facekd.workflows import Decision, Recognised, Recognizer, Threshold


@click.command("verify")
@click.argument("photos", nargs=-1, type=ANY_PATH, metavar="A B | PHOTO")
@click.option("--claim", metavar="NAME", default=None, help="Compare PHOTO with this enrolled person.")
@threshold_option
@click.option(
    "--fmr", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=None,
    help="Which of the card's calibrated thresholds to use; else the strictest.",
)  # fmt: skip
@operators_model_option
@gallery_option
@any_quality_option
@detector_option
@device_option
@json_option
def command(
    photos: tuple[Path, ...],
    claim: str | None,
    threshold: float | None,
    fmr: float | None,
    model: Path,
    gallery: Path,
    any_quality: bool,
    detector: str,
    device: str,
    as_json: bool,
) -> int:
    """Compare photos A and B, or one PHOTO with an enrolled person (--claim NAME).

    Exit code 0: the same person; 1: different persons; 2: nobody of that name, or no threshold; 3: a
    photo shows no usable face, or one too dark, blurred or noisy for the model. Where a photo shows
    several faces, the largest near its centre is taken and the tool says so.

    \b
    Example: facekd verify a.jpg b.jpg --model student.onnx
             facekd verify --claim "Ann Lee" door.jpg --model student.onnx --gallery staff.db
    """
    from facekd.workflows import Recognizer, choose_threshold, doubts

    wanted = 2 if claim is None else 1
    if len(photos) != wanted:
        form = "two photos: A B" if claim is None else "one photo with --claim NAME"
        model_too = any(photo.suffix == ".onnx" for photo in photos)
        hint = "; a model is named with --model" if model_too else ""
        raise click.UsageError(f"Give {form} (there are {len(photos)}{hint}).")
    recognizer = Recognizer.load(model, detector, device, any_quality)
    card = recognizer.embedder.card
    limit = choose_threshold(card, threshold, fmr)
    notes = recognizer.assumptions() + doubts(limit, recognizer.detector.name, card.score_map)
    try:
        decision = _decide(recognizer, photos, claim, gallery, limit, notes)
    except (CannotSay, InputOutput, NotFound) as error:
        if as_json:
            answer_json(_no_answer(error, limit, recognizer, claim, notes))
            say_failure("\n".join(filter(None, [f"facekd: {error.cause}", error.fix])))
            return error.exit_code
        raise
    for note in notes:
        say(f"note: {note}")
    if as_json:
        answer_json(_document(decision, recognizer, notes))
    else:
        answer(_sentence(decision))
    return Exit.DONE if decision.same else Exit.DIFFERENT


def _decide(
    recognizer: Recognizer,
    photos: tuple[Path, ...],
    claim: str | None,
    gallery: Path,
    limit: Threshold,
    notes: list[str],
) -> Decision:
    """The decision; what the person at the shell should know beside it goes into ``notes``."""
    from facekd.workflows import verify_claim, verify_photos

    if claim is None:
        decision = verify_photos(recognizer, photos[0], photos[1], limit)
    else:
        with recognizer.open_gallery(gallery) as records:
            notes += [f"{gallery} was {one}" for one in recognizer.differences(records.contract)]
            decision = verify_claim(recognizer, records, claim, photos[0], limit)
    notes += [note for photo in decision.photos for note in _of_photo(photo, limit)]
    return decision


def _of_photo(photo: Recognised, limit: Threshold) -> list[str]:
    """What should be known of a photo: which face was taken, what it lacks."""
    told = []
    if photo.faces > 1:
        left, top, right, bottom = (round(float(v)) for v in photo.face.box)
        told.append(f"{photo.photo}: {photo.faces} faces, took the one at {left},{top} to {right},{bottom}")
    holds = f"; FMR {limit.fmr:g} does not hold" if limit.fmr else ""
    return told + [f"{photo.photo}: {fault.cause}{holds}" for fault in photo.faults]


def _sentence(decision: Decision) -> str:
    limit = decision.threshold
    origin = "given" if limit.source == "option" else f"FMR {limit.fmr:g} on {limit.data}"
    if decision.claim is None:
        verdict = "same person" if decision.same else "different persons"
    else:
        verdict = "same person as" if decision.same else "different person from"
        verdict += f" {decision.claim} ({_photos(decision.templates)})"
    return (
        f"{verdict}: score {decision.score:.4f}, threshold {limit.value:.4f} ({origin}), "
        f"{_chance(decision)}{_although(decision)}"
    )


def _photos(count: int | None) -> str:
    return "1 photo" if count == 1 else f"{count} photos"


def _chance(decision: Decision) -> str:
    from facekd.verification import PRIOR

    if decision.evidence is None:
        return "probability not known"
    # four digits would turn a rare error into a certainty
    p = decision.evidence.probability
    told = "above 0.9999" if p > 0.9999 else "below 0.0001" if p < 0.0001 else f"{p:.4f}"
    return f"probability that it is one person {told} (prior {PRIOR:g})"


def _although(decision: Decision) -> str:
    """What to say where the threshold decides against what is likelier."""
    said = decision.evidence
    if said is None or decision.same == (said.log_likelihood_ratio >= 0):
        return ""
    if decision.same:
        return "; the score reaches a lax threshold, though two persons are the likelier"
    return "; the score lies below a strict threshold, though one person is the likelier"


def _document(decision: Decision, recognizer: Recognizer, notes: list[str]) -> dict[str, Any]:
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


def _no_answer(
    error: CannotSay | InputOutput | NotFound,
    limit: Threshold,
    recognizer: Recognizer,
    claim: str | None,
    notes: list[str],
) -> dict[str, Any]:
    """The document of a comparison that was not made, with the keys of one that was."""
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
        "notes": notes,
    }


def _setting(limit: Threshold, recognizer: Recognizer) -> dict[str, Any]:
    from facekd.verification import PRIOR

    return {
        "prior": PRIOR,
        "threshold": {"value": limit.value, "source": limit.source, "fmr": limit.fmr, "data": limit.data},
        "model": {"name": recognizer.embedder.name, "space": recognizer.embedder.space},
        "detector": recognizer.detector.name,
    }
