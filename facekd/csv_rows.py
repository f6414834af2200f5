"""Read CSV lists (a line of column names, then one line for each entry), and write lines of CSV safely."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator

from facekd.errors import Unreadable

#: characters of a wrong first line that an error shows
_SHOWN = 60
#: where a spreadsheet recognises a formula (OWASP, "CSV injection"): at the first character of a cell, which
#: may be full-width, and after characters that separate cells in some locales
_FORMULA = re.compile(r'(^|[,;\t\r\n])(?=[\s"]*[=+\-@＝＋－＠])|^(?=[\t\r])')
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?(e[+-]?\d+)?|inf|nan)", re.ASCII | re.IGNORECASE)


def harmless_cell(text: str) -> str:
    """``text`` as a cell that no spreadsheet interprets as a formula: where ``= + - @``, a tab or a carriage
    return would begin one, an apostrophe is inserted before it. Numbers stay as they are."""
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub(r"\1'", text)


def csv_line(fields: Iterable[str]) -> str:
    """``fields`` as a line of CSV without the line end; each is made a `harmless_cell`, and quoted if it
    contains a line break."""
    text = io.StringIO()
    # the csv module quotes only the characters of its own line terminator
    csv.writer(text, lineterminator="\r\n").writerow(map(harmless_cell, fields))
    return text.getvalue().removesuffix("\r\n")


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
