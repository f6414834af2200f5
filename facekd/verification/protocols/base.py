"""What a protocol is, and how one is found by name."""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from facekd.errors import UsageError
from facekd.verification.result import Result

#: photo names [N] to embeddings float32 [N, D]; a row of NaN where a photo gave none
Embed = Callable[[Sequence[str]], NDArray[np.float32]]


class Protocol(Interface):
    """A set of comparisons with a way to judge them."""

    @property
    def name(self) -> str: ...

    @property
    def source(self) -> str:
        """The list that the comparisons were read from."""
        ...

    @property
    def photos(self) -> tuple[str, ...]:
        """Every photo that the protocol names, once."""
        ...

    def evaluate(self, embed: Embed) -> Result:
        """Embed the photos and judge the comparisons."""
        ...


@dataclass(frozen=True)
class _Entry:
    read: Callable[[Path], Protocol]
    lists: tuple[str, ...]


_REGISTRY: dict[str, _Entry] = {}

Reader = Callable[[Path], Protocol]


def register(name: str, lists: tuple[str, ...] = ()) -> Callable[[Reader], Reader]:
    """Make a function that reads a list available as protocol ``name``; ``lists`` are the file
    names under which its list is usually found beside the photos."""

    def keep(read: Reader) -> Reader:
        if name in _REGISTRY:
            raise ValueError(f"two protocols are named {name}")
        _REGISTRY[name] = _Entry(read, lists)
        return read

    return keep


def protocol_names() -> list[str]:
    """The names of all protocols of this folder."""
    import facekd.verification.protocols as room

    for module in pkgutil.iter_modules(room.__path__):
        importlib.import_module(f"{room.__name__}.{module.name}")
    return sorted(_REGISTRY)


def list_names(name: str) -> tuple[str, ...]:
    """The usual file names of the list of protocol ``name``."""
    return _entry(name).lists


def open_protocol(name: str, path: str | os.PathLike[str]) -> Protocol:
    """Protocol ``name`` with its list at ``path``.

    Raises `UsageError` for an unknown name, `InputOutput` or `Unreadable` for the list.
    """
    return _entry(name).read(Path(path))


def _entry(name: str) -> _Entry:
    names = protocol_names()
    if name not in names:
        raise UsageError(f"no protocol is named '{name}'", f"Known: {', '.join(names)}.")
    return _REGISTRY[name]
