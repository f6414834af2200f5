"""Networks, one architecture per file, found by name; teachers are under ``teachers``."""

from facekd.models.base import (
    FaceNet,
    Outputs,
    Targets,
    Teacher,
    build_model,
    check_model,
    model_names,
    register,
    to_planes,
    torch_device,
)
from facekd.models.selection import Started, start_from

__all__ = [
    "FaceNet",
    "Outputs",
    "Started",
    "Targets",
    "Teacher",
    "build_model",
    "check_model",
    "model_names",
    "register",
    "start_from",
    "to_planes",
    "torch_device",
]
