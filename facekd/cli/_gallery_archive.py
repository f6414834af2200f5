"""Export a gallery to an archive, and import an archive into a gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facekd.cli.options import ANY_PATH, gallery_option, json_option
from facekd.cli.output import answer, answer_json, confirm, say

if TYPE_CHECKING:
    from facekd.gallery import Place


@click.command("export")
@click.argument("file", type=ANY_PATH)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--force", is_flag=True, help="Replace FILE.")
@click.option("--plain", is_flag=True, help="Also export an encrypted gallery; the archive is not encrypted.")
@gallery_option
@json_option
def export_(file: Path, yes: bool, force: bool, plain: bool, gallery: Place, as_json: bool) -> None:
    """Export a gallery to FILE, an archive.

    The archive is text, one JSON document per line, readable by its owner only. It holds everybody's
    templates: unencrypted biometric data. The command therefore asks for confirmation; without a
    terminal, --yes is required.

    \b
    Example: facekd gallery export staff.jsonl --gallery staff.db
    """
    from facekd.workflows import export_gallery

    if not yes:
        confirm(f"Write all templates of {gallery} (biometric data) to {file} unencrypted?")
    header = export_gallery(gallery, file, force, plain)
    if as_json:
        answer_json({
            "gallery": str(gallery), "file": str(file), "people": header.people,
            "templates": header.templates, "bytes": file.stat().st_size,
        })  # fmt: skip
    else:
        answer(f"exported {header.people} people, {header.templates} templates from {gallery} to {file}")


@click.command("import")
@click.argument("file", type=ANY_PATH)
@click.option(
    "--restore-removed",
    is_flag=True,
    help="Also import people and photos that were removed from this gallery.",
)
@gallery_option
@json_option
def import_(file: Path, restore_removed: bool, gallery: Place, as_json: bool) -> None:
    """Import the people of the archive FILE into a gallery.

    Imports everybody or, if anything is wrong, nobody. People already enrolled get the photos that they
    lack; people removed from the gallery stay removed. The gallery is created if it does not exist.

    \b
    Example: facekd gallery import staff.jsonl --gallery staff.db
    """
    from facekd.files import make_gallery_folder
    from facekd.workflows import import_archive

    make_gallery_folder(gallery)
    done = import_archive(file, gallery, restore_removed)
    if as_json:
        answer_json({"gallery": str(gallery)} | vars(done))
    else:
        answer(
            f"imported {done.people} people from {file}: {done.new} new; {done.added} templates new, "
            f"{done.present} already there"
        )
    if done.removed_people or done.removed_photos:
        say(
            f"not imported, because removed from this gallery: {done.removed_people} people, "
            f"{done.removed_photos} single photos (--restore-removed imports them)"
        )
