"""kill -9 around the entry of a claim or a search in the audit: no answer is seen without its entry."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from small_photos import need_mtcnn, write_photos
from tiny_model import write_tiny_model

from facekd.cli.main import main

_KILLED = """
import os, signal, sys
import click
from facekd.cli.main import main
from facekd.gallery import audit

def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)

when, *call = sys.argv[1:]
if when == "while it is noted":
    note = audit.note_reads
    audit.note_reads = lambda *given: killed(note(*given))
else:
    echo = click.echo
    click.echo = lambda *given, err=False, **how: echo(*given, err=err, **how) if err else killed()
sys.exit(main(call))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_mtcnn()
    folder = write_photos(tmp_path_factory.mktemp("place"))
    write_tiny_model(folder / "tiny.onnx")
    assert main(["enroll", "Ann Lee", str(folder / "a.jpg"), *options(folder)]) == 0
    return folder


def options(place: Path) -> tuple[str, ...]:
    return ("--model", str(place / "tiny.onnx"), "--gallery", str(place / "gallery.db"))


def killed(place: Path, when: str, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-c", _KILLED, when, *words, *options(place)]
    ran = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout


def entries(place: Path) -> list[tuple]:
    with closing(sqlite3.connect(place / "gallery.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return db.execute("SELECT action, person, result FROM audit_reads ORDER BY id").fetchall()


@pytest.mark.parametrize(
    ("words", "entry"),
    [
        (("verify", "--claim", "Ann Lee", "b.jpg"), ("claim", 1, "same")),
        (("identify", "b.jpg"), ("search", 1, "found")),
        (("identify", "b.jpg", "c.jpg", "--json"), ("search", 1, "found")),
    ],
)
def test_killed_before_and_after_the_entry(
    place: Path, words: tuple[str, ...], entry: tuple, facekd: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    before = entries(place)
    words = (*words, "--threshold", "0.5", "--audit")
    assert killed(place, "while it is noted", *words) == (-signal.SIGKILL, "")
    assert entries(place) == before
    # the first of two photos is noted, and the second not looked at
    assert killed(place, "before the answer", *words) == (-signal.SIGKILL, "")
    assert entries(place) == [*before, entry]
    ran = facekd(*words, *options(place))
    assert (ran.code, bool(ran.out)) == (0, True)
    assert entries(place) == [*before, entry] + [entry] * (2 if "c.jpg" in words else 1)
