"""The key of an encrypted gallery: 32 random bytes, from a file, the environment or a command.

A key is never a passphrase: anybody who has a gallery's file can try passphrases without limit, and would
find one that people can remember.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import shlex
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from facekd.errors import InputOutput, UsageError
from facekd.files import open_regular
from facekd.gallery.new_file import open_new

KEY_BYTES = 32
#: the bytes of a key, or the path of a file that contains one
Key = bytes | str | os.PathLike[str]
#: most bytes of a key file or of a command's output: a key and white space
_MOST_TEXT = 1000
#: a command may have to ask the user
_COMMAND_SECONDS = 120.0
_MAKING = "'facekd gallery new-key FILE' makes one."
_FORM = f"A key is 32 random bytes in base64 or hexadecimal digits; {_MAKING}"


class KeySource:
    """Where a key comes from. ``told`` names it in messages; ``read`` is called once, when a gallery needs
    the key."""

    def __init__(self, told: str, read: Callable[[], bytes]) -> None:
        self.told = told
        self._read = read
        self._reading = threading.Lock()
        self._key: bytes | None = None

    def key(self, again: bool = False) -> bytes:
        """The key, read ``again`` if it may have changed. Raises `UsageError` if it is not a key, or its file
        can be read by others; `InputOutput` if it cannot be read."""
        with self._reading:
            if self._key is None or again:
                self._key = self._read()
            return self._key


def _no_key() -> bytes:
    raise RuntimeError("there is no key to be read")


#: opens a gallery without a key, whatever the environment contains
NO_KEY = KeySource("no key", _no_key)


def key_from_file(file: str | os.PathLike[str]) -> KeySource:
    """The key in a file that only its owner may read or change."""
    path = Path(file)
    return KeySource(str(path), lambda: _decoded(read_private(path, "key file", _MAKING), str(path)))


def key_from_text(text: str, told: str) -> KeySource:
    return KeySource(told, lambda: _decoded(text.encode("utf-8", "replace"), told))


def key_from_command(command: str, told: str) -> KeySource:
    """The key that ``command`` prints. It is split into words as by a shell, but started without one."""
    return KeySource(told, lambda: _decoded(_output_of(command, told), told))


def as_key(key: Key) -> KeySource:
    """A key as given in Python."""
    if not isinstance(key, bytes):
        return key_from_file(key)
    if len(key) != KEY_BYTES:
        raise UsageError(f"the key has {len(key)} bytes, not {KEY_BYTES}", _FORM)
    return KeySource("the key that was given", lambda: key)


def key_of_environment() -> KeySource | None:
    """The key of the first that is set of ``FACEKD_GALLERY_KEY_FILE``, ``FACEKD_GALLERY_KEY`` and
    ``FACEKD_GALLERY_KEY_COMMAND``."""
    names = ("FACEKD_GALLERY_KEY_FILE", "FACEKD_GALLERY_KEY", "FACEKD_GALLERY_KEY_COMMAND")
    return _of_environment(*(os.environ.get(name) or None for name in names))


@lru_cache(maxsize=1)
def _of_environment(file: str | None, text: str | None, command: str | None) -> KeySource | None:
    """The same source for the same values, so that a command does not run each time a gallery is opened."""
    if file:
        return key_from_file(file)
    if text:
        return key_from_text(text, "FACEKD_GALLERY_KEY")
    return key_from_command(command, "FACEKD_GALLERY_KEY_COMMAND") if command else None


_in_use: list[KeySource] = []


@contextmanager
def using_key(source: KeySource | None) -> Iterator[None]:
    """Inside, in all threads, galleries are opened with the key of ``source`` unless another is given; the
    environment is ignored. `None` changes nothing."""
    if source is None:
        yield
        return
    _in_use.append(source)
    try:
        yield
    finally:
        _in_use.remove(source)


def key_in_use(given: KeySource | None = None) -> KeySource | None:
    """The key to open a gallery with: the ``given`` one, otherwise that of `using_key`, otherwise the
    environment's; `None` if there is none."""
    found = given or (_in_use[-1] if _in_use else key_of_environment())
    return None if found is NO_KEY else found


def make_key_file(path: Path) -> str:
    """Write a new random key into a new file of mode 0600; return its id. Raises `UsageError` if the file
    exists already, `InputOutput` if it cannot be written."""
    key = secrets.token_bytes(KEY_BYTES)
    with open_new(path, replace=False) as unfinished:
        unfinished.write_bytes(base64.b64encode(key) + b"\n")
    return key_id(key)


def key_id(key: bytes) -> str:
    """16 hexadecimal digits that identify a key and reveal nothing about it."""
    return hashlib.sha256(b"facekd gallery key id\n" + key).hexdigest()[:16]


def _decoded(content: bytes, told: str) -> bytes:
    """The key in ``content``. If it is not a key it may be another secret, so no message shows it."""
    text = content.strip()
    try:
        key = bytes.fromhex(text.decode("ascii")) if len(text) == 2 * KEY_BYTES else _from_base64(text)
    except (ValueError, binascii.Error):
        raise UsageError(f"{told}: not a key", _FORM) from None
    if len(key) != KEY_BYTES:
        raise UsageError(f"{told}: not a key: {len(key)} bytes, not {KEY_BYTES}", _FORM)
    return key


def _from_base64(text: bytes) -> bytes:
    return base64.b64decode(text, altchars=b"-_" if b"-" in text or b"_" in text else None, validate=True)


def read_private(path: Path, what: str, making: str) -> bytes:
    """The content, at most 1,000 bytes, of a file that only its owner may read or change. Messages call it
    ``what``, and ``making`` says how to make one. Raises `UsageError` if the file does not exist or others
    have access to it, `InputOutput` if it cannot be read."""
    if not path.exists():
        raise UsageError(f"{path}: no such {what}", making)
    with open_regular(path) as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if os.name == "posix" and mode & 0o077:
            raise UsageError(
                f"{path}: users other than its owner may read or change this {what} (mode {mode:04o})",
                f"chmod 600 {shlex.quote(str(path))}",
            )
        try:
            return file.read(_MOST_TEXT)
        except OSError as error:
            raise InputOutput(f"{path}: {error.strerror or error}") from error


def _output_of(command: str, told: str) -> bytes:
    try:
        words = shlex.split(command)
        if not words:
            raise UsageError(f"{told}: no command")
        # its messages on stderr are for the user; stdin may be a list of photos
        ran = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=_COMMAND_SECONDS, check=False
        )
    except ValueError as error:
        raise UsageError(f"{told}: not a command ({error})") from None
    except OSError as error:
        raise InputOutput(f"{told}: {words[0]} cannot be started ({error.strerror or error})") from error
    except subprocess.TimeoutExpired:
        raise InputOutput(f"{told}: {words[0]} printed no key within {_COMMAND_SECONDS:g} seconds") from None
    if ran.returncode:
        raise InputOutput(f"{told}: {words[0]} failed (exit code {ran.returncode})", "Run it separately.")
    return ran.stdout
