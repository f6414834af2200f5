"""Any list of pairs as CSV: ``path1,path2,label[,fold]``, label 1 for one person, 0 for two."""

from __future__ import annotations

from pathlib import Path

from facekd.csv_rows import CsvRows
from facekd.verification.protocols._base import register
from facekd.verification.protocols._pair_list import Pair, PairList, pair_list, read_text

_LABELS = {"1": True, "true": True, "0": False, "false": False}


@register("pairs", "a CSV path1,path2,label", lists=("pairs.csv",), suffixes=(".csv",), pairs_of_photos=True)
def read(path: Path) -> PairList:
    """The list at ``path``; its first line names the columns. Photo paths are relative to the data.

    Raises `Unreadable` with the line if the format is wrong.
    """
    rows = CsvRows(read_text(path), path)
    if rows.head not in (["path1", "path2", "label"], ["path1", "path2", "label", "fold"]):
        raise rows.wrong_head("The first line must be path1,path2,label or path1,path2,label,fold.")
    return pair_list("pairs", path, [_pair(rows, line, fields) for line, fields in rows])


def _pair(rows: CsvRows, line: int, fields: list[str]) -> Pair:
    columns = len(rows.head)
    if len(fields) != columns or not all(fields):
        raise rows.fault(line, f"expected {columns} columns, none of them empty")
    if fields[2].lower() not in _LABELS:
        raise rows.fault(line, f"label '{fields[2]}' must be 1 (one person) or 0 (two people)")
    first, second = (field.replace("\\", "/").removeprefix("./") for field in fields[:2])
    return Pair(first, second, _LABELS[fields[2].lower()], fields[3] if columns == 4 else None)
