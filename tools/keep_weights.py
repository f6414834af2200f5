"""Store a run's weights in a file small enough to commit, and restore them to start the next run.

    python tools/keep_weights.py pack runs/default data/student/leg2.safetensors
    python tools/keep_weights.py unpack data/student/leg2.safetensors start.safetensors

``unpack`` writes a file for a recipe's ``student.start`` (with ``start_by = "whole"``), projectors of the
losses included. Large matrices are stored as int8 with a scale for each output channel, the rest in float32:
a quarter of the size, and the first steps of the next run recover the rounding error.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from facekd.cli.options import ANY_PATH, EXISTING, EXISTING_FILE
from facekd.training import RunFolder, load_learned, load_weights

#: tensors with fewer values are stored unchanged
SMALLEST = 4096
SCALE = ".scale"


def packed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
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


def unpacked(kept: dict[str, Tensor]) -> dict[str, Tensor]:
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


@click.group()
def main() -> None:
    """Store a run's weights in a small file, or restore them from it."""


@main.command()
@click.argument("run", type=EXISTING)
@click.argument("out", type=ANY_PATH)
@click.option("--which", default="last", show_default=True, help="stable, last, best or step-N.")
def pack(run: Path, out: Path, which: str) -> None:
    """Write the weights of a checkpoint of RUN to OUT."""
    folder = RunFolder.open(run)
    state = folder.state(which)
    checkpoint = folder.checkpoints / which
    kept = packed({**load_weights(checkpoint), **load_learned(checkpoint)})
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(kept, out, {"images": str(state.get("images", "")), "step": str(state.get("step", ""))})
    click.echo(f"{out}: {out.stat().st_size / 1e6:.2f} MB, {state.get('images', 0):,} images seen")


@main.command()
@click.argument("kept", type=EXISTING_FILE)
@click.argument("out", type=ANY_PATH)
def unpack(kept: Path, out: Path) -> None:
    """Write the weights in KEPT to OUT in float32."""
    with safe_open(kept, "pt") as file:
        weights = unpacked({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        told = file.metadata() or {}
    save_file(weights, out, told)
    click.echo(f"{out}: {told.get('images', '?')} images seen")


if __name__ == "__main__":
    main()
