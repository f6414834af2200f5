"""RecordIO packs: written and read, byte for byte as the format says, and broken ones."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import pytest

from facekd.errors import FacekdError, Unreadable
from facekd.preprocess import open_source
from facekd.preprocess.sources.recordio import Image, RecordSource, write_records

MARK = struct.pack("<I", 0xCED7230A)
#: an image whose bytes hold the magic: at a multiple of four, off one, and twice in a row
TRICKY = b"abcd" + MARK + b"x" + MARK + b"yz" + b"123" + MARK + MARK + b"end"
PICTURES = [(b"one", "Ann"), (b"two!", "Ann"), (TRICKY, "Bo"), (b"nobody", None), (b"", "Cy")]


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    file = tmp_path / "train.rec"
    assert write_records(file, (Image(*picture) for picture in PICTURES)) == 5
    return file


def test_what_is_written_is_read(pack: Path) -> None:
    source = open_source(pack)
    names = source.names()
    assert names == [
        "Ann/000000001.jpg", "Ann/000000002.jpg", "Bo/000000003.jpg", "000000004.jpg", "Cy/000000005.jpg",
    ]  # fmt: skip
    assert [source.read(name) for name in names] == [packed for packed, _ in PICTURES]


def test_without_index_and_names_the_pack_is_gone_through(pack: Path) -> None:
    pack.with_suffix(".idx").unlink()
    pack.with_suffix(".identities.tsv").unlink()
    source = open_source(pack)
    names = source.names()
    assert [name.rpartition("/")[0] for name in names] == ["0000000", "0000000", "0000001", "", "0000002"]
    assert [source.read(name) for name in names] == [packed for packed, _ in PICTURES]


def test_the_bytes_are_those_of_the_format(pack: Path) -> None:
    """Read again by the description alone: words of magic and kind/length, padding, labels."""
    data, records, place, parts = pack.read_bytes(), [], 0, []
    while place < len(data):
        magic, word = struct.unpack_from("<II", data, place)
        assert magic == 0xCED7230A
        kind, length = word >> 29, word & (1 << 29) - 1
        parts.append(data[place + 8 : place + 8 + length])
        if kind in (0, 3):
            records.append(MARK.join(parts))
            parts = []
        place += 8 + length + (-length) % 4
        assert place % 4 == 0
    assert len(records) == 1 + 5 + 3
    # MXNet's IRHeader, then labels where the flag counts them
    assert struct.unpack_from("<IfQQff", records[0]) == (2, 0.0, 0, 0, 6.0, 9.0)
    assert [struct.unpack_from("<IfQQ", r)[1] for r in records[1:6]] == [0.0, 0.0, 1.0, -1.0, 2.0]
    assert [struct.unpack_from("<ff", r, 24) for r in records[6:]] == [(1.0, 3.0), (3.0, 4.0), (5.0, 6.0)]
    index = [line.split("\t") for line in pack.with_suffix(".idx").read_text().splitlines()]
    assert [int(key) for key, _ in index] == list(range(9))
    for _, at in index:
        assert data[int(at) : int(at) + 4] == MARK


def test_a_pack_without_a_first_record_of_counts_and_with_several_labels(tmp_path: Path) -> None:
    file = tmp_path / "plain.rec"
    with file.open("wb") as out:
        for label, packed in ((7.0, b"aaaa"), (8.0, b"bb")):
            whole = struct.pack("<IfQQ3f", 3, 0.0, 0, 0, label, 1.5, 2.5) + packed
            out.write(struct.pack("<II", 0xCED7230A, len(whole)) + whole + b"\0" * (-len(whole) % 4))
    source = open_source(file)
    assert source.names() == ["0000007/000000000.jpg", "0000008/000000001.jpg"]
    assert source.read("0000008/000000001.jpg") == b"bb"


def test_a_copy_in_another_process_opens_its_own_map(pack: Path) -> None:
    source = RecordSource(pack)
    source.names()
    copy = pickle.loads(pickle.dumps(source))
    assert copy.read("Bo/000000003.jpg") == TRICKY


@pytest.mark.parametrize("cut", [0, 5, 40, 200])
def test_a_pack_that_was_cut_short_is_named(pack: Path, cut: int) -> None:
    pack.write_bytes(pack.read_bytes()[:cut])
    source = open_source(pack)
    with pytest.raises(Unreadable, match=r"train\.rec"):
        [source.read(name) for name in source.names()]


def test_what_is_no_pack_is_named(pack: Path) -> None:
    pack.write_bytes(b"not a RecordIO pack at all, but long enough to be read")
    with pytest.raises(Unreadable, match="no record begins at byte"):
        open_source(pack).names()
    pack.with_suffix(".idx").write_text("one two\n")
    with pytest.raises(Unreadable, match="not an index"):
        open_source(pack).names()


def test_names_that_are_not_there_are_errors(pack: Path) -> None:
    source = open_source(pack)
    for name in ("Ann/000000099.jpg", "Ann/first.jpg"):
        with pytest.raises(FacekdError, match="not in this pack"):
            source.read(name)


def test_names_touch_the_heads_of_records_only(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = RecordSource(pack)
    read: list[int] = []
    plain = RecordSource._bytes
    monkeypatch.setattr(RecordSource, "_bytes", lambda self, a, b: read.append(b - a) or plain(self, a, b))
    big = write_records(pack, [Image(b"x" * 100_000, "Ann"), Image(b"y" * 100_000, "Bo")])
    assert len(source.names()) == big == 2
    assert sum(read) < 1000
