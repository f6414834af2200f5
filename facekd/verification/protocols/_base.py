"""The interface of a protocol, and the registry that finds one by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar
from typing import Protocol as Interface

from facekd.errors import UsageError
from facekd.registry import Registry
from facekd.verification.exclusion import LeftOut

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facekd.verification.results import Result

#: photo names [N] to embeddings float32 [N, D]; a row of NaN for a photo without one
Embed: TypeAlias = "Callable[[Sequence[str]], NDArray[np.float32]]"


#: what a protocol's evaluation returns
Found = TypeVar("Found", bound="Result", covariant=True)


class Protocol(Interface[Found]):
    """A set of comparisons with a way to evaluate them."""

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

    @property
    def people(self) -> tuple[str, ...] | None:
        """The person of each photo, `None` if the protocol does not say or does not compare photos
        with each other."""
        ...

    @property
    def compared(self) -> list[tuple[str, str]] | None:
        """The two ends of each comparison that the result has a score for; `None` if it keeps no
        list of them."""
        ...

    @property
    def left_out(self) -> LeftOut | None:
        """What `without` has removed, if anything."""
        ...

    def without(self, people: Sequence[str]) -> Protocol[Found]:
        """The protocol without ``people``, named as in `people` (further folders may
        precede a name): without their photos, and without the comparisons with one of them.

        Raises `UsageError` if the protocol knows no people, if ``people`` match none of them, and
        if too little would be left.
        """
        ...

    def evaluate(self, embed: Embed) -> Found:
        """Embed the photos and evaluate the comparisons."""
        ...


@dataclass(frozen=True)
class _Entry:
    read: Callable[..., Protocol[Result]]
    lists: tuple[str, ...]
    suffixes: tuple[str, ...]
    data_is_list: bool
    pairs_of_photos: bool
    takes_root: bool


Reader = TypeVar("Reader", bound="Callable[..., Protocol[Result]]")


_PROTOCOLS: Registry[_Entry] = Registry("protocol", "facekd.verification.protocols", "facekd.protocols")

#: the protocol if no file name suggests another
_USUAL = "lfw"


def register(
    name: str,
    note: str,
    *,
    lists: tuple[str, ...] = (),
    suffixes: tuple[str, ...] = (),
    data_is_list: bool = False,
    pairs_of_photos: bool = False,
    takes_root: bool = False,
) -> Callable[[Reader], Reader]:
    """Register a function that reads a list as protocol ``name``, with everything that the commands need to
    know about it.

    ``note`` describes it in a few words, for ``--help``. ``lists`` are the usual names of its
    list beside the photos, ``suffixes`` (``".csv"``) those of a list that suggest this
    protocol. With ``data_is_list`` the photos themselves are the list: the function gets the folder or
    pack that holds them, and the suffixes are those of the pack. ``pairs_of_photos``: it reads a `PairList`.
    ``takes_root``: the function takes the path and ``root``, as `facekd.preprocess.identities_in` does.
    """
    if data_is_list and lists:
        raise ValueError(f"protocol {name}: photos that are the list have no list beside them")

    def keep(read: Reader) -> Reader:
        entry = _Entry(read, lists, suffixes, data_is_list, pairs_of_photos, takes_root)
        _PROTOCOLS.add(name, entry, read.__module__, note)
        return read

    return keep


def list_names(name: str) -> tuple[str, ...]:
    """The usual file names of the list of protocol ``name``; none if the photos are the list."""
    return _PROTOCOLS[name].lists


def data_is_list(name: str) -> bool:
    """Whether the photos are themselves the list of protocol ``name``."""
    return _PROTOCOLS[name].data_is_list


def suggest_protocol(listed: Path | None, data: Path) -> str:
    """The protocol that the suffix of the list suggests, or that of the ``data`` if no list is given;
    otherwise LFW's."""
    suffix = (listed or data).suffix.lower()
    return next((name for s, name in _suggested(listed is None) if s == suffix), _USUAL)


def protocol_names(pairs_of_photos: bool = False) -> list[str]:
    """The names of all protocols, or of those that list pairs of photos."""
    entries = _PROTOCOLS.working()
    return [name for name, entry in entries.items() if entry.pairs_of_photos or not pairs_of_photos]


def protocol_help(pairs_of_photos: bool = False) -> str:
    """The choices, all protocols or those that list pairs of photos, and the default if none is
    named."""
    chosen = protocol_names(pairs_of_photos)
    notes = _PROTOCOLS.notes()
    rules = [
        f"{name} for a {option} FILE{suffix}"
        for option, by_data in (("--pairs", False), ("--data", True))
        for suffix, name in _suggested(by_data)
        if name in chosen
    ]
    return f"{', '.join(f'{name} ({notes[name]})' for name in chosen)}; {', '.join(rules)}, else {_USUAL}."


def _suggested(by_data: bool) -> list[tuple[str, str]]:
    """Suffixes with the protocol that each suggests, of the data or of a list."""
    return [
        (suffix, name)
        for name, entry in _PROTOCOLS.working().items()
        for suffix in entry.suffixes
        if entry.data_is_list == by_data
    ]


def open_protocol(name: str, path: str | os.PathLike[str], root: str | None = None) -> Protocol[Result]:
    """Protocol ``name`` with its list, or what is used as its list, at ``path``; ``root`` is the folder in
    it that holds the people's folders, for protocols with a folder for each person.

    Raises `UsageError` for an unknown name or a ``root`` that the protocol does not take, `InputOutput` or
    `Unreadable` for the list.
    """
    entry = _PROTOCOLS[name]
    if root is None:
        return entry.read(Path(path))
    if not entry.takes_root:
        takers = ", ".join(n for n, one in _PROTOCOLS.working().items() if one.takes_root)
        raise UsageError(f"protocol {name} takes no root: its list names the person (others: {takers})")
    return entry.read(Path(path), root)


def without_embedding(embeddings: NDArray[np.float32], photos: Sequence[str]) -> tuple[str, ...]:
    """Those of ``photos`` whose row of ``embeddings`` is NaN."""
    import numpy as np

    gone = np.asarray(np.isnan(embeddings).all(axis=1))
    return tuple(photo for photo, lost in zip(photos, gone, strict=True) if lost)


def checked_embeddings(embed: Embed, photos: Sequence[str]) -> NDArray[np.float32]:
    """The result [N, D] of ``embed`` for ``photos``. Raises `UsageError` for another shape."""
    import numpy as np

    embeddings = np.asarray(embed(photos), np.float32)
    if embeddings.ndim != 2 or len(embeddings) != len(photos):
        raise UsageError(
            f"expected one embedding for each of {len(photos)} photos, got {list(embeddings.shape)}"
        )
    return embeddings
