"""Choose float32 or bf16 by measurement.

A processor may list bf16 among its instructions and still be slower with it (small channels,
conversions between layers), so ``auto`` times a few steps of the given network with each.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from facekd.models import torch_device

Precision = Literal["float32", "bf16"]

#: the least gain at which bf16 is chosen: it loses precision, so the gain must exceed the timing noise
WORTH = 1.1


@dataclass(frozen=True)
class Choice:
    """The precision of a run; ``gain`` is float32's time over bf16's, `None` if it was not measured."""

    precision: Precision
    gain: float | None = None

    def __str__(self) -> str:
        if self.gain is None:
            return self.precision
        if self.precision == "bf16":
            return f"bf16, {self.gain:.1f} times as fast as float32 here"
        return f"float32, bf16 being {self.gain:.1f} times as fast here"


def choose_precision(
    asked: Literal["auto", "float32", "bf16"], network: nn.Module, size: int, batch: int, device: str = "cpu"
) -> Choice:
    """``asked``, or for ``auto`` the faster one for training ``network`` on inputs [``batch``, 3,
    ``size``, ``size``].

    Nothing is timed if the hardware has no bf16: emulation is many times slower.
    """
    if asked != "auto":
        return Choice(asked)
    kind = torch_device(device).type
    if not has_bf16(kind):
        return Choice("float32")
    gain = bf16_gain(network, size, batch, kind)
    return Choice("bf16" if gain >= WORTH else "float32", gain)


def has_bf16(kind: str) -> bool:
    """Whether bf16 products run in hardware: AMX or AVX512-BF16 on a CPU, Ampere or later."""
    if kind == "cuda":
        return torch.cuda.is_bf16_supported()
    probe = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(probe and probe()) or bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())


def bf16_gain(network: nn.Module, size: int, batch: int, kind: str = "cpu", rounds: int = 4) -> float:
    """Seconds of a forward and backward pass in float32 over those in bf16, each the best of
    ``rounds`` in alternation after a warm-up. Uses a copy of ``network`` and keeps the random state."""
    device = torch.device(kind)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if kind == "cuda" else []):
        net = copy.deepcopy(network).to(device).train()
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        planes = torch.randn(batch, 3, size, size, device=device).to(memory_format=torch.channels_last)
        best = {False: float("inf"), True: float("inf")}
        for turn in range(rounds + 1):
            for half in (False, True):
                seconds = _pass_seconds(net, planes, half)
                if turn:
                    best[half] = min(best[half], seconds)
    return best[False] / best[True]


def _pass_seconds(net: nn.Module, planes: torch.Tensor, half: bool) -> float:
    kind = planes.device.type
    _wait(kind)
    started = time.perf_counter()
    with torch.autocast(kind, torch.bfloat16, enabled=half):
        out = net(planes)
    out.float().square().mean().backward()
    _wait(kind)
    seconds = time.perf_counter() - started
    net.zero_grad(set_to_none=True)
    return seconds


def _wait(kind: str) -> None:
    if kind == "cuda":
        torch.cuda.synchronize()
