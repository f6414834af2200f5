"""Measure how well models tell people apart, on a published protocol or your own pairs.

Photos are aligned on the way; photos without a face count as failures to acquire and are
reported. Several models stand side by side, the others compared with the first.
"""

from __future__ import annotations

from pathlib import Path

import click

from facekd.cli.options import ANY_PATH, EXISTING, EXISTING_FILE, detector_option, device_option, json_option
from facekd.cli.output import answer_json, progress, say


@click.command("evaluate")
@click.argument("models", nargs=-1, required=True, type=EXISTING_FILE, metavar="MODEL...")
@click.option("--protocol", default=None, help="lfw or pairs; pairs for a --pairs FILE.csv, else lfw.")
@click.option("--data", type=EXISTING, required=True, help="Folder or zip of photos (or of aligned crops).")
@click.option("--pairs", type=EXISTING_FILE, default=None, help="The protocol's list of pairs.")
@click.option("--aligned", is_flag=True, help="The data holds finished 112-pixel ArcFace crops.")
@detector_option
@device_option
@json_option
@click.option("--roc", type=ANY_PATH, default=None, help="Draw the ROC into this picture (.png, .svg, .pdf).")
def command(
    models: tuple[Path, ...],
    protocol: str | None,
    data: Path,
    pairs: Path | None,
    aligned: bool,
    detector: str,
    device: str,
    as_json: bool,
    roc: Path | None,
) -> None:
    """Measure the accuracy of each MODEL, an ONNX file or a TOML file that lists several.

    \b
    Example: facekd evaluate student.onnx teacher.onnx --protocol lfw --data lfw.zip --pairs pairs.txt
             facekd evaluate student.onnx --pairs pairs.csv --data photos/ --json
    """
    from facekd.verification import open_protocol
    from facekd.workflows.evaluate import check_picture, evaluate, find_list

    if roc:
        check_picture(roc)
    name = protocol or ("pairs" if pairs and pairs.suffix.lower() == ".csv" else "lfw")
    listed = pairs or find_list(name, data)
    if pairs is None:
        say(f"list of pairs: {listed}")
    chosen = open_protocol(name, listed)
    with progress("evaluate", len(chosen.photos)) as advance:
        found = evaluate(
            models, chosen, data, detector=None if aligned else detector, device=device, advance=advance
        )
    for model in found.models:
        if not model.has_card:
            say(f"{model.file} has no card: read by insightface's convention (RGB, ArcFace template)")
    if roc:
        found.draw(roc)
        say(f"ROC drawn into {roc}")
    say(f"{found.photos_per_second:.1f} photos/s, from file to the embeddings of all models")
    if as_json:
        answer_json(found.to_dict())
    else:
        _print(found)


def _print(found: object) -> None:
    import sys

    from rich.console import Console

    # a pipe has no width of its own; 100 columns hold four models
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 100).print(found)
