"""One target of the fuzzer, in a process of its own."""

from __future__ import annotations

import base64
import json
import sys
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from fuzz_material import written_to
from fuzz_targets import TARGETS, Reader

#: seconds that reading an input may take, and megabytes that the process may take
SLOW, MEMORY = 60, 1500


@dataclass(frozen=True)
class Finding:
    """``error`` is the exception, ``where`` the line of facekd from which it came, ``data`` the input in
    base64."""

    error: str
    where: str
    data: str


class Watch:
    """Reads inputs with a target. Writes exceptions that are not refusals by facekd to a file, once for each
    place."""

    def __init__(self, read: Reader, work: Path) -> None:
        self._read, self._work = read, work
        self._files = work / "files"
        self._files.mkdir()
        self._seen: set[tuple[str, str]] = set()
        # in shared memory, because libFuzzer ends the process without returning to Python
        self._accepted = np.memmap(work / "accepted", np.int64, "w+", shape=1)

    def __call__(self, data: bytes) -> None:
        from facekd.errors import Exit, FacekdError

        try:
            self._read(data, self._files)
            self._accepted[0] += 1
        except FacekdError as refused:
            if not Exit.USAGE <= refused.exit_code <= Exit.IO:
                self._note(refused, data)
        except Exception as error:
            self._note(error, data)

    def _note(self, error: Exception, data: bytes) -> None:
        frames = [one for one in traceback.extract_tb(error.__traceback__) if "facekd" in one.filename]
        last = frames[-1]
        place = f"{'/'.join(Path(last.filename).parts[-2:])}:{last.lineno}"
        told = type(error).__name__
        if (told, place) not in self._seen:
            self._seen.add((told, place))
            found = Finding(f"{told}: {str(error)[:200]}", place, base64.b64encode(data).decode())
            with (self._work / "findings").open("a") as file:
                file.write(json.dumps(asdict(found)) + "\n")


def fuzz_inside(name: str, work: Path, seconds: int, seed: int) -> None:
    """Fuzz a target in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["facekd", "PIL"], enable_loader_override=False):
        import PIL.Image

        import facekd.card
        import facekd.gallery
        import facekd.preprocess
        import facekd.verification
        import facekd.workflows  # noqa: F401

        PIL.Image.init()
        target = TARGETS[name]
        corpus = work / "corpus"
        corpus.mkdir()
        for number, data in enumerate(target.seeds()):
            written_to(corpus / f"seed-{number}", data)
        # read each seed once, because readers import modules at their first call
        for file in sorted(corpus.iterdir()):
            with suppress(Exception):
                (work / "first").mkdir(exist_ok=True)
                target.read(file.read_bytes(), work / "first")
    options = {
        "max_total_time": seconds, "max_len": target.longest, "timeout": SLOW, "rss_limit_mb": MEMORY,
        "seed": seed, "print_final_stats": 1, "verbosity": 1,
    }  # fmt: skip
    arguments = [f"-{option}={value}" for option, value in options.items()]
    atheris.Setup(
        [sys.argv[0], *arguments, f"-artifact_prefix={work}/", str(corpus)], Watch(target.read, work)
    )
    atheris.Fuzz()
