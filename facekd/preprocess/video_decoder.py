"""A program that decodes a video and writes some of its frames to stdout; `video` starts it.

Anybody may send a video, and FFmpeg decodes it. In a separate process with limited memory, a crash, an
endless decoder or a header that claims a billion pixels does no harm. The program is started as a file, so it
imports nothing from facekd.

Its argument is a JSON object with the keys of `_Order`. It writes messages that begin with one byte: ``F``, a
frame (time in seconds as a double, height and width as 32-bit numbers, all big-endian; then RGB, 8 bits);
``.``, it is still working; ``X`` and a line of text, why it cannot continue; ``E``, the end.
"""

from __future__ import annotations

import json
import math
import os
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

HEAD = struct.Struct(">dII")
FRAME, BUSY, FAILED, END = b"F", b".", b"X", b"E"
#: frames per second of a video that does not state them
_USUAL_RATE = 25.0


@dataclass(frozen=True)
class _Order:
    """The file at ``path``, or the camera number ``camera`` for ``seconds``: one frame every
    1 / ``per_second`` seconds. The limits are ``pixels`` of a frame, ``frames`` written, ``decoded`` frames,
    and ``memory`` in bytes for this process."""

    path: str | None
    camera: int | None
    seconds: float
    per_second: float
    pixels: int
    frames: int
    decoded: int
    memory: int


class _Refused(Exception):
    """One word for programs, and a sentence."""


def main() -> None:
    order = _Order(**json.loads(sys.argv[1]))
    # what a library prints must not get between the messages
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        _limit_memory(order.memory)
        for frame_time, pixels in _sampled(order, out):
            out.write(FRAME + HEAD.pack(frame_time, *pixels.shape[:2]))
            out.write(pixels.data)
            out.flush()
        out.write(END)
    except _Refused as refused:
        out.write(FAILED + " ".join(refused.args).encode() + b"\n")
    except MemoryError:
        out.write(FAILED + b"too_large it needs more memory than the limit\n")
    out.flush()


def _limit_memory(count: int) -> None:
    """Limit the memory of this process, on systems that can."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (count, count))


def _sampled(order: _Order, out: BinaryIO) -> Iterator[tuple[float, Any]]:
    """Frames as uint8 RGB [H, W, 3] with their times, the first and then at the requested rate."""
    import cv2

    capture = _opened(cv2, order)
    began, last, due, count, written = time.monotonic(), 0.0, 0.0, 0, 0
    while True:
        if not _grabbed(cv2, capture):
            if count == 0:
                reason = "unreadable" if order.camera is None else "io"
                raise _Refused(reason, "none of its frames can be decoded")
            return
        count += 1
        if order.camera is not None:
            last = time.monotonic() - began
            if last > order.seconds:
                return
        elif count > 1:
            last = _time_of(cv2, capture, last)
        if count > order.decoded:
            raise _Refused("too_large", f"more than {order.decoded:,} frames")
        if last < due:
            out.write(BUSY)
            out.flush()
            continue
        due += (math.floor((last - due) * order.per_second) + 1) / order.per_second
        pixels = _retrieved(cv2, capture)
        if pixels is None:
            continue
        if pixels.shape[0] * pixels.shape[1] > order.pixels:
            raise _Refused("too_large", _size(pixels.shape[1], pixels.shape[0], order))
        written += 1
        if written > order.frames:
            raise _Refused("too_large", _too_long(order))
        yield last, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _opened(cv2: Any, order: _Order) -> Any:
    try:
        if order.camera is not None:
            capture = cv2.VideoCapture(order.camera)
        else:
            # one thread: each further one has buffers of its own, which count as memory
            capture = cv2.VideoCapture(order.path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    except cv2.error:
        capture = None
    if capture is None or not capture.isOpened():
        if order.camera is not None:
            raise _Refused("io", "there is no such camera, or another program uses it")
        raise _Refused("unreadable", "a damaged video, or one whose format cannot be decoded here")
    if order.camera is None:
        _check_header(cv2, capture, order)
    return capture


def _check_header(cv2: Any, capture: Any, order: _Order) -> None:
    """Refuse, by its header, a video that is too large, before a frame is decoded."""
    width, height = (capture.get(one) for one in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    if not width * height <= order.pixels:
        raise _Refused("too_large", _size(width, height, order))
    count, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    if count > order.decoded:
        raise _Refused("too_large", f"{count:,.0f} frames; the limit is {order.decoded:,}")
    if rate > 0 and count / rate * order.per_second > order.frames + 1:
        raise _Refused("too_large", _too_long(order))


def _size(width: float, height: float, order: _Order) -> str:
    return f"{width:.0f} x {height:.0f} pixels; the limit is {order.pixels:,}"


def _too_long(order: _Order) -> str:
    seconds = order.frames / order.per_second
    return f"longer than {seconds:,.0f} s: at most {order.frames:,} frames, {order.per_second:g} a second"


def _grabbed(cv2: Any, capture: Any) -> bool:
    try:
        return bool(capture.grab())
    except cv2.error:
        return False


def _retrieved(cv2: Any, capture: Any) -> Any:
    """The frame as uint8 BGR [H, W, 3]; `None` if it cannot be decoded."""
    try:
        got, pixels = capture.retrieve()
    except cv2.error:
        return None
    if not got or pixels is None or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != "uint8":
        return None
    return pixels


def _time_of(cv2: Any, capture: Any, before: float) -> float:
    """Seconds from the beginning; if the file states no increasing times, from the frame ``before``."""
    stated = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    if math.isfinite(stated) and stated > before:
        return float(stated)
    rate = capture.get(cv2.CAP_PROP_FPS)
    return before + 1 / (rate if 0 < rate <= 1000 else _USUAL_RATE)


if __name__ == "__main__":
    main()
