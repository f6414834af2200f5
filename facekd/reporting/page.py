"""One self-contained HTML page: no network, no script, no second file."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facekd.files import write_atomically
from facekd.version import __version__

_TEMPLATE = "page.html.jinja"
_THUMBNAIL_QUALITY = 85
#: the notice of a page that shows faces
FACES = (
    "This page shows faces from the data. Protect it as you protect the data, and do not pass it on to "
    "anybody who may not see them."
)


@dataclass(frozen=True)
class Cell:
    """A value in a table, with a smaller line below it."""

    text: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under ``columns``; the first cell of a row names it. Text is escaped, never markup."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """``image`` is PNG, JPEG or SVG; ``alt`` is its text alternative; ``dark`` is shown
    instead on a dark screen."""

    image: bytes = field(repr=False)
    alt: str
    caption: str = ""
    dark: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class FacePair:
    """Two faces side by side over a line of text, and further lines in a lighter style."""

    first: NDArray[np.uint8] = field(repr=False)
    second: NDArray[np.uint8] = field(repr=False)
    text: str
    below: tuple[str, ...] = ()


@dataclass(frozen=True)
class Call:
    """A command as it was typed, its output, and its exit code."""

    command: str
    answer: str
    exit_code: int


@dataclass(frozen=True)
class Section:
    """A part of the page. Everything in it is plain text or pictures; the page escapes it."""

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    pairs: tuple[FacePair, ...] = ()
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True)
class Page:
    """``headlines`` summarise the page in a few sentences; ``notice`` is a warning that must
    be read before them."""

    title: str
    headlines: tuple[str, ...]
    sections: tuple[Section, ...]
    notice: str | None = None
    footer: str = ""


def dated_page(
    title: str,
    headlines: Iterable[str],
    sections: Iterable[Section],
    notice: str | None = None,
    version: str = __version__,
) -> Page:
    """A page with the current time, made by facekd ``version``."""
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    footer = f"Made by facekd {version}, {made}. The page loads nothing and runs nothing."
    return Page(title, tuple(headlines), tuple(sections), notice, footer)


def write_page(path: str | os.PathLike[str], page: Page) -> Path:
    """Write ``page`` to ``path``. Raises `InputOutput` if it cannot be written."""
    write_atomically(path, render(page).encode())
    return Path(path)


def render(page: Page) -> str:
    """The page's HTML. Its content security policy forbids the browser to load or run anything."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["image"] = _data_uri
    environment.filters["face"] = _face_uri
    environment.filters["cell"] = lambda value: value if isinstance(value, Cell) else Cell(value)
    template = resources.files("facekd.reporting").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(template).render(page=page, anchors=_anchors(page.sections))


def _anchors(sections: Sequence[Section]) -> list[str]:
    return [f"part-{number}" for number in range(1, len(sections) + 1)]


def _data_uri(image: bytes) -> str:
    if image.startswith(b"\x89PNG"):
        kind = "png"
    elif image.startswith(b"\xff\xd8"):
        kind = "jpeg"
    elif image.lstrip().startswith((b"<?xml", b"<svg")):
        kind = "svg+xml"
    else:
        raise ValueError("a picture on a page is PNG, JPEG or SVG")
    return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"


def _face_uri(pixels: NDArray[np.uint8]) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_THUMBNAIL_QUALITY)
    return _data_uri(buffer.getvalue())
