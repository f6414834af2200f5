"""Measure one model in a fresh process. `facekd.benchmark.memory` runs it, one process per model.

Reads a JSON list of [file, input size] on stdin; prints ``peak_bytes`` (null if the system
does not report it) and ``load_seconds``.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import onnxruntime  # noqa: F401  (its own memory belongs to the baseline, not to the model)

from facekd.runtime import open_session

_STATUS = Path("/proc/self/status")


def main(device: str) -> None:
    files: list[tuple[str, int]] = json.load(sys.stdin)
    _forget_peak()
    baseline, begun = _resident(), perf_counter()
    sessions = [open_session(file, device, threads=1) for file, _ in files]
    for session, (_, size) in zip(sessions, files, strict=True):
        feed = session.get_inputs()[0]
        batch = feed.shape[0] if isinstance(feed.shape[0], int) else 1
        session.run(None, {feed.name: np.zeros((batch, 3, size, size), np.float32)})
    seconds = perf_counter() - begun
    peak = _peak()
    grown = None if baseline is None or peak is None else max(peak - baseline, 0)
    print(json.dumps({"peak_bytes": grown, "load_seconds": seconds}))


def _forget_peak() -> None:
    """Make Linux count the peak from here on; elsewhere it includes the imports."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _resident() -> int | None:
    return _status("VmRSS") or _peak()


def _peak() -> int | None:
    # ru_maxrss only as a fallback: on Linux it starts with the size of the parent process
    return _status("VmHWM") or _most_resident()


def _most_resident() -> int | None:
    """The most bytes that this process has had resident; `None` on Windows, which has no such module."""
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _status(key: str) -> int | None:
    try:
        found = re.search(rf"^{key}:\s+(\d+) kB", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


if __name__ == "__main__":
    main(sys.argv[1])
