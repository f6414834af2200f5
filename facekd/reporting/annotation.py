"""A picture of an answer: photos with their faces marked, crops side by side, the decision in words.

It shows why two faces were called one person, with everything that the answer depends on: the face that was
chosen, the five landmarks used for alignment, and the crop that the network received.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facekd.errors import UsageError
from facekd.files import real_path, write_atomically
from facekd.geometry import Pixels
from facekd.preprocess import encode
from facekd.reporting.output_files import check_file

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

#: the suffixes of an annotated photo, and the format of each
_FORMATS = {".jpg": "jpg", ".jpeg": "jpg", ".png": "png", ".webp": "webp"}

_PAPER, _INK, _FAINT, _WHITE = "#ffffff", "#1d2530", "#5b6675", "#ffffff"
#: distinguishable by colour-blind readers (Okabe, Ito); the text says the same
_COLOURS = {True: "#00805a", False: "#c4410c", None: "#0072b2"}
#: pixels: the longer side of a single photo, and of one of two
_ALONE, _BESIDE = (640, 1600), (480, 800)
_CROP, _MARGIN, _LETTERS, _SMALL = 168, 16, 20, 16
_LONGEST_LABEL = 40
#: bytes of a file name without its suffix
_LONGEST_STEM = 200
#: Unicode categories of invisible characters
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


@dataclass(frozen=True)
class MarkedFace:
    """A face to mark: ``box`` (left, top, right, bottom) and ``landmarks`` (x, y) in pixels of the
    photo, its ``label``, the aligned ``crop`` uint8 RGB [S, S, 3]. ``matches`` selects the colour:
    `True` one person, `False` another person or nobody, `None` no decision."""

    box: tuple[float, float, float, float]
    landmarks: tuple[tuple[float, float], ...]
    label: str
    crop: Pixels
    matches: bool | None


@dataclass(frozen=True)
class MarkedPhoto:
    """A photo, ``pixels`` uint8 RGB [H, W, 3], its ``name``, and the faces that the answer is about."""

    name: str
    pixels: Pixels
    faces: tuple[MarkedFace, ...]


@dataclass(frozen=True)
class Annotation:
    """The content of the picture: photos side by side, the crops of their faces below, the ``verdict`` and
    ``lines`` that explain it. ``matches`` is as in `MarkedFace`, for the verdict."""

    photos: tuple[MarkedPhoto, ...]
    verdict: str
    lines: tuple[str, ...]
    matches: bool | None


def check_annotation(path: Path, photos: Sequence[Path]) -> None:
    """Raise `UsageError`, before a model runs, for a file that an annotation of ``photos`` cannot be written
    to."""
    if path.suffix.lower() not in _FORMATS:
        raise UsageError(f"{path}: the name of an annotated photo must end with {', '.join(_FORMATS)}")
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a picture")
    check_file(path)
    if any(photo.exists() and path.exists() and photo.samefile(path) for photo in photos):
        raise UsageError(f"{path} is the photo itself", "Choose another file.")


def check_annotation_folder(folder: Path, photos: Sequence[Path]) -> None:
    """Raise `UsageError` if ``folder`` cannot hold the annotations of several ``photos``, files or folders:
    it does not exist, or is inside these, where the next call would read the pictures as photos."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: for several photos, give a folder that exists")
    within = {real_path(photo) for photo in photos if photo.is_dir()}
    own = {real_path(photo).parent for photo in photos if photo.is_file()}
    here = real_path(folder)
    if here in own or within & {here, *here.parents}:
        raise UsageError(f"{folder}: the photos are in this folder", "Choose another folder.")


def file_in(folder: Path, name: str, taken: set[str]) -> Path:
    """The file in ``folder`` for the annotation of the photo ``name``, a path or a path in an archive.
    It is in no subfolder, and differs from all ``taken`` names, to which it is added."""
    plain = "_".join(part for part in name.replace("\\", "/").split("/") if part not in ("", ".", ".."))
    stem = drawable(plain.rpartition(".")[0] or plain or "photo").replace("\\", "_").lstrip(".")
    stem = stem.encode()[:_LONGEST_STEM].decode(errors="ignore") or "photo"
    file, number = f"{stem}.jpg", 2
    while file.lower() in taken:
        file, number = f"{stem}-{number}.jpg", number + 1
    taken.add(file.lower())
    return folder / file


