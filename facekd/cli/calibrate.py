"""Measure thresholds and a score's probability on your own people, and write them into the model's card.

All photos of all people are compared. The people must not be those that the model was trained on,
nor those that it is evaluated on afterwards.
"""

from __future__ import annotations

from pathlib import Path

import click

from facekd.cli.options import (
    ANY_PATH,
    EXISTING,
    MODEL_FILE,
    Number,
    aligned_option,
    detector_option,
    device_option,
    json_option,
    root_option,
)
from facekd.cli.output import answer, answer_json, progress, say


@click.command("calibrate")
@click.argument("model", type=MODEL_FILE)
@click.option("--data", type=EXISTING, required=True, help="Folder or zip with a folder per person.")
@root_option
@click.option(
    "--fmr", "fmrs", multiple=True, type=Number(0, 0.01, min_open=True),
    help="False match rate to measure the threshold for; repeatable. [default: 0.01, 0.001, 0.0001]",
)  # fmt: skip
@click.option(
    "--out", type=ANY_PATH, default=None, help="Write a copy with the new card here and keep MODEL."
)
@aligned_option
@detector_option
@device_option
@json_option
def command(
    model: Path,
    data: Path,
    root: str | None,
    fmrs: tuple[float, ...],
    out: Path | None,
    aligned: bool,
    detector: str,
    device: str,
    as_json: bool,
) -> None:
    """Measure the thresholds of MODEL, an ONNX file, and write them into its card.

    Earlier thresholds are replaced (with --out, only in the copy). Rates for which there is too little
    data are reported, and the others written. If there is too little data for all of them, or if the
    card says that the model was trained on this data, nothing is written.

    \b
    Example: facekd calibrate student.onnx --data people/ --fmr 1e-3 --fmr 1e-4
             facekd calibrate student.onnx --data crops.zip --aligned --json
    """
    from facekd.reporting import lines
    from facekd.verification import CALIBRATED_FMRS
    from facekd.workflows import calibrate_model, count_images

    with progress("calibrate", count_images(data)) as advance:
        found = calibrate_model(
            model, data, fmrs or CALIBRATED_FMRS,
            detector=None if aligned else detector, device=device, root=root, out=out,
            advance=advance,
        )  # fmt: skip
    for note in found.notes:
        say(f"note: {note}")
    for entry in found.replaced:
        say(f"replaced: threshold {entry.threshold:.4f} at FMR {entry.fmr:g} ({entry.data})")
    if as_json:
        answer_json(found.to_dict())
    else:
        for line in lines(found):
            answer(line)
    say(f"card of {out or model} written; space {found.card.space[:12]} kept")
