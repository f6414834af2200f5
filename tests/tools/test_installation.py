"""The wheel, installed without extras: what is in it, and that an operator's first steps succeed there.

`tools/check_install.py` has pip install it from an index. Here the environment is put together from what the
tests run with, by links to the distributions that the wheel asks for and to those that they ask for: nothing
is fetched, and what only an extra brings is not there.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.util import cache_from_source
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from check_install import (
    Report,
    build,
    faults_of_installed,
    faults_of_pip,
    faults_of_wheel,
    installed_in,
    required,
    walk_through,
    without_path,
)
from installed_extras import EXTRAS, Environment, Taken, extras_table
from operators_steps import drawn_photos, real_photos
from sandbox import faults_of_watch, make_sandbox

pytest.importorskip("hatchling", reason="hatchling builds the wheel (it is in the extra 'test')")


def link(distribution: importlib.metadata.Distribution, site_packages: Path) -> None:
    for file in distribution.files or []:
        # neither scripts nor pages of the manual; and of what is compiled, what there is
        if file.parts[0] == ".." or file.suffix == ".pyc":
            continue
        place, source = site_packages / file, Path(str(distribution.locate_file(file)))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(source)
        if file.suffix == ".py" and (compiled := Path(cache_from_source(source))).is_file():
            place = Path(cache_from_source(place))
            place.parent.mkdir(exist_ok=True)
            place.symlink_to(compiled)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(sys.executable, tmp_path_factory.mktemp("dist"))[1]


@pytest.fixture(scope="module")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the wheel and what it requires."""
    place = tmp_path_factory.mktemp("core") / "env"
    venv.create(place, symlinks=True)
    (site_packages,) = place.glob("lib/python*/site-packages")
    for distribution in required(wheel).values():
        link(distribution, site_packages)
    python = place / "bin" / "python"
    install = [*pip_of(python), "install", "--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, env=without_path())
    return python


def pip_of(python: Path) -> list[str]:
    """The pip of the tests, for another environment."""
    return [sys.executable, "-m", "pip", "--python", str(python)]


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    assert faults_of_wheel(wheel) == []


def test_what_a_wheel_lacks_is_found(wheel: Path, tmp_path: Path) -> None:
    poorer = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as packed, zipfile.ZipFile(poorer, "w") as left:
        for name in packed.namelist():
            if not name.endswith((".jinja", ".onnx")):
                left.writestr(name, packed.read(name))
        left.writestr("facekd/notes.txt", "")
    faults = faults_of_wheel(poorer)
    assert "the wheel lacks facekd/reporting/page.html.jinja" in faults
    assert "the wheel carries no student" in faults
    assert "the wheel contains facekd/notes.txt" in faults


def test_no_extra_is_there(core: Path, wheel: Path) -> None:
    assert faults_of_installed(core) == []
    assert faults_of_pip(pip_of(core)) == []
    assert set(installed_in(core)) == {"facekd", *required(wheel)}


def test_what_an_extra_adds(wheel: Path) -> None:
    core, train = required(wheel), required(wheel, "train")
    assert {"torch", "torchvision", "filelock"} <= train.keys() - core.keys()
    assert core.keys() <= train.keys()
    assert "timm" not in train


def test_the_page_and_the_tool_know_every_extra() -> None:
    root = Path(__file__).parents[2]
    declared = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {extra.name for extra in EXTRAS} == set(declared["optional-dependencies"]) - {"docs", "test"}
    shown = list(extras_table(Taken(38, 7 * 10**8), {extra.name: Taken(2, 5 * 10**6) for extra in EXTRAS}))
    assert shown[-1].endswith("| `pip install '.[parquet]'` | 2 more | 5.0 MB more |")
    page = (root / "docs" / "install.md").read_text(encoding="utf-8")
    # the figures are those of a run of the tool; the rest of a row is the same
    written = {tuple(line.split("|")[1:3]) for line in page.splitlines()}
    assert {tuple(line.split("|")[1:3]) for line in "\n".join(shown).splitlines()} <= written


def test_an_environment_is_counted(core: Path, wheel: Path) -> None:
    environment = Environment(core.parent.parent, Path(__file__).parents[2] / "constraints.txt")
    taken = environment.taken()
    assert taken.packages == len(required(wheel))
    assert taken.size > sum(len(file.read_bytes()) for file in environment.site_packages.glob("facekd/*.py"))


def test_the_sandbox_sees_what_it_must(core: Path, tmp_path: Path) -> None:
    assert faults_of_watch(make_sandbox(core, tmp_path)) == []


@pytest.mark.long
def test_an_operators_first_steps(core: Path, tmp_path: Path) -> None:
    report = Report()
    walk_through(make_sandbox(core, tmp_path / "box"), drawn_photos(tmp_path / "photos"), report)
    assert report.faults == []
    assert len(report.steps) == 12
    assert any(name.startswith(".cache/facekd/mtcnn-") for name in report.written)


@pytest.mark.slow
@pytest.mark.needs_faces
def test_an_operators_first_steps_with_real_faces(core: Path, faces: Path, tmp_path: Path) -> None:
    report = Report()
    photos = real_photos(tmp_path / "photos", faces / "lfw.zip")
    walk_through(make_sandbox(core, tmp_path / "box"), photos, report)
    assert report.faults == []