def write_annotation(annotation: Annotation, path: Path) -> None:
    """Draw ``annotation`` to ``path``, in the format of its suffix, atomically. Raises
    `InputOutput`."""
    write_atomically(path, encode(draw_annotation(annotation), _FORMATS[path.suffix.lower()]))


def draw_annotation(annotation: Annotation) -> Pixels:
    """``annotation`` as a picture, uint8 RGB [H, W, 3]."""
    from PIL import Image

    smallest, largest = _ALONE if len(annotation.photos) == 1 else _BESIDE
    photos = [_marked(photo, smallest, largest) for photo in annotation.photos]
    width = max(sum(photo.width for photo in photos) + _MARGIN * (len(photos) + 1), _ALONE[0] + 2 * _MARGIN)
    rows = [_row(photos, width), _crops(annotation, width), _words(annotation, width)]
    picture = Image.new("RGB", (width, sum(row.height for row in rows)), _PAPER)
    top = 0
    for row in rows:
        picture.paste(row, (0, top))
        top += row.height
    return np.asarray(picture)


def drawable(text: str) -> str:
    """``text`` with every character that the font has no glyph for as an escape, and also characters
    of right-to-left scripts if nothing here can order them."""
    return "".join(char if _has_glyph(char) else char.encode("unicode_escape").decode() for char in text)


@cache
def _has_glyph(char: str) -> bool:
    import unicodedata

    from matplotlib.ft2font import FT2Font
    from PIL import features

    # joiners change the shape of the Persian letters beside them, and are invisible themselves
    if char not in "\u200c\u200d" and unicodedata.category(char) in _UNSEEN:
        return False
    if unicodedata.bidirectional(char) in ("R", "AL") and not features.check("raqm"):
        return False
    return bool(FT2Font(str(_font_file())).get_char_index(ord(char)))


def _font_file() -> Path:
    """DejaVu Sans, shipped with matplotlib: Latin, Greek, Cyrillic, Armenian, Georgian, Hebrew, Arabic."""
    import matplotlib as mpl

    return Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.truetype(str(_font_file()), size)


def _short(text: str) -> str:
    text = drawable(text)
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"


def _marked(photo: MarkedPhoto, smallest: int, largest: int) -> Image.Image:
    """The photo at a legible size, with its faces marked and its name below."""
    from PIL import Image, ImageDraw

    height, width = photo.pixels.shape[:2]
    scale = min(max(smallest / max(height, width), 1.0), largest / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    scaled = Image.fromarray(photo.pixels).resize(size, Image.Resampling.LANCZOS)
    picture = Image.new("RGB", (max(size[0], 160), size[1] + _SMALL + 12), _PAPER)
    picture.paste(scaled, (0, 0))
    pen = ImageDraw.Draw(picture)
    for face in photo.faces:
        _mark(pen, face, scale)
    placed: list[tuple[float, float, float, float]] = []
    for face in photo.faces:
        _label(pen, face, scale, (picture.width, size[1]), placed)
    name = _fitting(pen, drawable(photo.name), _SMALL, picture.width)
    pen.text((0, size[1] + 4), name, _FAINT, _font(_SMALL))
    return picture


def _mark(pen: ImageDraw.ImageDraw, face: MarkedFace, scale: float) -> None:
    """Draw the box and the landmarks; for a small face the points are small."""
    colour = _COLOURS[face.matches]
    left, top, right, bottom = (value * scale for value in face.box)
    pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=_WHITE, width=4)
    pen.rectangle((left, top, right, bottom), outline=colour, width=2)
    radius = min(4.0, max(1.5, (right - left) / 40))
    for x, y in face.landmarks:
        around = (x * scale - radius, y * scale - radius, x * scale + radius, y * scale + radius)
        pen.ellipse(around, fill=colour, outline=_WHITE)


