"""Lists of names to leave out, merge or hold out, and which of these names match nothing.

An unknown name is usually a typing error, and in the wrong list it would train on people who should be
held out. It is therefore reported.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from facekd.errors import InputOutput, RecipeError, Unreadable
from facekd.files import read_text

#: unmatched names that a warning shows
_SHOWN = 5


@dataclass(frozen=True)
class NameList:
    """The names of one file, in its order."""

    path: Path
    names: tuple[str, ...]

    def unmatched(self, known: Collection[str]) -> list[str]:
        """The names that are not among the ``known``."""
        return [name for name in self.names if name not in known]

    def warning(self, known: Collection[str]) -> str | None:
        """A warning about the names that match nothing, with their number; `None` if all match."""
        unmatched = self.unmatched(known)
        if not unmatched:
            return None
        more = f" and {len(unmatched) - _SHOWN:,} more" if len(unmatched) > _SHOWN else ""
        named = ", ".join(unmatched[:_SHOWN]) + more
        if len(unmatched) == len(self.names):
            return f"{self.path}: the list matches nothing in the training data ({named})"
        return f"{self.path}: {len(unmatched):,} of {len(self.names):,} names match nothing: {named}"

    def require_all(self, known: Collection[str], labelled: Sequence[Path]) -> None:
        """Raise `RecipeError`, with every name, if the list holds out identities that do not exist."""
        unmatched = self.unmatched(known)
        if not unmatched:
            return
        told = f"{len(unmatched):,} of {len(self.names):,} held-out identities are not in the labelled data"
        if len(unmatched) == len(self.names):
            told = "the list matches nothing in the labelled data"
        packs = ", ".join(str(path) for path in labelled)
        nobody = "" if known else f" ({packs} has no folders, and so no identities)"
        raise RecipeError(
            f"{self.path}: {told}{nobody}: {', '.join(unmatched)}",
            "If they exist under other names, the run would train on them: write each name as its folder is "
            "named, or remove it from the list.",
        )


def read_list(path: Path) -> list[str]:
    """The lines of a list file, without empty lines and without a byte-order mark."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def read_rows(path: Path | None, *columns: str) -> list[dict[str, str]]:
    """The rows of a CSV file that must have ``columns``; none if ``path`` is `None`."""
    if path is None:
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = set(columns) - set(reader.fieldnames or ())
            if missing:
                raise Unreadable(f"{path}: no column {', '.join(sorted(missing))}")
            return list(reader)
    except (OSError, UnicodeDecodeError) as error:
        raise InputOutput(f"{path}: cannot be read ({error})") from error
