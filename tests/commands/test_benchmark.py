"""``facekd benchmark`` through the command line, on tiny models and patterned crops."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from patterned_people import write_people
from tiny_model import write_tiny_model

from facekd.errors import Exit

PEOPLE, PHOTOS = 12, 3
FIGURES = {
    "name", "role", "architecture", "space", "has_card", "licence", "teacher", "data", "parameters", "macs",
    "file_bytes", "dim", "template_bytes", "uncounted", "peak_bytes", "load_seconds", "timings", "rates",
}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """teacher.onnx and a student.onnx with a quarter of its weights."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny_model(folder / "teacher.onnx", dim=64)
    write_tiny_model(folder / "student.onnx", seed=1, dim=16)
    return folder


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of patterned "people" with their pairs.csv, in folders that name them."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("crops")
    random = np.random.default_rng(0)
    for person in range(PEOPLE):
        pattern = random.integers(40, 216, (14, 14, 3))
        (folder / f"p{person}").mkdir()
        for number in range(PHOTOS):
            blocks = np.clip(pattern + random.normal(0, 25, pattern.shape), 0, 255).astype(np.uint8)
            crop = np.kron(blocks, np.ones((8, 8, 1), np.uint8))
            Image.fromarray(crop).save(folder / f"p{person}" / f"{number}.png")
    lines = ["path1,path2,label"]
    for person in range(PEOPLE):
        lines += [f"p{person}/0.png,p{person}/{n}.png,1" for n in (1, 2)]
        lines += [f"p{person}/0.png,p{(person + step) % PEOPLE}/{step}.png,0" for step in (1, 2)]
    (folder / "pairs.csv").write_text("\n".join(lines))
    return folder


def test_everything_at_once(facekd: Callable, models: Path, crops: Path, tmp_path: Path) -> None:
    ran = facekd(
        "benchmark", models / "teacher.onnx", models / "student.onnx",
        "--data", crops, "--pairs", crops / "pairs.csv", "--aligned",
        "--json", "--report", tmp_path / "report.html", "--faces",
    )  # fmt: skip
    assert ran.code == Exit.DONE, ran.err
    document = json.loads(ran.out)
    assert set(document) == {"schema", "machine", "device", "crops", "protocol", "models", "comparisons"}
    teacher, student = document["models"]
    assert set(teacher) == set(student) == FIGURES
    assert (teacher["parameters"], student["parameters"]) == (588 * 64, 588 * 16)
    assert student["file_bytes"] == (models / "student.onnx").stat().st_size
    (compared,) = document["comparisons"]
    assert compared["times_smaller"]["parameters"] == 4
    assert {(s["batch"]) for s in compared["times_faster"]} == {1, 32}
    assert compared["accuracy"]["pairs"] == 4 * PEOPLE
    accuracy = [next(r["value"] for r in m["rates"] if r["name"] == "Accuracy") for m in (teacher, student)]
    assert accuracy[1] - accuracy[0] == pytest.approx(compared["accuracy"]["difference"], abs=0.02)
    assert document["crops"] == f"32 faces of {crops.name}"
    assert str(crops.parent) not in ran.out, "no paths"

    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "student is 4.0 times smaller than teacher (parameters)" in html
    assert "p0/0.png" in html or "p1/0.png" in html
    assert "data:image/jpeg" in html
    assert str(crops.parent) not in html
    assert str(models.parent) not in html


def test_without_photos_there_is_a_table_and_no_accuracy(facekd: Callable, models: Path) -> None:
    ran = facekd(
        "benchmark", models / "teacher.onnx", models / "student.onnx",
        models / "student.onnx",
    )  # fmt: skip
    assert ran.code == Exit.DONE, ran.err
    assert "accuracy was not measured" in ran.out
    for word in ("Parameters", "Latency", "Throughput", "Peak memory", "37.6", "9.41", "student (2)"):
        assert word in ran.out.replace("\n", " "), word
    assert "Accuracy" not in ran.out
    assert "timing" in ran.err


