"""Measure the accuracy lost on poor photos: small, blurred, noisy, dark, covered or turned faces.

One protocol is evaluated repeatedly, with its crops degraded in one way at a time.
"""

from __future__ import annotations

from pathlib import Path

import click

from facekd.cli._evaluation import print_answer, read_protocol
from facekd.cli.options import (
    MODEL_FILE,
    aligned_option,
    detector_option,
    device_option,
    json_option,
    pairs_option,
    photos_option,
    plot_option,
    protocol_option,
    report_option,
)
from facekd.cli.output import progress, say


@click.command("degrade")
@click.argument("models", nargs=-1, required=True, type=MODEL_FILE, metavar="MODEL...")
@protocol_option(pairs_of_photos=True)
@photos_option
@pairs_option
@aligned_option
@click.option("--one-side", is_flag=True, help="Degrade the second photo of each pair only, not both.")
@detector_option
@device_option
@json_option
@plot_option
@report_option
def command(
    models: tuple[Path, ...],
    protocol: str | None,
    data: Path,
    pairs: Path | None,
    aligned: bool,
    one_side: bool,
    detector: str,
    device: str,
    as_json: bool,
    plot: Path | None,
    report: Path | None,
) -> None:
    """Measure each MODEL on degraded crops, with a table for each.

    Both photos of a pair are degraded, or with --one-side the second only: a poor probe against a good
    enrolled photo.

    \b
    Example: facekd degrade student.onnx teacher.onnx --protocol lfw --data lfw.zip --pairs pairs.txt
             facekd degrade student.onnx --data crops.zip --aligned --one-side --plot worse.png
    """
    from facekd.reporting import check_page, check_picture, draw, figure, write_robustness_page
    from facekd.workflows import measure_robustness, robustness_steps

    if plot:
        check_picture(plot)
    if report:
        check_page(report)
    chosen = read_protocol(protocol, pairs, data)
    with progress("degrade", robustness_steps(chosen)) as advance:
        found = measure_robustness(
            models, chosen, data,
            detector=None if aligned else detector, device=device, one_side=one_side,
            tell=say, advance=advance,
        )  # fmt: skip
    if plot:
        draw(figure(found), plot)
        say(f"plot written to {plot}")
    if report:
        write_robustness_page(report, found)
        say(f"page written to {report}")
    print_answer(found, as_json, columns=120)
