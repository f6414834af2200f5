"""``facekd demo``: the chain on a few drawn people, and what it refuses."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from small_photos import need_mtcnn

from facekd.cli.output import progress
from facekd.weights import shipped_model
from facekd.workflows.demo import DemoSettings, run_demo

SAMPLES = Path(__file__).parents[2] / "data" / "samples"


@pytest.mark.long
def test_the_chain_on_the_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_mtcnn()
    said: list[str] = []
    samples = tmp_path / "samples"
    for photo in SAMPLES.glob("*/000[1-4].jpg"):
        (samples / photo.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, samples / photo.parent.name)
    settings = DemoSettings(
        tmp_path / "demo", str(samples), teacher_images=64, student_images=64, batch=16, test_people=8
    )
    report = run_demo(settings, said.append, progress)
    page = report.read_text(encoding="utf-8")
    out = tmp_path / "demo"
    for name in ("teacher", "student", "baseline"):
        assert (out / "runs" / name / "student.onnx").is_file()
        assert name in page
    assert "with nobody in both parts" in page
    train = {p.name for p in (out / "photos" / "train").iterdir()}
    test = {p.name for p in (out / "photos" / "test").iterdir()}
    assert len(test) == 7
    assert len(train) == 23
    assert not train & test
    heldout = (out / "heldout.txt").read_text().split()
    assert set(heldout) <= train
    rows = [line.split(",") for line in (out / "pairs.csv").read_text().splitlines()[1:]]
    for first, second, label, _ in rows:
        assert (first.split("/")[0] == second.split("/")[0]) == (label == "1")
    people_of = {}
    for first, second, _, fold in rows:
        people_of.setdefault(fold, set()).update({first.split("/")[0], second.split("/")[0]})
    assert sum(len(people) for people in people_of.values()) == len(set().union(*people_of.values()))
    shipped = shipped_model()
    assert shipped is not None
    steps = [line.split("\n")[1].split("]")[0] for line in said if line.startswith("\n[")]
    assert steps == [f"[{step}/8" for step in range(1, 9)]
    last = [line for line in said if line.startswith("\n[8/8]")]
    assert "shipped student" in last[0]
    # the shipped student as an operator uses it, beside the one that was distilled
    for title in ("Enrolling and verifying", "Commands with the distilled student",
                  "Commands with the shipped student"):  # fmt: skip
        assert f">{title}</h2>" in page
    assert f"<samp>model: {shipped.stem}" in page
    shown = [re.sub("<.*?>", "", line) for line in re.findall("<kbd>(.*?)</kbd>", page)]
    assert [line.split()[1] for line in shown] == ["enroll", "enroll", "verify", "verify"] * 2
    assert all(f"--model {out}/runs/student/student.onnx" in line for line in shown[:4])
    assert not any("--model" in line for line in shown[4:])
    assert any(f"({shipped.stem}) enrolled 7 people" in line for line in said)


def test_a_folder_that_is_there_is_not_touched(facekd, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    ran = facekd("demo", "--out", tmp_path)
    assert ran.code == 2
    assert "exists already" in ran.err
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_too_few_people_are_named(facekd, tmp_path: Path) -> None:
    for person in ("a", "b"):
        (tmp_path / "few" / person).mkdir(parents=True)
        for n in range(3):
            (tmp_path / "few" / person / f"{n}.jpg").write_bytes(b"x")
    ran = facekd("demo", "--data", tmp_path / "few", "--out", tmp_path / "demo")
    assert ran.code == 2
    assert "needs at least 16" in ran.err
    assert facekd("demo", "--data", tmp_path / "none", "--out", tmp_path / "demo2").code == 5
