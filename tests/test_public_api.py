"""The public API: its names, that they are light to import, and that they are typed."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import facekd

ROOT = Path(__file__).parent.parent
SIX = {"load_embedder", "align", "Recognizer", "Gallery", "evaluate", "distill"}
ERRORS = {
    "FacekdError", "UsageError", "NotFound", "CannotSay", "NoFace", "SeveralFaces", "Misfit", "InputOutput",
}  # fmt: skip


def test_the_names() -> None:
    assert set(facekd.__all__) == SIX | ERRORS | {"errors", "__version__"}
    assert set(facekd.__all__) <= set(dir(facekd))
    for name in facekd.__all__:
        assert getattr(facekd, name) is not None
    for name in ERRORS:
        assert getattr(facekd, name) is getattr(facekd.errors, name)
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", facekd.__version__)
    with pytest.raises(AttributeError, match="no attribute 'verify'"):
        facekd.verify  # noqa: B018


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("load_embedder", {"model", "device", "threads"}),
        ("align", {"photo", "*spec", "*detector"}),
        ("Recognizer", {"model", "*detector", "*threshold"}),
        ("Gallery", {"path", "*recognizer"}),
        ("evaluate", {"models", "*protocol", "*data", "*pairs"}),
        ("distill", {"recipe", "*run", "*resume"}),
    ],
)
def test_the_arguments(name: str, arguments: set[str]) -> None:
    """What is promised is there (a star: by name only); there may be more, and all else has a default."""
    parameters = inspect.signature(getattr(facekd, name)).parameters.values()
    there = {f"{'*' * (p.kind is p.KEYWORD_ONLY)}{p.name}": p for p in parameters}
    assert arguments <= set(there)
    assert all(there[more].default is not inspect.Parameter.empty for more in set(there) - arguments)


def test_the_stub_says_the_same_as_the_code() -> None:
    """A type checker reads the stub, Python the code: every name is the same thing in both."""
    tree = ast.parse((ROOT / "facekd" / "__init__.pyi").read_text(encoding="utf-8"))
    stated = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            stated |= {alias.asname: (f"facekd.{node.module}", alias.name) for alias in node.names}
    for name, (module, there) in stated.items():
        __import__(module)
        assert getattr(facekd, name) is getattr(sys.modules[module], there), name
    (listed,) = (node.value for node in tree.body if isinstance(node, ast.Assign))
    assert set(ast.literal_eval(listed)) == set(facekd.__all__) == set(stated) | {"errors"}


@pytest.mark.parametrize(
    ("used", "absent"),
    [
        ("", "numpy cv2 onnx onnxruntime torch scipy PIL pydantic platformdirs click rich matplotlib"),
        ("facekd.errors, facekd.NoFace, facekd.__version__", "numpy cv2 onnx onnxruntime torch scipy"),
        ("facekd.load_embedder, facekd.align, facekd.Recognizer, facekd.Gallery", "torch matplotlib rich"),
        ("facekd.evaluate", "torch matplotlib rich"),
    ],
)
def test_a_name_loads_what_it_needs(used: str, absent: str) -> None:
    code = f"import sys, facekd\n{used}\nprint([name for name in {absent.split()!r} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


SCRIPT = """
import facekd
from pathlib import Path
from typing import assert_type

import numpy as np
from facekd.preprocess import Crop
from facekd.runtime import Embedder
from facekd.workflows import Enrolled, EvaluatedModel, Removed, Run, Verification
from facekd.gallery import Person

assert_type(facekd.load_embedder("m.onnx", device="cuda", threads=1), Embedder)
assert_type(facekd.align(b"bytes", spec=facekd.load_embedder(Path("m.onnx")).spec), Crop)
recognizer = facekd.Recognizer("m.onnx", detector="yunet:FILE", threshold=0.4)
assert_type(recognizer.verify(Path("a.jpg"), np.zeros((9, 9, 3), np.uint8)), Verification)
with facekd.Gallery(recognizer=recognizer) as gallery:
    assert_type(gallery.enroll("Ann", ["a.jpg", b"bytes"]), Enrolled)
    assert_type(gallery.verify("a.jpg", "Ann"), Verification)
    assert_type(gallery.people(), list[Person])
    assert_type(gallery.remove("Ann"), Removed)
assert_type(facekd.evaluate("m.onnx", protocol="lfw", data="lfw.zip"), list[EvaluatedModel])
assert_type(facekd.distill("recipe.toml", run="runs/first", resume=True), Run)
try:
    pass
except facekd.errors.TooDark as error:
    assert_type(error.fix, str | None)
"""
WRONG = {
    'facekd.align("a.jpg", None)': "Too many positional arguments",
    'facekd.Recognizer(threshold="high")': "incompatible type",
    'facekd.Recognizer().verify("a.jpg")': "Missing positional argument",
    'facekd.Recognizer().verify("a.jpg", 0.5)': "incompatible type",
    'facekd.evaluate("m.onnx", data="x")': 'Missing named argument "protocol"',
    "facekd.Gallery().enrol": 'no attribute "enrol"',
    "facekd.verify": 'no attribute "verify"',
}


@pytest.mark.long
def test_a_type_checker_knows_the_types(tmp_path: Path) -> None:
    """Mypy, strict, on a user's script: what is right passes, and each wrong line is found."""
    assert (ROOT / "facekd" / "py.typed").is_file()
    (tmp_path / "right.py").write_text(SCRIPT)
    (tmp_path / "wrong.py").write_text("import facekd\n" + "\n".join(WRONG))
    # the settings of the checkout, whose cache then serves
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", tmp_path / "right.py", tmp_path / "wrong.py"],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    found = [line for line in ran.stdout.splitlines() if ": error:" in line]
    assert [line for line in found if "wrong.py" not in line] == []
    for number, (line, told) in enumerate(WRONG.items(), start=2):
        assert any(f"wrong.py:{number}: error: " in error and told in error for error in found), line
