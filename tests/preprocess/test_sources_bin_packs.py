"""insightface's packs: every way in which they are written, and malicious pickles."""

from __future__ import annotations

import builtins
import os
import pickle
import pickletools
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from facekd.errors import TooLarge, Unreadable
from facekd.preprocess.sources import bin_packs
from facekd.preprocess.sources.bin_packs import BinSource, read_bin
from facekd.preprocess.sources.opening import open_source

IMAGES = [b"\xff\xd8 first", b"second \x00\n\x80", b"third", b"\xfffourth"]
SAME = [True, False]


def _rows(images: list[bytes]) -> list[np.ndarray]:
    return [np.frombuffer(image, np.uint8) for image in images]


def _columns(images: list[bytes]) -> list[np.ndarray]:
    return [row.reshape(-1, 1).copy() for row in _rows(images)]


def _write(path: Path, written: bytes) -> Path:
    path.write_bytes(written)
    return path


#: each form of images and of truth values; every protocol writes them in its own instructions
FORMS = [
    *[(images, SAME) for images in (IMAGES, tuple(IMAGES), _rows(IMAGES), _columns(IMAGES))],
    *[(IMAGES, same) for same in (np.array(SAME), [np.True_, np.False_], (1, 0), [True] * 2)],
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(("images", "same"), FORMS)
def test_what_pickle_writes_is_read(tmp_path: Path, protocol: int, images: object, same: object) -> None:
    path = _write(tmp_path / "x.bin", pickle.dumps((images, same), protocol))
    # what Python itself makes of a file that we wrote
    with path.open("rb") as file:
        known_images, known_same = pickle.load(file)
    pack = read_bin(path)
    assert list(pack.images) == [bytes(image) for image in known_images] == IMAGES
    assert pack.mated.tolist() == [bool(value) for value in known_same]


def test_bytes_of_python_2(tmp_path: Path) -> None:
    """``cPickle.dumps((["\\xff\\xd8", "b" * 300], [True]), 2)``, written out by hand."""
    long = b"T" + struct.pack("<i", 300) + b"b" * 300
    written = b"\x80\x02]q\x00(U\x02\xff\xd8q\x01" + long + b"q\x02e]q\x03\x88a\x86q\x04."
    assert pickle.loads(written, encoding="bytes") == ([b"\xff\xd8", b"b" * 300], [True])
    assert read_bin(_write(tmp_path / "x.bin", written)).images == (b"\xff\xd8", b"b" * 300)


class _Calls:
    """Asks the one who unpickles it to call something."""

    def __init__(self, what: object, *arguments: object) -> None:
        self._asked = what, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self._asked


def _hostile(tmp_path: Path) -> dict[str, bytes]:
    trap = str(tmp_path / "trap")
    start = b"\x80\x04"
    deep = b"]" * 200_000 + b"a" * 199_999
    return {
        "os.system": pickle.dumps(([_Calls(os.system, f"touch {trap}")], [True])),
        "eval": pickle.dumps(_Calls(builtins.eval, f"open({trap!r}, 'w')")),
        "eval in Python 2": pickle.dumps(_Calls(builtins.eval, f"open({trap!r}, 'w')"), 2),
        "numpy that loads": pickle.dumps(_Calls(np.load, trap)),
        "an attribute of what is allowed": start + b"\x8c\x0dnumpy ndarray.\x8c\x00\x93.",
        "an instance": start + b"(ios\nsystem\n.",
        "an object": start + b"(cos\nsystem\no.",
        "an extension": start + b"\x82\x01.",
        "an unknown persistent id": start + b"Pname\n.",
        "an array of objects": pickle.dumps(([np.array([None])], [True])),
        "an array of numbers": pickle.dumps(([np.zeros(3)] * 2, [True])),
        "text": pickle.dumps((["a", "b"], [True])),
        "nested lists": start + deep + b".",
        "nested tuples as a name": start + b")" + b"\x85" * 200_000 + b"\x8c\x01a\x93.",
        "nested tuples as a type": start + b"cnumpy\ndtype\n)" + b"\x85" * 200_000 + b"R.",
        "a list that holds itself": start + b"]\x94h\x00a.",
        "bytes of 2**62": start + b"\x8e" + struct.pack("<Q", 2**62) + b"x.",
        "bytes of 4 thousand million": start + b"B" + struct.pack("<I", 2**32 - 1) + b"x.",
        "a frame of 2**62": start + b"\x95" + struct.pack("<Q", 2**62) + b"N.",
        "an array of 2**60": start
        + b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01\x8a\x08"
        + struct.pack("<q", 2**60)
        + b"\x85NNNtb.",
        "a memo of 2**32": start + b"Nr\xff\xff\xff\xff.",
        "an absent memo": start + b"h\x07.",
        "an empty stack": start + b"a.",
        "no mark": start + b"]e.",
        "nothing": b"",
        "noise": bytes(range(256)),
        "a number": pickle.dumps(3),
        "one list": pickle.dumps((IMAGES,)),
        "images without labels": pickle.dumps((IMAGES, [])),
        "three images for two pairs": pickle.dumps((IMAGES[:3], SAME)),
        "labels that are no truth values": pickle.dumps((IMAGES, ["yes", 7])),
        "an array without content": start + b"(]cnumpy.core.multiarray\n_reconstruct\n)R]t.",
        "state for a list": start + b"]Nb.",
    }


def test_nothing_hostile_gets_through(tmp_path: Path) -> None:
    for told, written in _hostile(tmp_path).items():
        begun = time.process_time()
        with pytest.raises(Unreadable, match="not a pack of image pairs"):
            read_bin(_write(tmp_path / "hostile.bin", written))
        assert time.process_time() - begun < 5, told
    assert not (tmp_path / "trap").exists()


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    for protocol in (2, 4):
        written = pickle.dumps((IMAGES, SAME), protocol)
        for length in range(len(written)):
            with pytest.raises(Unreadable):
                read_bin(_write(tmp_path / "short.bin", written[:length]))


def test_random_damage_gives_a_pack_or_an_error_of_ours(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    whole = np.frombuffer(pickle.dumps((_rows(IMAGES), SAME), 4), np.uint8)
    refused = 0
    for _ in range(2000):
        damaged = whole.copy()
        damaged[random.integers(whole.size, size=3)] = random.integers(256, size=3)
        try:
            pack = read_bin(_write(tmp_path / "damaged.bin", damaged.tobytes()))
        except Unreadable:
            refused += 1
        else:
            assert len(pack.images) == 2 * len(pack.mated)
            assert all(isinstance(image, bytes) for image in pack.images)
    assert 0 < refused < 2000


@pytest.mark.parametrize(
    "name", ["INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"]
)
def test_no_other_instruction_that_calls_is_followed(tmp_path: Path, name: str) -> None:
    code = next(operation.code for operation in pickletools.opcodes if operation.name == name)
    arguments = {"INST": b"os\nsystem\n", "PERSID": b"1\n", "EXT1": b"\1", "EXT2": b"\1\0"}
    written = b"\x80\x04(]]" + code.encode("latin-1") + arguments.get(name, b"\1\0\0\0") + b"."
    with pytest.raises(Unreadable, match=f"instruction {name} at byte"):
        read_bin(_write(tmp_path / "x.bin", written))


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path / "x.bin", pickle.dumps((IMAGES, SAME)))
    monkeypatch.setattr(bin_packs, "MAX_PAIRS", 1)
    with pytest.raises(Unreadable, match="4 images for 2 pairs"):
        read_bin(path)
    monkeypatch.setattr(bin_packs, "MAX_PACK_BYTES", 20)
    with pytest.raises(TooLarge, match="the limit is 20"):
        read_bin(path)


def test_images_are_numbered(tmp_path: Path) -> None:
    source = open_source(_write(tmp_path / "x.bin", pickle.dumps((IMAGES, SAME))))
    assert isinstance(source, BinSource)
    assert source.names() == ["000000.jpg", "000001.jpg", "000002.jpg", "000003.jpg"]
    assert [source.read(name) for name in source.names()] == IMAGES
    for absent in ("000004.jpg", "x.jpg", "-1.jpg"):
        with pytest.raises(Unreadable, match="not in this pack"):
            source.read(absent)
    again = pickle.loads(pickle.dumps(source))
    assert again.read("000002.jpg") == IMAGES[2]
