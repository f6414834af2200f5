"""One of `torchrun`'s processes that keep their folders apart, as nodes without a common disk do.

    python -m torch.distributed.run --nproc-per-node 2 nodes_apart.py FOLDER

Runs FOLDER/recipe.toml three times; what each process is told goes to FOLDER/NAME-RANK.txt.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from facekd.distillation import SILENT, read_recipe, run_recipe
from facekd.errors import InputOutput


def main(folder: Path) -> None:
    number = os.environ["RANK"]
    recipe = read_recipe(folder / "recipe.toml")
    for name, run, cache, resume in (
        ("fresh", f"fresh-{number}", "cache", False),
        ("older", f"own-{number}", "cache", True),
        ("targets", "run", f"cache-{number}", False),
    ):
        try:
            run_recipe(recipe, folder / run, SILENT, cache=folder / cache, workers=0, resume=resume)
        except InputOutput as error:
            (folder / f"{name}-{number}.txt").write_text(str(error))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
