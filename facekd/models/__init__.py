"""Networks, one architecture per file, found by name; teachers are under ``teachers``."""

from facekd.models.base import (
    FaceNet,
    Outputs,
    Targets,
    Teacher,
    build_model,
    model_names,
    register,
    to_planes,
    torch_device,
)

__all__ = [
    "FaceNet",
    "Outputs",
    "Targets",
    "Teacher",
    "build_model",
    "model_names",
    "register",
    "to_planes",
    "torch_device",
]
