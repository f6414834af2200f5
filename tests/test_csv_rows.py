"""Lists as spreadsheets and editors write them."""

from __future__ import annotations

import pytest

from facekd.csv_rows import CsvRows
from facekd.errors import Exit, Unreadable


def test_columns_and_lines() -> None:
    rows = CsvRows('Name, PHOTO\r\n"Lee, Ann",  a.jpg \r\n\r\n"Bo ""B""",b.jpg\r\n', "people.csv")
    assert rows.head == ["name", "photo"]
    assert list(rows) == [(2, ["Lee, Ann", "a.jpg"]), (4, ['Bo "B"', "b.jpg"])]


def test_a_field_over_two_lines_counts_to_its_end() -> None:
    assert list(CsvRows('name,photo\n"Ann\nLee",a.jpg\nBo,b.jpg', "x")) == [
        (3, ["Ann\nLee", "a.jpg"]), (4, ["Bo", "b.jpg"])
    ]  # fmt: skip


def test_formulas_are_text() -> None:
    assert list(CsvRows("name\n=cmd()\n@sum(a)\n", "x")) == [(2, ["=cmd()"]), (3, ["@sum(a)"])]


def test_errors_name_the_list_and_the_line() -> None:
    rows = CsvRows("a;b\n1;2\n", "people.csv")
    told = rows.wrong_head("It begins with a,b.")
    assert (told.cause, told.fix) == ("people.csv: its first line is 'a;b'", "It begins with a,b.")
    assert told.exit_code is Exit.IO
    assert rows.fault(7, "no photo").cause == "people.csv, line 7: no photo"
    assert CsvRows("", "x").head == []


@pytest.mark.parametrize("text", ["{long},b\n", "a,b\n1,{long}\n"])
def test_what_the_csv_module_refuses_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable, match=r"list\.csv, line [12]: field larger"):
        list(CsvRows(text.format(long="x" * 200_000), "list.csv"))
