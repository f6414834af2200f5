"""Files: atomic writes, bounded reads, and the folders for cached data.

A user may give any path: a pipe that never ends, a device, a file whose reported size is
wrong. Only regular files are therefore opened for reading, and no more than a given number of bytes is
read.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import BinaryIO

from facekd.errors import InputOutput, TooLarge, Unreadable

#: bytes of the largest text file that is read: a list, a table, a recipe
MAX_TEXT_BYTES = 1_000_000_000
#: bytes that are read at a time if a file is longer than its reported size
_CHUNK = 1 << 20
_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
#: the errors of a file system that cannot sync a folder
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP)


def write_atomically(path: str | os.PathLike[str], content: bytes, mode: int | None = None) -> None:
    """Write a file beside ``path``, sync it and rename it: readers see the old or the new file, and
    after a power cut there is one of the two.

    An existing file keeps its mode, unless ``mode`` is given; for a symbolic link its target is
    written. Raises `InputOutput` if that fails, with the cause (a full disk is named as such); the old
    file is then unchanged.
    """
    try:
        target = real_path(path)
        before = _mode_of(target)
        if before is None:
            target.parent.mkdir(parents=True, exist_ok=True)
        elif not stat.S_ISREG(before):
            raise InputOutput(f"{path}: cannot be written ({_kind(before)}, not a regular file)")
        # a temporary name of fixed length: there is room for it even beside the longest possible name
        beside = target.with_name(f".facekd-{secrets.token_hex(8)}")
        try:
            _write_synced(beside, content, before if mode is None else mode)
            beside.replace(target)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: str | os.PathLike[str], error: OSError) -> InputOutput:
    """The `InputOutput` for the ``error`` that ended writing ``path``; a full disk is named as such."""
    if error.errno in _FULL:
        return InputOutput(f"{os.fspath(path)}: cannot be written: {_FULL[error.errno]}", "Free some space.")
    return InputOutput(f"{os.fspath(path)}: cannot be written ({error.strerror or error})")


def real_path(path: str | os.PathLike[str]) -> Path:
    """The absolute path of ``path`` with links resolved, whether or not it exists. For links in a circle it
    is one of them, which can be neither read nor written; `Path.resolve` would raise `RuntimeError`."""
    return Path(os.path.realpath(path))


def is_utf8(name: str) -> bool:
    """Whether ``name``, as Python decoded it, is valid UTF-8: other bytes have become lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power cut, if the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """``path`` open for reading, if it is a regular file or a link to one.

    Anything else is refused before it is opened: a pipe would wait for a writer, and opening some devices
    has effects. Raises `InputOutput`.
    """
    try:
        _check_regular(path, Path(path).stat().st_mode)
        # non-blocking, in case something else replaces the file in between
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise _cannot_read(path, error) from error
    except ValueError as error:
        # a NUL, or a surrogate that no byte is decoded to
        raise InputOutput(f"{os.fspath(path)}: no file can have this name") from error
    try:
        _check_regular(path, os.fstat(handle).st_mode)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_bounded(path: str | os.PathLike[str], limit: int) -> bytes:
    """The bytes of the regular file at ``path``; at most ``limit`` + 1 are read, whatever its reported
    size.

    Raises `TooLarge` if there are more than ``limit``, `InputOutput` if it is not a regular file
    or cannot be read.
    """
    with open_regular(path) as file:
        try:
            stated = os.fstat(file.fileno()).st_size
            if stated > limit:
                raise too_large(path, limit, stated)
            content = file.read(stated + 1)
            if len(content) > stated:
                content = _rest(file, content, limit)
        except OSError as error:
            raise _cannot_read(path, error) from error
    if len(content) > limit:
        raise too_large(path, limit)
    return content


