"""Load the teacher, or its network, that a recipe or a command names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from facekd.card import Card
from facekd.errors import InputOutput, UsageError
from facekd.models._base import FaceNet, Teacher, torch_device

KNOWN_TEACHERS = (
    "A teacher is an .onnx file, a .toml file that lists several, a run folder or checkpoint, "
    "timm:NAME:FILE, or inception:FILE (or inception:vggface2)."
)

Spec = str | os.PathLike[str]

#: exported models, and files that list several: these have no feature maps
EXPORTED = (".onnx", ".toml")


def load_teacher(spec: Spec | Sequence[Spec], device: str = "cpu", threads: int | None = None) -> Teacher:
    """The teacher that ``spec`` names, on ``device``; for several, their embeddings joined.

    A spec is the path of an ONNX model, of a TOML file that lists several, of a run folder or a
    checkpoint of facekd; or ``timm:NAME:FILE``, a timm backbone with a state dict; or
    ``inception:FILE_OR_NAME``. ``threads`` is for ONNX Runtime; torch uses the process's setting.

    Raises `UsageError` for an unknown kind of spec, `InputOutput` or `Unreadable` for its file,
    `DeviceError` for an absent device, `Misfit` for a network that cannot use aligned crops.
    """
    if not isinstance(spec, str | os.PathLike):
        from facekd.models.teachers.several import SeveralTeachers

        if not spec:
            raise UsageError("no teacher is given", KNOWN_TEACHERS)
        members = [load_teacher(one, device, threads) for one in spec]
        return members[0] if len(members) == 1 else SeveralTeachers(members)
    if Path(spec).suffix in EXPORTED:
        from facekd.models.teachers.onnx import OnnxTeacher

        return OnnxTeacher(spec, device, threads)
    from facekd.models.teachers.network import NetworkTeacher

    torch_device(device)  # before the file is read, which may take long
    return NetworkTeacher(*load_network(spec), device=device)


def load_network(spec: Spec) -> tuple[FaceNet, Card]:
    """The torch network that ``spec`` names, in eval mode on the CPU, and its card.

    The card's ``space`` is that of the state dict, the architecture and the input contract; exporting
    the network pins the card to the exported graph instead. Raises as `load_teacher`.
    """
    kind, _, rest = os.fspath(spec).partition(":")
    if kind == "timm":
        from facekd.models.teachers.timm import timm_network

        file = named_file(spec)
        assert file is not None
        return timm_network(rest.partition(":")[0], file)
    if kind == "inception":
        from facekd.models.teachers.inception import inception_network

        return inception_network(rest)
    path = Path(spec)
    if path.is_dir() or path.suffix == ".safetensors":
        from facekd.models._saved import read_saved

        return read_saved(path)
    if not path.exists():
        raise InputOutput(f"{spec}: no such file or folder", KNOWN_TEACHERS)
    if path.suffix in EXPORTED:
        raise UsageError(f"{spec} is already an exported model; give the torch network it came from")
    raise UsageError(f"{spec}: not a teacher", KNOWN_TEACHERS)


def named_file(spec: Spec) -> Path | None:
    """The file or folder that ``spec`` names, whether or not it exists; `None` for published weights, which
    are downloaded. Raises `UsageError` for a spec without one."""
    kind, _, rest = os.fspath(spec).partition(":")
    if kind == "timm":
        name, _, file = rest.partition(":")
        if not name or not file:
            raise UsageError(
                f"{spec}: write timm:NAME:FILE", "Example: timm:edgenext_x_small:weights.safetensors"
            )
        return Path(file)
    if kind == "inception":
        from facekd.models.teachers.inception import PUBLISHED

        return None if rest in PUBLISHED else Path(rest)
    return Path(spec)
