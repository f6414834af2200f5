"""Files written whole or not at all, and the folders of what can be made again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from facekd.errors import InputOutput


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file beside ``path``, fsync it, rename it: readers see the old or the new file."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            Path(temporary).chmod(0o666 & ~umask)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputOutput(f"{path}: cannot be written ({error.strerror or error})") from error


def cache_folder() -> Path:
    """Where targets and converted networks are kept: ``FACEKD_CACHE``, else the user's cache."""
    import platformdirs

    return Path(os.environ.get("FACEKD_CACHE") or platformdirs.user_cache_dir("facekd")).expanduser()


def target_folder() -> Path:
    """Where teachers' targets and kept views lie."""
    return cache_folder() / "targets"
