"""Command lines of facekd in a process of their own: one for all of them, which imports everything once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: runs the lines of a file in turn; what each says goes to files beside it
_CALLS = """
import json, os, sys
from facekd.cli.main import main

place, codes = sys.argv[1], []
with open(f"{place}/calls.json") as lines:
    for number, words in enumerate(json.load(lines)):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            file = os.open(f"{place}/{number}.{stream.fileno()}", os.O_WRONLY | os.O_CREAT)
            os.dup2(file, stream.fileno())
        codes.append(int(main(words)))
with open(f"{place}/codes.json", "w") as told:
    json.dump(codes, told)
"""


@dataclass(frozen=True)
class Called:
    code: int
    out: str
    err: str


def called(
    place: Path, *lines: Sequence[object], cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> list[Called]:
    """What each of ``lines`` came to; the folder ``place`` is made for it."""
    place.mkdir()
    (place / "calls.json").write_text(json.dumps([[str(word) for word in line] for line in lines]))
    ran = subprocess.run(
        [sys.executable, "-c", _CALLS, place.resolve()], capture_output=True, text=True, cwd=cwd, env=env
    )
    codes = place / "codes.json"
    assert codes.is_file(), [ran.stderr, *(file.read_text() for file in place.glob("*.2"))]
    return [
        Called(code, *((place / f"{number}.{stream}").read_text() for stream in (1, 2)))
        for number, code in enumerate(json.loads(codes.read_text()))
    ]
