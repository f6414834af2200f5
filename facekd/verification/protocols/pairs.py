"""Any list of pairs as CSV: ``path1,path2,label[,fold]``, label 1 for one person, 0 for two."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from facekd.errors import Unreadable
from facekd.verification.protocols._base import register
from facekd.verification.protocols._pair_list import Pair, PairList, pair_list, read_text

_LABELS = {"1": True, "true": True, "0": False, "false": False}


@register("pairs", "a CSV path1,path2,label", lists=("pairs.csv",), suffixes=(".csv",), pairs_of_photos=True)
def read(path: Path) -> PairList:
    """The list at ``path``; its first line names the columns. Photo paths are relative to the data.

    Raises `Unreadable` with the line where the form is broken.
    """
    rows = csv.reader(io.StringIO(read_text(path)))
    head = [column.strip().lower() for column in next(rows, [])]
    if head not in (["path1", "path2", "label"], ["path1", "path2", "label", "fold"]):
        raise Unreadable(
            f"{path}: its first line is '{','.join(head)[:60]}'",
            "A pair list begins with the line path1,path2,label or path1,path2,label,fold.",
        )
    pairs = []
    try:
        for row in rows:
            if row:
                pairs.append(_pair(path, rows.line_num, row, len(head)))
    except csv.Error as error:
        raise Unreadable(f"{path}, line {rows.line_num}: {error}") from error
    return pair_list("pairs", path, pairs)


def _pair(path: Path, line: int, row: list[str], columns: int) -> Pair:
    fields = [field.strip() for field in row]
    if len(fields) != columns or not all(fields):
        raise Unreadable(f"{path}, line {line}: {columns} columns expected, all of them filled")
    if fields[2].lower() not in _LABELS:
        raise Unreadable(f"{path}, line {line}: label '{fields[2]}' is neither 1 (one person) nor 0")
    first, second = (field.replace("\\", "/").removeprefix("./") for field in fields[:2])
    return Pair(first, second, _LABELS[fields[2].lower()], fields[3] if columns == 4 else None)
