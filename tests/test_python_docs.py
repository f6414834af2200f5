"""docs/python.md: every Python snippet runs, in its order, and prints what its comments say."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from pathlib import Path

import pytest
from patterned_people import write_people
from small_photos import need_mtcnn, portrait, save, shade
from tiny_model import write_tiny_model

from facekd.weights import shipped_model

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "python.md"
SAMPLES = ROOT / "data" / "samples"
BLOCK = re.compile(r"^```(python|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: what a print is said to print
PRINTED = re.compile(r"^\s*print\(.*\)  # (.*)$", re.MULTILINE)


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")) if kind == language]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the page names: photos of Ann Lee (a portrait) and of Bob Roe (who is drawn),
    people to evaluate on, a student, a teacher, crops and the recipe that the page shows."""
    need_mtcnn()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEKD_CACHE", str(tmp_path / "cache"))
    write_people(tmp_path / "crops", people=60)
    (tmp_path / "heldout.txt").write_text("\n".join(f"P{number:02d}" for number in range(20, 60)))
    write_tiny_model(tmp_path / "teacher.onnx")
    ann, bob = portrait(), sorted((SAMPLES / "person-0003").glob("*.jpg"))
    for step, name in enumerate(("a", "b", "door")):
        save(shade(ann, 3 * step), tmp_path / f"{name}.jpg")
    shutil.copy(bob[0], tmp_path / "bob.jpg")
    save(shade(ann, 255), tmp_path / "blank.jpg")
    for person in ("Ann Lee", "Bob Roe"):
        (tmp_path / "staff" / person).mkdir(parents=True)
    for name in ("a", "b", "blank"):
        shutil.copy(tmp_path / f"{name}.jpg", tmp_path / "staff" / "Ann Lee")
    for photo in bob[:2]:
        shutil.copy(photo, tmp_path / "staff" / "Bob Roe")
    for person in sorted(SAMPLES.iterdir())[:6]:
        (tmp_path / "people" / person.name).mkdir(parents=True)
        for photo in sorted(person.glob("*.jpg"))[:3]:
            shutil.copy(photo, tmp_path / "people" / person.name)
    shipped = shipped_model()
    assert shipped is not None
    shutil.copy(shipped, tmp_path / "student.onnx")
    (recipe,) = blocks("toml")
    (tmp_path / "tiny.toml").write_text(recipe, encoding="utf-8")
    return tmp_path


def test_the_page_begins_with_five_lines_from_two_photos_to_a_decision() -> None:
    lines = blocks("python")[0].splitlines()
    assert len(lines) == 5
    assert ".verify(" in lines[3]
    assert ".same" in lines[4]


def test_every_name_is_shown_in_a_snippet() -> None:
    import facekd

    code = "\n".join(blocks("python"))
    six = ("Recognizer", "Gallery", "align", "load_embedder", "evaluate", "distill")
    assert set(six) < set(facekd.__all__)
    assert [name for name in six if f"facekd.{name}(" not in code] == []


@pytest.mark.long
def test_every_snippet_prints_what_it_says(place: Path) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    for number, code in enumerate(blocks("python"), start=1):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, f"docs/python.md, snippet {number}", "exec"), names)
        assert out.getvalue().splitlines() == PRINTED.findall(code), f"snippet {number}"
    assert "<html" in (place / "report.html").read_text(encoding="utf-8")
    assert (place / "tiny.onnx").is_file()
