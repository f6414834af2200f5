"""Decide whether two photos, or a photo and an enrolled person, are the same person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facekd.cli._verify_many import verify_many
from facekd.cli.options import (
    ANY_PATH,
    Number,
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
    from facekd.workflows import PhotoPair, Recognizer, Verification


@click.command("verify")
@click.argument("photos", nargs=-1, type=ANY_PATH, metavar="A B | PHOTO")
@click.option("--claim", metavar="NAME", default=None, help="Compare PHOTO with this enrolled person.")
@click.option(
    "--pairs", type=ANY_PATH, metavar="FILE",
    help="Compare the photos in each line a,b of a CSV, or {\"a\": ..., \"b\": ...} of JSON lines "
    "(- for standard input).",
)  # fmt: skip
@click.option(
    "--all", "folder", type=ANY_PATH, metavar="DIR", help="Compare every photo in a folder with every other."
)
@click.option(
    "--max-pairs", type=click.IntRange(1), default=100_000, show_default=True,
    help="How many pairs --all may come to.",
)  # fmt: skip
@threshold_option
@click.option(
    "--fmr", type=Number(0, 1, min_open=True, max_open=True), default=None,
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
    pairs: Path | None,
    folder: Path | None,
    max_pairs: int,
    threshold: float | None,
    fmr: float | None,
    model: Path,
    gallery: Path,
    any_quality: bool,
    detector: str,
    device: str,
    as_json: bool,
) -> int:
    """Compare photos A and B, one PHOTO with an enrolled person (--claim NAME), or many pairs of photos.

    Exit code 0: the same person; 1: different persons; 2: nobody of that name, or no threshold; 3: a
    photo shows no usable face, or one too dark, blurred or noisy for the model. Where a photo shows
    several faces, the largest near its centre is taken and the tool says so.

    With --pairs or --all there is a line for each pair, of CSV or with --json of JSON. The exit code is 0 if
    every pair got an answer, whichever, else that of the gravest failure; paths in a list start from its
    folder.

    \b
    Example: facekd verify a.jpg b.jpg --model student.onnx
             facekd verify --claim "Ann Lee" door.jpg --model student.onnx --gallery staff.db
             facekd verify --pairs pairs.csv > answers.csv
             facekd verify --all photos/ --json
    """
    from facekd.workflows import (
        Recognizer,
        unverified_document,
        verification_document,
        verification_notes,
    )

    many = pairs is not None or folder is not None
    if many and (photos or claim is not None or (pairs is not None and folder is not None)):
        raise click.UsageError("Give one of A B, --claim NAME PHOTO, --pairs FILE and --all DIR.")
    wanted = 2 if claim is None else 1
    if not many and len(photos) != wanted:
        form = "two photos: A B" if claim is None else "one photo with --claim NAME"
        model_too = any(photo.suffix == ".onnx" for photo in photos)
        hint = "; a model is named with --model" if model_too else ""
        raise click.UsageError(f"Give {form} (there are {len(photos)}{hint}).")
    wanted_pairs = _listed(pairs, folder, max_pairs) if many else []
    recognizer = Recognizer(
        model, detector=detector, threshold=threshold, fmr=fmr, any_quality=any_quality, device=device
    )
    limit = recognizer.threshold
    if many:
        return verify_many(recognizer, wanted_pairs, as_json, keep_all=folder is not None)
    try:
        decision = _decide(recognizer, photos, claim, gallery)
    except (CannotSay, InputOutput, NotFound) as error:
        if as_json:
            answer_json(unverified_document(error, limit, recognizer, claim))
            say_failure("\n".join(filter(None, [f"facekd: {error.cause}", error.fix])))
            return error.exit_code
        raise
    notes = verification_notes(decision, limit)
    for note in notes:
        say(f"note: {note}")
    if as_json:
        answer_json(verification_document(decision, recognizer, notes))
    else:
        answer(_sentence(decision))
    return Exit.DONE if decision.same else Exit.DIFFERENT


def _listed(pairs: Path | None, folder: Path | None, most: int) -> list[PhotoPair]:
    """The pairs to compare: of a list or of a folder."""
    from facekd.workflows import every_pair, pairs_listed, read_listing

    if pairs is not None:
        return pairs_listed(read_listing(pairs))
    assert folder is not None
    return every_pair(folder, most)


def _decide(
    recognizer: Recognizer, photos: tuple[Path, ...], claim: str | None, gallery: Path
) -> Verification:
    from facekd.workflows import verify_claim

    if claim is None:
        return recognizer.verify(photos[0], photos[1])
    with recognizer.open_gallery(gallery) as records:
        return verify_claim(recognizer, records, claim, photos[0], recognizer.threshold)


def _sentence(decision: Verification) -> str:
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


def _chance(decision: Verification) -> str:
    from facekd.verification import PRIOR

    if decision.evidence is None:
        return "probability not known"
    # four digits would turn a rare error into a certainty
    p = decision.evidence.probability
    told = "above 0.9999" if p > 0.9999 else "below 0.0001" if p < 0.0001 else f"{p:.4f}"
    return f"probability that it is one person {told} (prior {PRIOR:g})"


def _although(decision: Verification) -> str:
    """What to say where the threshold decides against what is likelier."""
    said = decision.evidence
    if said is None or decision.same == (said.log_likelihood_ratio >= 0):
        return ""
    if decision.same:
        return "; the score reaches a lax threshold, though two persons are the likelier"
    return "; the score lies below a strict threshold, though one person is the likelier"
