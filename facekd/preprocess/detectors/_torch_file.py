"""Read the state dicts that torch.save wrote before torch 1.6, without torch.

Such a file consists of four pickles (magic number, protocol, the writer's sizes, the objects), the
list of storage keys, and for each storage its length and its raw values. Unpickling runs whatever
the file names, so only the three names that a state dict needs are allowed.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.errors import Unreadable

_MAGIC = 0x1950A86A20F9469CFC6C

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class _Tensor:
    """A view into a storage that is read later; ``stride`` and ``offset`` are in elements."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def view(self, storages: dict[str, Floats]) -> Floats:
        values = storages[self.storage]
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))
        if self.offset < 0 or min((*self.shape, *self.stride), default=1) < 0 or last >= len(values):
            raise ValueError("a tensor reaches past its storage")
        steps = tuple(4 * s for s in self.stride)
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, steps).copy()


def _rebuild(storage: str, offset: int, shape: tuple, stride: tuple, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, shape, stride)


_ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
    ("torch", "FloatStorage"): "float32",
}


class _StateDictUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of a state dict")
        return _ALLOWED[module, name]

    def persistent_load(self, identity: Any) -> str:
        return str(identity[2])


def read_state_dict(content: bytes, name: str) -> dict[str, Floats]:
    """The float32 tensors in ``content``, the bytes of a state dict file called ``name``.

    Raises `Unreadable` for anything else.
    """
    file = io.BytesIO(content)
    try:
        if _StateDictUnpickler(file).load() != _MAGIC:
            raise ValueError("not a torch state dict of the old format")
        _StateDictUnpickler(file).load()
        _StateDictUnpickler(file).load()
        tensors = _StateDictUnpickler(file).load()
        storages: dict[str, Floats] = {}
        for key in _StateDictUnpickler(file).load():
            count = int.from_bytes(file.read(8), "little")
            storages[key] = np.frombuffer(file.read(4 * count), "<f4")
        return {key: tensor.view(storages) for key, tensor in tensors.items()}
    except Exception as error:
        raise Unreadable(f"{name}: not a readable state dict ({error})") from error
