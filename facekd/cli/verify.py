"""Decide whether two photos, or a photo and an enrolled person, are the same person."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facekd.cli._defaults import or_setting
from facekd.cli._verify_many import verify_many
from facekd.cli.options import (
    ANY_PATH,
    Number,
    annotate_option,
    any_quality_option,
    claims_audit_option,
    claims_gallery_option,
    detector_option,
    device_option,
    json_option,
    operators_model_option,
    threshold_option,
)
from facekd.cli.output import answer, answer_json, say, say_failure
from facekd.errors import CannotSay, Exit, InputOutput, NotFound

if TYPE_CHECKING:
    from facekd.gallery import Place
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
    help="Most pairs that --all may compare.",
)  # fmt: skip
@threshold_option("fmr")
@click.option(
    "--fmr", type=Number(0, 1, min_open=True, max_open=True), default=None,
    callback=or_setting("fmr", "threshold"),
    help="Use the card's threshold for this false match rate [default: the strictest].",
)  # fmt: skip
@operators_model_option
@claims_gallery_option
@claims_audit_option
@annotate_option
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
    gallery: Place | None,
    audit_reads: bool,
    annotate: Path | None,
    any_quality: bool,
    detector: str,
    device: str,
    as_json: bool,
) -> int:
    """Compare photos A and B, one PHOTO with an enrolled person (--claim NAME), or many pairs of photos.

    Exit code 0: same person; 1: different people; 2: name not enrolled, or no threshold; 3: a
    photo shows no usable face, or one too dark, blurred or noisy for the model. If a photo shows
    several faces, the largest near the centre is used and a note says so.

    With --pairs or --all, each pair gets one line, of CSV or with --json of JSON. The exit code is 0 if
    every pair was decided, either way, otherwise that of the most serious failure. Paths in a list are
    relative to its folder.

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
        raise click.UsageError("Give exactly one of A B, --claim NAME PHOTO, --pairs FILE or --all DIR.")
    wanted = 2 if claim is None else 1
    if not many and len(photos) != wanted:
        form = "two photos: A B" if claim is None else "one photo with --claim NAME"
        model_too = any(photo.suffix == ".onnx" for photo in photos)
        hint = "; give the model with --model" if model_too else ""
        raise click.UsageError(f"Give {form} ({len(photos)} given{hint}).")
    if annotate is not None:
        _check_annotation(annotate, photos, many)
    wanted_pairs = _listed(pairs, folder, max_pairs) if many else []
    recognizer = Recognizer(
        model, detector=detector, threshold=threshold, fmr=fmr, any_quality=any_quality, device=device
    )
    limit = recognizer.threshold
    if many:
        return verify_many(recognizer, wanted_pairs, as_json, keep_all=folder is not None)
    try:
        decision = _decide(recognizer, photos, claim, gallery, audit_reads)
    except (CannotSay, InputOutput, NotFound) as error:
        if claim is None or isinstance(error, NotFound):
            error.fix = _mistaken(photos, claim) or error.fix
        if as_json:
            named = {"gallery": None if claim is None else str(gallery)}
            answer_json(unverified_document(error, limit, recognizer, claim) | named)
            say_failure("\n".join(filter(None, [f"facekd: {error.cause}", error.fix])))
            return error.exit_code
        raise
    notes = verification_notes(decision, limit)
    for note in notes:
        say(f"note: {note}")
    if annotate is not None:
        _annotate(recognizer, decision, photos, notes, annotate)
    if as_json:
        named = {"gallery": None if claim is None else str(gallery)}
        answer_json(verification_document(decision, recognizer, notes) | named)
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


def _check_annotation(annotate: Path, photos: tuple[Path, ...], many: bool) -> None:
    from facekd.reporting import check_annotation

    if many:
        raise click.UsageError("--annotate draws one comparison: it needs A B or --claim NAME PHOTO.")
    check_annotation(annotate, photos)


def _annotate(
    recognizer: Recognizer, decision: Verification, photos: tuple[Path, ...], notes: list[str], to: Path
) -> None:
    from facekd.reporting import write_annotation
    from facekd.workflows import annotate_verification

    lines = [_reasons(decision), *(f"note: {note}" for note in notes)]
    write_annotation(annotate_verification(recognizer, decision, photos, _verdict(decision), lines), to)


def _decide(
    recognizer: Recognizer,
    photos: tuple[Path, ...],
    claim: str | None,
    gallery: Place | None,
    audit_reads: bool,
) -> Verification:
    from facekd.workflows import verify_claim

    if claim is None or gallery is None:
        return recognizer.verify(photos[0], photos[1])
    with recognizer.open_gallery(gallery, audit_reads=audit_reads) as records:
        return verify_claim(recognizer, records, claim, photos[0], recognizer.threshold)


def _mistaken(photos: tuple[Path, ...], claim: str | None) -> str | None:
    """What to write, if a file is given as the name, or a name or a folder as a photo."""
    if claim is not None:
        return "--claim takes the person's name: --claim NAME PHOTO." if Path(claim).is_file() else None
    name, photo = photos
    if photo.is_file() and not (name.exists() or name.suffix):
        told = f"facekd verify --claim {shlex.quote(str(name))} {shlex.quote(str(photo))}"
        return f"A person who is enrolled is named by --claim: {told}"
    for folder in photos:
        if folder.is_dir():
            told = f"facekd verify --all {shlex.quote(str(folder))}"
            return f"To compare all photos of a folder with each other: {told}"
    return None


def _sentence(decision: Verification) -> str:
    return f"{_verdict(decision)}: {_reasons(decision)}"


def _verdict(decision: Verification) -> str:
    if decision.claim is None:
        return "same person" if decision.same else "different people"
    verdict = "same person as" if decision.same else "different person from"
    return f"{verdict} {decision.claim} ({_photos(decision.templates)})"


def _reasons(decision: Verification) -> str:
    limit = decision.threshold
    origin = "given" if limit.source == "option" else f"FMR {limit.fmr:g} on {limit.data}"
    return (
        f"score {decision.score:.4f}, threshold {limit.value:.4f} ({origin}), "
        f"{_chance(decision)}{_although(decision)}"
    )


def _photos(count: int | None) -> str:
    return "1 photo" if count == 1 else f"{count} photos"


def _chance(decision: Verification) -> str:
    from facekd.verification import PRIOR

    if decision.evidence is None:
        return "probability unknown"
    # four digits would turn a rare error into a certainty
    p = decision.evidence.probability
    told = "above 0.9999" if p > 0.9999 else "below 0.0001" if p < 0.0001 else f"{p:.4f}"
    return f"probability of the same person {told} (prior {PRIOR:g})"


def _although(decision: Verification) -> str:
    """A remark for when the threshold decides against what is more likely."""
    said = decision.evidence
    if said is None or decision.same == (said.log_likelihood_ratio >= 0):
        return ""
    if decision.same:
        return "; the score reaches a lax threshold, although different people are more likely"
    return "; the score is below a strict threshold, although the same person is more likely"
