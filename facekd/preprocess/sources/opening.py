"""Open anything that contains images as a source: a folder, a zip, RecordIO or bin pack, or single files."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

from facekd.errors import InputOutput, UsageError
from facekd.files import file_digest, open_regular
from facekd.preprocess.sources.base import Source, is_image
from facekd.preprocess.sources.folders import FilesSource, FolderSource
from facekd.preprocess.sources.zip_packs import ZipSource


def open_sources(paths: Sequence[str | os.PathLike[str]]) -> Source:
    """One folder or zip pack, or any number of image files, as one `Source`."""
    if len(paths) == 1:
        return open_source(paths[0])
    files = [Path(path) for path in paths]
    for file in files:
        if not file.is_file():
            kind = "is a folder" if file.is_dir() else "does not exist"
            raise UsageError(f"{file} {kind}", "Give one folder, one zip pack, or image files.")
    return FilesSource(files)


def open_source(path: str | os.PathLike[str]) -> Source:
    """A folder, a zip, RecordIO or ``.bin`` pack, or one image file as a `Source`."""
    path = Path(path)
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise InputOutput(f"{path}: no such file or folder")
    # special files are refused here: they must not be opened to find out what they contain
    open_regular(path).close()
    if path.suffix.lower() == ".rec":
        from facekd.preprocess.sources.recordio import RecordSource

        return RecordSource(path)
    if path.suffix.lower() == ".bin":
        from facekd.preprocess.sources.bin_packs import BinSource

        return BinSource(path)
    if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
        return ZipSource(path)
    if is_image(path.name):
        return FilesSource([path])
    raise UsageError(f"{path}: neither a folder, a zip, RecordIO or bin pack nor an image")


def source_digest(path: str | os.PathLike[str]) -> str:
    """The SHA-256 that identifies a pack or folder: of a pack's file; of the names and lengths of a folder's
    images. Raises `InputOutput`."""
    path = Path(path)
    if not path.is_dir():
        return file_digest(path)
    listing = hashlib.sha256()
    for name in FolderSource(path).names():
        try:
            listing.update(f"{name}\n{(path / name).stat().st_size}\n".encode("utf-8", "surrogateescape"))
        except OSError as error:
            raise InputOutput(f"{path / name}: {error.strerror}") from error
    return listing.hexdigest()
