"""List, rename, merge and remove the people of a gallery, and look after its file."""

from __future__ import annotations

from pathlib import Path

import click

from facekd.cli import _gallery_archive, _gallery_care, _gallery_scores
from facekd.cli._gallery_evaluate import evaluate_people
from facekd.cli.options import CommandsGroup, galleries_model_option, gallery_option, json_option
from facekd.cli.output import answer, answer_json, confirm, say


@click.group("gallery", cls=CommandsGroup)
def command() -> None:
    """Look after a gallery.

    \b
    Example: facekd gallery list --gallery staff.db
             facekd gallery remove "Ann Lee" --gallery staff.db
    """


for subcommand in (
    _gallery_care.audit, _gallery_care.check, _gallery_care.stats, _gallery_care.backup,
    _gallery_archive.export_, _gallery_archive.import_, evaluate_people, _gallery_scores.calibrate,
    _gallery_scores.dedupe,
):  # fmt: skip
    command.add_command(subcommand)


@command.command("list")
@gallery_option
@json_option
def list_people(gallery: Path, as_json: bool) -> None:
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
def show(name: str, gallery: Path, as_json: bool) -> None:
    """Show the photos of NAME.

    Each line has the id, the date of enrolment and the quality. The id is the beginning of the SHA-256 of
    the photo's file (sha256sum); "gallery remove --photo" takes it. The number is that by which the audit
    knows the person.

    \b
    Example: facekd gallery show "Ann Lee"
    """
    from facekd.gallery import GalleryRecords, shown
    from facekd.workflows import person_document

    with GalleryRecords(gallery, read_only=True) as records:
        if as_json:
            answer_json(person_document(records, name))
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
def rename(old: str, new: str, gallery: Path, as_json: bool) -> None:
    """Rename the person OLD to NEW.

    The old name leaves the file.

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
        answer_json({"name": after, "renamed_from": before, "erasure": _erasure(pending)})
    else:
        answer(f"renamed {shown(before)}: now {shown(after)}" + (", erasure pending" if pending else ""))
    _explain_pending(pending)


@command.command("merge")
@click.argument("name")
@click.argument("other")
@click.option("--force", is_flag=True, help="Merge people who do not look alike; the audit notes it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@galleries_model_option
@gallery_option
@json_option
def merge(
    name: str, other: str, force: bool, yes: bool, model: Path | None, gallery: Path, as_json: bool
) -> None:
    """Merge OTHER into NAME.

    For one person who was enrolled under two names: NAME gets the photos of OTHER, who then is no longer
    enrolled; a photo that both have is kept once. The templates of the two are compared first: below the
    threshold at which "enroll" refuses photos as somebody else's they are not merged. The threshold comes
    from the card of --model, or of the student that ships where the gallery is its own; without one the
    score is shown and not judged.

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
        say("note: no threshold is known for this gallery: nobody checked that the two look alike (--model)")
    if as_json:
        answer_json({
            "name": merged.name, "other": merged.other, "moved": merged.moved, "present": merged.present,
            "templates": total, "score": alike.score, "threshold": alike.threshold,
            "forced": alike.refused, "erasure": _erasure(pending),
        })  # fmt: skip
    else:
        answer(
            f"merged {shown(merged.other)} into {shown(merged.name)}: {merged.moved} new, {merged.present} "
            f"already there, {total} in the gallery ({alike})" + (", erasure pending" if pending else "")
        )
    _explain_pending(pending)


@command.command("remove")
@click.argument("name")
@click.option("--photo", metavar="ID", help='Remove one photo only, by its id from "gallery show".')
@click.option("--yes", is_flag=True, help="Do not ask.")
@gallery_option
@json_option
def remove(name: str, photo: str | None, yes: bool, gallery: Path, as_json: bool) -> None:
    """Remove NAME and every template of theirs, so that no trace is left in the file.

    With --photo, only one of their photos, which may not be the last. Asks before it does so; where there
    is no terminal to ask on, --yes is needed. "pending" means that another program is still reading the
    gallery: the last bytes go when it has finished.

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
        document = removed_document(removed)
        answer_json(document if photo is None else document | {"photo": which.removeprefix("photo ")})
    else:
        what = f"{removed.templates} templates" if photo is None else which
        answer(f"removed {shown(person.name)}: {what}" + (", erasure pending" if pending else ""))
    _explain_pending(pending)


def _photos(count: int) -> str:
    return "1 photo" if count == 1 else f"{count} photos"


def _erasure(pending: bool) -> str:
    return "pending" if pending else "done"


def _explain_pending(pending: bool) -> None:
    if pending:
        say("Another program is reading the gallery. The erased bytes leave the file when it has finished.")
