"""The fuzzer's readers: each reads an input as facekd's commands read such a file."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from fuzz_material import CARD, CUT, small_model, written_to


def read_photo(data: bytes, _: Path) -> None:
    from facekd.preprocess import decode

    decode(data, "photo")


def read_model(data: bytes, folder: Path) -> None:
    from facekd.card import read_card

    read_card(written_to(folder / "model.onnx", data))


def read_stated_card(data: bytes, _: Path) -> None:
    """The input is the card of a valid network."""
    from facekd.card import card_of, load_onnx

    network = load_onnx(small_model())
    entry = next(one for one in network.metadata_props if one.key == CARD)
    entry.value = data.decode("utf-8", "replace")
    card_of(network, "model")


def read_zip(data: bytes, folder: Path) -> None:
    _read_all(written_to(folder / "pack.zip", data))


def read_records(data: bytes, folder: Path) -> None:
    records, _, index = data.partition(CUT)
    place = folder / "pack.idx"
    place.unlink(missing_ok=True)
    if index:
        written_to(place, index)
    _read_all(written_to(folder / "pack.rec", records))


def read_bin(data: bytes, folder: Path) -> None:
    _read_all(written_to(folder / "pack.bin", data))


def read_archive(data: bytes, folder: Path) -> None:
    """Read it as it is, then with a correct checksum in its last line, which mutations would not produce."""
    from facekd.errors import FacekdError
    from facekd.workflows import import_archive

    gallery = folder / "gallery.db"
    for content in (data, _summed(data)):
        try:
            import_archive(written_to(folder / "archive.jsonl", content), gallery)
        except FacekdError:
            if content is not data:
                raise
        finally:
            for file in folder.glob("gallery.db*"):
                file.unlink()


def read_gallery(data: bytes, folder: Path) -> None:
    from facekd.gallery import GalleryCheck, GalleryRecords

    gallery = written_to(folder / "read.db", data)
    try:
        for _ in GalleryCheck(gallery).faults():
            pass
        with GalleryRecords(gallery, read_only=True) as records:
            for person in records.people():
                for _ in records.templates(person.name):
                    pass
    finally:
        for file in folder.glob("read.db*"):
            file.unlink()


def read_lists(data: bytes, folder: Path) -> None:
    from facekd.errors import FacekdError
    from facekd.verification import read_scores
    from facekd.workflows import pairs_listed, people_listed, read_listing

    listing = read_listing(written_to(folder / "list.csv", data))
    for read in (people_listed, pairs_listed):
        with suppress(FacekdError):
            read(listing)
    read_scores(folder / "list.csv")


def _read_all(pack: Path) -> None:
    """Read every name and image, and derive identities."""
    from facekd.preprocess import identities_in, open_source

    source = open_source(pack)
    for name in source.names():
        source.read(name)
    identities_in(source)


def _summed(archive: bytes) -> bytes:
    body, found, _ = archive.rpartition(b'{"sha256"')
    total = hashlib.sha256(body).hexdigest()
    return body + json.dumps({"sha256": total}).encode() + b"\n" if found else archive
