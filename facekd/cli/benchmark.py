"""Compare students with their teacher: size, speed, memory, accuracy, on one page.

The models take turns while they are timed, so anything that slows the machine affects all of them alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facekd.cli._evaluation import read_protocol
from facekd.cli._old_spellings import OldSpellings
from facekd.cli.options import (
    EXISTING,
    MODEL_FILE,
    aligned_option,
    detector_option,
    device_option,
    json_option,
    pairs_option,
    protocol_option,
    report_option,
)
from facekd.cli.output import answer_json, progress, say, say_without_card

if TYPE_CHECKING:
    from facekd.benchmark import Benchmark
    from facekd.workflows import TestData


@click.command("benchmark", cls=OldSpellings)
@click.argument("teacher", type=MODEL_FILE)
@click.argument("students", nargs=-1, required=True, type=MODEL_FILE, metavar="STUDENT...")
@click.option("--data", type=EXISTING, default=None, help="Folder or pack of photos (or of aligned crops).")
@protocol_option(pairs_of_photos=True)
@pairs_option
@aligned_option
@report_option
@click.option("--faces", is_flag=True, help="Show the faces of the hardest pairs on the page.")
@detector_option
@device_option
@json_option
def command(
    teacher: Path,
    students: tuple[Path, ...],
    data: Path | None,
    protocol: str | None,
    pairs: Path | None,
    aligned: bool,
    report: Path | None,
    faces: bool,
    detector: str,
    device: str,
    as_json: bool,
) -> None:
    """Measure each STUDENT against the TEACHER; each is an ONNX model or a TOML file that lists several.

    Accuracy is measured only with --data. The page is one self-contained file; it shows faces only with
    --faces.

    \b
    Example: facekd benchmark teacher.onnx student.onnx --report report.html
             facekd benchmark teacher.onnx student.onnx baseline.onnx --data lfw.zip --pairs pairs.txt
    """
    from facekd.reporting import check_page, write_benchmark_page
    from facekd.workflows import benchmark_models

    if data is None and (pairs or protocol or aligned or faces):
        raise click.UsageError("--pairs, --protocol, --aligned and --faces need --data.")
    if faces and report is None:
        raise click.UsageError("--faces needs --report: it shows faces on the page.")
    if report:
        check_page(report)
    test = _test_data(data, protocol, pairs, None if aligned else detector, faces) if data else None
    found = benchmark_models(teacher, students, test, device=device, tell=say, progress=progress)
    for model in found.models:
        if not model.has_card:
            say_without_card(model.name)
    if as_json:
        answer_json(found.to_dict())
    else:
        _print(found)
    if report:
        write_benchmark_page(report, found)
        say(f"page written to {report}")


def _test_data(
    data: Path, protocol: str | None, pairs: Path | None, detector: str | None, faces: bool
) -> TestData:
    from facekd.verification.protocols import PairList
    from facekd.workflows import TestData

    chosen = read_protocol(protocol, pairs, data)
    if not isinstance(chosen, PairList):
        raise click.UsageError(f"--protocol {chosen.name} does not list pairs of photos.")
    return TestData(data, chosen, detector, faces)


def _print(found: Benchmark) -> None:
    """The headline and the table."""
    import sys

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from facekd.reporting import Cell, headlines, side_by_side

    # a pipe has no width of its own
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 100)
    for sentence in headlines(found):
        console.print(Text(sentence))
    sheet = side_by_side(found)
    table = Table()
    for column in sheet.columns:
        table.add_column(Text(column))
    for row in sheet.rows:
        cells = [cell if isinstance(cell, Cell) else Cell(cell) for cell in row]
        table.add_row(*(Text(f"{cell.text}\n{cell.note}".strip()) for cell in cells))
    console.print(table)
    console.print(Text(sheet.caption))
