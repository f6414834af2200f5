"""The person in a photo, by its path: one rule for enrolling, calibrating, evaluating, training, pair lists.

The identity is the first folder below the given one; deeper folders belong to the same person. The identity
of a photo outside such folders is unknown. An archive often holds one top folder around everything, which is
not a person: it is skipped if that is certain, and otherwise the user must state it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from facekd.errors import UsageError
from facekd.preprocess.sources.base import Source

#: how to name the person in a photo
NAMING = "Put each person's photos into a folder of their name."


@dataclass(frozen=True)
class Identities:
    """``of`` maps each image, in the source's order, to its identity, `None` if that is unknown; ``root`` is
    the folder that holds the identities' folders ("": the source itself), and ``note`` states it if nobody
    else did."""

    of: dict[str, str | None]
    root: str = ""
    note: str | None = None

    @property
    def nobodys(self) -> tuple[str, ...]:
        """The images whose identity is unknown."""
        return tuple(name for name, identity in self.of.items() if identity is None)


def identity_of(name: str, root: str = "") -> str | None:
    """The identity of the image ``name``, a path with forward slashes: the first folder below ``root``;
    `None` if there is no such folder, or the image is not below ``root``."""
    folders, above = _parts(name)[:-1], _parts(root)
    if folders[: len(above)] != above or len(folders) == len(above):
        return None
    return folders[len(above)]


def wrapper_of(names: Iterable[str]) -> str:
    """The only top folder of ``names``, if it certainly holds people's folders rather than one person's
    photos: it contains no images itself, and at least two folders whose names are not numbers (``2019`` may
    be a year of one person's photos). "" if there is no such folder."""
    sole, inside = _top(names)
    plain = sole is not None and None not in inside and sum(map(_is_name, filter(None, inside))) >= 2
    return sole if sole is not None and plain else ""


def identities_in(source: Source, root: str | None = None) -> Identities:
    """The identities in ``source``.

    ``root`` names the folder in it that holds the identities' folders ("." is the source itself); images
    elsewhere are then left out. By default it is the source or, in an archive, the top folder that
    `wrapper_of` finds. Raises `UsageError` if an archive has any other single top folder, which may be a
    person or not, and if there are no images below ``root``.
    """
    names = source.names()
    if root is not None:
        root = "/".join(_parts(root))
        below = {n: identity_of(n, root) for n in names if _parts(n)[: len(_parts(root))] == _parts(root)}
        if names and not below:
            raise UsageError(f"{source.path}: contains no images below '{root}'")
        return Identities(below, root)
    found = "" if source.path.is_dir() else wrapper_of(names)
    sole, _ = _top(names)
    if found:
        note = f"{source.path}: people's folders are taken from its top folder '{found}'"
        return Identities({name: identity_of(name, found) for name in names}, found, note)
    if sole is not None and not source.path.is_dir():
        raise UsageError(
            f"{source.path}: everything is in '{sole}', which may be a person or contain people's folders",
            f"Use --root {sole} if it contains people's folders, --root . if it is a person; "
            "'facekd data convert' has --root too, and writes a pack that does not need it.",
        )
    return Identities({name: identity_of(name) for name in names})


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _top(names: Iterable[str]) -> tuple[str | None, set[str | None]]:
    """The single folder that contains all ``names``, and its contents: folders, and `None` for images."""
    tops: set[str] = set()
    inside: set[str | None] = set()
    for name in names:
        top, *rest = _parts(name) or [""]
        if not rest:
            return None, set()
        tops.add(top)
        inside.add(rest[0] if len(rest) > 1 else None)
    return (tops.pop(), inside) if len(tops) == 1 else (None, set())


def _is_name(folder: str) -> bool:
    return any(letter.isalpha() for letter in folder)
