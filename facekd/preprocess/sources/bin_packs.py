"""insightface's ``.bin`` packs: the pairs of LFW, CFP-FP, AgeDB-30 and others as finished crops.

A pack is a pickle of ``(images, same)``: a list of encoded images, two for each pair, and a list
that states for each pair whether it shows one person (insightface, "recognition/_datasets_").

A pickle is a program that may call anything. So nothing is unpickled here: the few instructions
used to write such lists are interpreted one by one, and no function that the file names is ever
looked up. Every other instruction is refused, and no length in the file is believed before that
many bytes have been read.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.errors import Unreadable
from facekd.files import read_bounded
from facekd.preprocess.sources.base import check_bytes, stamp_of

#: bytes of the largest pack that is read; LFW's holds 12,000 images in 60 million
MAX_PACK_BYTES = 2_000_000_000
#: pairs of the largest pack that is read
MAX_PAIRS = 1_000_000


@dataclass(frozen=True)
class BinPack:
    """``images`` [2 P] as encoded bytes, pair by pair; ``mated`` bool [P]."""

    images: tuple[bytes, ...]
    mated: NDArray[np.bool_]


class BinSource:
    """The images of a ``.bin`` pack, named by their number: ``000000.jpg``, ``000001.jpg`` ..."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._images: tuple[bytes, ...] | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_images": None}

    def names(self) -> list[str]:
        return [image_name(number) for number in range(len(self._read()))]

    def read(self, name: str) -> bytes:
        number = Path(name).stem
        images = self._read()
        if not number.isdecimal() or int(number) >= len(images):
            raise Unreadable(f"{self.path}/{name}: not in this pack")
        check_bytes(len(images[int(number)]), f"{self.path}/{name}")
        return images[int(number)]

    def stamp(self, name: str) -> str:
        """The stamp of the whole pack."""
        return stamp_of(self.path)

    def _read(self) -> tuple[bytes, ...]:
        if self._images is None:
            self._images = read_bin(self.path).images
        return self._images


def image_name(number: int) -> str:
    """The name of image ``number`` of a pack."""
    return f"{number:06d}.jpg"


def read_bin(path: Path) -> BinPack:
    """The pack at ``path``.

    Raises `Unreadable` if it is cut short, contains anything but images and truth values, or has
    inconsistent numbers of them; `TooLarge` above `MAX_PACK_BYTES`; `InputOutput` if it cannot be read.
    """
    written = read_bounded(path, MAX_PACK_BYTES)
    try:
        images, same = _pair_of_lists(_Reader().read(written))
        return BinPack(tuple(map(_image, images)), np.array([_truth(value) for value in same], bool))
    except _Refused as error:
        raise Unreadable(
            f"{path}: not a pack of image pairs: {error}",
            "A pack is a pickle of a list of encoded images and a list of truth values.",
        ) from error


class _Refused(Exception):
    """The file contains something that a list of images and truth values does not need."""


def _pair_of_lists(found: object) -> tuple[list[object], list[object]]:
    if not isinstance(found, list | tuple) or len(found) != 2:
        raise _Refused("it does not contain two lists")
    images, same = map(_finished, found)
    same = same.ravel() if isinstance(same, np.ndarray) else same
    if not isinstance(images, list | tuple) or not isinstance(same, list | tuple | np.ndarray):
        raise _Refused("it does not contain two lists")
    if not 0 < len(same) <= MAX_PAIRS or len(images) != 2 * len(same):
        raise _Refused(f"{len(images)} images for {len(same)} pairs")
    return list(images), same.tolist() if isinstance(same, np.ndarray) else list(same)


