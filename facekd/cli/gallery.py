"""List the people of a gallery, or remove one of them for good."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from facekd.cli.options import CommandsGroup, gallery_option, json_option
from facekd.cli.output import answer, answer_json, say


@click.group("gallery", cls=CommandsGroup)
def command() -> None:
    """Look after a gallery.

    \b
    Example: facekd gallery list --gallery staff.db
             facekd gallery remove "Ann Lee" --gallery staff.db
    """


@command.command("list")
@gallery_option
@json_option
def list_people(gallery: Path, as_json: bool) -> None:
    """Show who is enrolled: photos, first and last date of enrolment, name.

    \b
    Example: facekd gallery list --json
    """
    from facekd.gallery import GalleryRecords

    with GalleryRecords(gallery, read_only=True) as records:
        contract, people = records.contract, records.people()
    if as_json:
        answer_json({
            "gallery": str(gallery),
            "model": contract.model, "space": contract.space, "dim": contract.dim,
            "detector": contract.detector, "aligner": contract.aligner,
            "people": [
                {"name": p.name, "templates": p.templates, "first": p.first, "last": p.last} for p in people
            ],
        })  # fmt: skip
        return
    for person in people:
        answer(f"{person.templates:>5}  {person.first[:10]}  {person.last[:10]}  {person.name}")
    say(f"{len(people)} enrolled in {gallery}, with {contract.model} (space {contract.space[:12]})")


@command.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@gallery_option
@json_option
def remove(name: str, yes: bool, gallery: Path, as_json: bool) -> None:
    """Remove NAME and every template of theirs, so that no trace is left in the file.

    Asks before it does so; where there is no terminal to ask on, --yes is needed. "pending" means
    that another program is still reading the gallery: the last bytes go when it has finished.

    \b
    Example: facekd gallery remove "Ann Lee" --yes
    """
    from facekd.gallery import GalleryRecords

    with GalleryRecords(gallery) as records:
        person = records.person(name)
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError("There is no terminal to ask on; add --yes.")
            photos = "1 photo" if person.templates == 1 else f"{person.templates} photos"
            click.confirm(f"Remove {person.name} ({photos})?", abort=True, err=True)
        with records.transaction():
            removed = records.remove(person.name)
        pending = records.pending
    if as_json:
        answer_json({"name": person.name, "templates": removed, "erasure": "pending" if pending else "done"})
    else:
        answer(f"removed {person.name}: {removed} templates" + (", erasure pending" if pending else ""))
    if pending:
        say("Another program is reading the gallery. The erased bytes leave the file when it has finished.")
