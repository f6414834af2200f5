"""Run the whole chain on a folder of faces, from photos to a report.

Aligns, trains a teacher (or takes one), distils a student and its baseline, evaluates, enrolls,
verifies and benchmarks; without --data, on synthetic faces.
"""

from __future__ import annotations

from pathlib import Path

import click

from facekd.cli.options import ANY_PATH, EXISTING_FILE, detector_option, json_option, root_option
from facekd.cli.output import answer, answer_json, progress, say


@click.command("demo")
@click.option("--data", default=None, help="Folder or zip with a folder per person, or 'lfw'.")
@root_option
@click.option("--teacher", type=EXISTING_FILE, default=None, help="ONNX teacher [default: train one].")
@click.option(
    "--out", type=ANY_PATH, default=Path("demo"), show_default=True, help="New folder for the results."
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of all random choices."
)
@click.option(
    "--quick", is_flag=True, help="Do a tenth of the work: shows the steps, but the figures mean nothing."
)
@detector_option
@json_option
def command(
    data: str | None,
    root: str | None,
    teacher: Path | None,
    out: Path,
    seed: int,
    quick: bool,
    detector: str,
    as_json: bool,
) -> None:
    """Run the whole chain from photos to a report, on synthetic faces unless --data is given.

    \b
    Example: facekd demo
             facekd demo --data people/ --teacher teacher.onnx --out shown
    """
    if root is not None and data is None:
        raise click.UsageError("--root needs --data.")
    from facekd.workflows import DemoSettings, run_demo

    less = (
        {
            "train_people": 40, "test_people": 12, "photos": 6,
            "teacher_images": 320, "student_images": 640, "batch": 32,
        }
        if quick
        else {}
    )  # fmt: skip
    settings = DemoSettings(out, data, root, teacher, detector, seed, **less)
    report = run_demo(settings, say, progress)
    if as_json:
        answer_json({"report": str(report)})
    else:
        answer(str(report))
