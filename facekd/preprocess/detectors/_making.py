"""Face detectors behind one interface, one file each.

A detector's file holds a function ``(file, device, threads) -> Detector`` under
``@register("name", "name:FILE")``, where the second says how ``--detector`` names it. The registry lists
this folder, so adding the file is all it takes; another package adds one by an entry point of the group
``facekd.detectors`` (`facekd.registry`). Files whose name begins with an underscore are helpers.
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
#: what makes the detector of a name; raises `UsageError` where it is unknown or its package cannot be loaded
detector_maker = _DETECTORS.__getitem__


def detector_help() -> str:
    """How each detector is written, for whoever chooses one."""
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
    """Where MTCNN's weights come from, in words. Raises `UsageError` where there are none, `Unreadable` where
    they are others than they should be."""
    from facekd.preprocess.detectors._mtcnn_files import mtcnn_origin

    return mtcnn_origin()


def export_mtcnn(folder: Path) -> None:
    """Write MTCNN's converted networks into ``folder``, which "mtcnn:FOLDER" then names.

    Raises `UsageError` where there is nothing to convert from, `InputOutput` for the folder.
    """
    from facekd.preprocess.detectors._mtcnn_files import mtcnn_networks, write_networks

    write_networks(mtcnn_networks(), folder)


def needs_file(file: Path | None, name: str) -> Path:
    """``file``, or a `UsageError` that says how to name one."""
    if file is None:
        raise UsageError(f"the detector '{name}' needs its model file", f"Write --detector {name}:FILE.")
    return file
