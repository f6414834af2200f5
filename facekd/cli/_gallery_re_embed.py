"""``facekd gallery re-embed``: move a gallery to another model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facekd.cli._erasure import erasure, explain_pending
from facekd.cli.options import (
    ANY_PATH,
    any_quality_option,
    detector_option,
    device_option,
    gallery_option,
    json_option,
    operators_model_option,
)
from facekd.cli.output import answer, answer_json, progress, say, say_failure
from facekd.errors import Exit
from facekd.preprocess import ONE_FACE

if TYPE_CHECKING:
    from facekd.errors import FacekdError
    from facekd.gallery import Place
    from facekd.workflows import NotMoved, ReEmbedded

_ADD = "Add their photos to the folder."
_UNINDEXED_FIX = "Build it: facekd gallery index --engine ENGINE; until then the gallery is searched exactly."
_ADD_OR_DROP = "Add their photos to the folder, or use --drop-missing to leave these people out."


@click.command("re-embed")
@click.option(
    "--from", "photos", type=ANY_PATH, required=True, metavar="PHOTOS",
    help="Folder or zip that holds the photos people were enrolled with.",
)  # fmt: skip
@click.option("--out", type=ANY_PATH, default=None, help="Write the moved gallery to this file instead.")
@click.option("--force", is_flag=True, help="Replace the file of --out.")
@click.option("--drop-missing", is_flag=True, help="Drop people none of whose photos can be moved.")
@click.option(
    "--on-many", type=click.Choice(ONE_FACE), default="dominant", show_default=True,
    help="Which face to keep when several are detected, as for enroll.",
)  # fmt: skip
@operators_model_option
@gallery_option
@any_quality_option
@detector_option
@device_option
@json_option
def re_embed(
    photos: Path,
    out: Path | None,
    force: bool,
    drop_missing: bool,
    on_many: str,
    model: Path,
    gallery: Place,
    any_quality: bool,
    detector: str,
    device: str,
    as_json: bool,
) -> Exit:
    """Move a gallery to another model, using the photos people were enrolled with.

    A gallery stores no photos, only the SHA-256 of each, which identifies a photo wherever it is in PHOTOS
    and whatever its name; photos of nobody in the gallery are counted and ignored. People keep their names
    and dates of enrolment. The gallery is changed in one transaction. It stays as it was if the command is
    interrupted, or if all photos of somebody are missing or unusable, unless --drop-missing is given.

    Moving a gallery in PostgreSQL takes its owner. Its search index is dropped before the change and built
    again after it; in between, the gallery is searched exactly.

    \b
    Example: facekd gallery re-embed --from people/ --model new.onnx --gallery staff.db
             facekd gallery re-embed --from people/ --model new.onnx --out new.db
    """
    from facekd.workflows import Recognizer, photos_to_re_embed, re_embed_gallery

    if force and out is None:
        raise click.UsageError("--force needs --out.")
    count = photos_to_re_embed(photos)
    recognizer = Recognizer(model, detector=detector, any_quality=any_quality, device=device)
    with progress("re-embed", count) as advance:
        found = re_embed_gallery(
            gallery, photos, recognizer, out=out, replace=force, drop_missing=drop_missing,
            on_many=on_many, advance=advance,
        )  # fmt: skip
    if as_json:
        answer_json(_document(found, gallery, out))
    _report(found, gallery, out, as_json)
    return found.exit_code


def _report(found: ReEmbedded, gallery: Place, out: Path | None, as_json: bool) -> None:
    seen = found.seen
    for failure in seen.failures:
        say_failure(f"photo not used ({failure.reason}): {failure.message}")
    for person in found.not_moved:
        say_failure(_lacking(person))
    say(f"{seen.read} photos read: {seen.unknown} of nobody in the gallery, {seen.copies} copies of others")
    if found.moved is None:
        say_failure(f"facekd: {_refusal(found)}")
        say_failure(_fix(found))
        return
    if not as_json:
        people = found.people - len(found.lost)
        answer(
            f"moved {people} people, {found.moved.templates} templates from {found.before.model} to "
            f"{found.after.model}: {out or gallery}" + (", erasure pending" if found.moved.pending else "")
        )
    explain_pending(found.moved.pending, out or gallery)
    if found.index is not None:
        say(f"the search index of {found.index} was built anew")
    if found.unindexed is not None:
        say_failure(f"facekd: {_unindexed(found.unindexed)}\n{_UNINDEXED_FIX}")


def _lacking(person: NotMoved) -> str:
    from facekd.gallery import shown

    why = ", ".join(f"{count} {reason}" for reason, count in person.reasons.items())
    if not person.moved:
        return f"not moved: {shown(person.name)} ({why})"
    of = person.photos + person.moved
    return f"photos not moved: {shown(person.name)}, {person.photos} of {of} ({why})"


def _unindexed(error: FacekdError) -> str:
    return f"the gallery was moved, but its search index was not built anew: {error.cause}"


def _refusal(found: ReEmbedded) -> str:
    return f"nothing was changed: {len(found.lost)} of {found.people} people cannot be moved"


def _fix(found: ReEmbedded) -> str:
    """What to do about people who cannot be moved. At least one person has to remain in the gallery."""
    return _ADD if len(found.lost) == found.people else _ADD_OR_DROP


def _document(found: ReEmbedded, gallery: Place, out: Path | None) -> dict[str, Any]:
    moved, seen = found.moved, found.seen
    failure = None
    if moved is None:
        failure = {"reason": "not_moved", "message": _refusal(found), "fix": _fix(found)}
    elif found.unindexed is not None:
        error = found.unindexed
        failure = {"reason": error.reason, "message": _unindexed(error), "fix": _UNINDEXED_FIX}
    return {
        "gallery": str(gallery), "out": str(out) if out else None,
        "from": {"model": found.before.model, "space": found.before.space},
        "to": {"model": found.after.model, "space": found.after.space},
        "people": found.people, "templates": found.templates,
        "moved_people": found.people - len(found.lost) if moved else 0,
        "moved": moved.templates if moved else 0, "dropped": moved.dropped if moved else 0,
        "not_moved": [person.to_dict() for person in found.not_moved],
        "photos": {
            "read": seen.read, "unknown": seen.unknown, "copies": seen.copies,
            "failures": [
                {"photo": f.photo, "reason": f.reason, "message": f.message} for f in seen.failures
            ],
        },
        "erasure": None if moved is None else erasure(moved.pending),
        "index": found.index,
        "failure": failure,
    }  # fmt: skip
