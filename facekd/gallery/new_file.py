"""Write a file that only its owner may read, and that gets its name once it is complete."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facekd.errors import InputOutput, UsageError
from facekd.files import cannot_write, sync_folder


@contextmanager
def open_new(path: Path, replace: bool) -> Iterator[Path]:
    """The path of an empty file of mode 0600 to be filled inside the block; at its end the file is synced and
    renamed to ``path``, and after a failure it is deleted.

    Raises `UsageError` if the file exists already and ``replace`` is not given, `InputOutput` if it cannot
    be written.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise InputOutput(f"{path}: not a regular file")
    if target.exists() and not replace:
        raise _exists(path)
    try:
        handle, name = tempfile.mkstemp(prefix=".facekd-", dir=target.parent)
        os.close(handle)
        try:
            yield Path(name)
            with Path(name).open("rb") as file:
                os.fsync(file.fileno())
            _give_name(Path(name), target, path, replace)
        finally:
            for ending in ("", "-wal", "-shm", "-journal"):
                Path(name + ending).unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def _give_name(unfinished: Path, target: Path, path: Path, replace: bool) -> None:
    if replace:
        unfinished.replace(target)
    else:
        try:
            target.hardlink_to(unfinished)
        except FileExistsError:
            raise _exists(path) from None
        except OSError:  # a file system without hard links
            if target.exists():
                raise _exists(path) from None
            unfinished.rename(target)
    sync_folder(target.parent)


def _exists(path: Path) -> UsageError:
    return UsageError(f"{path} exists", "Choose another file, or replace it with --force.")
