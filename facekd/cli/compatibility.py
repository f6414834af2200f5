"""Measure whether the embeddings of two models can be compared with each other.

A gallery enrolled with one model can then be searched with the other, at a threshold for that pair.
"""

from __future__ import annotations

from pathlib import Path

import click

from facekd.cli._evaluation import OutputFiles, print_answer, read_protocol, tell_cards
from facekd.cli.options import (
    MODEL_FILE,
    aligned_option,
    csv_option,
    detector_option,
    device_option,
    flip_option,
    json_option,
    pairs_option,
    photos_option,
    plot_option,
    protocol_option,
    report_option,
    root_option,
    without_option,
)
from facekd.cli.output import progress, say


@click.command("compatibility")
@click.argument("model", type=MODEL_FILE)
@click.argument("other", type=MODEL_FILE)
@protocol_option(pairs_of_photos=True)
@photos_option
@pairs_option
@root_option
@aligned_option
@flip_option
@without_option
@click.option(
    "--write", is_flag=True, help="Record in both cards that the models are compatible, if they are."
)
@detector_option
@device_option
@json_option
@plot_option
@report_option
@csv_option
def command(
    model: Path,
    other: Path,
    protocol: str | None,
    data: Path,
    pairs: Path | None,
    root: str | None,
    aligned: bool,
    flip: bool,
    without: Path | None,
    write: bool,
    detector: str,
    device: str,
    as_json: bool,
    plot: Path | None,
    report: Path | None,
    table: Path | None,
) -> None:
    """Compare photos embedded by MODEL with photos embedded by OTHER, each pair in both directions.

    With --write, the exit code is 4 if the models are incompatible, and no card is written.

    \b
    Example: facekd compatibility student.onnx teacher.onnx --data lfw.zip --pairs pairs.txt
             facekd compatibility new.onnx old.onnx --data lfw.zip --pairs pairs.txt --write
    """
    from facekd.reporting import figure, write_compatibility_page
    from facekd.workflows import check_writable, evaluate_compatibility, write_compatible

    models = (model, other)
    files = OutputFiles(plot, report, table)
    files.check()
    if write:
        check_writable(models)
    chosen = read_protocol(protocol, pairs, data, without, root)
    with progress("evaluate", len(chosen.photos)) as advance:
        found = evaluate_compatibility(
            models, chosen, data, detector=None if aligned else detector, device=device, flip=flip,
            advance=advance,
        )  # fmt: skip
    tell_cards(found.alone)
    files.write(found.results(), lambda: figure(found), lambda page: write_compatibility_page(page, found))
    print_answer(found, as_json)
    if write:
        for line in write_compatible(found):
            say(line)
