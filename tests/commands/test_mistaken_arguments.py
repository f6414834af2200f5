"""Arguments that are of the wrong kind or in the wrong place: the error says what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def place(operator: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a photo, folders of one and of two people, and two lists that are none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people" / "Ann").mkdir(parents=True)
    (tmp_path / "team" / "Bo" / "2025").mkdir(parents=True)
    (tmp_path / "team" / "Cy").mkdir()
    for photo in ("door.jpg", "people/Ann/a.jpg", "team/Bo/2025/a.jpg", "team/Cy/a.jpg"):
        (tmp_path / photo).write_bytes((photos / "a.jpg").read_bytes())
    for pack in ("people.csv", "people.zip"):
        (tmp_path / pack).write_bytes(b"neither of them")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("verify door.jpg --threshold 0.5", 2, "Give two photos: A B (1 given)."),
        (
            "verify Ann door.jpg --threshold 0.5", 5,
            "A person who is enrolled is named by --claim: facekd verify --claim Ann door.jpg",
        ),
        (
            "verify people people --threshold 0.5", 5,
            "To compare all photos of a folder with each other: facekd verify --all people",
        ),
        ("enroll people", 2, "facekd enroll --from people"),
        ("enroll people.csv", 2, "Enroll everybody in it: facekd enroll --from people.csv"),
        ("enroll Ann people.zip", 2, "Enroll everybody in it: facekd enroll --from people.zip"),
        ("enroll Bo team", 2, "Enroll a person for each: facekd enroll --from team; if all are of"),
        ("enroll --from door.jpg", 2, "Enroll one person: facekd enroll NAME door.jpg"),
        ("enroll --from people.zip", 5, "people.zip: not a zip file"),
        ("enroll Ann door.jpg -g absent/staff.db", 5, "there is no folder absent"),
        ("gallery list door.jpg", 2, "The gallery is an option here: facekd gallery list --gallery door.jpg"),
    ],
)  # fmt: skip
def test_the_error_says_what_to_write(
    facekd: Callable, place: Path, operator: Path, words: str, code: int, told: str
) -> None:
    ran = facekd(*words.split())
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err
    assert not operator.exists()


def test_a_folder_inside_the_folder_of_a_person_is_theirs_too(facekd: Callable, place: Path) -> None:
    assert facekd("enroll", "Bo", "team/Bo").out.startswith("enrolled Bo: 1 new")


def test_a_name_of_two_words_without_quotes(facekd: Callable, place: Path) -> None:
    ran = facekd("enroll", "Ann", "Lee", "door.jpg")
    assert ran.out.startswith("enrolled Ann: 1 new")
    assert "If the name is 'Ann Lee', quote it: facekd enroll 'Ann Lee' PHOTO..." in ran.err


def test_name_and_photo_of_a_claim_exchanged(facekd: Callable, place: Path) -> None:
    assert facekd("enroll", "Ann", "door.jpg").code == 0
    claim = ("verify", "--claim", "door.jpg", "Ann", "--threshold", "0.5")
    for more in ((), ("--json",)):
        ran = facekd(*claim, *more)
        assert ran.code == 2
        assert "'door.jpg' is not enrolled" in ran.err
        assert "--claim takes the person's name: --claim NAME PHOTO." in ran.err
