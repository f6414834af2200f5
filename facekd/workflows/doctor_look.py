"""Shared by the checks of `facekd doctor`: their settings, and how errors are reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from facekd.errors import Exit, FacekdError
from facekd.gallery import Place
from facekd.verification.results import Check, Status

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class DoctorSettings:
    """What to check besides the installation: the ``models``, each with its origin, of which the first is in
    use; a gallery; a detector by name; a device."""

    models: tuple[tuple[str, Path], ...]
    gallery: Place
    detector: str = "mtcnn"
    device: str = "cpu"

    @property
    def model(self) -> Path | None:
        """The model in use."""
        return self.models[0][1] if self.models else None


#: A check must not import anything that may be missing until it runs.
Look = Callable[[DoctorSettings], Iterator[Check]]


def taken(section: str, name: str, look: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """Yield the results of ``look``; an error ends it and becomes a line called ``name``."""
    try:
        yield from look()
    except Exception as error:
        yield _failed(section, name, error)


def if_loaded(load: Callable[[], Thing]) -> Thing | None:
    """The result of ``load``; `None` if it fails, for use where another line reports that."""
    try:
        return load()
    except (FacekdError, ImportError):
        return None


def _failed(section: str, name: str, error: Exception) -> Check:
    if isinstance(error, FacekdError):
        return Check(section, name, Status.FAULT, error.cause, error.fix, error.exit_code)
    if isinstance(error, ImportError):
        # which has its own line among the libraries
        return Check(section, name, Status.NOTE, f"not checked: {error.name or error} cannot be imported")
    if isinstance(error, OSError):
        return Check(section, name, Status.FAULT, str(error), exit_code=Exit.IO)
    told = f"internal error ({type(error).__name__}: {error})"
    return Check(section, name, Status.FAULT, told, "Please report it.", Exit.INTERNAL)
