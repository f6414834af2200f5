"""Coverage-guided fuzzing of everything that reads a file which may come from anybody.

    pip install atheris
    python tools/fuzz.py
    python tools/fuzz.py --target bin --target archive --seconds 120 --json
    python tools/fuzz.py --keep found/

Atheris mutates inputs to reach more and more branches of facekd and of Pillow's Python code. A target reads
an input as facekd's commands read such a file; its first inputs are files that this tool makes. The time is
divided evenly among the targets, each in a process of its own with bounded memory. A reader may refuse an
input with an error of facekd whose exit code is 2 to 5. Any other exception is a finding, and so are a crash
of the process, an input that takes a minute and one that exceeds the memory bound. Prints a table, and exits
with 1 if there is a finding. ``--keep`` writes the input of each into a folder.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from fuzz_material import written_to
from fuzz_process import Finding, fuzz_inside
from fuzz_targets import TARGETS


@dataclass(frozen=True)
class Fuzzed:
    """The result of a target: the number of inputs read, of those kept because they reached new code, and of
    those that the reader accepted."""

    target: str
    seconds: float
    executions: int
    kept: int
    accepted: int
    findings: tuple[Finding, ...]


def fuzz(name: str, seconds: int, seed: int) -> Fuzzed:
    """Fuzz a target for this many seconds in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="facekd-fuzz-") as folder:
        work = Path(folder)
        command = [sys.executable, __file__, "--inside", folder, "--target", name]
        began = time.monotonic()
        ran = subprocess.run(
            [*command, "--seconds", str(seconds), "--seed", str(seed)], capture_output=True, text=True,
            errors="replace",
        )  # fmt: skip
        took = time.monotonic() - began
        findings = [Finding(**json.loads(line)) for line in _lines(work / "findings")]
        findings += [
            Finding(f"the process ended: {file.name.partition('-')[0]}", _last(ran.stderr),
                    base64.b64encode(file.read_bytes()).decode())
            for kind in ("crash", "oom", "timeout", "leak") for file in work.glob(f"{kind}-*")
        ]  # fmt: skip
        if ran.returncode and not findings:
            raise click.ClickException(f"{name} could not be fuzzed: {ran.stderr[-2000:]}")
        return Fuzzed(
            name,
            took,
            _stated(ran.stderr, "number_of_executed_units"),
            len(list((work / "corpus").iterdir())),
            int(np.fromfile(work / "accepted", np.int64)[0]),
            tuple(findings),
        )


def _stated(told: str, what: str) -> int:
    found = re.findall(rf"stat::{what}:\s+(\d+)", told)
    return int(found[-1]) if found else 0


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def _last(told: str) -> str:
    """The last line, which states why the process ended."""
    errors = [line for line in told.splitlines() if "ERROR" in line or "SUMMARY" in line]
    return (errors or told.strip().splitlines() or [""])[0][:200]


def row(found: Fuzzed) -> str:
    cells = (
        found.target, f"{found.seconds:.0f}", f"{found.executions:,}", f"{found.kept:,}",
        f"{found.accepted:,}", str(len(found.findings)),
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


@click.command()
@click.option("--target", "targets", multiple=True, type=click.Choice(list(TARGETS)),
              help="Fuzz just this reader; repeatable.")  # fmt: skip
@click.option("--seconds", type=click.IntRange(1), default=600, show_default=True,
              help="Seconds for all targets together.")  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the random mutations.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Write findings' inputs here.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the table.")
@click.option("--inside", type=click.Path(exists=True, file_okay=False, path_type=Path), hidden=True)
def main(
    targets: tuple[str, ...], seconds: int, seed: int, keep: Path | None, as_json: bool, inside: Path | None
) -> None:
    """Fuzz the targets and print the results."""
    if inside is not None:
        fuzz_inside(targets[0], inside, seconds, seed)
        return
    names = targets or tuple(TARGETS)
    found = []
    if not as_json:
        click.echo(
            "| target | s | executions | kept | accepted | findings |\n| --- | --- | --- | --- | --- | --- |"
        )
    for name in names:
        found.append(fuzz(name, max(1, seconds // len(names)), seed))
        if not as_json:
            click.echo(row(found[-1]))
            for finding in found[-1].findings:
                click.echo(f"  {finding.error} ({finding.where})", err=True)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        for one in found:
            for number, finding in enumerate(one.findings):
                written_to(keep / f"{one.target}-{number}", base64.b64decode(finding.data))
    raise SystemExit(1 if any(one.findings for one in found) else 0)


if __name__ == "__main__":
    main()
