"""Video to frames: which ones, and that a hostile file does nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from moving_pictures import write_video

from facekd.errors import InputOutput, TooLarge, Unreadable, UsageError
from facekd.preprocess import digest_of, read_camera, read_video, video

RATE = 10


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds, from dark to light; the left half red."""
    frames = []
    for step in range(2 * RATE):
        frame = np.full((48, 64, 3), 10 * step, np.uint8)
        frame[:, :32] = (200, 0, 0)
        frames.append(frame)
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames, RATE)


@pytest.mark.parametrize(
    ("per_second", "times"),
    [
        (1, [0, 1]),
        (2.5, [0, 0.4, 0.8, 1.2, 1.6]),
        (60, [step / RATE for step in range(2 * RATE)]),
        (0.1, [0]),
    ],
)
def test_so_many_frames_a_second(clip: Path, per_second: float, times: list[float]) -> None:
    frames = list(read_video(clip, per_second))
    assert [frame.time for frame in frames] == pytest.approx(times)
    for frame in frames:
        assert (frame.pixels.shape, frame.pixels.dtype) == ((48, 64, 3), np.uint8)
        red, grey = frame.pixels[:, 4:28].mean((0, 1)), frame.pixels[:, 36:60].mean((0, 1))
        assert red == pytest.approx((200, 0, 0), abs=12)
        assert grey == pytest.approx(np.full(3, 10 * RATE * frame.time), abs=12)


def test_the_same_file_gives_the_same_pixels(clip: Path) -> None:
    once, again = ([digest_of(frame.pixels) for frame in read_video(clip)] for _ in range(2))
    assert once == again
    assert len(set(once)) == len(once) > 3


def test_other_containers(clip: Path, tmp_path: Path) -> None:
    frames = [np.full((48, 64, 3), 90, np.uint8)] * RATE
    avi = write_video(tmp_path / "a.avi", frames, RATE, "MJPG")
    assert len(list(read_video(avi, 2))) == 2


def test_what_is_no_video(clip: Path, tmp_path: Path) -> None:
    """A playlist would make the decoder open the files that it names."""
    content = clip.read_bytes()
    cases = {
        "empty": b"",
        "text": b"not a video",
        "zero": bytes(1000),
        "playlist": b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.mp4\n",
        "list": b"ffconcat version 1.0\nfile clip.mp4\n",
        "head": content[:8],
        "box": content[:40],
        "noise": content[:40] + os.urandom(4000),
        "matroska": b"\x1a\x45\xdf\xa3" + os.urandom(2000),
        "avi": b"RIFF\xff\xff\xff\x7fAVI LIST" + bytes(500),
    }
    for name, made in cases.items():
        (tmp_path / f"{name}.mp4").write_bytes(made)
        with pytest.raises(Unreadable, match=name):
            list(read_video(tmp_path / f"{name}.mp4"))
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", tmp_path / "absent.mp4", tmp_path, Path("/dev/zero")):
        with pytest.raises(InputOutput):
            list(read_video(path))


