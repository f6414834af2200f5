"""Weights in a quarter of their size: large matrices as int8 with a scale for each output channel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from facekd.files import write_atomically
from facekd.training import load_learned, load_weights

#: tensors with fewer values are stored unchanged
SMALLEST = 4096
SCALE = ".scale"
#: bytes of the largest shard; one tensor alone may be longer
LARGEST_SHARD = 15_000_000
#: prefix of the names of the losses' parameters in a weights file
LEARNED = "losses."


def packed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``weights`` with their large matrices as int8 and, under ``NAME.scale``, a step for each row."""
    kept: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if weight.ndim < 2 or weight.numel() < SMALLEST:
            kept[name] = weight.contiguous()
            continue
        step = weight.flatten(1).abs().amax(1).clamp(min=1e-12) / 127
        shaped = step.view(-1, *[1] * (weight.ndim - 1))
        kept[name] = (weight / shaped).round().to(torch.int8).contiguous()
        kept[name + SCALE] = step.contiguous()
    return kept


def unpacked(kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that `packed` was given, rounded."""
    weights: dict[str, Tensor] = {}
    for name, value in kept.items():
        if name.endswith(SCALE):
            continue
        step = kept.get(name + SCALE)
        if step is None:
            weights[name] = value
        else:
            weights[name] = value.float() * step.view(-1, *[1] * (value.ndim - 1))
    return weights


def write_shards(weights: Mapping[str, Tensor], folder: Path, images: int, step: int) -> list[Path]:
    """Write ``weights``, packed, as ``weights-1.safetensors`` and so on below ``folder``, none of them much
    larger than `LARGEST_SHARD`: for machines that return small files only."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = packed({name: value.detach().cpu() for name, value in weights.items()})
    told = {"images": str(images), "step": str(step)}
    files = []
    for number, shard in enumerate(_shards(kept), start=1):
        files.append(folder / f"weights-{number}.safetensors")
        write_atomically(files[-1], save(shard, told))
    return files


def _shards(kept: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    shard: dict[str, Tensor] = {}
    length = 0
    for name, value in kept.items():
        own = value.numel() * value.element_size()
        if shard and length + own > LARGEST_SHARD:
            yield shard
            shard, length = {}, 0
        shard[name] = value
        length += own
    yield shard


def weights_of(start: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The student's weights and what its losses had learned, from a run folder or a weights file, `packed`
    or not."""
    weights, learned = load_weights(start), load_learned(start)
    if start.is_file():
        whole = unpacked(load_file(start))
        weights = {name: value for name, value in whole.items() if not name.startswith(LEARNED)}
        learned = {name: value for name, value in whole.items() if name.startswith(LEARNED)}
    return weights, learned
