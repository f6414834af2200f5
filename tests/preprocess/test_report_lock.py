"""Two runs of ``facekd align`` never write one report."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from facekd.errors import UsageError
from facekd.preprocess import Report

AGAIN = """
import sys
from pathlib import Path
from facekd.preprocess import Report
Report(Path(sys.argv[1]))
"""


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fcntl, and of msvcrt what a report needs: a byte that one handle holds until it is closed."""
    held: dict[tuple[int, int], int] = {}

    def locking(handle: int, mode: int, count: int) -> None:
        assert (mode, count) == (2, 1)
        where = os.fstat(handle).st_ino, os.lseek(handle, 0, os.SEEK_CUR)
        if held.setdefault(where, handle) != handle:
            raise PermissionError(13, "Permission denied")

    module = ModuleType("msvcrt")
    module.__dict__.update(LK_NBLCK=2, locking=locking)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", module)


def test_another_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "crops.report.jsonl"
    command = [sys.executable, "-c", AGAIN, str(path)]
    first = Report(path)
    refused = subprocess.run(command, capture_output=True, text=True)
    assert "UsageError" in refused.stderr
    assert "another run is writing to it" in refused.stderr
    first.close()
    assert subprocess.run(command).returncode == 0


@pytest.mark.usefixtures("windows")
def test_on_windows_a_byte_behind_the_end_is_held(tmp_path: Path) -> None:
    path = tmp_path / "crops.report.jsonl"
    path.write_text("{}")
    first = Report(path)
    with pytest.raises(UsageError, match="another run is writing to it"):
        Report(path)
    # the line that a kill cut short went, and what is written next stands at the beginning
    first._file.write(b"begun\n")
    first.close()
    assert path.read_bytes() == b"begun\n"
