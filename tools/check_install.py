"""Build facekd, install the wheel without extras in a new environment, and run an operator's first commands
there with an empty home folder and without a network.

    python tools/check_install.py
    python tools/check_install.py --faces lfw.zip --json
    python tools/check_install.py --extras

pip needs its index for the installation; facekd itself runs without a network connection and, if the system
allows it (`unshare`), with everything except its home and its working folder read-only. Prints what is
installed, its size, the time to the first answer, and for each step whether it was right. Exit code 1 if
anything was wrong. With ``--extras`` it also has pip install every extra, and prints the tables of
docs/install.md. Linux only.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from email.parser import Parser
from functools import partial
from pathlib import Path

import click
from installed_extras import Environment, Taken, extras_table, measure_extras, without_path
from operators_steps import Photos, copy_shipped, drawn_photos, real_photos, steps, take, write_pairs
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from sandbox import Sandbox, faults_of_watch, make_sandbox

ROOT = Path(__file__).resolve().parents[1]
#: packages that an installation without extras must not contain: as distributions, and as modules
ABSENT = {
    "torch": "torch", "torchvision": "torchvision", "facenet-pytorch": "facenet_pytorch", "timm": "timm",
    "safetensors": "safetensors", "lightning-fabric": "lightning_fabric", "onnxscript": "onnxscript",
    "tensorboard": "tensorboard", "filelock": "filelock", "tomli-w": "tomli_w",
}  # fmt: skip
#: files of a wheel other than the modules
CARRIED = (
    "py.typed", "reporting/page.html.jinja", "recipes/student.toml", "weights/LICENSE",
    "gallery/postgres/0008_tables.sql", "gallery/postgres/0009_audit_actions.sql",
    "gallery/postgres/0010_audit_reads.sql", "gallery/postgres/roles.sql",
    "gallery/postgres/grants.sql", "gallery/postgres/layout.txt",
)  # fmt: skip
#: exit codes of a decision, right or wrong: only the time matters here
DECIDED = (0, 1)
#: how often times are measured; the shortest is reported, which other work on the machine lengthens least
REPEATS = 5
FIRST, LATER, HELP, BARE = "first answer, cold", "later answer", "facekd --help", "Python alone"
#: a command whose help has many choices of registries
HELP_OF = "facekd evaluate --help"


@dataclass
class Report:
    """The findings. ``seconds`` are wall clock times, ``cpu_seconds`` user times, which other work on
    the machine does not lengthen; ``faults`` say what is wrong."""

    wheel_bytes: int = 0
    sdist_bytes: int = 0
    installed: dict[str, str] = field(default_factory=dict)
    bytes_of: dict[str, int] = field(default_factory=dict)
    site_packages_bytes: int = 0
    core: Taken | None = None
    extras: dict[str, Taken] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    shut_off: str = ""
    steps: dict[str, float] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def build(python: Path | str, target: Path) -> tuple[Path, Path]:
    """The source distribution of this checkout and the wheel built from it, by hatchling in
    ``python``."""
    hatch = [str(python), "-m", "hatchling", "build", "-d", str(target), "-t"]
    subprocess.run([*hatch, "sdist"], cwd=ROOT, check=True, capture_output=True)
    (sdist,) = target.glob("*.tar.gz")
    with tarfile.open(sdist) as packed:
        packed.extractall(target / "source", filter="data")
    (source,) = (target / "source").iterdir()
    subprocess.run([*hatch, "wheel"], cwd=source, check=True, capture_output=True)
    (wheel,) = target.glob("*.whl")
    return sdist, wheel


def faults_of_wheel(wheel: Path) -> list[str]:
    """What the wheel lacks or must not contain, compared with the folder it was built from."""
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        folder = metadata.partition("/")[0]
        stated = packed.read(metadata).decode("utf-8")
    source = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "facekd").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    inside = {name for name in names if not name.startswith(f"{folder}/")}
    faults = [f"the wheel lacks {name}" for name in sorted(source - inside)]
    faults += [f"the wheel contains {name}" for name in sorted(inside - source)]
    wanted = [f"facekd/{name}" for name in CARRIED]
    wanted += [f"{folder}/licenses/{name}" for name in ("LICENSE", "facekd/weights/LICENSE")]
    faults += [f"the wheel lacks {name}" for name in wanted if name not in names]
    if not any(name.startswith("facekd/weights/") and name.endswith(".onnx") for name in names):
        faults.append("the wheel carries no student")
    if "License-Expression: Apache-2.0" not in stated:
        faults.append("the wheel does not state its licence")
    return faults


def required(wheel: Path, extra: str = "") -> dict[str, importlib.metadata.Distribution]:
    """The distributions that the wheel needs, with ``extra`` or without, by name, as they are installed
    here. Raises `PackageNotFoundError` if one is not."""
    with zipfile.ZipFile(wheel) as packed:
        name = next(name for name in packed.namelist() if name.endswith(".dist-info/METADATA"))
        stated = Parser().parsestr(packed.read(name).decode("utf-8"))
    found: dict[str, importlib.metadata.Distribution] = {}
    asked = [(text, extra) for text in stated.get_all("Requires-Dist", [])]
    while asked:
        text, within = asked.pop()
        wanted = Requirement(text)
        if wanted.marker and not wanted.marker.evaluate({"extra": within}):
            continue
        name = canonicalize_name(wanted.name)
        new = name not in found
        found[name] = importlib.metadata.distribution(name)
        asked += [(text, one) for one in wanted.extras for text in found[name].requires or []]
        asked += [(text, "") for text in found[name].requires or []] if new else []
    return found


def installed_in(python: Path) -> dict[str, str]:
    """The distributions that ``python`` finds, with their versions."""
    program = (
        "import importlib.metadata as m, json\n"
        "print(json.dumps({d.name.lower().replace('_', '-'): d.version for d in m.distributions()}))"
    )
    return dict(json.loads(_output([str(python), "-I", "-c", program])))


def faults_of_installed(python: Path) -> list[str]:
    """Packages that should not be installed or importable, and the warnings of `python -W error`
    when it imports facekd."""
    there = installed_in(python)
    faults = [f"{name} is installed" for name in ABSENT if name in there]
    modules = list(ABSENT.values())
    program = f"import importlib.util as u; print([n for n in {modules!r} if u.find_spec(n)])"
    found = _output([str(python), "-I", "-c", program]).strip()
    faults += [f"{found} can be imported"] if found != "[]" else []
    # -I: beside a checkout, Python would import facekd from there
    quiet = [str(python), "-I", "-W", "error", "-c", "import facekd"]
    ran = subprocess.run(quiet, capture_output=True, text=True)
    return faults + ([f"import facekd warns: {ran.stderr}"] if ran.returncode or ran.stderr else [])


def faults_of_pip(pip: list[str]) -> list[str]:
    """The faults that ``pip check`` finds in the environment."""
    ran = subprocess.run([*pip, "check"], capture_output=True, text=True, env=without_path())
    return [f"pip check: {ran.stdout}{ran.stderr}"] if ran.returncode else []


def walk_through(sandbox: Sandbox, photos: Photos, report: Report) -> None:
    """Run the steps in ``sandbox``, with the results in ``report``."""
    report.shut_off = sandbox.shut_off
    report.faults += faults_of_watch(sandbox)
    write_pairs(photos.people, sandbox.work / "pairs.csv")
    for step in steps(photos, copy_shipped(sandbox)):
        started = time.perf_counter()
        fault = take(step, sandbox)
        report.steps[step.title] = time.perf_counter() - started
        if fault:
            report.faults.append(f"{step.title}: {fault}")
    network, places = sandbox.noted()
    report.faults += [f"tried on the network: {what}" for what in network]
    report.faults += [f"written elsewhere: {place}" for place in places]
    home = sandbox.home
    report.written = sorted(str(file.relative_to(home)) for file in home.rglob("*") if file.is_file())
    own = (".cache/facekd/", ".cache/matplotlib/", ".config/matplotlib/")
    strange = [name for name in report.written if not name.startswith(own)]
    report.faults += [f"left in the home folder: {name}" for name in strange]


def measure_times(environment: Environment, answer: list[str], folder: Path, report: Report) -> None:
    """The first answer with a cold cache and an empty home folder, later answers, and the cost of help;
    ``answer`` is the command that gives one."""

    def first_answer() -> tuple[float, float]:
        for file in environment.site_packages.rglob("*"):
            if file.is_file():
                _drop_from_memory(file)
        with tempfile.TemporaryDirectory(dir=folder) as empty:
            return _timed(answer, Path(empty), DECIDED)

    home = folder / "timed"
    home.mkdir()
    python = str(environment.python)
    commands = {
        LATER: (answer, DECIDED), BARE: ([python, "-c", "pass"], (0,)),
        **{words: ([python, "-m", *words.split()], (0,)) for words in (HELP, HELP_OF)},
    }  # fmt: skip
    found = {FIRST: _shortest(first_answer)}
    _timed(answer, home, DECIDED)
    for name, (command, right) in commands.items():
        found[name] = _shortest(partial(_timed, command, home, right))
    for name, (wall, user) in found.items():
        report.seconds[name], report.cpu_seconds[name] = wall, user


def _shortest(attempt: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    """The shortest of the wall clock and user times of several attempts."""
    walls, users = zip(*(attempt() for _ in range(REPEATS)), strict=True)
    return min(walls), min(users)


def _drop_from_memory(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def _timed(command: list[str], home: Path, right: tuple[int, ...] = (0,)) -> tuple[float, float]:
    """Seconds by the wall clock and of user time that ``command`` takes with ``home`` as its home; raises
    `CalledProcessError` if its exit code is not one of ``right``."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
    silent = subprocess.DEVNULL
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=home, env=environment, stdout=silent, stderr=silent) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in right:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.perf_counter() - started, usage.ru_utime


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, env=without_path()).stdout


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept:
        kept.mkdir(parents=True)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="facekd-install-") as folder:
        yield Path(folder).resolve()


