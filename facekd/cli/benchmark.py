"""Compare students with their teacher: size, speed, memory, accuracy, on one page.

The models take turns while they are timed, so what slows the machine slows all of them alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facekd.cli.options import (
    EXISTING,
    EXISTING_FILE,
    MODEL_FILE,
    detector_option,
    device_option,
    json_option,
    protocol_option,
)
from facekd.cli.output import answer_json, progress, say

if TYPE_CHECKING:
    from facekd.benchmark import Benchmark
    from facekd.workflows import TestData


@click.command("benchmark")
@click.option("--teacher", type=MODEL_FILE, required=True, help="ONNX model, or a TOML list of several.")
@click.option(
    "--student", "students", type=MODEL_FILE, required=True, multiple=True, help="The same; repeatable."
)
@click.option("--data", type=EXISTING, default=None, help="Folder or zip of photos (or of aligned crops).")
@protocol_option(pairs_of_photos=True)
@click.option("--pairs", type=EXISTING_FILE, default=None, help="The protocol's list of pairs.")
@click.option("--aligned", is_flag=True, help="The data holds finished 112-pixel ArcFace crops.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, readable=False, path_type=Path),
    default=None,
    help="Write the page here.",
)
@click.option("--faces", is_flag=True, help="Put the faces of the hardest pairs on the page.")
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
    out: Path | None,
    faces: bool,
    detector: str,
    device: str,
    as_json: bool,
) -> None:
    """Measure each --student beside the --teacher.

    Without --data there is no accuracy. The page is one file that loads nothing from anywhere; it
    shows faces only with --faces.

    \b
    Example: facekd benchmark --teacher teacher.onnx --student student.onnx --out report.html
             facekd benchmark --teacher t.onnx --student s.onnx --data lfw.zip --pairs pairs.txt
    """
    from facekd.reporting import write_benchmark_page
    from facekd.workflows import benchmark_models

    if data is None and (pairs or protocol or aligned or faces):
        raise click.UsageError("--pairs, --protocol, --aligned and --faces need --data.")
    if faces and out is None:
        raise click.UsageError("--faces puts faces on the page: say where with --out.")
    test = _test_data(data, protocol, pairs, None if aligned else detector, faces) if data else None
    with progress("evaluate", len(test.protocol.photos) if test else 0) as advance:
        found = benchmark_models(teacher, students, test, device=device, tell=say, advance=advance)
    for model in found.models:
        if not model.has_card:
            say(f"{model.name} has no card: read by insightface's convention (RGB, ArcFace template)")
    if as_json:
        answer_json(found.to_dict())
    else:
        _print(found)
    if out:
        write_benchmark_page(out, found)
        say(f"page written to {out}")


def _test_data(
    data: Path, protocol: str | None, pairs: Path | None, detector: str | None, faces: bool
) -> TestData:
    from facekd.verification.protocols import PairList, open_protocol, suggest_protocol
    from facekd.workflows import TestData, find_list

    name = protocol or suggest_protocol(pairs, data)
    listed = pairs or find_list(name, data)
    if pairs is None and listed != data:
        say(f"list of pairs: {listed}")
    chosen = open_protocol(name, listed)
    if not isinstance(chosen, PairList):
        raise click.UsageError(f"--protocol {name} does not list pairs of photos.")
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
