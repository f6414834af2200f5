"""Names of people, photos and models that would be statements, paths, formulas, commands of a terminal or
markup: each is text, wherever it ends up."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_galleries import enroll
from photo_bytes import written
from small_photos import need_mtcnn
from tiny_model import write_tiny_model

from facekd.csv_rows import csv_line, harmless_cell
from facekd.errors import Unreadable
from facekd.gallery import GalleryRecords
from facekd.preprocess.sources.recordio import Image, write_records
from facekd.reporting import write_numbers
from facekd.verification import write_scores

#: names that may be people's and stay what they are
TEXT = (
    "Robert'); DROP TABLE people;--", "' OR '1'='1", '" OR ""="', "x' UNION SELECT * FROM templates --",
    "%", "_",
    "../../etc/passwd", "/etc/shadow", "C:\\Windows\\win.ini", "..", "-", "--json", "~root", "$(reboot)",
    "`id`",
    "a;b|c&d", "=cmd|' /C calc'!A1", "+1+1", "@SUM(1)", "[red]x[/red]", "[/]", "<script>alert(1)</script>",
    "{0.__class__}", "%s%n", "{{7*7}}", "$x^", "\\frac{1}{", "null", "NaN", "0", "O'Neil \"Bo\", Jr.",
)  # fmt: skip
#: names that a terminal would obey, or that look like others
REFUSED = (
    "a\x1b[2J", "a\x1b]0;title\x07", "a\x9b31m", "a\nb", "a\rb", "a\tb", "a\0b", "a\x7fb", "\u202egpj.exe",
    "a\u200bb", "a\u2028b", "\ud800", "\ue000", "a\u034fb", "", " ",
)  # fmt: skip


@pytest.mark.parametrize("name", TEXT)
def test_a_name_is_a_key_and_nothing_else(facekd: Callable, tmp_path: Path, name: str) -> None:
    """Through every command that takes a name: shown, renamed, merged, exported, imported and removed."""
    gallery, copy = tmp_path / "in" / "g.db", tmp_path / "in" / "copy.db"
    gallery.parent.mkdir()
    enroll(gallery, ("Ann", 1), (name, 2), ("Bo", 3))
    at = ("--gallery", gallery)
    listed = json.loads(facekd("gallery", "list", *at, "--json").out)["people"]
    assert sorted(person["name"] for person in listed) == sorted(["Ann", name, "Bo"])
    assert json.loads(facekd("gallery", "show", *at, "--json", "--", name).out)["name"] == name
    plain = facekd("gallery", "list", *at)
    assert (plain.code, name in plain.out) == (0, True)
    assert facekd("gallery", "rename", *at, "--", name, "Cy").code == 0
    assert facekd("gallery", "rename", *at, "--", "Cy", name).code == 0
    assert facekd("gallery", "merge", *at, "--yes", "--force", "--", name, "Bo").code == 0
    assert facekd("gallery", "export", gallery.parent / "a.jsonl", "--yes", *at).code == 0
    assert facekd("gallery", "import", gallery.parent / "a.jsonl", "--gallery", copy).code == 0
    removed = json.loads(facekd("gallery", "remove", *at, "--yes", "--json", "--", name).out)
    assert (removed["name"], removed["templates"]) == (name, 2)
    for file, people in ((gallery, ["Ann"]), (copy, sorted(["Ann", name]))):
        with GalleryRecords(file, read_only=True) as records:
            assert sorted(person.name for person in records.people()) == people
        assert facekd("gallery", "check", "--gallery", file).code == 0
    assert [place.name for place in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_does_not_print_is_refused(facekd: Callable, tmp_path: Path, name: str) -> None:
    enroll(tmp_path / "g.db", ("Ann", 1))
    (tmp_path / "a.png").write_bytes(written("png"))
    model = write_tiny_model(tmp_path / "model.onnx")
    for call in (
        ("gallery", "rename", "--gallery", tmp_path / "g.db", "--json", "--", "Ann", name),
        (
            "enroll",
            "--model",
            model,
            "--gallery",
            tmp_path / "new.db",
            "--json",
            "--",
            name,
            tmp_path / "a.png",
        ),
    ):
        ran = facekd(*call)
        failure = json.loads(ran.out)["failure"]
        assert (ran.code, failure["reason"]) == (2, "usage")
        assert not [letter for letter in ran.err if letter != "\n" and not letter.isprintable()]
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize("name", [name for name in REFUSED if name.strip() and name != "\ud800"])
def test_a_name_that_somebody_wrote_into_the_file_is_escaped(
    facekd: Callable, tmp_path: Path, name: str
) -> None:
    """By SQLite itself, past the rules for names."""
    gallery = tmp_path / "g.db"
    enroll(gallery, ("Ann", 1))
    db = sqlite3.connect(gallery)
    db.execute("UPDATE people SET name = ?", [name])
    db.commit()
    db.close()
    for call in (("list",), ("show", name), ("check",), ("stats",)):
        ran = facekd("gallery", call[0], "--gallery", gallery, *(["--", name] if call[1:] else []))
        assert ran.code in (0, 2, 5)
        assert "Traceback" not in ran.err
        assert not [x for x in ran.out + ran.err if x != "\n" and not x.isprintable()], ran.out
    ran = facekd("gallery", "list", "--gallery", gallery, "--json")
    assert [person["name"] for person in json.loads(ran.out)["people"]] == [name]


#: cells that a spreadsheet would run
FORMULAS = (
    "=cmd|' /C calc'!A1", "=HYPERLINK(\"http://x\",\"y\")", "+cmd|x", "-2+3+cmd|x", "@SUM(1+1)*cmd|x",
    "\t=1+1",
    "\r=1+1", "\n=1+1", " =1+1", '"=1+1"', "\uff1d1+1", "\uff0b1+1", "a;=1+1", "a\t=1+1", "a;\"=1+1\"",
)  # fmt: skip
_BEGINS = re.compile(r"^[\s\"]*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r]")


def runs_nothing(text: str) -> bool:
    """Whether no cell of the CSV begins a formula, whatever a spreadsheet takes for the end of a cell."""
    cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
    for separator in ";\t":
        cells += [cell for line in text.splitlines() for cell in line.split(separator)[1:]]
    numbers = re.compile(r"[+-]?[0-9.e+-]+")
    return not [cell for cell in cells if _BEGINS.match(cell) and not numbers.fullmatch(cell)]


@pytest.mark.parametrize("cell", FORMULAS)
def test_no_cell_is_a_formula(tmp_path: Path, cell: str) -> None:
    assert not runs_nothing(csv_text([cell]))
    assert runs_nothing(csv_line([cell, "b.jpg", "same", "-0.5", "", ""]))
    assert runs_nothing(csv_line(["a.jpg", cell, "same", "-0.5", "", ""]))
    write_numbers(
        tmp_path / "n.csv", {cell: {"groups": [{"name": cell, "fmr": -0.5}, {"name": "b", "fmr": 0}]}}
    )
    assert runs_nothing((tmp_path / "n.csv").read_text())
    assert "-0.5" in (tmp_path / "n.csv").read_text()
    write_scores(tmp_path / "s.csv", np.array([-0.5]), np.array([True]), [(cell, "b.jpg")])
    text = (tmp_path / "s.csv").read_text()
    assert runs_nothing(text)
    assert text.splitlines()[1].startswith("-0.5,1,")


def csv_text(fields: list[str]) -> str:
    """As Python writes it, unguarded."""
    text = io.StringIO()
    csv.writer(text).writerow(fields)
    return text.getvalue()


@pytest.mark.parametrize("cell", ["a\nb,c,same,0.99,1,", "a\rb", "a\r\nb", 'a",b', "a\n\nb"])
def test_no_cell_is_a_second_line(tmp_path: Path, cell: str) -> None:
    line = csv_line([cell, "b.jpg", "different"])
    assert list(csv.reader(io.StringIO(line, newline=""))) == [[cell, "b.jpg", "different"]]
    write_scores(tmp_path / "s.csv", np.array([0.5]), np.array([True]), [(cell, "b.jpg")])
    with (tmp_path / "s.csv").open(newline="") as file:
        assert list(csv.reader(file))[1:] == [["0.5", "1", cell, "b.jpg"]]
    write_numbers(tmp_path / "n.csv", {cell: {"tar": 0.5}})
    with (tmp_path / "n.csv").open(newline="") as file:
        assert list(csv.reader(file))[1:] == [[cell, "tar", "0.5"]]


@pytest.mark.parametrize(
    "cell", ["ann/1.jpg", "-0.5", "+1e-05", "Lee, Ann", "a - b.jpg", "nan", "", "é=1.jpg"]
)
def test_what_is_no_formula_stays_as_it_is(cell: str) -> None:
    assert harmless_cell(cell) == cell


def test_verify_pairs_writes_no_formula(facekd: Callable, tmp_path: Path) -> None:
    """In CSV, and the photo is found all the same; JSON has the unchanged name."""
    need_mtcnn()
    model = write_tiny_model(tmp_path / "model.onnx")
    for name in ("=1+1.png", "@a;=b.png"):
        (tmp_path / name).write_bytes(written("png"))
    (tmp_path / "pairs.csv").write_text("a,b\n=1+1.png,@a;=b.png\n")
    call = ("verify", "--pairs", tmp_path / "pairs.csv", "--model", model, "--threshold", "0.5")
    ran = facekd(*call)
    assert (ran.code, runs_nothing(ran.out)) == (0, True)
    assert ran.out.splitlines()[1].startswith("'=1+1.png,'@a;'=b.png,same,")
    line = json.loads(facekd(*call, "--json").out)
    assert (line["a"], line["b"], line["same"]) == ("=1+1.png", "@a;=b.png", True)


@pytest.mark.parametrize(
    "name", ["[red]x[/red]", "[/]", "$x^$", "<script>alert(1)<", "=1+1", "{{7*7}}", "a&lt;b"]
)
def test_the_name_of_a_file_is_text_in_tables_pages_and_figures(
    facekd: Callable, tmp_path: Path, name: str
) -> None:
    lines = (f"{0.9 - 0.001 * k},1\n{0.1 + 0.001 * k},0\n" for k in range(60))
    safe = name.replace("/", "\u2215")
    (tmp_path / f"{safe}.csv").write_text("score,label\n" + "".join(lines))
    page, table = tmp_path / "page.html", tmp_path / "table.csv"
    ran = facekd("evaluate-scores", tmp_path / f"{safe}.csv", "--report", page, "--csv", table, "--plot",
                 tmp_path / "f.svg")  # fmt: skip
    assert ran.code == 0, ran.err
    text = page.read_text()
    assert html.escape(safe) in text
    assert "<script>alert" not in text
    assert "49" not in re.findall(r"<h1>.*?</h1>", text, re.DOTALL)[0]
    assert runs_nothing(table.read_text())


@pytest.mark.parametrize("name", ["Ann\n1\tBo", "a\u2028b", "a\x0bb", "a\x1cb", "\udcff"])
def test_a_name_cannot_give_others_a_name_in_a_records_pack(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unreadable, match="cannot be written into a RecordIO pack"):
        write_records(tmp_path / "x.rec", [Image(b"1", name), Image(b"2", "Cy")])


def test_a_photo_whose_name_begins_with_a_dash_is_no_option(facekd: Callable, tmp_path: Path) -> None:
    (tmp_path / "--force").mkdir()
    shutil.copy(write_tiny_model(tmp_path / "model.onnx"), tmp_path / "-m.onnx")
    ran = facekd("card", "--json", "--", tmp_path / "-m.onnx")
    assert (ran.code, json.loads(ran.out)["name"]) == (0, "model")