def check(folder: Path, faces: Path | None, with_extras: bool) -> Report:
    """Build, install and run everything below ``folder``."""
    report = Report()
    builder = folder / "builder"
    venv.create(builder, with_pip=True)
    _output([str(builder / "bin" / "pip"), "install", "--quiet", "hatchling"])
    sdist, wheel = build(builder / "bin" / "python", folder / "dist")
    report.sdist_bytes, report.wheel_bytes = sdist.stat().st_size, wheel.stat().st_size
    report.faults += faults_of_wheel(wheel)

    environment = Environment(folder / "installed", ROOT / "constraints.txt")
    venv.create(environment.place, with_pip=True)
    started = time.perf_counter()
    environment.install(str(wheel))
    report.seconds["pip install"] = time.perf_counter() - started
    report.faults += faults_of_pip([str(environment.python), "-m", "pip"])
    report.installed = installed_in(environment.python)
    report.faults += faults_of_installed(environment.python)
    report.bytes_of = environment.sizes()
    report.site_packages_bytes = sum(report.bytes_of.values())

    photos = real_photos(folder / "photos", faces) if faces else drawn_photos(folder / "photos")
    answer = [str(environment.python), "-m", "facekd", "verify", *map(str, photos.own[:2])]
    measure_times(environment, answer, folder, report)
    walk_through(make_sandbox(environment.python, folder / "sandbox"), photos, report)
    if with_extras:
        report.core = environment.taken()
        report.extras = dict(measure_extras(environment, wheel))
    return report


