"""Where galleries are kept: copy one to another place, set up a database, finish erasures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from facekd.cli.options import ANY_PATH, GALLERY_PLACE, gallery_option, json_option, key_option
from facekd.cli.output import answer, answer_json, progress, say

if TYPE_CHECKING:
    from pathlib import Path

    from facekd.gallery import Place


@click.command("copy")
@click.argument("source", type=GALLERY_PLACE)
@click.argument("target", type=GALLERY_PLACE)
@click.option(
    "--target-key-file", type=ANY_PATH, default=None, metavar="FILE", help="File of the copy's key."
)
@click.option("--plain", is_flag=True, help="Copy an encrypted gallery unencrypted.")
@click.option("--names", is_flag=True, help="Also encrypt the names of people in an encrypted copy.")
@key_option
@json_option
def copy(
    source: Place, target: Place, target_key_file: Path | None, plain: bool, names: bool, as_json: bool
) -> None:
    """Copy the gallery SOURCE to TARGET, a file or a database.

    The copy holds the people with their numbers and uids, the templates, the audit, and who was removed.
    Every template is checked against its checksum when it is read, and compared once it is written. Repeat an
    interrupted copy to continue it. TARGET must not hold another gallery.

    The copy of an encrypted gallery is encrypted: with the key of --target-key-file, or else with the
    gallery's own key, that of --key-file or the environment; names as well if they are encrypted in the
    gallery. Only --plain writes it unencrypted. With --target-key-file, the copy of an unencrypted gallery is
    encrypted as well.

    \b
    Example: facekd gallery copy staff.db postgresql://owner@db.example.org/staff
             facekd gallery copy postgresql://owner@db.example.org/staff staff.db
             facekd gallery copy staff.db new.db --key-file staff.key --target-key-file new.key
    """
    from facekd.files import make_gallery_folder
    from facekd.gallery import CopyKeys, GalleryRecords, check_copyable, copy_gallery, key_from_file

    key = None if target_key_file is None else key_from_file(target_key_file)
    keys = CopyKeys(target=key, plain=plain, names=names)
    check_copyable(source, target, keys)
    with GalleryRecords(source, read_only=True) as records:
        people = len(records.names())
    make_gallery_folder(target)
    with progress("copying people", people) as advance:
        copied = copy_gallery(source, target, advance, keys)
    if as_json:
        answer_json({"gallery": str(source), "target": str(target)} | vars(copied))
    else:
        answer(
            f"copied {source} to {target}: {copied.people} people, {copied.templates} templates, "
            f"{copied.removed_people} removed people, {copied.removed_photos} removed photos"
            + (f", encrypted with key {copied.key_id}" if copied.key_id else "")
        )
    if copied.present:
        say(f"{copied.present} of the people had been copied before an interruption")


@click.command("erase")
@gallery_option
@json_option
def erase(gallery: Place, as_json: bool) -> None:
    """Finish erasures that are pending.

    "pending" means that bytes of a removed person are still in the file or the tables, because another
    program was reading, or because the user who removed the person may not rewrite a database's tables. Run
    this command as the owner of the gallery, for example once an hour.

    \b
    Example: facekd gallery erase --gallery postgresql://owner@db.example.org/staff
    """
    from facekd.gallery import GalleryRecords

    with GalleryRecords(gallery) as records:
        done = records.erase()
    if as_json:
        answer_json({"gallery": str(gallery), "erasure": "done" if done else "pending"})
    else:
        answer(f"{gallery}: " + ("nothing is left to erase" if done else "erasure pending"))


@click.command("roles")
@json_option
def roles(as_json: bool) -> None:
    """Print the SQL that sets up roles for a gallery in PostgreSQL.

    Three roles of least privilege: facekd_owner creates and migrates the gallery, facekd_writer enrolls and
    removes people, facekd_reader verifies and identifies. Run it as a superuser in the gallery's database,
    before or after the gallery is created.

    \b
    Example: facekd gallery roles | psql --single-transaction --set ON_ERROR_STOP=1 staff
    """
    from facekd.gallery import database_roles

    if as_json:
        answer_json({"sql": database_roles()})
    else:
        answer(database_roles().rstrip("\n"))
