"""Maintain a gallery's file: audit, check, statistics, backup."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facekd.cli.options import ANY_PATH, copied_gallery_option, gallery_option, json_option
from facekd.cli.output import answer, answer_json, confirm, say
from facekd.errors import Exit

if TYPE_CHECKING:
    from facekd.gallery import AuditEntry, Encryption, Fault, Place, ReadEntry, Statistics

#: faults listed in one JSON document
MOST_FAULTS = 1000


@click.command("audit")
@click.option("--since", metavar="DATE", help="Only entries from this date, or time in UTC, onwards.")
@click.option(
    "--reads", is_flag=True, help="Show claims and searches instead of changes, or delete only these."
)
@click.option("--prune-before", metavar="DATE", help="Delete older entries, and record that in the audit.")
@click.option(
    "--keep-days", type=click.IntRange(1, 36_500), default=None, metavar="N",
    help="Delete entries older than N days, as --prune-before does.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@gallery_option
@json_option
def audit(
    since: str | None,
    reads: bool,
    prune_before: str | None,
    keep_days: int | None,
    yes: bool,
    gallery: Place,
    as_json: bool,
) -> None:
    """Show the audit: what was done, and when.

    Each line has the date, the action, the person's number, the number of templates and, for requests to
    "facekd serve", the name of the token. The audit holds no names of people; "gallery show NAME" shows a
    person's number, and numbers are never reused. "force" counts templates enrolled despite a warning,
    "prune" deleted audit entries. With --json, one document per line.

    --reads shows what "verify --claim", "identify" and "serve" recorded with --audit: the date, claim or
    search, the number of the person claimed or found (0 for nobody), the result, the model, the rate of its
    threshold and the token's name, but no scores or photos. Without --reads, --prune-before and --keep-days
    delete both kinds of entries.

    \b
    Example: facekd gallery audit --since 2026-01-01
             facekd gallery audit --reads
             facekd gallery audit --prune-before 2024-01-01
             facekd gallery audit --reads --keep-days 90 --yes
    """
    from facekd.gallery import GalleryRecords, moment

    if sum(given is not None for given in (since, prune_before, keep_days)) > 1:
        raise click.UsageError("--since, --prune-before and --keep-days cannot be combined.")
    if keep_days is not None:
        prune_before = (datetime.now(UTC) - timedelta(days=keep_days)).isoformat()
    if prune_before is not None:
        _prune(gallery, moment(prune_before), reads, yes, as_json)
        return
    first = moment(since) if since is not None else ""
    with GalleryRecords(gallery, read_only=True) as records:
        for entry in records.read_entries(first) if reads else records.audit_entries(first):
            if as_json:
                answer_json({"gallery": str(gallery)} | vars(entry), indent=None)
            else:
                told = f"{entry.date}  {entry.action:12}  {entry.person:>6}  {_what(entry)}"
                answer(f"{told}  {entry.by}" if entry.by else told)


def _prune(gallery: Place, before: str, reads: bool, yes: bool, as_json: bool) -> None:
    from facekd.gallery import GalleryRecords

    which = "claims and searches in the audit" if reads else "audit entries"
    with GalleryRecords(gallery) as records:
        if not yes:
            confirm(f"Delete the {which} of {gallery} from before {before}?")
        with records.transaction():
            pruned = records.prune_audit(before, reads)
    if as_json:
        answer_json({"gallery": str(gallery), "pruned": pruned, "before": before, "reads_only": reads})
    else:
        answer(f"pruned {pruned} entries from before {before}")


def _what(entry: AuditEntry | ReadEntry) -> str:
    """The columns of an entry after the person: templates, or result, model and rate."""
    from facekd.gallery import AuditEntry

    if isinstance(entry, AuditEntry):
        return f"{entry.templates:>6}"
    result = f"{entry.result} ({entry.reason})" if entry.reason else entry.result
    rates = (("FMR", entry.fmr), ("FPIR", entry.fpir))
    kept = "".join(f"{name} {rate:g}" for name, rate in rates if rate is not None)
    return f"{result:12}  {entry.model} ({entry.space})  {kept or 'no rate'}"


@click.command("check")
@gallery_option
@json_option
def check(gallery: Place, as_json: bool) -> int:
    """Check a gallery for damage.

    Verifies the checksum of every template, the database, its tables and references, names, and that every
    person has a template and every template a person. With the key of an encrypted gallery, it also decrypts
    every template and name; without the key, everything else is checked. Changes nothing. Each fault is
    listed with what to do about it, and the exit code is then 5.

    \b
    Example: facekd gallery check --gallery staff.db
    """
    from facekd.gallery import GalleryCheck

    checked = GalleryCheck(gallery)
    faults = checked.faults()
    kept: list[Fault] = []
    count = 0
    if as_json:
        kept = list(islice(faults, MOST_FAULTS))
        count = len(kept)
    for fault in faults:
        count += 1
        if not as_json:
            answer(f"{fault.kind}: {fault.message}\n    {fault.fix}")
    if as_json:
        answer_json({
            "gallery": str(gallery), "schema_version": checked.schema,
            "people": checked.people, "templates": checked.templates,
            "encrypted": checked.encrypted, "decrypted": checked.encrypted and not checked.without_key,
            "whole": not count, "fault_count": count, "faults": [vars(fault) for fault in kept],
        })  # fmt: skip
    if checked.without_key:
        say("note: the gallery is encrypted and no key was given: templates and names were not decrypted")
    found = "no fault" if not count else "1 fault" if count == 1 else f"{count} faults"
    people = "1 person" if checked.people == 1 else f"{checked.people} people"
    templates = "1 template" if checked.templates == 1 else f"{checked.templates} templates"
    say(f"{gallery}: {people}, {templates}, {found}")
    return Exit.IO if count else Exit.DONE


@click.command("stats")
@gallery_option
@json_option
def stats(gallery: Place, as_json: bool) -> None:
    """Show the size of a gallery and what is in it.

    People, photos per person, dates of enrolment, quality of the photos, file size.

    \b
    Example: facekd gallery stats --gallery staff.db
    """
    from facekd.gallery import GalleryRecords

    with GalleryRecords(gallery, read_only=True) as records:
        found, contract, encryption = records.statistics(), records.contract, records.encryption
    if as_json:
        answer_json(
            _document(found)
            | {"gallery": str(gallery), "model": contract.model}
            | {"encryption": encryption and encryption.scheme, "key_id": encryption and encryption.key_id}
            | {"names_encrypted": encryption is not None and encryption.names}
        )
        return
    dates = f", enrolled {found.first[:10]} to {found.last[:10]}" if found.templates else ""
    answer(f"people       {found.people}")
    answer(f"templates    {found.templates}{dates}")
    answer(f"removed      {found.removed_people} people, {found.removed_photos} single photos")
    answer(f"size         {found.bytes:,} bytes")
    answer(f"encryption   {_encryption(encryption)}")
    answer(f"model        {contract.model} (space {contract.space[:12]}, {contract.dim} values)")
    answer("photos per person, and number of people")
    for photos, people in found.photos_each.items():
        answer(f"{photos:>8}  {people:>8}")
    answer("quality, and number of photos")
    for place, count in enumerate(found.quality):
        answer(f"{place / 10:>4.1f}-{(place + 1) / 10:.1f}  {count:>7}")


def _encryption(stated: Encryption | None) -> str:
    if stated is None:
        return "none"
    return f"{stated.scheme}, key {stated.key_id}" + (", names too" if stated.names else "")


def _document(found: Statistics) -> dict[str, Any]:
    return {
        "people": found.people, "templates": found.templates, "first": found.first, "last": found.last,
        "photos_each": [{"photos": photos, "people": n} for photos, n in found.photos_each.items()],
        "quality": [
            {"from": place / 10, "to": (place + 1) / 10, "templates": n}
            for place, n in enumerate(found.quality)
        ],
        "removed_people": found.removed_people, "removed_photos": found.removed_photos,
        "bytes": found.bytes,
    }  # fmt: skip


@click.command("backup")
@click.argument("file", type=ANY_PATH)
@click.option("--force", is_flag=True, help="Replace FILE.")
@copied_gallery_option
@json_option
def backup(file: Path, force: bool, gallery: Place, as_json: bool) -> None:
    """Copy a gallery to FILE while it is in use.

    The copy is a gallery itself: a consistent snapshot, readable by its owner only, encrypted if the
    gallery is. It holds personal data, including that of people who are later removed from the gallery.

    FILE is a gallery in a file even if the gallery is in PostgreSQL. To restore it there, copy it into an
    empty database with "gallery copy".

    \b
    Example: facekd gallery backup /backup/staff.db --gallery staff.db
             facekd gallery backup staff.db --gallery postgresql://reader@db.example.org/staff
    """
    from facekd.gallery import back_up

    size = back_up(gallery, file, force)
    if as_json:
        answer_json({"gallery": str(gallery), "file": str(file), "bytes": size})
    else:
        answer(f"backed up {gallery} to {file}: {size:,} bytes")