def _label(
    pen: ImageDraw.ImageDraw,
    face: MarkedFace,
    scale: float,
    size: tuple[int, int],
    placed: list[tuple[float, float, float, float]],
) -> None:
    """Draw the label above the face, or below or inside it if there is no room or another label there."""
    if not face.label:
        return
    text = _fitting(pen, _short(face.label), _SMALL, size[0] - 8)
    wide, high = pen.textlength(text, _font(_SMALL)) + 8, _SMALL + 8
    left = min(max(0.0, face.box[0] * scale), size[0] - wide)
    tops = [face.box[1] * scale - high - 2, face.box[3] * scale + 2, face.box[1] * scale + 2]
    spots = [(left, top, left + wide, top + high) for top in tops if 0 <= top <= size[1] - high]
    free = [spot for spot in spots if not any(_overlap(spot, other) for other in placed)]
    top = min(max(0.0, tops[0]), size[1] - high)
    spot = (free or spots or [(left, top, left + wide, top + high)])[0]
    placed.append(spot)
    pen.rectangle(spot, fill=_COLOURS[face.matches])
    pen.text((spot[0] + 4, spot[1] + 2), text, _WHITE, _font(_SMALL))


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _row(photos: Sequence[Image.Image], width: int) -> Image.Image:
    from PIL import Image

    row = Image.new("RGB", (width, max(photo.height for photo in photos) + _MARGIN), _PAPER)
    left = _MARGIN
    for photo in photos:
        row.paste(photo, (left, _MARGIN))
        left += photo.width + _MARGIN
    return row


def _crops(annotation: Annotation, width: int) -> Image.Image:
    """The crops that were compared, side by side, in as many rows as needed."""
    from PIL import Image, ImageDraw

    faces = [face for photo in annotation.photos for face in photo.faces]
    step, high = _CROP + _MARGIN, _CROP + _SMALL + 2 * _MARGIN
    columns = max(1, (width - _MARGIN) // step)
    row = Image.new("RGB", (width, high * -(-len(faces) // columns)), _PAPER)
    pen = ImageDraw.Draw(row)
    for place, face in enumerate(faces):
        left, top = _MARGIN + place % columns * step, _MARGIN + place // columns * high
        crop = Image.fromarray(face.crop).resize((_CROP, _CROP), Image.Resampling.BICUBIC)
        row.paste(crop, (left, top))
        pen.rectangle(
            (left - 2, top - 2, left + _CROP + 1, top + _CROP + 1), outline=_COLOURS[face.matches], width=2
        )
        text = _fitting(pen, drawable(face.label), _SMALL, _CROP)
        pen.text((left, top + _CROP + 4), text, _FAINT, _font(_SMALL))
    return row


def _words(annotation: Annotation, width: int) -> Image.Image:
    """The verdict, large and coloured, and the lines that explain it."""
    from PIL import Image, ImageDraw

    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    verdict = _broken(pen, drawable(annotation.verdict), _LETTERS, width - 2 * _MARGIN)
    lines = [
        part
        for line in annotation.lines
        for part in _broken(pen, drawable(line), _SMALL, width - 2 * _MARGIN)
    ]
    high, low = _LETTERS + 8, _SMALL + 8
    row = Image.new("RGB", (width, high * len(verdict) + low * len(lines) + 2 * _MARGIN), _PAPER)
    pen = ImageDraw.Draw(row)
    top = _MARGIN
    for text in verdict:
        pen.text((_MARGIN, top), text, _COLOURS[annotation.matches], _font(_LETTERS))
        top += high
    for text in lines:
        pen.text((_MARGIN, top), text, _INK, _font(_SMALL))
        top += low
    return row


def _fitting(pen: ImageDraw.ImageDraw, text: str, letters: int, width: int) -> str:
    """``text``, cut off if it is wider than ``width`` pixels."""
    if pen.textlength(text, _font(letters)) <= width:
        return text
    while text and pen.textlength(f"{text}…", _font(letters)) > width:
        text = text[:-1]
    return f"{text}…"


def _broken(pen: ImageDraw.ImageDraw, text: str, letters: int, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` pixels; a longer word is cut off."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and pen.textlength(longer, _font(letters)) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [_fitting(pen, line, letters, width) for line in lines]
