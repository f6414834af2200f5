"""Options that mean the same on every command, defined once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

#: a file that must exist; a missing one is a usage error that names it
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
#: a file or folder that must exist
EXISTING = click.Path(exists=True, path_type=Path)
#: a path that may not exist yet
ANY_PATH = click.Path(path_type=Path)


def model_option(required: bool = True) -> Decorator:
    return click.option(
        "--model", type=EXISTING_FILE, required=required, envvar="FACEKD_MODEL", show_envvar=True,
        help="ONNX model (or a TOML file that lists several).",
    )  # fmt: skip


gallery_option: Decorator = click.option(
    "--gallery", type=ANY_PATH, default=Path("gallery.db"), envvar="FACEKD_GALLERY",
    show_default=True, show_envvar=True, help="Gallery file.",
)  # fmt: skip

detector_option: Decorator = click.option(
    "--detector", default="mtcnn", envvar="FACEKD_DETECTOR", show_default=True, show_envvar=True,
    metavar="NAME[:FILE]", help="mtcnn[:DIR], yunet:FILE or scrfd:FILE.",
)  # fmt: skip

any_quality_option: Decorator = click.option(
    "--any-quality", is_flag=True, help="Take photos beyond the limits in the model's card, too."
)

threshold_option: Decorator = click.option(
    "--threshold", type=click.FloatRange(-1, 1), default=None,
    help="Score from which two faces are the same person; else the model's calibration.",
)  # fmt: skip

_RUN_OPTIONS = (
    click.option("--run", "folder", type=ANY_PATH, default=None, help="Run folder [default: runs/RECIPE]."),
    click.option(
        "--images", type=click.IntRange(1), default=None, help="Images to see, instead of the recipe's."
    ),
    click.option("--seed", type=click.IntRange(0), default=None, help="Seed, instead of the recipe's."),
    click.option("--resume", is_flag=True, help="Go on from the last checkpoint."),
    click.option("--force", is_flag=True, help="Replace a run of the same name."),
    click.option("--threads", type=click.IntRange(1), default=None, help="Threads for the network."),
    click.option(
        "--workers",
        type=click.IntRange(0),
        default=None,
        help="Processes that decode [default: a quarter of four or more processors].",
    ),
)


def run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of everything that trains."""
    for option in reversed(_RUN_OPTIONS):
        function = option(function)
    return function


root_option: Decorator = click.option(
    "--root", metavar="FOLDER", default=None,
    help="Folder in there that holds the people's folders; . where they lie at the top.",
)  # fmt: skip

device_option: Decorator = click.option(
    "--device", default="cpu", show_default=True, help="cpu or cuda; cuda fails if there is none."
)

json_option: Decorator = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead of text."
)
