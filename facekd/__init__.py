"""facekd: distil a large face recogniser into a small one, measure it, use it.

Six names, each of them the function behind a command; docs/python.md shows them. Importing this package loads
neither numpy nor OpenCV, ONNX Runtime or torch: a name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
import os

from facekd.version import __version__

TYPE_CHECKING = False  # that of typing, whose import takes longer than all of this
if TYPE_CHECKING:
    from typing import Any

# ONNX Runtime's own builds report usage to Microsoft unless this is set before their first
# import (its Privacy.md); set the variable to 0 to allow that
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

#: the module of each name, and its name there; the stub has the same for type checkers
_PLACES = {
    "load_embedder": ("facekd.runtime", "load_embedder"),
    "align": ("facekd.workflows", "align_photo"),
    "Recognizer": ("facekd.workflows", "Recognizer"),
    "Gallery": ("facekd.workflows", "Gallery"),
    "evaluate": ("facekd.workflows", "evaluate_files"),
    "distill": ("facekd.workflows", "distill_recipe"),
    **{
        error: ("facekd.errors", error)
        for error in (
            "FacekdError", "UsageError", "NotFound", "CannotSay", "NoFace", "SeveralFaces", "Misfit",
            "InputOutput",
        )
    },
}  # fmt: skip

__all__ = [*_PLACES, "__version__", "errors"]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("facekd.errors")
    if name not in _PLACES:
        raise AttributeError(f"module 'facekd' has no attribute '{name}'")
    module, there = _PLACES[name]
    found = getattr(importlib.import_module(module), there)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
