"""Store a run's weights in a file small enough to commit, and restore them to start the next run.

    python tools/keep_weights.py pack runs/default data/student/leg7.safetensors
    python tools/keep_weights.py unpack data/student/leg7.safetensors start.safetensors

``unpack`` writes what a recipe's ``student.start`` takes (with ``start_by = "whole"``), projectors of the
losses included; it also takes the shards that `train_on_accelerator.py` writes. Large matrices are stored as
int8 with a scale for each output channel, the rest in float32 (`packed_weights`): a quarter of the size. The
first steps of the next run make up for the rounding.
"""

from __future__ import annotations

from pathlib import Path

import click
from packed_weights import packed, unpacked
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from facekd.cli import run
from facekd.cli.options import ANY_PATH, EXISTING, EXISTING_FILE
from facekd.errors import Unreadable
from facekd.models import provenance_of
from facekd.training import RunFolder, load_learned, load_weights


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
    told = {"images": str(state.get("images", "")), "step": str(state.get("step", ""))}
    provenance = provenance_of(checkpoint)
    if provenance is not None:  # the next run's card names what this one was trained on
        told["provenance"] = provenance.model_dump_json()
    save_file(kept, out, told)
    click.echo(f"{out}: {out.stat().st_size / 1e6:.2f} MB, {state.get('images', 0):,} images seen")


@main.command()
@click.argument("kept", type=EXISTING_FILE, nargs=-1, required=True)
@click.argument("out", type=ANY_PATH)
def unpack(kept: tuple[Path, ...], out: Path) -> None:
    """Write the weights in KEPT (several files: the shards of one network) to OUT in float32."""
    whole: dict[str, Tensor] = {}
    told: dict[str, str] = {}
    for shard in kept:
        try:
            with safe_open(shard, "pt") as file:
                whole |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                told = file.metadata() or {}
        except SafetensorError as error:
            raise Unreadable(f"{shard}: not a safetensors file ({error})") from error
    save_file(unpacked(whole), out, told)
    click.echo(f"{out}: {told.get('images', '?')} images seen")


if __name__ == "__main__":
    raise SystemExit(run(main))
