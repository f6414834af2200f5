"""Make the student of a run the one that ships: export and measure it, and write what states its figures.

    python tools/ship_student.py runs/leg5 facekd-student-2026-12 --faces DATA --beside xs.onnx --out shipped/

DATA holds lfw.zip and protocols/lfw_pairs.txt, and detectors/scrfd_*.onnx and yunet_*.onnx with which the
thresholds of LFW are compared with those of MTCNN. The first --beside is the model whose row stands below the
student's in README.md. What is in --out is not measured again.

The checkout is only changed with --write: look at the figures first, above all whether the new student is
better on the held-out people than the one that ships. The student, its model card, its learning curve and
its packed weights then replace those of the student before, which becomes one of `EARLIER_STUDENTS`, and so
do its rows in the tables of README.md and docs/results.md. Prose is not written: the pages that still name
the student before are listed.

Times belong to an idle processor with VNNI. On another machine a student that is the same network with other
weights takes over, with --keep-times, those of the student before.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from facekd.cli import run
from facekd.cli.options import ANY_PATH, EXISTING, EXISTING_FILE
from facekd.errors import UsageError
from facekd.training import RunFolder
from facekd.weights import shipped_model

ROOT = Path(__file__).resolve().parent.parent
#: pages whose tables have a row that begins with "| student |", with the columns of `table_row`
TABLES = ("README.md", "docs/results.md")


def facekd(*arguments: object, out: Path) -> None:
    """Run a command, and keep what it prints in ``out``, unless that exists."""
    if out.is_file():
        return
    click.echo(f"facekd {' '.join(map(str, arguments))}", err=True)
    told = subprocess.run(
        [sys.executable, "-m", "facekd", *map(str, arguments)], check=True, stdout=subprocess.PIPE
    ).stdout
    out.write_bytes(told)


def named_run(run: Path, name: str, out: Path) -> Path:
    """A copy of ``run`` whose card has the new name, as the exported file takes it from there."""
    copy = out / name
    if not copy.is_dir():
        shutil.copytree(run, copy, symlinks=True)
        card = json.loads((copy / "card.json").read_text(encoding="utf-8"))
        (copy / "card.json").write_text(json.dumps({**card, "name": name}, indent=1), encoding="utf-8")
    return copy


def measure(student: Path, before: Path | None, beside: Iterable[Path], faces: Path, out: Path) -> None:
    """Write speed.json, lfw.json, and of the student alone detector-NAME.json for each file in the folder
    ``detectors``; of ``before``, the student that ships now, only LFW."""
    others = list(beside)
    facekd("benchmark", others[0], student, *others[1:], "--json", out=out / "speed.json")
    lfw = ("--data", faces / "lfw.zip", "--pairs", faces / "protocols" / "lfw_pairs.txt")
    models = [student, *others, *([before] if before else [])]
    facekd("evaluate", *models, "--protocol", "lfw", *lfw, "--json", out=out / "lfw.json")
    for file in sorted((faces / "detectors").glob("*.onnx")):
        detector = f"{file.stem.split('_')[0]}:{file}"
        told = out / f"detector-{file.stem}.json"
        facekd("evaluate", student, "--protocol", "lfw", *lfw, "--detector", detector, "--json", out=told)


def kept_times(student: Path, before: Path, beside: Iterable[Path], out: Path) -> None:
    """Write speed.json of ``student`` and the models ``beside`` with the times in the model card of
    ``before``, the student that ships now.

    Raises `UsageError` unless ``student`` has the same operators and weights of the same shapes, so that it
    does the same work."""
    if _work(student) != _work(before):
        raise UsageError(
            f"{student.name} is not the same network as {before.name}, whose times are not its own",
            "Leave out --keep-times.",
        )
    page = (ROOT / "facekd" / "weights" / "MODEL_CARD.md").read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith("One crop, one thread")]
    files = {before.stem: student, **{file.stem: file for file in beside}}
    models = [
        {
            "name": files[name].stem,
            "file_bytes": files[name].stat().st_size,
            "timings": [{"threads": 1, "batch": 1, "median_seconds": float(ms) / 1e3}],
        }
        for name, ms in re.findall(r"(\S+) (\d+\.\d+) ms", line)
        if name in files
    ]
    instructions = ["avx512_vnni"] if "with VNNI" in line else []
    speed = {"machine": {"instructions": instructions}, "models": models}
    (out / "speed.json").write_text(json.dumps(speed, indent=1), encoding="utf-8")


def _work(model: Path) -> list[tuple[object, ...]]:
    """The operators of ``model`` in order, and the types and shapes of its weights."""
    import onnx

    graph = onnx.load(str(model)).graph
    weights = {one.name: (one.data_type, *one.dims) for one in graph.initializer}
    return [(node.op_type, *(weights[name] for name in node.input if name in weights)) for node in graph.node]


def table_row(label: str, name: str, out: Path) -> str:
    """A row of the tables: accuracy on LFW, TAR at FMR 1e-3 and 1e-4, latency and size."""
    found, timed = (
        next(model for model in json.loads((out / file).read_text())["models"] if model["name"] == name)
        for file in ("lfw.json", "speed.json")
    )
    accuracy = found["accuracy"]
    points = {point["fmr"]: point for point in found["all_pairs"]["operating_points"]}
    cells = [_percent(accuracy["mean"], accuracy["interval"], 2)]
    cells += [_percent(points[fmr]["tar"], points[fmr]["interval"], 1) for fmr in (1e-3, 1e-4)]
    alone = next(one for one in timed["timings"] if (one["threads"], one["batch"]) == (1, 1))
    cells += [f"{1e3 * alone['median_seconds']:.2f} ms", f"{timed['file_bytes'] / 1e6:.2f} MB"]
    return f"| {label} | {' | '.join(cells)} |"


def _percent(share: float, interval: dict[str, float], digits: int) -> str:
    low, high = (f"{100 * interval[end]:.{digits}f}" for end in ("low", "high"))
    return f"{100 * share:.2f} [{low}, {high}]"


def replaced(page: str, row: str, label: str) -> str:
    """``page`` with ``row`` in place of the one that has as many columns and whose first cell begins with
    ``label``; that cell is kept. Raises `UsageError` unless there is exactly one."""
    columns = row.count("|")
    lines = page.splitlines(keepends=True)
    fits = [
        number
        for number, line in enumerate(lines)
        if re.match(rf"\| {re.escape(label)}\b", line) and line.count("|") == columns and " ms |" in line
    ]
    if len(fits) != 1:
        raise UsageError(f"{len(fits)} rows of {columns - 1} columns begin with '| {label}'; expected 1")
    own = lines[fits[0]].split("|")[1].strip()
    lines[fits[0]] = row.replace(f"| {label} |", f"| {own} |", 1) + "\n"
    return "".join(lines)


def learning_curve(run: Path) -> str:
    """TAR on the held-out people by images seen, as JSON."""
    kept = ("step", "images", "heldout_tar_1e-3")
    records: list[dict[str, Any]] = RunFolder.open(run).metrics()
    rows = [json.dumps({key: record[key] for key in kept}) for record in records if kept[2] in record]
    return "[" + ",\n ".join(rows) + "]\n"


def write(
    student: Path, run: Path, before: Path | None, came_with: str, rows: dict[str, str], out: Path
) -> None:
    """Put the student and its figures into the checkout, and take the one before, which ``came_with`` these
    versions of facekd, out of it."""
    weights = ROOT / "facekd" / "weights"
    if before is not None:
        before.unlink()
        versions = ROOT / "facekd" / "version.py"
        listed = versions.read_text(encoding="utf-8")
        if f'"{before.stem}"' not in listed:
            versions.write_text(
                f'{listed.rstrip()[:-1]}    "{before.stem}": "{came_with}",\n}}\n', encoding="utf-8"
            )
    shutil.copy(student, weights)
    kept = ROOT / "data" / "student"
    (kept / f"{run.name}.json").write_text(learning_curve(run), encoding="utf-8")
    for earlier in (*kept.glob("*.safetensors"), kept / "begun.json"):
        earlier.unlink(missing_ok=True)
    _tool("keep_weights.py", "pack", run, kept / f"{run.name}.safetensors")
    found = json.loads((out / "lfw.json").read_text())
    found["models"] = [one for one in found["models"] if before is None or one["name"] != before.stem]
    (out / "lfw-card.json").write_text(json.dumps(found))
    files = (student, out / "lfw-card.json", out / "speed.json", weights / "MODEL_CARD.md")
    others = [part for other in sorted(out.glob("detector-*.json")) for part in ("--detector", other)]
    _tool("write_model_card.py", *files, *others)
    for page in TABLES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for label, row in rows.items():
            text = replaced(text, row, label)
        (ROOT / page).write_text(text, encoding="utf-8")


def _tool(name: str, *arguments: object) -> None:
    subprocess.run([sys.executable, str(ROOT / "tools" / name), *map(str, arguments)], check=True)


def naming(name: str) -> list[str]:
    """The lines of pages and sources that name the student ``name``."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "tools").glob("*.py")]
    return [
        f"{page.relative_to(ROOT)}:{number}"
        for page in sorted(pages)
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1)
        if name in line
    ]


