"""Pictures and pages as files: check that they can be written before hours of work."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.errors import UsageError
from facekd.files import real_path, write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: suffixes of image files
PICTURES = (".png", ".svg", ".pdf")


#: suffixes of pages
PAGES = (".html", ".htm")


def check_picture(path: Path) -> None:
    """Raise `UsageError` for a picture that could not be written, before its content is computed."""
    if path.suffix.lower() not in PICTURES:
        raise UsageError(f"{path}: the name of a picture must end with {', '.join(PICTURES)}")
    check_file(path)


def check_page(path: Path) -> None:
    """Raise `UsageError` for a page with another suffix or without a folder to be written to."""
    if path.suffix.lower() not in PAGES:
        raise UsageError(f"{path}: the name of a page must end with {', '.join(PAGES)}")
    check_file(path)


def check_file(path: Path) -> None:
    """Raise `UsageError` for a file without a folder to be written to."""
    if not real_path(path).parent.is_dir():
        raise UsageError(f"{path}: its folder does not exist")


def draw(figure: Figure, path: Path) -> None:
    """Write ``figure`` to ``path``, in the format of its suffix."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix.lower().lstrip("."))
    write_atomically(path, drawn.getvalue())
