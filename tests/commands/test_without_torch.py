"""Operators' commands where torch and its company are not installed."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from carded import by_convention
from command_lines import called
from patterned_people import write_people
from tiny_model import write_tiny_model

ROOT = Path(__file__).parents[2]
ABSENT = ("torch", "torchvision", "facenet_pytorch", "lightning_fabric", "timm", "onnxscript", "safetensors")
COMMANDS = (
    "align", "benchmark", "calibrate", "card", "compatibility", "degrade", "doctor", "embed", "enroll",
    "evaluate", "evaluate-scores", "gallery", "identify", "verify",
)  # fmt: skip

# Python runs this file in every process before anything else, so in the processes that a command
# starts as well. The packages are not blocked but hidden, as if they had never been installed.
_HIDE = f"""
import sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            return None
        return self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
"""


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the packages of ABSENT do not exist."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(_HIDE)
    path = os.pathsep.join(filter(None, (str(folder), str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def run(hidden: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "facekd", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=hidden, cwd=tmp_path, timeout=120)

    return run


def test_the_packages_really_are_hidden(hidden: dict[str, str]) -> None:
    code = (
        "import importlib.util, sys\n"
        f"print([n for n in {ABSENT!r} if importlib.util.find_spec(n)])\n"
        "import numpy, cv2, onnxruntime, facekd\n"
        "import torch\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=hidden)
    assert ran.stdout == "[]\n"
    assert "No module named 'torch'" in ran.stderr.splitlines()[-1]


def test_help(hidden: dict[str, str], tmp_path: Path) -> None:
    lines = [(name, "--help") for name in COMMANDS]
    for name, ran in zip(COMMANDS, called(tmp_path / "calls", *lines, env=hidden), strict=True):
        assert ran.code == 0, ran.err
        assert ran.out.startswith(f"Usage: facekd {name}")


def test_enroll_verify_and_remove(hidden: dict[str, str], photos: Path, tiny: Path, tmp_path: Path) -> None:
    common = ("--model", tiny, "--gallery", "gallery.db")
    steps = [
        (("enroll", "Ann", photos / "a.jpg", photos / "b.jpg", *common), 0, "enrolled Ann: 2 new"),
        (("verify", "--claim", "Ann", photos / "c.jpg", "--threshold", "0.9", *common), 0, "same person"),
        (("verify", photos / "a.jpg", photos / "b.jpg", "--threshold", "0.9", *common), 0, "same person"),
        (("verify", photos / "a.jpg", photos / "blank.jpg", "--threshold", "0.9", *common), 3, ""),
        (("embed", photos / "a.jpg", "--out", "a.npz", "--yes", "--model", tiny), 0, "a.npz"),
        (("doctor", "--model", tiny, "--gallery", "gallery.db"), 0, "torchvision not installed"),
        (("gallery", "list", "--gallery", "gallery.db"), 0, "Ann"),
        (("gallery", "remove", "Ann", "--yes", "--gallery", "gallery.db"), 0, "removed Ann: 2"),
        (("card", tiny), 0, "embedding     32"),
    ]
    lines = [arguments for arguments, _, _ in steps]
    answers = called(tmp_path / "calls", *lines, cwd=tmp_path, env=hidden)
    for (_, code, answer), ran in zip(steps, answers, strict=True):
        assert ran.code == code, ran.err
        assert answer in ran.out


def test_calibrate_fits_a_map(run, tmp_path: Path) -> None:
    people = write_people(tmp_path / "staff")
    model = write_tiny_model(tmp_path / "own.onnx")
    ran = run("calibrate", model, "--data", people, "--aligned", "--json")
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["score_map"]["curve"]["kind"] in told["held_out_cllr"]


def test_align(run, photos: Path, tmp_path: Path) -> None:
    ran = run("align", photos, tmp_path / "crops", "--jobs", 2)
    assert ran.returncode == 0, ran.stderr
    made = {file.stem for file in (tmp_path / "crops").iterdir() if file.suffix == ".webp"}
    assert made == {"a", "b", "c", "mirrored", "two"}


@pytest.mark.slow
def test_evaluate_and_benchmark(run, photos: Path, tiny: Path, tmp_path: Path) -> None:
    other = write_tiny_model(tmp_path / "other.onnx", seed=1)
    rows = ["path1,path2,label"]
    for one, two in (("a", "b"), ("a", "c"), ("b", "c")):
        rows += [f"{one}.jpg,{two}.jpg,1", f"{one}.jpg,mirrored.jpg,0"]
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    data = ("--data", photos, "--pairs", "pairs.csv")
    ran = run("evaluate", tiny, other, *data, "--plot", "roc.png", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)
    assert (tmp_path / "roc.png").stat().st_size > 1000
    ran = run("benchmark", tiny, other, *data, "--report", "report.html", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)
    assert "<html" in (tmp_path / "report.html").read_text()


@pytest.mark.needs_faces
def test_real_people(run, faces: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(faces / "lfw.zip") as pack:
        names = pack.namelist()
        person = next(n.split("/")[0] for n in names if n.endswith("_0002.jpg"))
        one, two = [n for n in names if n.startswith(f"{person}/")][:2]
        other = next(n for n in names if not n.startswith(f"{person}/"))
        pack.extractall(tmp_path, [one, two, other])
    common = ("--model", by_convention(faces / "models" / "edgeface_xs.onnx", tmp_path), "--detector")
    common += (f"scrfd:{faces / 'detectors' / 'scrfd_500m.onnx'}", "--threshold", "0.3")
    assert run("verify", one, two, *common).returncode == 0
    assert run("verify", one, other, *common).returncode == 1


def test_heavy_packages_wait_until_they_are_needed() -> None:
    """In the full installation: importing facekd and asking for help load none of them."""
    heavy = ("torch", "torchvision", "cv2", "onnxruntime", "onnx", "matplotlib", "scipy", "sklearn", "PIL")
    code = (
        "import sys, facekd\n"
        f"print(sorted(set({heavy!r}) & set(sys.modules)))\n"
        "from facekd.cli.main import main\n"
        "code = main(['--help'])\n"
        f"print(code, sorted(set({heavy!r}) & set(sys.modules)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    lines = ran.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("[]", "0 []"), ran.stderr


#: shows every help, completes every command, its options and their values, and prints what that imported
LIGHT = """
import contextlib, io, json, os, sys
import click
from click.shell_completion import BashComplete
from facekd.cli.main import group, main

