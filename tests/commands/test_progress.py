"""Progress of long work: a bar on a terminal, a line a minute elsewhere, nothing with --quiet."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_model import write_tiny_model

from facekd.cli import output
from facekd.cli.output import be_quiet, begin_call, progress, say, say_failure, time_left


@pytest.fixture(autouse=True)
def new_call() -> Iterator[None]:
    begin_call()
    yield
    begin_call()


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that advances only by ``wait(seconds)``."""
    now = [1000.0]
    monkeypatch.setattr(output, "monotonic", lambda: now[0])

    def forward(seconds: float) -> None:
        now[0] += seconds

    return forward


def test_a_line_a_minute_with_the_time_left(
    wait: Callable[[float], None], capfd: pytest.CaptureFixture[str]
) -> None:
    with progress("align", 10_000) as advance:
        advance(4000)  # what an earlier run left, at once
        for _ in range(150):
            wait(1)
            advance(10)
    out, err = capfd.readouterr()
    assert out == ""
    # 10 a second: 5,400 are left after one minute, 4,800 after two
    assert err.splitlines() == [
        "align: 4,600 of 10,000, about 9 min left",
        "align: 5,200 of 10,000, about 8 min left",
    ]


def test_work_of_unknown_length_and_with_a_note(
    wait: Callable[[float], None], capfd: pytest.CaptureFixture[str]
) -> None:
    with progress("training", None) as advance:
        advance(0)
        wait(61)
        advance(128, "loss 0.2")
    assert capfd.readouterr().err == "training: 128, loss 0.2\n"


def test_short_work_says_nothing(wait: Callable[[float], None], capfd: pytest.CaptureFixture[str]) -> None:
    with progress("check", 5) as advance:
        for _ in range(5):
            wait(11)
            advance()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "less than a minute left"),
        (29, "less than a minute left"),
        (61, "about 1 min left"),
        (3540, "about 59 min left"),
        (3600, "about 1 h 00 min left"),
        (92_000, "about 25 h 33 min left"),
    ],
)
def test_the_time_left_in_words(seconds: float, told: str) -> None:
    assert time_left(seconds) == told


def test_quiet_silences_progress_and_notes_and_no_failure(
    wait: Callable[[float], None], capfd: pytest.CaptureFixture[str]
) -> None:
    be_quiet()
    with progress("align", 100) as advance:
        advance()
        wait(100)
        advance(note="loss 0.2")
    say("a note")
    say_failure("a failure")
    assert capfd.readouterr() == ("", "a failure\n")


def test_interrupted_work_says_how_far_it_came(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with progress("evaluate", 7701) as advance:
            advance(1200)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert capfd.readouterr().err == "evaluate: stopped after 1,200 of 7,701\n"


def test_a_terminal_gets_a_bar() -> None:
    code = (
        "from facekd.cli.output import progress\n"
        "with progress('align', 4) as advance:\n"
        "    advance(3, 'so far')\n"
    )
    terminal, stderr = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    ran = subprocess.run([sys.executable, "-c", code], stderr=stderr, stdout=subprocess.PIPE, env=environment)
    os.close(stderr)
    drawn = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    assert (ran.returncode, ran.stdout) == (0, b"")
    for word in ("align", "3/4", "0:00:0", "so far"):
        assert word in drawn


@pytest.mark.parametrize(("still", "threads"), [(True, 1), (False, 2)])
def test_a_still_bar_has_no_thread_that_would_be_timed_too(still: bool, threads: int) -> None:
    code = (
        "import threading, time\n"
        "from facekd.cli.output import progress\n"
        f"with progress('measure', 4, still={still}) as advance:\n"
        "    time.sleep(0.2)\n"
        "    advance(3)\n"
        "    threads = threading.active_count()\n"
        "print(threads)\n"
    )
    terminal, stderr = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    ran = subprocess.run([sys.executable, "-c", code], stderr=stderr, stdout=subprocess.PIPE, env=environment)
    os.close(stderr)
    drawn = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    assert (ran.returncode, ran.stdout) == (0, f"{threads}\n".encode())
    assert "3/4" in drawn


def test_ctrl_c_while_models_are_timed_says_how_far_it_came(
    facekd: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facekd.benchmark import memory, timing

    def interrupted(*arguments: object, **settings: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(memory, "_probe", lambda files, device: memory.Footprint(None, 0.5))
    monkeypatch.setattr(timing, "interleave", interrupted)
    for name in ("one", "two"):
        write_tiny_model(tmp_path / f"{name}.onnx")
    page = tmp_path / "page.html"
    ran = facekd("benchmark", tmp_path / "one.onnx", tmp_path / "two.onnx", "--report", page)
    assert (ran.code, ran.out, page.exists()) == (130, "", False)
    settings = len(timing.settings_for("cpu"))
    assert f"measure: stopped after 6 of {6 + settings * timing.MOST_ROUNDS}\n" in ran.err
    quiet = facekd("-q", "benchmark", tmp_path / "one.onnx", tmp_path / "two.onnx")
    assert (quiet.code, quiet.err.lstrip()) == (130, "facekd: interrupted\n")


def test_ctrl_c_leaves_those_who_are_enrolled(
    facekd: Callable, operator: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facekd.workflows import recognizer

    for name, file in (("Ann", "a"), ("Ben", "mirrored"), ("Cy", "c")):
        (tmp_path / "people" / name).mkdir(parents=True)
        shutil.copy(photos / f"{file}.jpg", tmp_path / "people" / name / "1.jpg")
    recognise, seen = recognizer.Recognizer.recognise, []

    def interrupted(self: recognizer.Recognizer, *arguments: object) -> object:
        seen.append(arguments)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return recognise(self, *arguments)

    monkeypatch.setattr(recognizer.Recognizer, "recognise", interrupted)
    ran = facekd("enroll", "--from", tmp_path / "people")
    assert ran.code == 130
    assert "enroll: stopped after 2 of 3" in ran.err
    assert ran.err.rstrip().endswith("facekd: interrupted")
    listed = facekd("gallery", "list").out
    assert [line.split()[-1] for line in listed.splitlines()] == ["Ann", "Ben"]


def test_quiet_before_and_after_the_command(facekd: Callable, operator: Path, photos: Path) -> None:
    assert "not calibrated" in facekd("enroll", "Ann", photos / "a.jpg").err
    calls = (
        ("-q", "gallery", "list"), ("gallery", "--quiet", "list"), ("gallery", "list", "-q"),
        ("--quiet", "verify", photos / "a.jpg", photos / "b.jpg", "--threshold", "0.5"),
        ("verify", photos / "a.jpg", photos / "b.jpg", "--threshold", "0.5", "-q"),
    )  # fmt: skip
    for call in calls:
        ran = facekd(*call)
        assert (ran.code, ran.err) == (0, ""), ran.err
        assert ran.out
    assert "enrolled in" in facekd("gallery", "list").err, "quiet holds for one call"


def test_failures_are_told_quietly(facekd: Callable, operator: Path, photos: Path) -> None:
    cases = (
        (("verify", photos / "a.jpg", photos / "blank.jpg", "--threshold", "0.5", "-q"), 3, "no face"),
        (("-q", "verify", photos / "a.jpg", "absent.jpg", "--threshold", "0.5", "--json"), 5, "absent.jpg"),
        (("enroll", "Ann", photos / "blank.jpg", "-q"), 3, "not enrolled (no_face)"),
        (("-q", "evaluate", "absent.onnx", "--data", "."), 2, "does not exist"),
    )
    for call, code, told in cases:
        ran = facekd(*call)
        assert ran.code == code
        assert told in ran.err
