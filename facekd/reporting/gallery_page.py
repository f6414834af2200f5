"""The evaluation of an enrolled gallery as one page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from facekd.reporting.cells import percent
from facekd.reporting.gallery_sections import GALLERY_SECTIONS
from facekd.reporting.page import dated_page, write_page
from facekd.verification.results import GalleryEvaluation, GalleryResult

_NAMES = "This page names people. Protect it as you protect the gallery."


def write_gallery_page(path: str | os.PathLike[str], found: GalleryEvaluation) -> Path:
    """Write the page of a gallery to ``path``; it shows no faces, but names.

    Raises `InputOutput` if the page cannot be written.
    """
    title, told = f"{found.model} on {found.gallery.name}", gallery_headlines(found.model, found.result)
    return write_page(path, dated_page(title, told, GALLERY_SECTIONS.of(found), _NAMES))


def gallery_headlines(name: str, result: GalleryResult) -> Iterator[str]:
    """The error rates of the model with this gallery at its operating threshold."""
    at = result.operating
    if at is None:
        return
    missed = f"{percent(at.fnmr_interval.low)} to {percent(at.fnmr_interval.high)}"
    false = f"{percent(at.fmr_interval.low, 4)} to {percent(at.fmr_interval.high, 4)}"
    yield (
        f"{name} misses {percent(at.fnmr)} % of the photos of enrolled people (95 % interval {missed}) and "
        f"takes a photo for somebody else in {percent(at.fmr, 4)} % of the comparisons ({false})."
    )
