"""What a network is here, and how one is found by name.

A student is a torch module made by a function in a file of its own in this folder::

    @register("plainres")
    def plainres(dim: int = 512, width: float = 1.0) -> FaceNet: ...

The registry lists the folder, so adding a file is all it takes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from facekd.card import InputSpec
from facekd.errors import DeviceError, UsageError
from facekd.registry import Registry


@dataclass(frozen=True)
class Outputs:
    """What a student gives for a batch: ``embedding`` [N, D], not normalised, and the feature
    maps that were tapped, [N, C, H, W] by name."""

    embedding: Tensor
    features: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Targets:
    """What a teacher says of a batch: ``embedding`` [N, D] with unit rows, and feature maps."""

    embedding: Tensor
    features: dict[str, Tensor] = field(default_factory=dict)


class FaceNet(nn.Module):
    """Planes [N, 3, S, S] (scaled by ``input``) to an embedding [N, D], not normalised.

    ``taps`` names what `outputs` returns as features: submodules, or names that ``tap_paths``
    gives to submodules, so that hints can be paired by the same names in every network.
    """

    input: InputSpec = InputSpec()
    taps: tuple[str, ...] = ()
    tap_paths: Mapping[str, str] = {}
    #: submodules from the last feature map on, which a start from a larger network leaves out
    head_parts: tuple[str, ...] = ("head",)
    #: whether it can be trained on views smaller than ``input.size``, in multiples of 16
    any_size: bool = False
    dim: int

    def outputs(self, planes: Tensor, features: bool = False) -> Outputs:
        """The embedding and, if asked for, the tapped feature maps."""
        if not features:
            return Outputs(self(planes))
        found: dict[str, Tensor] = {}
        handles = [
            self.get_submodule(self.tap_paths.get(tap, tap)).register_forward_hook(
                lambda _m, _i, out, tap=tap: found.__setitem__(tap, out)
            )
            for tap in self.taps
        ]
        try:
            embedding = self(planes)
        finally:
            for handle in handles:
                handle.remove()
        return Outputs(embedding, found)


class Teacher(Protocol):
    """A frozen network that labels views, for training only."""

    @property
    def name(self) -> str: ...
    @property
    def space(self) -> str: ...
    @property
    def dim(self) -> int: ...

    def targets(self, views: NDArray[np.uint8]) -> Targets:
        """uint8 RGB [N, H, W, 3] 112-pixel ArcFace crops to targets, without gradients."""
        ...


_MODELS: Registry[Callable[..., FaceNet]] = Registry("model", "facekd.models")
register = _MODELS.register
model_names = _MODELS.names


def build_model(name: str, **settings: Any) -> FaceNet:
    """The network ``name`` with ``settings``.

    Raises `UsageError` for an unknown name (with the known ones) or an unknown setting.
    """
    check_model(name, settings)
    return _MODELS[name](**settings)


def check_model(name: str, settings: Mapping[str, Any]) -> None:
    """Raise `UsageError` for a network, or a setting of it, that there is not; nothing is built."""
    known = inspect.signature(_MODELS[name]).parameters
    for key in settings:
        if key not in known:
            raise UsageError(f"model '{name}' has no setting '{key}'", f"It has: {', '.join(known)}.")


def to_planes(
    views: NDArray[np.uint8] | Tensor, spec: InputSpec, device: torch.device | str = "cpu"
) -> Tensor:
    """uint8 RGB [N, S, S, 3] to what a network under ``spec`` is fed, float32 [N, 3, S, S]."""
    pixels = torch.as_tensor(views).to(device)
    if spec.colour == "bgr":
        pixels = pixels.flip(-1)
    return pixels.permute(0, 3, 1, 2).float().sub_(spec.mean).div_(spec.std)


def torch_device(name: str) -> torch.device:
    """The device ``name`` (``cpu``, ``cuda``, ``cuda:1``), which is there.

    Raises `DeviceError` where it is not; nothing falls back to the CPU in silence.
    """
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise DeviceError(f"--device {name}: not known", "Use cpu or cuda.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError("--device cuda: this torch finds no CUDA device", "Use --device cpu.")
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        raise DeviceError(f"--device {name}: there are {torch.cuda.device_count()} CUDA devices")
    return torch.device(name)