def _image(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise _Refused("an image is not a byte string")
    return value


def _truth(value: object) -> bool:
    # older packs write 0 and 1
    if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise _Refused("a truth value of a pair is neither true nor false")


class _Mark:
    """Where the items of a list or tuple begin on the stack."""


@dataclass(frozen=True)
class _Named:
    """A name in the file; it is kept as a name and never looked up."""

    name: str


@dataclass(frozen=True)
class _Dtype:
    """The type of an array's elements: one of `_DTYPES`."""

    code: str


@dataclass
class _Array:
    """A numpy array whose contents follow later: bytes, or truth values."""

    content: bytes | NDArray[np.bool_] | None = None


_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NAMES = {
    "numpy ndarray",
    "numpy dtype",
    "_codecs encode",
    "numpy.core.numeric _frombuffer",
    "numpy._core.numeric _frombuffer",
    *(f"{module} {what}" for module in _MULTIARRAY for what in ("_reconstruct", "scalar")),
}
_DTYPES = ("u1", "b1")
_TEXT = {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"}
#: instructions that put their argument on the stack
_VALUES = _TEXT | {
    "BININT", "BININT1", "BININT2", "INT", "LONG1", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_CONSTANTS = {"NEWTRUE": True, "NEWFALSE": False, "NONE": None}
_PUTS = {"BINPUT", "LONG_BINPUT", "PUT"}
_GETS = {"BINGET", "LONG_BINGET", "GET"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Reader:
    """Interprets the instructions of one pickle with its own stack."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def read(self, written: bytes) -> object:
        """The object that the pickle ``written`` builds. Raises `_Refused`."""
        try:
            for operation, argument, place in pickletools.genops(io.BytesIO(written)):
                if operation.name == "STOP":
                    return _finished(self._stack.pop())
                self._step(operation.name, argument, place)
        except (ValueError, IndexError, TypeError, KeyError, OverflowError, MemoryError) as error:
            # genops raises for truncated input, the others for stacks and arguments that do not fit
            raise _Refused(str(error).partition("\n")[0][:120] or type(error).__name__) from error
        raise _Refused("it ends before it is complete")

    def _step(self, name: str, argument: Any, place: int | None) -> None:
        stack = self._stack
        if name in _VALUES:
            stack.append(bytes(argument) if isinstance(argument, bytearray) else argument)
        elif name in ("BINSTRING", "SHORT_BINSTRING"):
            # Python 2 wrote bytes this way
            stack.append(argument.encode("latin-1"))
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _PUTS:
            self._memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in _GETS:
            stack.append(self._memo[argument])
        elif name in _TUPLES:
            stack[-_TUPLES[name] :] = [tuple(stack[-_TUPLES[name] :])]
        elif name in ("PROTO", "FRAME"):
            pass
        elif name in _STEPS:
            _STEPS[name](self, argument)
        else:
            raise _Refused(f"instruction {name} at byte {place}")

    def _since_mark(self) -> list[Any]:
        items = []
        while not isinstance(item := self._stack.pop(), _Mark):
            items.append(item)
        return items[::-1]

    def _append(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise _Refused("items are added to something that is not a list")
        self._stack[-1] += [_finished(item) for item in items]

    def _named(self, name: str) -> None:
        if name not in _NAMES:
            raise _Refused(f"it names {name.replace(' ', '.')[:60]}")
        self._stack.append(_Named(name))

    def _named_by_stack(self) -> None:
        module, what = self._stack[-2:]
        del self._stack[-2:]
        if not isinstance(module, str) or not isinstance(what, str):
            raise _Refused("a name is not text")
        self._named(f"{module} {what}")

    def _call(self) -> None:
        named, arguments = self._stack[-2:]
        if not isinstance(named, _Named) or not isinstance(arguments, tuple):
            raise _Refused("it calls something that is not allowed")
        self._stack[-2:] = [_made(named.name, arguments)]

    def _state(self) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if isinstance(target, _Array):
            _, shape, dtype, _, content = state
            target.content = _array(content, dtype, shape)
        elif not isinstance(target, _Dtype):
            raise _Refused("it changes something that is not allowed")


def _finished(value: Any) -> Any:
    """``value``, or its contents if it is an array."""
    if isinstance(value, _Array):
        if value.content is None:
            raise _Refused("an array has no content")
        return value.content
    return value


_STEPS: dict[str, Callable[[_Reader, Any], None]] = {
    "MARK": lambda reader, _: reader._stack.append(_Mark()),
    "EMPTY_LIST": lambda reader, _: reader._stack.append([]),
    "EMPTY_TUPLE": lambda reader, _: reader._stack.append(()),
    "LIST": lambda reader, _: reader._stack.append(reader._since_mark()),
    "TUPLE": lambda reader, _: reader._stack.append(tuple(reader._since_mark())),
    "APPEND": lambda reader, _: reader._append([reader._stack.pop()]),
    "APPENDS": lambda reader, _: reader._append(reader._since_mark()),
    "GLOBAL": lambda reader, argument: reader._named(argument),
    "STACK_GLOBAL": lambda reader, _: reader._named_by_stack(),
    "REDUCE": lambda reader, _: reader._call(),
    "BUILD": lambda reader, _: reader._state(),
}


def _made(name: str, arguments: tuple[Any, ...]) -> object:
    """The result of calling ``name``; built here, without calling it."""
    what = name.partition(" ")[2]
    if what == "encode":
        text, encoding = arguments
        if encoding != "latin1" or not isinstance(text, str):
            raise _Refused("text in another encoding")
        return text.encode("latin-1")
    if what == "dtype":
        code = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
        if not isinstance(code, str) or code not in _DTYPES:
            raise _Refused("an array of neither bytes nor truth values")
        return _Dtype(code)
    if what == "_reconstruct":
        return _Array()
    if what == "scalar":
        return bool(_array(arguments[1], arguments[0], (1,))[0])
    if what == "_frombuffer":
        return _array(arguments[0], arguments[1], arguments[2])
    raise _Refused(f"it calls {what}")


def _array(content: Any, dtype: Any, shape: Any) -> bytes | NDArray[np.bool_]:
    """The contents of an array: the bytes that exist, whatever its shape states.

    Bytes are passed on without a copy, so that an array named a million times is stored once.
    """
    if not isinstance(content, bytes) or not isinstance(dtype, _Dtype) or not isinstance(shape, tuple):
        raise _Refused("an array in another form")
    return content if dtype.code == "u1" else np.frombuffer(content, np.uint8) != 0
