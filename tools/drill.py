"""Test facekd's promises about wrong answers and lost work with the real command line.

    python tools/drill.py
    python tools/drill.py --faces FOLDER --json
    python tools/drill.py --only A4 --only C2
    python tools/drill.py --short

Each drill runs commands in separate processes, limited in time and memory, with synthetic faces and the
shipped student; ``--faces`` names a folder with real ones (lfw.zip, models/, detectors/, ...), which the
drills of sections A and B then use. Prints a table, and ends with 1 unless all drills pass. A drill that
cannot run here (no small disk can be mounted, no real faces) says so and counts as neither passed nor failed.

As root, the processes give up root's right to ignore file modes.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import click
import drill_answers
import drill_galleries
import drill_numbers
import drill_run_failures
import drill_run_inputs
import drill_run_results
import drill_run_stops
import drill_words
from drill_list import DRILLS, Drill, Outcome
from drill_site import Site

#: the modules that register drills
MODULES = (
    drill_answers,
    drill_galleries,
    drill_numbers,
    drill_words,
    drill_run_inputs,
    drill_run_stops,
    drill_run_failures,
    drill_run_results,
)


def chosen(only: tuple[str, ...], short: bool) -> list[Drill]:
    """The drills of the items ``only`` (all by default), or with those names; if ``short``, only short
    ones."""
    return [
        one for one in DRILLS
        if (not only or one.item in only or one.name in only) and (one.short or not short)
    ]  # fmt: skip


def row(one: Drill, found: Outcome) -> str:
    mark = {True: "ok", False: "FAILED", None: "not held"}[found.ok]
    cells = (one.item, one.done, one.expected, found.found, mark)
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"


@click.command()
@click.option(
    "--faces", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of real faces."
)
@click.option("--only", multiple=True, metavar="ITEM", help="Run only the drills of this item; repeatable.")
@click.option("--short", is_flag=True, help="Run only drills that take about a second.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the table.")
def main(faces: Path | None, only: tuple[str, ...], short: bool, as_json: bool) -> None:
    """Run the drills and print the results."""
    drills = chosen(only, short)
    if not drills:
        raise click.UsageError(f"There are drills of {', '.join(dict.fromkeys(one.item for one in DRILLS))}.")
    folder = Path(tempfile.mkdtemp(prefix="facekd-drill-"))
    found = []
    try:
        site = Site(folder, faces)
        if not as_json:
            click.echo("| item | done | expected | found | |\n| --- | --- | --- | --- | --- |")
        for one in drills:
            found.append(one.held(site))
            if not as_json:
                click.echo(row(one, found[-1]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        click.echo(json.dumps([
            {"item": one.item, "name": one.name, "done": one.done, "expected": one.expected,
             "found": outcome.found, "ok": outcome.ok}
            for one, outcome in zip(drills, found, strict=True)
        ], indent=2))  # fmt: skip
    failed = sum(outcome.ok is False for outcome in found)
    held = sum(outcome.ok is not None for outcome in found)
    click.echo(f"{held - failed} of {held} held, {len(found) - held} not held here", err=True)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
