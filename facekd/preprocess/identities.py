"""Whose photo a path is: one rule for enrolling, calibrating, evaluating, training and lists of pairs.

The identity is the first folder below the one given; deeper folders are that person's, too. A photo that
lies in no folder is of nobody. An archive often holds one top folder around everything, which is no person:
it is passed over where that is plain, and asked for where it is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from facekd.errors import UsageError
from facekd.preprocess.sources.base import Source

#: how photos of nobody get a name
NAMING = "Lay each person's photos into a folder of their name."


@dataclass(frozen=True)
class Identities:
    """``of`` holds the identity of each image, in the source's order, `None` for those of nobody; ``root``
    is the folder that the identities' folders lie in ("": the source itself), and ``note`` says so where
    nobody stated it."""

    of: dict[str, str | None]
    root: str = ""
    note: str | None = None

    @property
    def nobodys(self) -> tuple[str, ...]:
        """The images of nobody."""
        return tuple(name for name, identity in self.of.items() if identity is None)


def identity_of(name: str, root: str = "") -> str | None:
    """Whose the image ``name``, a path with forward slashes, is: the first folder below ``root``. `None`
    where it lies in none, or not below ``root``."""
    folders, above = _parts(name)[:-1], _parts(root)
    if folders[: len(above)] != above or len(folders) == len(above):
        return None
    return folders[len(above)]


def wrapper_of(names: Iterable[str]) -> str:
    """The sole top folder of ``names`` where it is plain that it is no person's but holds people's folders:
    there is no image in it itself, and two or more folders whose names are not numbers (``2019`` may be
    a year of one person's photos). "" where there is none such."""
    sole, inside = _top(names)
    plain = sole is not None and None not in inside and sum(map(_is_name, filter(None, inside))) >= 2
    return sole if sole is not None and plain else ""


def identities_in(source: Source, root: str | None = None) -> Identities:
    """Whose the images of ``source`` are.

    ``root`` names the folder in it that holds the identities' folders ("." is the source itself); images
    elsewhere are then left out. By default it is the source, or in an archive the top folder that
    `wrapper_of` finds. Raises `UsageError` where an archive has any other sole top folder, since that
    may be a person or not, and where no image lies below ``root``.
    """
    names = source.names()
    if root is not None:
        root = "/".join(_parts(root))
        below = {n: identity_of(n, root) for n in names if _parts(n)[: len(_parts(root))] == _parts(root)}
        if names and not below:
            raise UsageError(f"{source.path}: there is no image below '{root}'")
        return Identities(below, root)
    found = "" if source.path.is_dir() else wrapper_of(names)
    sole, _ = _top(names)
    if found:
        note = f"{source.path}: the folder '{found}' around everything is passed over, it holds the people's"
        return Identities({name: identity_of(name, found) for name in names}, found, note)
    if sole is not None and not source.path.is_dir():
        raise UsageError(
            f"{source.path}: everything is in '{sole}', which may be a person or contain people's folders",
            f"Use --root {sole} if it contains people's folders, --root . if it is a person; "
            "'facekd data convert' takes --root too, and writes a pack that needs none.",
        )
    return Identities({name: identity_of(name) for name in names})


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _top(names: Iterable[str]) -> tuple[str | None, set[str | None]]:
    """The one folder that all ``names`` lie in, and what lies in it: folders, and `None` for images."""
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
