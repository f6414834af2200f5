"""Folders, packs and single files as sources, hostile ones among them."""

from __future__ import annotations

import io
import os
import resource
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from facekd.errors import InputOutput, TooLarge, Unreadable, UsageError
from facekd.preprocess import open_source, open_sources

PICTURE = io.BytesIO()
Image.new("RGB", (8, 8), (200, 30, 60)).save(PICTURE, "PNG")

posix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files on this system")


@posix
def test_a_folder_lists_regular_files_and_links_to_them(tmp_path: Path) -> None:
    folder = tmp_path / "ann"
    folder.mkdir()
    (folder / "a.png").write_bytes(PICTURE.getvalue())
    (folder / "link.png").symlink_to(folder / "a.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "gone.png").symlink_to(folder / "absent.png")
    source = open_source(tmp_path)
    # a link to nothing is a photo that cannot be read: it is counted, not passed over
    assert source.names() == ["ann/a.png", "ann/gone.png", "ann/link.png"]
    assert source.read("ann/link.png") == PICTURE.getvalue()
    with pytest.raises(InputOutput, match="No such file"):
        source.read("ann/gone.png")


@posix
@pytest.mark.parametrize("name", ["pipe.png", "pipe.zip", "pipe.rec", "pipe.bin", "pipe"])
def test_a_pipe_is_refused_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    begun = time.monotonic()
    with pytest.raises(InputOutput, match="a pipe, not a regular file"):
        open_source(tmp_path / name)
    assert time.monotonic() - begun < 5


@posix
def test_a_device_is_no_photo(tmp_path: Path) -> None:
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    with pytest.raises(InputOutput, match="a device"):
        open_source(tmp_path / "zero.png")
    with pytest.raises(InputOutput, match="a device"):
        open_source("/dev/zero")
    with pytest.raises(UsageError, match="does not exist"):
        open_sources([tmp_path / "zero.png", Path("/dev/zero")])


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "big.png").open("wb") as file:
        file.truncate(40_000_000_000)  # a hole: it takes no space
    with pytest.raises(TooLarge, match="40,000,000,000 bytes, the limit is 200,000,000"):
        open_source(tmp_path).read("big.png")


def _with_size(pack: bytes, size: int) -> bytes:
    """``pack`` of one member, with another uncompressed size stated in both its heads."""
    changed = bytearray(pack)
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", changed, pack.index(mark) + place, size)
    return bytes(changed)


@pytest.mark.parametrize("stated", [1_000, 50_000_000])
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_what_a_pack_unpacks_to_is_bounded_by_what_it_states(
    tmp_path: Path, method: int, stated: int
) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", method) as pack, pack.open("a/bomb.png", "w") as member:
        for _ in range(150):
            member.write(bytes(1_000_000))
    (tmp_path / "bomb.zip").write_bytes(_with_size(bomb.getvalue(), stated))
    source = open_source(tmp_path / "bomb.zip")
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable, match="bomb"):
            source.read("a/bomb.png")
        assert tracemalloc.get_traced_memory()[1] < 2 * stated + 10_000_000
    finally:
        tracemalloc.stop()


def test_a_damaged_member_is_unreadable_not_a_bug(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as pack:
            pack.writestr("a/x.png", os.urandom(3_000))
        damaged = bytearray(file.getvalue())
        damaged[60:200] = b"\xff" * 140
        (tmp_path / f"{method}.zip").write_bytes(damaged)
        with pytest.raises(Unreadable, match=r"x\.png"):
            open_source(tmp_path / f"{method}.zip").read("a/x.png")


def test_a_directory_that_claims_to_be_endless(tmp_path: Path) -> None:
    """A sparse file of 50 GB whose end says that all of it is the list of names."""
    size = 50_000_000_000
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, size, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    file = tmp_path / "endless.zip"
    with file.open("wb") as opened:
        opened.seek(size)
        opened.write(end64 + locator + end)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Unreadable, match="not a zip file"):
        open_source(file).names()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000