def test_the_difference_is_the_one_that_evaluate_states(
    facekd: Callable, models: Path, tmp_path: Path
) -> None:
    """Persons come into several pairs, and a photo is lost: its comparisons are errors in both."""
    people = write_people(tmp_path / "people", PEOPLE, PHOTOS, noise=120)
    (people / "P03" / "1.png").write_bytes(b"broken")
    lines = ["path1,path2,label"]
    for person in range(PEOPLE):
        lines += [f"P{person:02d}/1.png,P{person:02d}/{n}.png,1" for n in (2, 3)]
        lines += [f"P{person:02d}/1.png,P{(person + s) % PEOPLE:02d}/{s}.png,0" for s in (2, 3)]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    data = ("--data", people, "--pairs", tmp_path / "pairs.csv", "--aligned", "--json")
    teacher, student = models / "teacher.onnx", models / "student.onnx"
    stated = json.loads(facekd("evaluate", teacher, student, *data).out)["paired"][0]
    ran = facekd("benchmark", teacher, student, *data)
    assert ran.code == Exit.DONE, ran.err
    document = json.loads(ran.out)
    (found,) = [compared["accuracy"] for compared in document["comparisons"]]
    wanted = next(d for d in stated["differences"] if d["measure"] == "accuracy")
    assert found == {
        "difference": pytest.approx(wanted["value"], abs=1e-12),
        **wanted["interval"],
        "pairs": stated["comparisons"],
    }
    assert found["pairs"] == 4 * PEOPLE
    assert found["method"] == "t over identities"
    failed = [r for m in document["models"] for r in m["rates"] if r["name"].endswith("failures as errors")]
    assert failed[1]["value"] - failed[0]["value"] == pytest.approx(found["difference"], abs=0.03)


def test_a_missing_model_and_a_missing_option(facekd: Callable, models: Path) -> None:
    ran = facekd("benchmark", "none.onnx", models / "student.onnx")
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert "none.onnx" in ran.err
    assert facekd("benchmark", "--teacher", models / "teacher.onnx").code == Exit.USAGE


def test_a_file_that_is_no_model(facekd: Callable, models: Path, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a model")
    ran = facekd("benchmark", models / "teacher.onnx", tmp_path / "text.onnx")
    assert (ran.code, ran.out) == (Exit.IO, "")
    assert "not a usable ONNX model" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("option", [("--aligned",), ("--faces",), ("--protocol", "lfw")])
def test_options_about_data_need_data(facekd: Callable, models: Path, option: tuple[str, ...]) -> None:
    ran = facekd("benchmark", models / "teacher.onnx", models / "student.onnx", *option)
    assert ran.code == Exit.USAGE
    assert "need --data" in ran.err


def test_faces_need_a_page(facekd: Callable, models: Path, crops: Path) -> None:
    ran = facekd(
        "benchmark", models / "teacher.onnx", models / "student.onnx",
        "--data", crops, "--faces",
    )  # fmt: skip
    assert ran.code == Exit.USAGE
    assert "--report" in ran.err


def test_photos_given_as_crops(facekd: Callable, models: Path, tmp_path: Path) -> None:
    from PIL import Image

    for name in ("a", "b"):
        Image.new("RGB", (250, 250)).save(tmp_path / f"{name}.png")
    rows = "a.png,a.png,1\na.png,b.png,0\n"
    (tmp_path / "pairs.csv").write_text("path1,path2,label\n" + rows * 2)
    ran = facekd(
        "benchmark", models / "teacher.onnx", models / "student.onnx",
        "--data", tmp_path, "--pairs", tmp_path / "pairs.csv", "--aligned",
    )  # fmt: skip
    assert ran.code == Exit.MISFIT
    assert "Omit --aligned" in ran.err


def test_no_such_device(facekd: Callable, models: Path) -> None:
    ran = facekd(
        "benchmark", models / "teacher.onnx", models / "student.onnx",
        "--device", "tpu",
    )  # fmt: skip
    assert ran.code == Exit.USAGE
