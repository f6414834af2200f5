"""Everybody from a list of names and photos."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from facekd.gallery import GalleryRecords


def people(gallery: Path) -> dict[str, int]:
    with GalleryRecords(gallery, read_only=True) as records:
        return {person.name: person.templates for person in records.people()}


@pytest.fixture
def listed(tmp_path: Path, photos: Path) -> Path:
    """A folder for a list, with the photos below it."""
    (tmp_path / "in").mkdir()
    shutil.copytree(photos, tmp_path / "in" / "photos")
    return tmp_path / "in" / "people.csv"


@pytest.mark.parametrize(
    "text",
    [
        "name,photo\nAnn Lee,photos/a.jpg\nBo,photos/b.jpg\n",
        # as spreadsheets write it: a mark, capitals, quotes, an empty row, Windows paths
        '\ufeffName,Photo\r\n"Ann Lee","photos\\a.jpg"\r\n,\r\n\r\n"Bo",./photos/b.jpg\r\n',
        # columns in another order and others beside them; one spelling of a name is as good as another
        "team,photo,name\n1,photos/a.jpg,Ann  Lee\n,photos/a.jpg,Ann Lee\n2,photos/b.jpg,Bo\n",
    ],
)
def test_a_list_as_people_write_it(facekd, operator: Path, listed: Path, text: str) -> None:
    listed.write_text(text, encoding="utf-8", newline="")
    ran = facekd("enroll", "--from", listed)
    assert ran.code == 0, ran.err
    assert [line.split(":")[0] for line in ran.out.splitlines()] == ["enrolled Ann Lee", "enrolled Bo"]
    assert "2 of 2 people enrolled: 2 photos new, 0 already there" in ran.err
    assert people(operator) == {"Ann Lee": 1, "Bo": 1}
    again = facekd("enroll", "--from", listed)
    assert "2 of 2 people enrolled: 0 photos new, 2 already there" in again.err


def test_what_a_spreadsheet_would_run_is_a_name(facekd, operator: Path, listed: Path) -> None:
    formula = '=HYPERLINK(""http://x""; 1)'
    listed.write_text(f'name,photo\n"{formula}",photos/a.jpg\n@cmd,photos/mirrored.jpg\n')
    assert facekd("enroll", "--from", listed).code == 0
    assert people(operator) == {formula.replace('""', '"'): 1, "@cmd": 1}


def test_what_cannot_be_enrolled_is_told_as_of_a_folder(facekd, operator: Path, listed: Path) -> None:
    listed.write_text(
        "name,photo\nAnn,photos/a.jpg\nAnn,photos/absent.jpg\nCy,photos/blank.jpg\nDi,nowhere/d.jpg\n"
        "G\u200by,photos/b.jpg\nEve,photos/a.jpg\n",
        encoding="utf-8",
    )
    ran = facekd("enroll", "--from", listed)
    assert ran.code == 5
    assert ran.out == "enrolled Ann: 1 new, 0 already there, 1 failed, 1 in the gallery\n"
    assert ran.err.splitlines()[-7:-1] == [
        "1 of 5 people enrolled: 1 photo new, 0 already there",
        "not enrolled: Cy (1 no_face)",
        "not enrolled: Di (1 io)",
        f"not enrolled: {listed}: G\\u200by (1 name)",
        "not enrolled: Eve (1 other_person)",
        "photos not enrolled: 2 io, 1 no_face, 1 name, 1 other_person",
    ]
    assert f"{listed.parent}/nowhere/d.jpg: No such file" in ran.err
    assert people(operator) == {"Ann": 1}


def test_over_standard_input_paths_start_from_the_current_folder(
    facekd, operator: Path, listed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(listed.parent / "photos")
    given = io.TextIOWrapper(io.BytesIO("\ufeffname,photo\nÄnn,a.jpg\n".encode()))
    monkeypatch.setattr(sys, "stdin", given)
    ran = facekd("enroll", "--from", "-", "--json")
    assert (ran.code, [json.loads(line)["name"] for line in ran.out.splitlines()]) == (0, ["Änn"])
    assert people(operator) == {"Änn": 1}
    monkeypatch.setattr(sys, "stdin", None)
    ran = facekd("enroll", "--from", "-")
    assert (ran.code, ran.out) == (5, "")
    assert "standard input is closed" in ran.err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Ann,photos/a.jpg\n", "its first line is 'ann,photos/a.jpg'"),
        ("name;photo\nAnn;a.jpg\n", "It begins with name,photo"),
        ("name,photo\nAnn\n", "line 2: expected 2 columns, found 1"),
        ("name,photo\nLee, Ann,photos/a.jpg\n", "line 2: expected 2 columns, found 3"),
        ("name,photo\nBo,photos/b.jpg\n,photos/a.jpg\n", "line 3: expected a name and a photo"),
        ("name,photo\n", "nobody is listed"),
        ("", "its first line is ''"),
    ],
)
def test_a_list_that_is_broken_enrolls_nobody(
    facekd, operator: Path, listed: Path, text: str, told: str
) -> None:
    listed.write_text(text)
    ran = facekd("enroll", "--from", listed)
    assert (ran.code, ran.out) == (5, "")
    assert told.replace("It begins", "A list of people begins") in ran.err
    assert not operator.exists()


def test_no_list_and_no_root_of_one(facekd, operator: Path, listed: Path) -> None:
    assert facekd("enroll", "--from", listed).code == 5
    listed.write_text("name,photo\nAnn,photos/a.jpg\n")
    ran = facekd("enroll", "--from", listed, "--root", ".")
    assert (ran.code, ran.out) == (2, "")
