"""CSV lists: a line of column names, then one line for each entry."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from facekd.errors import Unreadable

#: characters of a wrong first line that an error shows
_SHOWN = 60


class CsvRows:
    """The lines of the CSV ``text``, which errors call ``name``: `head`, the names of the columns in lower
    case; iterating yields every line below with its number.

    Fields are stripped of white space, and empty lines are skipped. The reader of the list checks how many
    columns there are and which must be filled: `wrong_head` and `fault` make
    its errors. Raises `Unreadable` if the text is not CSV.
    """

    def __init__(self, text: str, name: object) -> None:
        self._name = name
        self._rows = csv.reader(io.StringIO(text))
        first = next(self._lines(), [])
        self.head = [column.strip().lower() for column in first]

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        for row in self._lines():
            if row:
                yield self._rows.line_num, [field.strip() for field in row]

    def wrong_head(self, fix: str) -> Unreadable:
        """The error for a `head` that the list may not have."""
        return Unreadable(f"{self._name}: its first line is '{','.join(self.head)[:_SHOWN]}'", fix)

    def fault(self, line: int, what: str) -> Unreadable:
        """The error for an invalid line."""
        return Unreadable(f"{self._name}, line {line}: {what}")

    def _lines(self) -> Iterator[list[str]]:
        try:
            yield from self._rows
        except csv.Error as error:
            raise self.fault(self._rows.line_num, str(error)) from error
