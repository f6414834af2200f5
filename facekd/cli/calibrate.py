"""Measure thresholds and a score's probability on your own people, and write them into the model's card.

All photos of all people are compared. The people must not be those that the model was trained on,
nor those that it is evaluated on afterwards.
"""

from __future__ import annotations

from pathlib import Path

import click

from facekd.cli._defaults import model_or_shipped
from facekd.cli.options import (
    ANY_PATH,
    EXISTING,
    EXISTING_FILE,
    MODEL_FILE,
    Number,
    aligned_option,
    detector_option,
    device_option,
    json_option,
    root_option,
)
from facekd.cli.output import answer, answer_json, progress, say
from facekd.errors import UsageError


@click.command("calibrate")
@click.argument("model", type=MODEL_FILE, required=False, envvar="FACEKD_MODEL", callback=model_or_shipped)
@click.option("--data", type=EXISTING, required=True, help="Folder or zip with a folder per person.")
@root_option
@click.option(
    "--fmr", "fmrs", multiple=True, type=Number(0, 0.01, min_open=True),
    help="False match rate to measure the threshold for; repeatable. [default: 0.01, 0.001, 0.0001]",
)  # fmt: skip
@click.option(
    "--groups", type=EXISTING_FILE, default=None,
    help="CSV photo,group: measure thresholds for similar people instead, within these groups.",
)  # fmt: skip
@click.option(
    "--out", type=ANY_PATH, default=None, help="Write a copy with the new card here and keep MODEL."
)
@aligned_option
@click.option(
    "--crop-detector",
    metavar="NAME",
    default=None,
    help="With --aligned: the detector that the crops were cut with, for the card.",
)
@click.option(
    "--crop-aligner",
    metavar="NAME",
    default=None,
    help="With --aligned: the aligner that cut the crops, for the card, as facekd align reports it.",
)
@detector_option
@device_option
@json_option
def command(
    model: Path,
    data: Path,
    root: str | None,
    fmrs: tuple[float, ...],
    groups: Path | None,
    out: Path | None,
    aligned: bool,
    crop_detector: str | None,
    crop_aligner: str | None,
    detector: str,
    device: str,
    as_json: bool,
) -> None:
    """Measure the thresholds of MODEL, an ONNX file, and write them into its card.

    Without MODEL it is the model that verify and enroll use by default: that of FACEKD_MODEL or facekd.toml,
    or the shipped student, which is not changed itself: --out writes a copy.

    Earlier thresholds are replaced (with --out, only in the copy). Rates for which there is too little
    data are reported, and the others written. If there is too little data for all of them, or if the
    card says that the model was trained on this data, nothing is written.

    With --groups, one photo of each person is compared within the person's group, and the thresholds at
    which the false match rate holds in the worst group are added to the card. Searches of galleries that
    are too small for thresholds of their own use them. The thresholds of the card are left as they are.

    \b
    Example: facekd calibrate student.onnx --data people/ --fmr 1e-3 --fmr 1e-4
             facekd calibrate --data people/ --out mine.onnx
             facekd calibrate student.onnx --data crops.zip --aligned --json
             facekd calibrate student.onnx --data crops.zip --aligned --groups groups.csv
    """
    from facekd.reporting import lines
    from facekd.verification import CALIBRATED_FMRS, SIMILAR_FMRS
    from facekd.verification.results import Calibrated, SimilarCalibrated
    from facekd.workflows import UNSTATED, CropOrigin, calibrate_model, calibrate_similar, count_images

    if not aligned and (crop_detector or crop_aligner):
        raise UsageError(
            "--crop-detector and --crop-aligner say what cut given crops",
            "Add --aligned, or leave them out: photos are cut here.",
        )
    found: Calibrated | SimilarCalibrated
    origin = CropOrigin(crop_detector or UNSTATED.detector, crop_aligner or UNSTATED.aligner)
    used = None if aligned else detector
    with progress("calibrate", count_images(data)) as advance:
        if groups is None:
            found = calibrate_model(
                model, data, fmrs or CALIBRATED_FMRS, detector=used, device=device, origin=origin, root=root,
                out=out, advance=advance,
            )  # fmt: skip
        else:
            found = calibrate_similar(
                model, data, groups, fmrs or SIMILAR_FMRS, detector=used, device=device, origin=origin,
                root=root, out=out, advance=advance,
            )  # fmt: skip
    for note in found.notes:
        say(f"note: {note}")
    for replaced in found.replaced_thresholds:
        say(f"replaced: {replaced}")
    if as_json:
        answer_json(found.to_dict())
    else:
        for line in lines(found):
            answer(line)
    say(f"card of {out or model} written; space {found.card.space[:12]} kept")
