"""What a protocol is, and how one is found by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from facekd.registry import Registry
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


Reader = Callable[[Path], Protocol]


_PROTOCOLS: Registry[_Entry] = Registry("protocol", "facekd.verification.protocols")
protocol_names = _PROTOCOLS.names


def register(name: str, lists: tuple[str, ...] = ()) -> Callable[[Reader], Reader]:
    """Make a function that reads a list available as protocol ``name``; ``lists`` are the file
    names under which its list is usually found beside the photos."""

    def keep(read: Reader) -> Reader:
        _PROTOCOLS.add(name, _Entry(read, lists))
        return read

    return keep


def list_names(name: str) -> tuple[str, ...]:
    """The usual file names of the list of protocol ``name``."""
    return _PROTOCOLS[name].lists


def open_protocol(name: str, path: str | os.PathLike[str]) -> Protocol:
    """Protocol ``name`` with its list at ``path``.

    Raises `UsageError` for an unknown name, `InputOutput` or `Unreadable` for the list.
    """
    return _PROTOCOLS[name].read(Path(path))
