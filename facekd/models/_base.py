"""The base class of networks, and the registry that finds them by name.

A student is a torch module returned by a function in a file of its own in this folder::

    @register("plainres")
    def plainres(dim: int = 512, width: float = 1.0) -> FaceNet: ...

The registry lists the folder, so adding a file is enough; another package adds one by an entry point
in the group ``facekd.models`` (`facekd.registry`).
"""

from __future__ import annotations

import warnings
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
from facekd.settings import annotated, wrong_settings


@dataclass(frozen=True)
class Outputs:
    """The outputs of a student for a batch: ``embedding`` [N, D], not normalised, and the tapped feature
    maps, [N, C, H, W] by name."""

    embedding: Tensor
    features: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Targets:
    """The targets of a teacher for a batch: ``embedding`` [N, D] with unit rows, and feature maps."""

    embedding: Tensor
    features: dict[str, Tensor] = field(default_factory=dict)


class FaceNet(nn.Module):
    """Maps inputs [N, 3, S, S] (scaled by ``input``) to embeddings [N, D], not normalised.

    ``taps`` names the features that `outputs` returns: submodules, or names that ``tap_paths``
    maps to submodules, so that hints can use the same names in every network.
    """

    input: InputSpec = InputSpec()
    taps: tuple[str, ...] = ()
    tap_paths: Mapping[str, str] = {}
    #: submodules after the last feature map, which a start from a larger network leaves out
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


@dataclass(frozen=True)
class Rehearsed:
    """An untrained network, and the shapes (C, H, W) of its feature maps by name."""

    network: FaceNet
    maps: Mapping[str, tuple[int, int, int]]


class Teacher(Protocol):
    """A frozen network that labels views, for training only."""

    @property
    def name(self) -> str: ...
    @property
    def space(self) -> str: ...
    @property
    def dim(self) -> int: ...

    def targets(self, views: NDArray[np.uint8]) -> Targets:
        """Targets, without gradients, of 112-pixel ArcFace crops uint8 RGB [N, H, W, 3]."""
        ...


#: the exceptions of torch and Python for sizes that do not fit together
_UNBUILT = (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)

_MODELS: Registry[Callable[..., FaceNet]] = Registry("model", "facekd.models", "facekd.models")
register = _MODELS.register
model_names = _MODELS.names


def build_model(name: str, **settings: Any) -> FaceNet:
    """The network ``name`` with ``settings``.

    Raises `UsageError` for an unknown name (with the known ones), and for settings that it does not
    have or that have the wrong type.
    """
    faults = check_model(name, settings)
    if faults:
        raise UsageError("; ".join(faults))
    return _MODELS[name](**settings)


def check_model(name: str, settings: Mapping[str, Any]) -> list[str]:
    """What is wrong with the names and types of a network's settings, one sentence each; nothing is built.
    Raises `UsageError` for an unknown network."""
    return list(wrong_settings(f"model '{name}'", annotated(_MODELS[name]), settings).values())


def rehearse_model(name: str, settings: Mapping[str, Any]) -> Rehearsed:
    """The network ``name`` built without training and run on one black crop; torch's random state
    is unchanged. Raises `UsageError` if it cannot be built, or not for crops of its size."""
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = build_model(name, **settings).eval()
            size = network.input.size
            found = network.outputs(torch.zeros(1, 3, size, size), features=True)
    except _UNBUILT as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"model '{name}' cannot be built with {dict(settings)}: {first}") from error
    return Rehearsed(network, map_shapes(found.features))


def map_shapes(features: Mapping[str, Tensor]) -> dict[str, tuple[int, int, int]]:
    """(channels, height, width) of those ``features`` [N, C, H, W] that are maps."""
    return {name: (m.shape[1], m.shape[2], m.shape[3]) for name, m in features.items() if m.ndim == 4}


def to_planes(
    views: NDArray[np.uint8] | Tensor, spec: InputSpec, device: torch.device | str = "cpu"
) -> Tensor:
    """Convert uint8 RGB [N, S, S, 3] to the network's input under ``spec``, float32 [N, 3, S, S]."""
    pixels = torch.as_tensor(views).to(device)
    if spec.colour == "bgr":
        pixels = pixels.flip(-1)
    return pixels.permute(0, 3, 1, 2).float().sub_(spec.mean).div_(spec.std)


def torch_device(name: str) -> torch.device:
    """The device ``name`` (``cpu``, ``cuda``, ``cuda:1``), if it exists.

    Raises `DeviceError` otherwise; there is no silent fallback to the CPU.
    """
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise DeviceError(f"--device {name}: not known", "Use cpu or cuda.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError("--device cuda: this torch finds no CUDA device", "Use --device cpu.")
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        raise DeviceError(f"--device {name}: there are {torch.cuda.device_count()} CUDA devices")
    return torch.device(name)
