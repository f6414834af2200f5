"""Writing whole or not at all, reading to a bound."""

from __future__ import annotations

import errno
import io
import os
import socket
import stat
import threading
import time
from pathlib import Path

import pytest

from facekd.errors import Exit, InputOutput, TooLarge, Unreadable
from facekd.files import (
    cache_folder,
    open_regular,
    read_bounded,
    read_text,
    read_text_stream,
    target_folder,
    write_atomically,
)

posix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files on this system")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- writing -------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604])
def test_a_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"old")
    file.chmod(mode)
    write_atomically(file, b"new")
    assert (file.read_bytes(), mode_of(file)) == (b"new", mode)


@posix
def test_a_mode_that_is_stated_holds_for_old_and_new_files(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "old").chmod(0o644)
    for name in ("old", "new"):
        write_atomically(tmp_path / name, b"x", mode=0o600)
        assert mode_of(tmp_path / name) == 0o600


@posix
def test_a_new_file_has_the_mode_that_any_new_file_has(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "new" / "file", b"x")
        (tmp_path / "plain").write_bytes(b"x")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "new" / "file") == mode_of(tmp_path / "plain") == 0o640


def test_the_umask_of_other_threads_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(mask: int) -> int:
        raise AssertionError(mask)

    monkeypatch.setattr(os, "umask", never)
    write_atomically(tmp_path / "file", b"x")
    write_atomically(tmp_path / "file", b"y")


@posix
@pytest.mark.parametrize("exists", [True, False])
def test_the_file_behind_a_link_is_written(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "store").mkdir()
    file, link, second = tmp_path / "store" / "v1", tmp_path / "model.onnx", tmp_path / "again"
    link.symlink_to(Path("store") / "v1")
    second.symlink_to(link)
    if exists:
        file.write_bytes(b"old")
        file.chmod(0o600)
    write_atomically(second, b"new")
    assert link.is_symlink()
    assert second.is_symlink()
    assert file.read_bytes() == b"new"
    assert not exists or mode_of(file) == 0o600
    assert os.listdir(tmp_path / "store") == ["v1"]


@posix
def test_a_link_to_itself_and_what_is_no_file_are_refused(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, told in (("loop", "symbolic link"), ("pipe", "a pipe"), ("folder", "a folder")):
        with pytest.raises(InputOutput, match=told):
            write_atomically(tmp_path / name, b"x")
    with pytest.raises(InputOutput, match="a device"):
        write_atomically("/dev/null", b"x")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["folder", "loop", "pipe"]


def test_file_and_folder_are_synced_in_this_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, replace = os.fsync, os.replace

    def noting(handle: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        sync(handle)

    def renaming(*arguments: object, **more: object) -> None:
        done.append("rename")
        replace(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(os, "replace", renaming)
    write_atomically(tmp_path / "file", b"x")
    assert done == (["file", "rename", "folder"] if hasattr(os, "O_DIRECTORY") else ["file", "rename"])


@pytest.mark.parametrize(
    ("code", "told"),
    [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "quota"), (errno.EIO, "Input/output")],
)
def test_a_write_that_fails_says_why_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, told: str
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")

    def fails(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(InputOutput, match=told) as raised:
        write_atomically(file, b"new")
    assert raised.value.exit_code == Exit.IO
    assert (file.read_bytes(), os.listdir(tmp_path)) == (b"old", ["file"])


def test_the_longest_name_that_a_folder_takes(tmp_path: Path) -> None:
    file = tmp_path / ("n" * 255)
    write_atomically(file, b"x")
    assert file.read_bytes() == b"x"


# --- reading -------------------------------------------------------------------------------------


def test_to_the_limit_and_not_above(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 1000)
    assert read_bounded(file, 1000) == b"x" * 1000
    with pytest.raises(TooLarge, match="1,000 bytes, the limit is 999"):
        read_bounded(file, 999)
    file.write_bytes(b"")
    assert read_bounded(file, 0) == b""
    with pytest.raises(InputOutput, match="No such file"):
        read_bounded(tmp_path / "absent", 10)


@posix
def test_a_size_that_is_a_lie_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 3_000_000)
    real = os.fstat

    def small(handle: int) -> os.stat_result:
        told = list(real(handle))
        told[stat.ST_SIZE] = 0
        return os.stat_result(told)

    monkeypatch.setattr(os, "fstat", small)
    assert read_bounded(file, 3_000_000) == b"x" * 3_000_000
    with pytest.raises(TooLarge, match="the limit is 2,999,999"):
        read_bounded(file, 2_999_999)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="no /proc")
def test_files_of_no_stated_size_are_read() -> None:
    assert b"Name:" in read_bounded("/proc/self/status", 1_000_000)
    with pytest.raises(TooLarge):
        read_bounded("/proc/self/status", 20)


@posix
def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "socket"))
    begun = time.monotonic()
    for path, told in (
        (tmp_path / "pipe", "a pipe"), (tmp_path / "link", "a pipe"), (tmp_path / "socket", "a socket"),
        (tmp_path, "a folder"), (Path("/dev/zero"), "a device"), (Path("/dev/null"), "a device"),
    ):  # fmt: skip
        with pytest.raises(InputOutput, match=f"{told}, not a regular file"):
            read_bounded(path, 10)
    assert time.monotonic() - begun < 5
    server.close()


@posix
def test_a_pipe_that_takes_the_files_place_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    real = os.open

    def swapped(path: object, *rest: int) -> int:
        file.unlink()
        os.mkfifo(file)
        return real(file, *rest)

    outcome: list[object] = []

    def read() -> None:
        try:
            open_regular(file)
        except InputOutput as error:
            outcome.append(error)

    monkeypatch.setattr(os, "open", swapped)
    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    reading.join(5)
    assert not reading.is_alive()
    assert "a pipe" in str(outcome[0])


def test_text_is_utf8_with_any_line_end(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes("\ufeffÄnn\r\nBob\rCy\n".encode())
    assert read_text(file) == "Änn\nBob\nCy\n"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Unreadable, match="not a text file"):
        read_text(file)
    with pytest.raises(TooLarge):
        read_text(file, limit=2)


def test_a_stream_of_text_is_read_as_a_file_of_it() -> None:
    assert read_text_stream(io.BytesIO("\ufeffÄnn\r\nBob".encode()), "standard input") == "Änn\nBob"
    with pytest.raises(Unreadable, match="standard input: not a text file"):
        read_text_stream(io.BytesIO(b"\xff\xfe"), "standard input")
    with pytest.raises(TooLarge, match="standard input: more than 2 bytes"):
        read_text_stream(io.BytesIO(b"abc"), "standard input", limit=2)


def test_the_cache_lies_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for told, folder in (
        (str(tmp_path / "disk"), tmp_path / "disk"),
        ("~/cache of mine", tmp_path / "cache of mine"),
    ):
        monkeypatch.setenv("FACEKD_CACHE", told)
        assert (cache_folder(), target_folder()) == (folder, folder / "targets")
    monkeypatch.setenv("FACEKD_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder().name == "facekd"
    assert tmp_path in cache_folder().parents
