"""Enroll people in a gallery from their photos.

All photos of a person are stored in one transaction; a line on stdout confirms that it is committed.
"""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facekd.cli.options import (
    ANY_PATH,
    any_quality_option,
    detector_option,
    device_option,
    gallery_option,
    json_option,
    operators_model_option,
    root_option,
)
from facekd.cli.output import answer, answer_json, progress, say, say_failure
from facekd.errors import UsageError
from facekd.preprocess import ONE_FACE

if TYPE_CHECKING:
    from facekd.workflows import Enrolled, Failure, PhotoFile


@click.command("enroll")
@click.argument("name", required=False)
@click.argument("photos", nargs=-1, type=ANY_PATH, metavar="PHOTO...")
@click.option(
    "--from", "everybody", type=ANY_PATH, metavar="DIR|CSV",
    help="Enroll everybody: a folder per person, or a CSV name,photo (- for standard input).",
)  # fmt: skip
@root_option
@click.option(
    "--on-many", type=click.Choice(ONE_FACE),
    default="dominant", show_default=True,
    help="Which face to keep when several are detected; dominant refuses photos where none clearly is.",
)  # fmt: skip
@click.option(
    "--force", is_flag=True,
    help="Enroll photos that look like another person, or unlike the person's others; the audit records it.",
)  # fmt: skip
@operators_model_option
@gallery_option
@any_quality_option
@detector_option
@device_option
@json_option
def command(
    name: str | None,
    photos: tuple[Path, ...],
    everybody: Path | None,
    root: str | None,
    on_many: str,
    force: bool,
    model: Path,
    gallery: Path,
    any_quality: bool,
    detector: str,
    device: str,
    as_json: bool,
) -> int:
    """Enroll NAME from one or more photos, or everybody from a folder or a list with --from.

    PHOTO may be a folder. Photos that cannot be used are reported and the others enrolled. Photos that
    are enrolled already are skipped, so that an interrupted run can simply be repeated. Photos that do
    not look like the person's others, or that look like another enrolled person, are refused by the
    thresholds in the model's card. With --from, --json prints one line per person. A list begins with
    the line name,photo; its paths are relative to its folder.

    \b
    Example: facekd enroll "Ann Lee" ann1.jpg ann2.jpg --model student.onnx
             facekd enroll --from people/ --model student.onnx --gallery staff.db
             facekd enroll --from people.csv --gallery staff.db
    """
    from facekd.files import make_gallery_folder
    from facekd.gallery import GalleryRecords
    from facekd.workflows import Recognizer, enroll_people, overall, photos_at

    if everybody is not None and name is not None:
        raise click.UsageError(
            "--from takes the names from the folders or the list: do not give NAME or PHOTO."
        )
    if everybody is None and (name is None or not photos):
        raise click.UsageError("Give NAME PHOTO..., or --from DIR or CSV.")
    if root is not None and everybody is None:
        raise click.UsageError("--root needs --from.")
    list_name = None
    if everybody is None:
        people = {_checked(str(name)): photos_at(list(photos))}
    else:
        people, list_name = _everybody(everybody, root)
    recognizer = Recognizer(model, detector=detector, any_quality=any_quality, device=device)
    entries: list[Enrolled] = []
    make_gallery_folder(gallery)
    with GalleryRecords(gallery, recognizer.contract, create=True) as records:
        differences = [f"{gallery} was {one}" for one in recognizer.differences(records.contract)]
        notes = dict.fromkeys(differences)
        for note in notes:
            say(f"note: {note}")
        quiet = sys.stdout.isatty() or everybody is None
        with nullcontext() if quiet else progress("enroll", len(people)) as advance:
            for entry in enroll_people(records, recognizer, people, on_many, force, list_name):
                for note in entry.notes:
                    if note not in notes:
                        say(f"note: {note}")
                    notes[note] = None
                _report(entry, gallery, as_json, indent=2 if everybody is None else None)
                entries.append(entry)
                if advance is not None:
                    advance()
    if everybody is not None:
        _summarise(entries)
    _hint(entries)
    return overall([entry.exit_code for entry in entries])


def _everybody(place: Path, root: str | None) -> tuple[dict[str, list[PhotoFile]], str | None]:
    """Everybody in a folder, a pack or a list, and the name of the list."""
    from facekd.workflows import STDIN, people_in, people_listed, read_listing

    if place == STDIN or (place.suffix.lower() == ".csv" and not place.is_dir()):
        if root is not None:
            raise click.UsageError("--root applies to a folder, not to a list.")
        listing = read_listing(place)
        return people_listed(listing), listing.name
    return people_in(place, root, lambda note: say(f"note: {note}")), None


def _checked(name: str) -> str:
    """``name``, if it is a valid name and not a photo's path given by mistake."""
    from facekd.gallery import clean_name

    clean_name(name)
    if Path(name).is_file():
        raise UsageError(
            f"{name} is a file: the first argument is the person's name",
            f'Give the name first: facekd enroll "Ann Lee" {shlex.quote(name)} ...',
        )
    return name


def _report(entry: Enrolled, gallery: Path, as_json: bool, indent: int | None) -> None:
    from facekd.workflows import enrolled_document

    for failure in entry.failures:
        say_failure(f"not enrolled ({failure.reason}): {failure.message}")
    for warning in entry.warnings:
        say_failure(f"enrolled anyway ({warning.reason}): {warning.message}")
    if as_json:
        answer_json({"gallery": str(gallery)} | enrolled_document(entry), indent)
    elif entry.templates:
        answer(
            f"enrolled {entry.name}: {entry.added} new, {entry.present} already there, "
            f"{len(entry.failures)} failed, {entry.templates} in the gallery"
        )


def _summarise(entries: list[Enrolled]) -> None:
    """How many people and photos are enrolled, who is not, and why."""
    from facekd.gallery import shown

    missing = [entry for entry in entries if not entry.templates]
    added, present = sum(entry.added for entry in entries), sum(entry.present for entry in entries)
    say(
        f"{len(entries) - len(missing)} of {len(entries)} people enrolled: "
        f"{added} photos new, {present} already there"
    )
    for entry in missing:
        say(f"not enrolled: {shown(entry.name)} ({_reasons(entry.failures)})")
    failures = [failure for entry in entries for failure in entry.failures]
    if failures:
        say(f"photos not enrolled: {_reasons(failures)}")


def _reasons(failures: Sequence[Failure]) -> str:
    counted = Counter(failure.reason for failure in failures)
    return ", ".join(f"{count} {reason}" for reason, count in counted.most_common())


def _hint(entries: list[Enrolled]) -> None:
    """Advice on the most common failures, printed once however many there are."""
    reasons = {failure.reason for entry in entries for failure in entry.failures}
    if "several_faces" in reasons:
        say("--on-many best takes the largest face near the centre of a photo with several.")
    if "not_this_person" in reasons or "other_person" in reasons:
        say("--force enrolls photos that look like another person, but never a file that another has.")
