"""The memory and loading time of each model in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facekd.errors import InputOutput

#: fresh processes for each model
PROCESSES = 3
_PROBE_TIMEOUT = 300


@dataclass(frozen=True)
class Footprint:
    """``peak_bytes`` is the largest growth of a process that has ONNX Runtime loaded until the
    first embedding is computed, `None` if the system does not report it (Windows); ``load_seconds`` is the
    time that this takes. Medians of fresh processes."""

    peak_bytes: int | None
    load_seconds: float


def footprints(
    models: Mapping[str, Sequence[tuple[Path, int]]],
    device: str = "cpu",
    processes: int = PROCESSES,
    advance: Callable[[int], object] = lambda done: None,
) -> dict[str, Footprint]:
    """Memory and loading time of each model, given as its ONNX files with their input
    sizes in pixels, each measured in ``processes`` fresh processes in turn, on one thread. ``advance``
    receives the number of further processes, of all models, that have ended."""
    found: dict[str, list[Footprint]] = {name: [] for name in models}
    for _ in range(processes):
        for name, files in models.items():
            found[name].append(_probe(files, device))
            advance(1)
    return {
        name: Footprint(
            peak_bytes=_median([f.peak_bytes for f in several]),
            load_seconds=float(np.median([f.load_seconds for f in several])),
        )
        for name, several in found.items()
    }


def _median(peaks: Sequence[int | None]) -> int | None:
    known = [peak for peak in peaks if peak is not None]
    return int(np.median(known)) if known else None


def _probe(files: Sequence[tuple[Path, int]], device: str) -> Footprint:
    # -P: a folder named numpy in the current folder must not be imported
    call = [sys.executable, "-P", "-m", "facekd.benchmark.memory_probe", device]
    request = json.dumps([(os.fspath(file), size) for file, size in files])
    try:
        done = subprocess.run(
            call, input=request, capture_output=True, text=True, timeout=_PROBE_TIMEOUT, check=True
        )
    except subprocess.TimeoutExpired as error:
        raise InputOutput(
            f"the model did not load within {_PROBE_TIMEOUT} s in a process of its own"
        ) from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
        raise InputOutput(f"the process that measures memory failed: {last}") from error
    return Footprint(**json.loads(done.stdout))
