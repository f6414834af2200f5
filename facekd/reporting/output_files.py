"""Pictures and pages as files: what may be written where, said before hours go into it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.errors import UsageError
from facekd.files import real_path, write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: forms in which a figure can be drawn
PICTURES = (".png", ".svg", ".pdf")


#: how the file of a page may end
PAGES = (".html", ".htm")


def check_picture(path: Path) -> None:
    """Raise `UsageError` for a picture that cannot be drawn, before hours go into its content."""
    if path.suffix.lower() not in PICTURES:
        raise UsageError(f"{path}: a picture ends with {', '.join(PICTURES)}")
    check_file(path)


def check_page(path: Path) -> None:
    """Raise `UsageError` for a page that is none by its name or has no folder to be written in."""
    if path.suffix.lower() not in PAGES:
        raise UsageError(f"{path}: a page ends with {', '.join(PAGES)}")
    check_file(path)


def check_file(path: Path) -> None:
    """Raise `UsageError` for a file that has no folder to be written in."""
    if not real_path(path).parent.is_dir():
        raise UsageError(f"{path}: its folder does not exist")


def draw(figure: Figure, path: Path) -> None:
    """Write ``figure`` to ``path``, whose suffix says in which form."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix.lower().lstrip("."))
    write_atomically(path, drawn.getvalue())