@click.command()
@click.argument("run", type=EXISTING)
@click.argument("name")
@click.option("--faces", type=EXISTING, required=True, help="Folder with lfw.zip and protocols/.")
@click.option(
    "--beside", type=EXISTING_FILE, multiple=True, required=True, help="A model to measure beside it."
)
@click.option(
    "--label", default="EdgeFace XS", show_default=True, help="What the tables call the first --beside."
)
@click.option(
    "--groups", nargs=2, type=EXISTING_FILE, help="Crops and CSV of groups, for `calibrate --groups`."
)
@click.option(
    "--came-with", default="development versions before 0.2.0", show_default=True,
    help="The versions of facekd that the student before came with, for `EARLIER_STUDENTS`.",
)  # fmt: skip
@click.option(
    "--keep-times", is_flag=True, help="Do not time anything: keep the times in the model card that ships."
)
@click.option("--out", type=ANY_PATH, required=True, help="Folder for what is measured.")
@click.option("--write", "writes", is_flag=True, help="Change the checkout.")
def main(
    run: Path, name: str, faces: Path, beside: tuple[Path, ...], label: str,
    groups: tuple[Path, Path] | None, came_with: str, keep_times: bool, out: Path, writes: bool,
) -> None:  # fmt: skip
    """Make the student of RUN the one that ships, as NAME."""
    out.mkdir(parents=True, exist_ok=True)
    student, before = out / f"{name}.onnx", shipped_model()
    if before is not None and before.stem == name:
        before = None  # it is measured again, as after a change to a detector
    how = ("--int8", "--any-processor", "--out", student)
    facekd("export", named_run(run, name, out), *how, out=out / "export.log")
    if groups:
        crops, csv = groups
        origin = ("--crop-detector", "scrfd_500m", "--crop-aligner", "facekd-five-points-2")
        facekd(
            "calibrate", student, "--data", crops, "--aligned", *origin, "--groups", csv,
            out=out / "groups.log",
        )  # fmt: skip
    if keep_times:
        if before is None:
            raise UsageError("there is no student before this one whose times could be kept")
        kept_times(student, before, beside, out)
    measure(student, before, beside, faces, out)
    rows = {"student": table_row("student", name, out), label: table_row(label, beside[0].stem, out)}
    click.echo("\n".join(rows.values()))
    if writes:
        write(student, run, before, came_with, rows, out)
        if before is not None:
            click.echo(f"still naming {before.stem}: {', '.join(naming(before.stem)) or 'nothing'}")


if __name__ == "__main__":
    raise SystemExit(run(main))
