"""Runs the recipes of a folder, one after the other: alone, or as one of `torchrun`'s processes.

    python shared_steps.py FOLDER JOB...
    python -m torch.distributed.run --nproc-per-node 2 shared_steps.py FOLDER JOB...

Each ``*.toml`` of FOLDER is trained into ``FOLDER/NAME/STEM``: whole (the job NAME), for some steps only
(NAME:STEPS), or on from there (NAME:resume).
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from facekd.distillation import SILENT, read_recipe, run_recipe
from facekd.models import FaceNet, build_model, register


@register("frozen")
def frozen(dim: int, widths: list[int], depths: list[int]) -> FaceNet:
    """A plainres whose batch norms never look at the batch."""
    net = build_model("plainres", dim=dim, widths=widths, depths=depths)
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)]
    for norm in norms:
        # train() on the network reaches them too; it is this that they ask
        norm.train = lambda mode=True, norm=norm: norm  # type: ignore[method-assign]
        norm.eval = lambda norm=norm: norm  # type: ignore[method-assign]
        norm.training = False
    return net


def main(folder: Path, job: str) -> None:
    """Run every recipe of ``folder`` below its folder NAME: ``job`` is NAME, NAME:STEPS or NAME:resume."""
    name, _, part = job.partition(":")
    steps, resume = int(part) if part.isdecimal() else None, part == "resume"
    for recipe in sorted(folder.glob("*.toml")):
        place = folder / name / recipe.stem
        run_recipe(
            read_recipe(recipe), place, SILENT,
            cache=folder / "cache", threads=1, workers=0, resume=resume, stop_after=steps,
        )  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    for job in sys.argv[2:]:
        main(Path(sys.argv[1]), job)
