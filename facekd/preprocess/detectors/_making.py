"""Face detectors behind one interface, one file each.

A detector's file holds a function ``(file, device, threads) -> Detector`` under
``@register("name", "name:FILE")``, whose second argument is how ``--detector`` names it. The registry lists
this folder, so adding a file is enough; another package adds a detector by an entry point of the group
``facekd.detectors`` (`facekd.registry`). Files whose names begin with an underscore are helpers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from facekd.errors import UsageError
from facekd.preprocess.types import Detector
from facekd.registry import Registry

Maker = Callable[[Path | None, str, int | None], Detector]

_DETECTORS: Registry[Maker] = Registry("detector", "facekd.preprocess.detectors", "facekd.detectors")
register = _DETECTORS.register
detector_names = _DETECTORS.names
#: the function that makes the detector of a name; raises `UsageError` if the name is unknown or its package
#: cannot be loaded
detector_maker = _DETECTORS.__getitem__


def detector_help() -> str:
    """The choices for ``--detector``, as they are written."""
    *most, last = (note or f"{name}[:FILE]" for name, note in _DETECTORS.notes().items())
    return f"{', '.join(most)} or {last}"


def make_detector(spec: str = "mtcnn", device: str = "cpu", threads: int | None = None) -> Detector:
    """The detector that ``spec`` names: "mtcnn", "mtcnn:FOLDER", "yunet:FILE" or "scrfd:FILE".

    ``threads`` limits the processors it uses (all by default). Raises `UsageError` for an unknown
    name or a missing file name, `InputOutput` or `Unreadable` for the file, `DeviceError`.
    """
    name, _, file = spec.partition(":")
    return _DETECTORS[name](Path(file).expanduser() if file else None, device, threads)


def mtcnn_weights() -> str:
    """Describe the source of MTCNN's weights. Raises `UsageError` if there is none, `Unreadable` if the
    weights are not the expected ones."""
    from facekd.preprocess.detectors._mtcnn_files import mtcnn_origin

    return mtcnn_origin()


def export_mtcnn(folder: Path) -> None:
    """Write MTCNN's converted networks into ``folder``, for use as "mtcnn:FOLDER".

    Raises `UsageError` if there is nothing to convert, `InputOutput` for the folder.
    """
    from facekd.preprocess.detectors._mtcnn_files import mtcnn_networks, write_networks

    write_networks(mtcnn_networks(), folder)


def needs_file(file: Path | None, name: str) -> Path:
    """``file``, or a `UsageError` that states how to name one."""
    if file is None:
        raise UsageError(f"the detector '{name}' needs its model file", f"Write --detector {name}:FILE.")
    return file
