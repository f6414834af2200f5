"""Enroll people in a gallery from their photos.

All photos of a person are stored in one transaction; a line on stdout says that it is committed.
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
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
    model_option,
    root_option,
)
from facekd.cli.output import progress, say
from facekd.errors import Exit

if TYPE_CHECKING:
    from facekd.workflows import Enrolled


@click.command("enroll")
@click.argument("name", required=False)
@click.argument("photos", nargs=-1, type=ANY_PATH, metavar="PHOTO...")
@click.option("--from", "tree", type=ANY_PATH, metavar="DIR", help="Enroll everybody: a folder per person.")
@root_option
@click.option(
    "--on-many", type=click.Choice(["best", "largest", "central"]), default=None,
    help="Whom to take where a photo shows several faces; else such a photo is refused.",
)  # fmt: skip
@model_option()
@gallery_option
@any_quality_option
@detector_option
@device_option
@json_option
def command(
    name: str | None,
    photos: tuple[Path, ...],
    tree: Path | None,
    root: str | None,
    on_many: str | None,
    model: Path,
    gallery: Path,
    any_quality: bool,
    detector: str,
    device: str,
    as_json: bool,
) -> int:
    """Enroll NAME from one or more photos, or everybody from a folder with --from.

    PHOTO may be a folder. Photos that cannot be used are reported and the others enrolled; photos
    that the person already has are passed over, so that a run that was cut short is continued by
    repeating it. With --from, --json prints one line per person.

    \b
    Example: facekd enroll "Ann Lee" ann1.jpg ann2.jpg --model student.onnx
             facekd enroll --from people/ --model student.onnx --gallery staff.db
    """
    from facekd.gallery import GalleryRecords, clean_name
    from facekd.workflows import Recognizer, enroll_people, overall, people_in, photos_at

    if tree is not None and name is not None:
        raise click.UsageError("--from takes the names from the folders: give no NAME and PHOTO.")
    if tree is None and (name is None or not photos):
        raise click.UsageError("Say whom and from what: NAME PHOTO..., or --from DIR.")
    if root is not None and tree is None:
        raise click.UsageError("--root goes with --from.")
    if tree:
        people = people_in(tree, root, lambda note: say(f"note: {note}"))
    else:
        people = {clean_name(str(name)): photos_at(list(photos))}
    recognizer = Recognizer.load(model, detector, device, any_quality)
    codes: list[Exit] = []
    with GalleryRecords(gallery, recognizer.contract, create=True) as records:
        differences = [f"{gallery} was {one}" for one in recognizer.differences(records.contract)]
        for note in recognizer.assumptions() + differences:
            say(f"note: {note}")
        with nullcontext() if sys.stdout.isatty() or not tree else progress("enroll", len(people)) as advance:
            for entry in enroll_people(records, recognizer, people, on_many or "skip"):
                _report(entry, as_json, indent=None if tree else 2)
                codes.append(entry.exit_code)
                if advance is not None:
                    advance()
    return overall(codes)


def _report(entry: Enrolled, as_json: bool, indent: int | None) -> None:
    for failure in entry.failures:
        say(f"not enrolled ({failure.reason}): {failure.message}")
    if any(failure.reason == "several_faces" for failure in entry.failures):
        say("--on-many best takes the largest face near the centre of such a photo.")
    if as_json:
        click.echo(json.dumps(_document(entry), indent=indent, ensure_ascii=False))
    elif entry.templates:
        click.echo(
            f"enrolled {entry.name}: {entry.added} new, {entry.present} already there, "
            f"{len(entry.failures)} failed, {entry.templates} in the gallery"
        )


def _document(entry: Enrolled) -> dict[str, Any]:
    return {
        "name": entry.name,
        "added": entry.added,
        "present": entry.present,
        "templates": entry.templates,
        "failures": [{"photo": f.photo, "reason": f.reason, "message": f.message} for f in entry.failures],
    }
