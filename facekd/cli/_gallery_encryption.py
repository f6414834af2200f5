"""Encrypt a gallery, and manage its key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facekd.cli._erasure import erasure, explain_pending
from facekd.cli.options import ANY_PATH, gallery_option, json_option
from facekd.cli.output import answer, answer_json, confirm

if TYPE_CHECKING:
    from facekd.gallery import Place
    from facekd.workflows import Rewritten


@click.command("new-key")
@click.argument("file", type=ANY_PATH)
@json_option
def new_key(file: Path, as_json: bool) -> None:
    """Create a key for encrypted galleries and write it to FILE.

    The key is 32 random bytes in base64, in a new file that only its owner may read. Keep a copy of it away
    from the gallery and its backups: without the key nobody can read an encrypted gallery.

    \b
    Example: facekd gallery new-key /etc/facekd/staff.key
    """
    from facekd.gallery import make_key_file

    made = make_key_file(file)
    if as_json:
        answer_json({"file": str(file), "key_id": made})
    else:
        answer(f"wrote key {made} to {file}")


@click.command("encrypt")
@click.option("--names", is_flag=True, help="Also encrypt the names of people.")
@gallery_option
@json_option
def encrypt(names: bool, gallery: Place, as_json: bool) -> None:
    """Encrypt the templates of a gallery.

    Encrypts every template with AES-256-GCM in one transaction and erases the unencrypted ones from the
    file, or from the tables of a database, as its owner. The key is that of --key-file, or of the
    environment; every later command needs it. Dates, qualities and digests of photos are not encrypted, nor
    are backups and archives made before. Needs the extra "encryption".

    With --names, names of people are encrypted as well, also in a gallery that is encrypted without them.

    \b
    Example: facekd gallery new-key staff.key
             facekd gallery encrypt --gallery staff.db --key-file staff.key
    """
    from facekd.workflows import encrypt_gallery

    done = encrypt_gallery(gallery, names=names)
    _tell(done, gallery, _encrypted(done, gallery), as_json)


@click.command("rotate-key")
@click.option(
    "--new-key-file", type=ANY_PATH, required=True, metavar="FILE", help="File with the gallery's new key."
)
@gallery_option
@json_option
def rotate_key(new_key_file: Path, gallery: Place, as_json: bool) -> None:
    """Give an encrypted gallery a new key.

    Encrypts every template, and every encrypted name, again in one transaction and erases the old
    ciphertexts. Backups made before still need the old key.

    \b
    Example: facekd gallery new-key new.key
             facekd gallery rotate-key --key-file staff.key --new-key-file new.key
    """
    from facekd.gallery import key_from_file
    from facekd.workflows import rotate_key as rotate

    done = rotate(gallery, key_from_file(new_key_file))
    _tell(done, gallery, _encrypted(done, gallery), as_json)


@click.command("decrypt")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@gallery_option
@json_option
def decrypt(yes: bool, gallery: Place, as_json: bool) -> None:
    """Decrypt a gallery: store its templates and names unencrypted.

    The command asks for confirmation; without a terminal, --yes is required.

    \b
    Example: facekd gallery decrypt --gallery staff.db --key-file staff.key
    """
    from facekd.workflows import decrypt_gallery

    if not yes:
        confirm(f"Write all templates of {gallery} (biometric data), and all names, unencrypted?")
    done = decrypt_gallery(gallery)
    _tell(done, gallery, f"decrypted {done.templates} templates in {gallery}", as_json)


def _encrypted(done: Rewritten, gallery: Place) -> str:
    what = f"{done.templates} templates" + (" and all names" if done.names else "")
    return f"encrypted {what} in {gallery} with key {done.key_id}"


def _tell(done: Rewritten, gallery: Place, told: str, as_json: bool) -> None:
    if as_json:
        document: dict[str, Any] = {"gallery": str(gallery), "templates": done.templates}
        document |= {"key_id": done.key_id or None, "names_encrypted": done.names}
        answer_json(document | {"erasure": erasure(done.pending)})
    else:
        answer(told + (", erasure pending" if done.pending else ""))
    explain_pending(done.pending, gallery)
