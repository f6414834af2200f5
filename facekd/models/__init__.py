"""Networks, one architecture per file, found by name; teachers are under ``teachers``."""

from facekd.models.base import (
    FaceNet,
    Outputs,
    Rehearsed,
    Targets,
    Teacher,
    build_model,
    check_model,
    model_names,
    register,
    rehearse_model,
    to_planes,
    torch_device,
)
from facekd.models.selection import Started, start_from

__all__ = [
    "FaceNet",
    "Outputs",
    "Rehearsed",
    "Started",
    "Targets",
    "Teacher",
    "build_model",
    "check_model",
    "model_names",
    "register",
    "rehearse_model",
    "start_from",
    "to_planes",
    "torch_device",
]