def file_digest(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a regular file, in hexadecimal. Raises `InputOutput`."""
    found = hashlib.sha256()
    with open_regular(path) as file:
        try:
            while part := file.read(_CHUNK):
                found.update(part)
        except OSError as error:
            raise _cannot_read(path, error) from error
    return found.hexdigest()


def read_text(path: str | os.PathLike[str], limit: int = MAX_TEXT_BYTES) -> str:
    """The UTF-8 text of the regular file at ``path``, without a byte order mark.

    Raises as `read_bounded` does, and `Unreadable` if it is not UTF-8.
    """
    return _text(read_bounded(path, limit), path)


def read_text_stream(stream: BinaryIO, name: str, limit: int = MAX_TEXT_BYTES) -> str:
    """The UTF-8 text of ``stream``, such as standard input, which errors call ``name``; as
    `read_text`."""
    try:
        content = stream.read(limit + 1)
    except OSError as error:
        raise _cannot_read(name, error) from error
    if len(content) > limit:
        raise TooLarge(f"{name}: more than {limit:,} bytes, the limit")
    return _text(content, name)


def too_large(name: str | os.PathLike[str], limit: int, count: int | None = None) -> TooLarge:
    """The `TooLarge` for a file of ``count`` bytes (`None`: unknown) if at most ``limit`` are read."""
    told = "longer than its stated size" if count is None else f"{count:,} bytes"
    return TooLarge(f"{os.fspath(name)}: {told}, the limit is {limit:,}")


def settings_file() -> Path | None:
    """The ``facekd.toml`` in use: the file that ``FACEKD_CONFIG`` names, whether or not it exists; otherwise
    that in the current folder; otherwise that in the user's settings folder. `None` if there is none."""
    named = os.environ.get("FACEKD_CONFIG")
    if named:
        return Path(named)
    return next((path for path in settings_places() if path.is_file()), None)


def settings_places() -> tuple[Path, ...]:
    """The places of a ``facekd.toml``, in order."""
    import platformdirs

    return Path("facekd.toml"), Path(platformdirs.user_config_dir("facekd")) / "facekd.toml"


def users_gallery() -> Path:
    """The gallery in the user's data folder."""
    import platformdirs

    return Path(platformdirs.user_data_dir("facekd")) / "gallery.db"


def make_gallery_folder(gallery: object) -> None:
    """Make the user's data folder if ``gallery`` is in it; the user must make any other folder.
    Raises `InputOutput`."""
    own = users_gallery()
    if gallery == own:
        make_private_folder(own.parent)


def make_private_folder(folder: Path) -> None:
    """Make ``folder`` for its owner only (mode 0700), if it does not exist. Raises `InputOutput`."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InputOutput(f"{folder}: cannot be created ({error.strerror or error})") from error


def cache_folder() -> Path:
    """The folder for targets and converted networks: ``FACEKD_CACHE``, otherwise the user's cache."""
    import platformdirs

    return Path(os.environ.get("FACEKD_CACHE") or platformdirs.user_cache_dir("facekd")).expanduser()


def target_folder() -> Path:
    """The folder for teachers' targets and kept views."""
    return cache_folder() / "targets"


def _write_synced(file: Path, content: bytes, mode: int | None) -> None:
    """Write ``file`` with ``mode``, or with the default mode of the process."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0),
                     0o666 if mode is None else 0o600)  # fmt: skip
    with os.fdopen(handle, "wb") as opened:
        if mode is not None:
            file.chmod(stat.S_IMODE(mode))
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())


def _mode_of(path: Path) -> int | None:
    """The mode of ``path``; `None` if it does not exist."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mode
    return None


def _text(content: bytes, name: str | os.PathLike[str]) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"{os.fspath(name)}: not a text file ({error.reason})") from error
    # as for a file opened as text: all kinds of line ends are equal
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _rest(file: BinaryIO, begun: bytes, limit: int) -> bytes:
    """``begun`` and what follows it, up to one byte more than ``limit``."""
    parts, count = [begun], len(begun)
    while parts[-1] and count <= limit:
        parts.append(file.read(min(_CHUNK, limit + 1 - count)))
        count += len(parts[-1])
    return b"".join(parts)


def _check_regular(path: str | os.PathLike[str], mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise InputOutput(f"{os.fspath(path)}: {_kind(mode)}, not a regular file")


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    }  # fmt: skip
    return kinds.get(stat.S_IFMT(mode), "a special file")


def _cannot_read(path: str | os.PathLike[str], error: OSError) -> InputOutput:
    return InputOutput(f"{os.fspath(path)}: {error.strerror or error}")
