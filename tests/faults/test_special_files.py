"""Pipes and devices in place of files: every command ends soon, and says what they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_photos import need_mtcnn, portrait, save
from tiny_model import write_tiny_model

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files on this system")

#: of memory, so that what reads without bound fails here and not the machine
LIMIT = 4 << 30


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """people/ann with a photo and a pipe, a model, and a pipe of every kind."""
    need_mtcnn()
    folder = tmp_path_factory.mktemp("work")
    write_tiny_model(folder / "tiny.onnx")
    for person in ("ann", "bob"):
        (folder / "people" / person).mkdir(parents=True)
        save(portrait(), folder / "people" / person / f"{person}.png")
        os.mkfifo(folder / "people" / person / "pipe.jpg")
    for name in ("pipe.jpg", "pipe.zip", "pipe.csv", "pipe.toml", "pipe.onnx"):
        os.mkfifo(folder / name)
    return folder


def facekd(work: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    import resource

    return subprocess.run(
        [sys.executable, "-m", "facekd", *arguments],
        cwd=work, timeout=60, capture_output=True, text=True,
        env=os.environ | {"FACEKD_GALLERY": "gallery.db"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT)),
    )  # fmt: skip


@pytest.mark.parametrize("unending", ["/dev/zero", "pipe.jpg"])
def test_a_photo_that_never_ends(work: Path, unending: str) -> None:
    ran = facekd(work, "verify", "people/ann/ann.png", unending, "--model", "tiny.onnx", "--threshold", "0.3")
    assert ran.returncode == 5, ran.stderr
    assert "not a regular file" in ran.stderr


@pytest.mark.slow
def test_a_pipe_among_the_photos_of_a_folder(work: Path, tmp_path: Path) -> None:
    ran = facekd(work, "align", "people", str(tmp_path / "crops"))
    assert (ran.returncode, ran.stdout) == (0, "2 photos: 2 with a face (2 crops)\n"), ran.stderr
    ran = facekd(work, "enroll", "--from", "people", "--model", "tiny.onnx")
    assert "pipe" not in ran.stderr
    assert "enrolled ann: 1 new" in ran.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "people/ann/ann.png", "people/bob/bob.png", "--model", "pipe.onnx", "--threshold", "0.3"),
        ("verify", "people/ann/ann.png", "people/bob/bob.png", "--model", "pipe.toml", "--threshold", "0.3"),
        ("align", "pipe.zip", "crops"),
        ("evaluate", "tiny.onnx", "--protocol", "pairs", "--data", "people", "--pairs", "pipe.csv"),
        ("evaluate", "tiny.onnx", "--protocol", "people", "--data", "pipe.zip"),
        ("calibrate", "tiny.onnx", "--data", "pipe.zip"),
    ],
)
def test_a_pipe_in_the_place_of_a_file(work: Path, arguments: tuple[str, ...]) -> None:
    ran = facekd(work, *arguments)
    assert ran.returncode == 5, ran.stderr
    assert "a pipe, not a regular file" in ran.stderr


@pytest.mark.slow
def test_ctrl_c_ends_a_long_run(work: Path, tmp_path: Path) -> None:
    for number in range(100):
        save(portrait(), tmp_path / f"{number:03}.png")
    usual = signal.signal(signal.SIGINT, signal.SIG_DFL)
    run = subprocess.Popen(
        [sys.executable, "-m", "facekd", "align", str(tmp_path), str(work / "stopped"), "--jobs", "1"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    signal.signal(signal.SIGINT, usual)
    deadline = time.monotonic() + 60
    while not (work / "stopped").is_dir() and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    _, told = run.communicate(timeout=30)
    assert run.returncode == 130
    assert "Traceback" not in told
