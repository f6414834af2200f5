"""What holds where a call names no gallery."""

from __future__ import annotations

from pathlib import Path

import click

from facekd.cli.output import say
from facekd.files import users_gallery

#: where version 0.1 kept the gallery of whoever named none
_OLD_GALLERY = Path("gallery.db")


def gallery_or_default(context: click.Context, option: click.Parameter, gallery: Path | None) -> Path | None:
    """``gallery``, or where none is named that of the user, which is then said; while a shell completes a
    line nothing is."""
    if gallery is not None or context.resilient_parsing:
        return gallery
    own = users_gallery()
    if _OLD_GALLERY.exists():
        say(
            f"note: gallery.db in the current folder is used, for this version only: from the next on the "
            f"gallery of a call that names none is {own}. Name this one: --gallery gallery.db, or "
            "FACEKD_GALLERY."
        )
        return _OLD_GALLERY
    say(f"gallery: {own}")
    return own


def gallery_to_look_at(context: click.Context, option: click.Parameter, gallery: Path | None) -> Path | None:
    """As `gallery_or_default`, of a command that works without a library, too, and says that it lacks it."""
    try:
        return gallery_or_default(context, option, gallery)
    except ImportError:
        return _OLD_GALLERY


def gallery_of_claim(context: click.Context, option: click.Parameter, gallery: Path | None) -> Path | None:
    """As `gallery_or_default`, of a command that opens a gallery for ``--claim`` only: without it there is
    nothing to be said."""
    if context.params.get("claim") is None:
        return gallery
    return gallery_or_default(context, option, gallery)
