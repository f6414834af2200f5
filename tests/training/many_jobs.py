"""What several tests ask of a process, one job after the other: alone, or as one of `torchrun`'s processes.
To start them costs more than any of the jobs.

    python many_jobs.py FOLDER one
    python -m torch.distributed.run --nproc-per-node 2 many_jobs.py FOLDER two
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import gated_steps
import nodes_apart
import shared_steps
import torch

from facekd.cli.main import main as command_line


def main(folder: Path, which: str) -> None:
    shared_steps.main(folder / "losses", which)
    gated_steps.main(folder / f"{which}.pt")
    if which == "one":
        return
    for job in ("whole", "cut:5"):
        shared_steps.main(folder / "resumed", job)
    nodes_apart.main(folder / "nodes")
    there = ("distill", folder / "nodes" / "recipe.toml", "--run", folder / "nodes" / "own-0")
    code = command_line([*map(str, there), "--workers", "0"])
    (folder / f"again-{os.environ['RANK']}.txt").write_text(str(int(code)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), sys.argv[2])
