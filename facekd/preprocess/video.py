"""Video to frames: some of the frames of a file or a camera, decoded in another process.

Input is hostile: only regular files of known containers are opened (FFmpeg would fetch what a playlist
names), and bytes, pixels, frames, memory and time are limited.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from facekd.errors import InputOutput, TooLarge, Unreadable, UsageError
from facekd.files import open_regular, too_large
from facekd.geometry import Pixels
from facekd.preprocess import video_decoder
from facekd.preprocess.sources.base import VIDEO_SUFFIXES

#: default number of frames per second of video
PER_SECOND = 3.0
#: largest number of frames per second
MOST_PER_SECOND = 60.0
#: bytes of the largest video file
MAX_VIDEO_BYTES = 4_000_000_000
#: pixels of the largest frame: 8K, 7680 x 4320
MAX_FRAME_PIXELS = 34_000_000
#: most frames that are returned, 20 minutes at the usual rate; and most that are decoded
MAX_FRAMES = 3_600
MAX_DECODED_FRAMES = 400_000
#: most seconds that a camera is read for
MAX_SECONDS = 600.0
#: bytes of memory of the decoding process
MAX_DECODER_BYTES = 4 * 1024**3
#: seconds without a message after which that process is ended
PATIENCE = 60.0
#: of an MP4 or MOV file, the types of the first box
_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_MATROSKA = b"\x1a\x45\xdf\xa3"


@dataclass(frozen=True)
class Frame:
    """A frame of a video: ``pixels`` uint8 RGB [H, W, 3], upright, ``time`` in seconds from its start."""

    time: float
    pixels: Pixels


def is_video(path: Path) -> bool:
    """Whether a path looks like that of a video file and is not a folder."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir()


def read_video(path: Path, per_second: float = PER_SECOND) -> Iterator[Frame]:
    """Frames of the video file at ``path``: the first, and then ``per_second`` of each second.

    Raises `TooLarge` above the limits of this module, before decoding if the file's header states it;
    `Unreadable` if it is not a video or cannot be decoded; `InputOutput` if the file cannot be read.
    """
    _check_rate(per_second)
    _check_file(path)
    yield from _frames(str(path), per_second, path=str(path.absolute()))


def read_camera(number: int, seconds: float, per_second: float = PER_SECOND) -> Iterator[Frame]:
    """Frames of the camera ``number`` during ``seconds``. Raises `InputOutput` if there is no such camera, or
    it delivers no frames."""
    _check_rate(per_second)
    if not 0 < seconds <= MAX_SECONDS:
        raise UsageError(f"a camera can be watched for up to {MAX_SECONDS:g} seconds, not {seconds:g}")
    yield from _frames(f"camera {number}", per_second, camera=number, seconds=seconds)


def _check_rate(per_second: float) -> None:
    if not 0 < per_second <= MOST_PER_SECOND:
        raise UsageError(
            f"frames per second must be above 0 and at most {MOST_PER_SECOND:g}, not {per_second:g}"
        )


def _check_file(path: Path) -> None:
    with open_regular(path) as file:
        head = file.read(12)
        size = file.seek(0, 2)
    if not head:
        raise Unreadable(f"{path}: the file is empty")
    if size > MAX_VIDEO_BYTES:
        raise too_large(path, MAX_VIDEO_BYTES, size)
    is_avi = head[:4] == b"RIFF" and head[8:] == b"AVI "
    if not is_avi and head[:4] != _MATROSKA and head[4:8] not in _FIRST_BOXES:
        raise Unreadable(f"{path}: not a video (MP4, MOV, AVI, MKV or WebM)")


def _frames(
    name: str, per_second: float, path: str | None = None, camera: int | None = None, seconds: float = 0.0
) -> Iterator[Frame]:
    order = {
        "path": path, "camera": camera, "seconds": seconds, "per_second": per_second,
        "pixels": MAX_FRAME_PIXELS, "frames": MAX_FRAMES, "decoded": MAX_DECODED_FRAMES,
        "memory": MAX_DECODER_BYTES,
    }  # fmt: skip
    # -P: the program's folder holds modules with the names of standard modules
    command = [sys.executable, "-P", video_decoder.__file__, json.dumps(order)]
    try:
        # FFmpeg's messages about a damaged file are not useful
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError as error:
        raise InputOutput(f"{name}: cannot be decoded ({error.strerror or error})") from error
    assert process.stdout is not None
    watchdog = _Watchdog(process)
    try:
        yield from _received(name, process.stdout, watchdog)
    finally:
        watchdog.stop()
        process.kill()
        process.stdout.close()
        process.wait()


def _received(name: str, stream: IO[bytes], watchdog: _Watchdog) -> Iterator[Frame]:
    while True:
        with watchdog.waiting():
            kind = stream.read(1)
            if kind == video_decoder.FRAME:
                frame = _frame(name, stream)
            elif kind == video_decoder.FAILED:
                raise _refusal(name, stream.readline(1000).decode("utf-8", "replace").strip())
        if kind == video_decoder.FRAME:
            yield frame
        elif kind == video_decoder.END:
            return
        elif kind != video_decoder.BUSY:
            raise _broken(name)


def _frame(name: str, stream: IO[bytes]) -> Frame:
    head = stream.read(video_decoder.HEAD.size)
    if len(head) < video_decoder.HEAD.size:
        raise _broken(name)
    moment, height, width = video_decoder.HEAD.unpack(head)
    if not 0 < height * width <= MAX_FRAME_PIXELS:
        raise _broken(name)
    content = stream.read(3 * height * width)
    if len(content) < 3 * height * width:
        raise _broken(name)
    return Frame(moment, np.frombuffer(content, np.uint8).reshape(height, width, 3))


def _broken(name: str) -> Unreadable:
    return Unreadable(f"{name}: a damaged video: decoding it failed")


def _refusal(name: str, told: str) -> InputOutput:
    reason, _, message = told.partition(" ")
    kinds = {"too_large": TooLarge, "unreadable": Unreadable}
    return kinds.get(reason, InputOutput)(f"{name}: {message}")


class _Watchdog:
    """Ends ``process`` if an expected message does not arrive: reading then reaches the end of the stream."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._since: float | None = None
        self._over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        self._since = time.monotonic()
        yield
        self._since = None

    def stop(self) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            since = self._since
            if since is not None and time.monotonic() - since > PATIENCE:
                self._process.kill()
                return