def walk(command, context, words):
    yield words, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            yield from walk(inner, click.Context(inner, parent=context), [*words, name])

def completions(words, command):
    yield from ([*words, ""], [*words, "--"], [*words, "absent.onnx", "absent"])
    for option in command.params:
        if isinstance(option, click.Option) and not option.is_flag:
            yield from ([*words, option.opts[0]], [*words, option.opts[0], "absent", ""])

heavy, found = set(json.loads(sys.argv[1])), {}
for words, command in walk(group, click.Context(group), []):
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        code = main([*words, "--help"])
    assert (code, shown.getvalue()[:6]) == (0, "Usage:"), words
    found[" ".join(words)] = sorted(heavy & set(sys.modules))
    completer = BashComplete(group, {}, "facekd", "_FACEKD_COMPLETE")
    for line in completions(words, command):
        completer.get_completions(line[:-1], line[-1])
        found[" ".join([*line, "TAB"])] = sorted(heavy & set(sys.modules))
print(json.dumps(found))
"""


def test_help_and_completion_of_every_command_are_light() -> None:
    """In the full installation. What a line imports is also found for those after it."""
    heavy = (
        "numpy", "scipy", "sklearn", "matplotlib", "PIL", "cv2", "onnx", "onnxruntime", "torch", "pydantic",
        "rich", "jinja2", "sqlite3", "cryptography", "psycopg", "pymilvus", "fastapi", "uvicorn",
    )  # fmt: skip
    command = [sys.executable, "-c", LIGHT, json.dumps(heavy)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert {"", "evaluate", "gallery re-embed", "evaluate --protocol TAB"} <= set(found)
    assert next(((line, modules) for line, modules in found.items() if modules), None) is None


def test_a_demonstration_ends_before_it_draws(run, tmp_path: Path) -> None:
    ran = run("demo", "--quick", "--out", tmp_path / "demo")
    assert ran.returncode == 2
    assert "pip install 'facekd[train]'" in ran.stderr
    assert not (tmp_path / "demo").exists()
