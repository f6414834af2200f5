"""``facekd gallery evaluate``: how well enrolled people are distinguished from each other and from
strangers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facekd.cli._evaluation import OutputFiles, print_answer
from facekd.cli.options import (
    EXISTING,
    aligned_option,
    csv_option,
    detector_option,
    device_option,
    gallery_option,
    json_option,
    operators_model_option,
    plot_option,
    report_option,
)
from facekd.cli.output import progress, say, say_without_card

if TYPE_CHECKING:
    from facekd.gallery import Place


@click.command("evaluate")
@click.option(
    "--probes", type=EXISTING, required=True, help="Folder or zip with a folder of photos per person."
)
@operators_model_option
@gallery_option
@aligned_option
@detector_option
@device_option
@json_option
@plot_option
@report_option
@csv_option
def evaluate_people(
    probes: Path,
    model: Path,
    gallery: Place,
    aligned: bool,
    detector: str,
    device: str,
    as_json: bool,
    plot: Path | None,
    report: Path | None,
    table: Path | None,
) -> None:
    """Measure how well a gallery tells its people apart, on photos of them and of strangers.

    A folder in --probes that is named after an enrolled person holds their photos; every other folder
    holds photos of somebody who is not enrolled. The --report page shows names but no faces.

    \b
    Example: facekd gallery evaluate --probes people/ --gallery staff.db --model student.onnx
    """
    from facekd.reporting import figure, write_gallery_page
    from facekd.workflows import count_images, evaluate_gallery

    files = OutputFiles(plot, report, table)
    files.check()
    with progress("evaluate", count_images(probes)) as advance:
        found = evaluate_gallery(
            model, gallery, probes, detector=None if aligned else detector, device=device, advance=advance
        )
    if not found.has_card:
        say_without_card(model)
    for note in found.notes:
        say(f"note: {note}")
    files.write(
        {found.model: found.result}, lambda: figure(found), lambda page: write_gallery_page(page, found)
    )
    print_answer(found, as_json)
