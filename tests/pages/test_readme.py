"""What README shows works: its commands and its Python are run, its figures are those of the results."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from shown_commands import ROOT, blocks_in, commands_in, words_of
from small_photos import need_mtcnn, write_photos

from facekd.weights import shipped_model

README = ROOT / "README.md"
SAMPLES = ROOT / "data" / "samples"
RECIPE = """
[data]
labelled = ["train.zip"]

[student]
name = "plainres_small"

[teacher]
models = ["teacher.onnx"]
views = 1

[[loss]]
name = "cosine"

[schedule]
images = 32
batch = 16
evaluations = 1
"""


def rows_of(page: Path, begins: str) -> list[list[str]]:
    """The cells of a page's table rows whose first cell begins so."""
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {begins}")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]


def test_the_figures_are_those_of_the_results() -> None:
    for begins in ("student", "EdgeFace XS"):
        (shown,) = rows_of(README, begins)
        assert shown[1:] in [row[1:] for row in rows_of(ROOT / "docs" / "results.md", begins)]


def test_the_targets_of_make_are_there() -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    shown = re.findall(r"\bmake ([a-z-]+)", README.read_text(encoding="utf-8"))
    assert {"demo", "test", "docs"} <= set(shown)
    for target in sorted(set(shown)):
        ran = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_mtcnn()
    if shipped_model() is None:
        pytest.skip("no student ships with this clone")
    (code,) = blocks_in(README, "python")
    write_photos(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FACEKD_MODEL", raising=False)
    told: list[tuple[object, ...]] = []
    exec(compile(code, str(README), "exec"), {"print": lambda *words: told.append(words)})
    ((same, score, threshold),) = told
    assert same is True
    assert 1 >= score >= threshold > 0


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with every file that README's commands name, made of drawn people and one portrait."""
    need_mtcnn()
    shipped = shipped_model()
    if shipped is None:
        pytest.skip("no student ships with this clone")
    for name in ("student.onnx", "teacher.onnx", "model.onnx"):
        shutil.copy(shipped, tmp_path / name)
    made = write_photos(tmp_path)
    for name, source in (("ann1", "a"), ("ann2", "b"), ("door", "c")):
        shutil.copy(made / f"{source}.jpg", tmp_path / f"{name}.jpg")
    people = sorted(path.name for path in SAMPLES.iterdir())
    for person in people[:20]:
        _copy(person, tmp_path / "people", 5)
    _copy(people[20], tmp_path / "photos", 3)
    (tmp_path / "staff" / "Ann Lee").mkdir(parents=True)
    shutil.copy(made / "c.jpg", tmp_path / "staff" / "Ann Lee" / "at the door.jpg")
    _copy(people[21], tmp_path / "staff", 2)
    tested = people[24:28]
    with zipfile.ZipFile(tmp_path / "lfw.zip", "w") as pack:
        for person in tested:
            for n in (1, 2):
                pack.write(SAMPLES / person / f"000{n}.jpg", f"{person}/{person}_000{n}.jpg")
    mated = [f"{person}\t1\t2" for person in tested]
    others = [f"{tested[n]}\t1\t{tested[(n + 1) % 4]}\t2" for n in range(4)]
    (tmp_path / "pairs.txt").write_text("\n".join(["2\t2", *mated[:2], *others[:2], *mated[2:], *others[2:]]))
    (tmp_path / "pairs.csv").write_text("a,b\nann1.jpg,ann2.jpg\nann1.jpg,door.jpg\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FACEKD_MODEL", raising=False)
    monkeypatch.setenv("FACEKD_GALLERY", str(tmp_path / "gallery.db"))
    monkeypatch.setenv("FACEKD_CACHE", str(tmp_path / "cache"))
    return tmp_path


def _copy(person: str, folder: Path, photos: int) -> None:
    (folder / person).mkdir(parents=True)
    for n in range(1, photos + 1):
        shutil.copy(SAMPLES / person / f"000{n}.jpg", folder / person)


@pytest.mark.long
def test_every_command_runs_in_the_order_shown(work: Path, facekd: Callable) -> None:
    calls = list(dict.fromkeys(commands_in(README)))
    assert len(calls) >= 12
    ran = facekd("align", "people", "train.zip")
    assert ran.code == 0, ran.err
    for call in calls:
        words = words_of(call)
        if words in (["export"], ["calibrate"]):
            continue  # named in a sentence, shown with arguments elsewhere
        ran = facekd(*words)
        assert ran.code == 0, f"{call}: {ran.err}"
        if words[:2] == ["recipe", "copy"]:
            assert (work / "my.toml").read_text().startswith("#")
            (work / "my.toml").write_text(RECIPE)
    assert (work / "page.html").is_file()
    assert (work / "runs" / "first" / "student.onnx").is_file()