def test_cut_off_and_changed_files_are_read_or_refused(clip: Path, tmp_path: Path) -> None:
    content, flip = clip.read_bytes(), np.random.default_rng(0)
    bad = tmp_path / "bad.mp4"
    for part in range(2, 16, 4):
        bad.write_bytes(content[: len(content) * part // 16])
        with pytest.raises(InputOutput):
            list(read_video(bad))
    for _ in range(6):
        changed = bytearray(content)
        for place in flip.integers(12, len(content), 20):
            changed[place] ^= int(flip.integers(1, 256))
        bad.write_bytes(bytes(changed))
        with suppress(InputOutput):
            assert all(frame.pixels.size < 3 * video.MAX_FRAME_PIXELS for frame in read_video(bad))


class TestLimits:
    @pytest.mark.parametrize(
        ("limit", "value", "told"),
        [
            ("MAX_VIDEO_BYTES", 1000, "the limit is 1,000"),
            ("MAX_FRAME_PIXELS", 3000, "64 x 48 pixels; the limit is 3,000"),
            ("MAX_FRAMES", 3, "longer than 1 s: at most 3 frames, 3 a second"),
            ("MAX_DECODED_FRAMES", 19, "20 frames; the limit is 19"),
        ],
    )
    def test_told_by_the_header(
        self, clip: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, told: str
    ) -> None:
        monkeypatch.setattr(video, limit, value)
        with pytest.raises(TooLarge, match=told):
            next(read_video(clip))

    @pytest.mark.parametrize("limit", ["MAX_FRAMES", "MAX_DECODED_FRAMES"])
    def test_of_a_header_that_lies(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
        """An AVI file that states one frame, in its main header and in the stream's, and no index."""
        path = write_video(tmp_path / "a.avi", [np.full((48, 64, 3), 90, np.uint8)] * 20, RATE, "MJPG")
        content = bytearray(path.read_bytes())
        main, stream = content.index(b"avih") + 8, content.index(b"strh") + 8
        content[main + 16 : main + 20] = content[stream + 32 : stream + 36] = (1).to_bytes(4, "little")
        path.write_bytes(bytes(content))
        monkeypatch.setattr(video, limit, 5)
        with pytest.raises(TooLarge):
            list(read_video(path, 60))

    def test_of_rates_and_seconds(self, clip: Path) -> None:
        for rate in (0, -1, 61, float("nan")):
            with pytest.raises(UsageError):
                next(read_video(clip, rate))
        for seconds in (0, 601, float("nan")):
            with pytest.raises(UsageError):
                next(read_camera(0, seconds))

    def test_of_the_decoders_memory(self, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(video, "MAX_DECODER_BYTES", 60_000_000)
        with pytest.raises(InputOutput):
            list(read_video(clip))


class TestADecoder:
    """What another program in its place may do."""

    def decoder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
        program = tmp_path / "decoder.py"
        program.write_text(f"import os, struct, sys, time\nout = sys.stdout.buffer\n{code}\n")
        monkeypatch.setattr(video.video_decoder, "__file__", str(program))

    @pytest.mark.parametrize(
        "code",
        [
            "os.abort()",
            "out.write(b'F' + struct.pack('>dII', 0, 2, 2) + bytes(5))",
            "out.write(b'F' + struct.pack('>dII', 0, 2**31, 2**31))",
            "out.write(b'F' + struct.pack('>dII', 0, 0, 9))",
            "out.write(b'?')",
            "out.write(b'X')",
        ],
    )
    def test_that_fails(self, clip: Path, tmp_path: Path, monkeypatch, code: str) -> None:
        self.decoder(tmp_path, monkeypatch, code)
        with pytest.raises(InputOutput, match=r"clip\.mp4"):
            list(read_video(clip))

    def test_that_never_answers(self, clip: Path, tmp_path: Path, monkeypatch) -> None:
        self.decoder(tmp_path, monkeypatch, "time.sleep(600)")
        monkeypatch.setattr(video, "PATIENCE", 0.5)
        with pytest.raises(Unreadable, match="decoding it failed"):
            list(read_video(clip))

    def test_is_ended_with_the_reading(self, clip: Path, monkeypatch) -> None:
        started = []

        class Noted(subprocess.Popen):
            def __init__(self, *arguments, **settings) -> None:
                super().__init__(*arguments, **settings)
                started.append(self)

        monkeypatch.setattr(video.subprocess, "Popen", Noted)
        frames = read_video(clip, 60)
        next(frames)
        frames.close()
        assert [process.returncode for process in started] in ([-signal.SIGKILL], [0])


def test_a_camera_that_is_not_there() -> None:
    with pytest.raises(InputOutput, match="camera 77: there is no such camera"):
        list(read_camera(77, 1))
