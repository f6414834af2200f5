"""Manage the gallery: list, rename, merge and remove people, check and back up the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from facekd.cli import (
    _gallery_archive,
    _gallery_care,
    _gallery_encryption,
    _gallery_index,
    _gallery_places,
    _gallery_scores,
)
from facekd.cli._erasure import erasure, explain_pending
from facekd.cli._gallery_evaluate import evaluate_people
from facekd.cli._gallery_re_embed import re_embed
from facekd.cli.options import CommandsGroup, galleries_model_option, gallery_option, json_option
from facekd.cli.output import answer, answer_json, confirm, say

if TYPE_CHECKING:
    from pathlib import Path

    from facekd.gallery import Place


@click.group("gallery", cls=CommandsGroup)
def command() -> None:
    """Manage the gallery.

    \b
    Example: facekd gallery list --gallery staff.db
             facekd gallery remove "Ann Lee" --gallery staff.db
    """


for subcommand in (
    _gallery_care.audit, _gallery_care.check, _gallery_care.stats, _gallery_care.backup,
    _gallery_archive.export_, _gallery_archive.import_, evaluate_people, _gallery_scores.calibrate,
    _gallery_scores.dedupe, _gallery_places.copy, _gallery_places.erase, _gallery_places.roles,
    _gallery_index.index, re_embed,
    _gallery_encryption.new_key, _gallery_encryption.encrypt, _gallery_encryption.rotate_key,
    _gallery_encryption.decrypt,
):  # fmt: skip
    command.add_command(subcommand)


@command.command("list")
@gallery_option
@json_option
def list_people(gallery: Place, as_json: bool) -> None:
    """Show who is enrolled: photos, first and last date of enrolment, name.

    \b
    Example: facekd gallery list --json
    """
    from facekd.gallery import GalleryRecords, shown
    from facekd.workflows import people_document

    with GalleryRecords(gallery, read_only=True) as records:
        if as_json:
            answer_json(people_document(records, str(gallery)))
            return
        contract, people = records.contract, records.people()
    for person in people:
        answer(f"{person.templates:>5}  {person.first[:10]}  {person.last[:10]}  {shown(person.name)}")
    say(f"{len(people)} enrolled in {gallery}, with {contract.model} (space {contract.space[:12]})")


@command.command("show")
@click.argument("name")
@gallery_option
@json_option
def show(name: str, gallery: Place, as_json: bool) -> None:
    """Show the photos of NAME.

    Each line has the id, the date of enrolment and the quality. The id is the beginning of the photo
    file's SHA-256 (sha256sum), as "gallery remove --photo" expects it. The number identifies the person
    in the audit.

    \b
    Example: facekd gallery show "Ann Lee"
    """
    from facekd.gallery import GalleryRecords, shown
    from facekd.workflows import person_document

    with GalleryRecords(gallery, read_only=True) as records:
        if as_json:
            answer_json({"gallery": str(gallery)} | person_document(records, name))
            return
        person = records.person(name)
        number, photos = records.number_of(person.name), records.photos(person.name)
    for photo in photos:
        answer(f"{photo.id}  {photo.enrolled[:10]}  {photo.quality:.2f}")
    say(f"{shown(person.name)}, number {number}: {_photos(len(photos))} in {gallery}")


@command.command("rename")
@click.argument("old")
@click.argument("new")
@gallery_option
@json_option
def rename(old: str, new: str, gallery: Place, as_json: bool) -> None:
    """Rename the person OLD to NEW.

    The old name is erased from the file.

    \b
    Example: facekd gallery rename "Ann Lee" "Ann Smith"
    """
    from facekd.gallery import GalleryRecords, shown

    with GalleryRecords(gallery) as records:
        before = records.person(old).name
        with records.transaction():
            after = records.rename(before, new)
        pending = records.pending
    if as_json:
        answer_json({
            "gallery": str(gallery), "name": after, "renamed_from": before, "erasure": erasure(pending),
        })  # fmt: skip
    else:
        answer(f"renamed {shown(before)}: now {shown(after)}" + (", erasure pending" if pending else ""))
    explain_pending(pending, gallery)


@command.command("merge")
@click.argument("name")
@click.argument("other")
@click.option("--force", is_flag=True, help="Merge people who do not look alike; the audit records it.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@galleries_model_option
@gallery_option
@json_option
def merge(
    name: str, other: str, force: bool, yes: bool, model: Path | None, gallery: Place, as_json: bool
) -> None:
    """Merge OTHER into NAME.

    For a person who was enrolled under two names: NAME gets OTHER's photos, and OTHER is no longer
    enrolled; a photo that both have is kept once. The templates of the two are compared first, and the
    merge is refused below the threshold at which "enroll" refuses photos of another person. The
    threshold comes from the card of --model, or of the shipped student if the gallery was enrolled with
    it; without a threshold, the score is shown but not judged.

    \b
    Example: facekd gallery merge "Ann Lee" "Anne Lee" --model student.onnx
    """
    from facekd.gallery import shown
    from facekd.workflows import merge_people, open_to_merge, resemblance

    records, card = open_to_merge(gallery, model)
    with records:
        if not yes:
            alike = resemblance(records, name, other, card)
            confirm(f"Merge {shown(alike.other)} into {shown(alike.name)} ({alike})?")
        merged, alike = merge_people(records, name, other, card, force)
        total, pending = records.person(merged.name).templates, records.pending
    if alike.threshold is None:
        say("note: no threshold is known for this gallery (--model): their resemblance was not checked")
    if as_json:
        answer_json({
            "gallery": str(gallery), "name": merged.name, "other": merged.other, "moved": merged.moved,
            "present": merged.present, "templates": total, "score": alike.score, "threshold": alike.threshold,
            "forced": alike.refused, "erasure": erasure(pending),
        })  # fmt: skip
    else:
        answer(
            f"merged {shown(merged.other)} into {shown(merged.name)}: {merged.moved} new, {merged.present} "
            f"already there, {total} in the gallery ({alike})" + (", erasure pending" if pending else "")
        )
    explain_pending(pending, gallery)


@command.command("remove")
@click.argument("name")
@click.option("--photo", metavar="ID", help='Remove one photo only, by its id from "gallery show".')
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@gallery_option
@json_option
def remove(name: str, photo: str | None, yes: bool, gallery: Place, as_json: bool) -> None:
    """Remove NAME and all their templates, leaving no trace in the file.

    With --photo, remove only that photo, which must not be their last. The command asks for confirmation;
    without a terminal, --yes is required. "pending" means that another program is still reading the
    gallery: the last bytes are erased when it has finished.

    \b
    Example: facekd gallery remove "Ann Lee" --yes
             facekd gallery remove "Ann Lee" --photo 3f0c91ab22d4
    """
    from facekd.gallery import GalleryRecords, shown
    from facekd.workflows import Removed, remove_person, removed_document

    with GalleryRecords(gallery) as records:
        person = records.person(name)
        which = _photos(person.templates) if photo is None else f"photo {photo}"
        if not yes:
            confirm(f"Remove {shown(person.name)} ({which})?")
        if photo is None:
            removed = remove_person(records, person.name)
        else:
            with records.transaction():
                which = f"photo {records.remove_photo(person.name, photo).id}"
            removed = Removed(person.name, 1, records.pending)
    pending = removed.pending
    if as_json:
        document = {"gallery": str(gallery)} | removed_document(removed)
        answer_json(document if photo is None else document | {"photo": which.removeprefix("photo ")})
    else:
        what = f"{removed.templates} templates" if photo is None else which
        answer(f"removed {shown(person.name)}: {what}" + (", erasure pending" if pending else ""))
    explain_pending(pending, gallery)


def _photos(count: int) -> str:
    return "1 photo" if count == 1 else f"{count} photos"