def show(report: Report) -> Iterator[str]:
    """The lines of the table."""
    own = {name: version for name, version in report.installed.items() if name not in ("pip", "setuptools")}
    yield "| what | found |\n| --- | --- |"
    yield f"| source distribution, wheel | {_mb(report.sdist_bytes)}, {_mb(report.wheel_bytes)} |"
    yield f"| installed | {len(own)}: {', '.join(f'{name} {own[name]}' for name in sorted(own))} |"
    largest = sorted(report.bytes_of.items(), key=lambda item: -item[1])[:8]
    yield f"| site-packages | {_mb(report.site_packages_bytes)}, pip among it |"
    yield f"| the largest | {', '.join(f'{name} {_mb(size)}' for name, size in largest)} |"
    for name, value in report.seconds.items():
        yield f"| {name} | {value:.2f} s |"
    for name, value in report.cpu_seconds.items():
        yield f"| {name}, user time | {value:.3f} s |"
    yield f"| shut off | {report.shut_off} |"
    yield f"| left in the home folder | {', '.join(report.written)} |"
    for title, value in report.steps.items():
        wrong = any(fault.startswith(f"{title}: ") for fault in report.faults)
        yield f"| {title} | {'WRONG' if wrong else 'right'}, {value:.1f} s |"
    if report.core:
        yield from ("", *extras_table(report.core, report.extras), "", *times_table(report))
    yield from (f"\nwrong: {fault}" for fault in report.faults)


def times_table(report: Report) -> Iterator[str]:
    """The lines of the table of start-up times in docs/install.md."""
    yield "| | user time | wall clock |\n| --- | --- | --- |"
    rows = {
        "first answer of `facekd verify a.jpg b.jpg`: cold start, empty home folder": FIRST,
        "later answers": LATER, f"`{HELP}`": HELP, f"`{HELP_OF}`": HELP_OF, "Python's own start": BARE,
    }  # fmt: skip
    for words, name in rows.items():
        yield f"| {words} | {report.cpu_seconds[name]:.2f} s | {report.seconds[name]:.2f} s |"


def _mb(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


@click.command()
@click.option(
    "--faces", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=None,
    help="A zip with a folder per person, such as lfw.zip [default: a portrait and synthetic people].",
)  # fmt: skip
@click.option("--keep", type=click.Path(path_type=Path), default=None, help="Keep all of it in this folder.")
@click.option(
    "--extras", is_flag=True,
    help="Have pip install every extra as well, and print the tables of docs/install.md.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def main(faces: Path | None, keep: Path | None, extras: bool, as_json: bool) -> None:
    """Check an installation of this checkout without extras."""
    with _folder(keep) as folder:
        report = check(folder, faces, extras)
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2))
    else:
        for line in show(report):
            click.echo(line)
    sys.exit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
