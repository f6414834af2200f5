"""Initialise a small network from the weights of a larger one of the same family.

Xu et al., "Initializing models with larger ones", ICLR 2024: use the layers with the
same names (the first ones of every stage), and evenly spaced channels. The same channels
are selected wherever a width shrinks from the same size to the same size, so that the channels match
between layers. Batch-norm statistics are copied too; the head is initialised at random.

Li et al., "Pruning filters for efficient ConvNets", ICLR 2017: use the channels whose filters have the
largest absolute sums; including the head, this prunes the large network to the small one's widths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from facekd.errors import Misfit, UsageError
from facekd.models._base import FaceNet

StartBy = Literal["selection", "norms", "equal", "whole"]
#: the channels that are kept where a width shrinks, by the two widths
_Kept = dict[tuple[int, int], Tensor]


_SELECTING = ("selection", "norms")


@dataclass(frozen=True)
class Started:
    """The ``taken`` tensors of the larger network, by their names in the student's state dict, with
    the student's shapes and not blended; and the names that were not taken (the
    head, and layers that the larger network lacks)."""

    taken: Mapping[str, Tensor]
    fresh: tuple[str, ...]


def start_from(
    student: FaceNet,
    weights: dict[str, Tensor],
    how: StartBy = "selection",
    blend: float = 1.0,
) -> Started:
    """Fill ``student`` from the state dict ``weights``; floats become ``blend`` times those plus
    ``1 - blend`` times the student's initial weights. With 0 the student is unchanged, and
    the tensors are only returned.

    With ``norms`` the channels of the largest filters are used instead of evenly spaced ones, and the head
    is included. With ``equal`` nothing is selected: every tensor outside the head must have its own shape
    there; with ``whole`` the head's must too, and is included. Raises `Misfit` if the networks
    are not of one family, with the name of the first layer, and `UsageError` for a ``blend`` outside [0, 1].
    """
    if not 0 <= blend <= 1:
        raise UsageError(f"blend = {blend:g}: must be at least 0 and at most 1")
    state = student.state_dict()
    afresh = () if how in ("whole", "norms") else student.head_parts
    body = [name for name in state if name.partition(".")[0] not in afresh]
    known = [name for name in body if name in weights]
    # a deeper student has blocks that the weights lack; the names of another family may agree by chance
    if len(known) < (len(body) / 2 if how in _SELECTING else len(body)):
        lacks = next(name for name in body if name not in weights)
        raise Misfit(
            f"the weights are of another family: they have no '{lacks}'",
            "Start from a network of the student's own architecture, deeper or wider.",
        )
    shapes = {name: state[name].shape for name in known}
    kept = _largest(weights, shapes) if how == "norms" else {}
    taken = {name: _selected(name, weights[name], shape, how, kept).clone() for name, shape in shapes.items()}
    if blend:
        _fill(state, taken, blend)
    return Started(taken, tuple(name for name in state if name not in taken))


def _fill(state: Mapping[str, Tensor], taken: Mapping[str, Tensor], blend: float) -> None:
    with torch.no_grad():
        for name, found in taken.items():
            mine = state[name]
            mine.copy_(torch.lerp(mine, found.to(mine), blend) if mine.is_floating_point() else found)


def _largest(weights: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> _Kept:
    """For every two widths the channels with the largest filters: the absolute sums of all layers of these
    widths, and the absolute scales of their norms, each as a share of the layer's mean."""
    worth: _Kept = {}
    for name, shape in shapes.items():
        large = weights[name]
        if not name.endswith(".weight") or large.ndim != len(shape):
            continue
        widths = (len(large), shape[0])
        if widths[0] > widths[1]:
            sums = large.float().abs().reshape(len(large), -1).sum(1)
            worth[widths] = worth.get(widths, torch.zeros(len(large))) + sums / sums.mean().clamp(min=1e-12)
    return {widths: found.topk(widths[1]).indices.sort().values for widths, found in worth.items()}


def _selected(name: str, large: Tensor, shape: torch.Size, how: str, kept: _Kept) -> Tensor:
    if large.shape == shape:
        return large
    sizes = f"{name} is {list(large.shape)} there and {list(shape)} here"
    if how not in _SELECTING:
        raise Misfit(
            f"weights of unequal shape cannot be copied: {sizes}",
            'Use evenly spaced channels instead: start_by = "selection".',
        )
    if large.ndim != len(shape) or any(b < s for b, s in zip(large.shape, shape, strict=True)):
        raise Misfit(f"a student must be started from a network at least as wide: {sizes}")
    if large.shape[2:] != shape[2:]:
        raise Misfit(f"channels cannot be selected from kernels of different sizes: {sizes}")
    for axis, (big, small) in enumerate(zip(large.shape, shape, strict=True)):
        even = torch.linspace(0, big - 1, small).round().long()
        large = large.index_select(axis, kept.get((big, small), even) if big > small else even)
    return large
