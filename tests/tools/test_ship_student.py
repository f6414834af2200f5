"""The tool that replaces the shipped student: its rows, and what it changes in a checkout."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from facekd.errors import UsageError

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import ship_student as tool

PAGE = """# Page

| % | LFW | TAR at FMR 1e-3 | TAR at FMR 1e-4 | one crop | file |
| --- | --- | --- | --- | --- | --- |
| student | 97.00 [96.0, 98.0] | 90.00 [89.0, 91.0] | 80.00 [79.0, 81.0] | 1.00 ms | 3.00 MB |
| Teacher, the larger one | 99.00 [98.0, 99.5] | 98.00 [97.0, 99.0] | 97.00 [96.0, 98.0] | 3.00 ms | 9.00 MB |

| student | 86.98 | 69.25 | -17.7 |
"""
OLD = "facekd-student-old"


def model(name: str, mean: float, tar: float) -> dict[str, Any]:
    points = [
        {"fmr": fmr, "tar": rate, "interval": {"low": rate - 0.01, "high": rate + 0.01}}
        for fmr, rate in ((1e-2, 0.99), (1e-3, tar), (1e-4, tar - 0.05))
    ]
    accuracy = {"mean": mean, "interval": {"low": mean - 0.004, "high": mean + 0.004}}
    return {"name": name, "accuracy": accuracy, "all_pairs": {"operating_points": points}}


def timed(name: str, ms: float, size: int) -> dict[str, Any]:
    one = {"threads": 1, "batch": 1, "median_seconds": ms / 1e3}
    return {"name": name, "file_bytes": size, "timings": [{**one, "batch": 8, "median_seconds": 9}, one]}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    out = tmp_path / "out"
    out.mkdir()
    found = [model("new", 0.987, 0.9512), model("xs", 0.9957, 0.993), model(OLD, 0.9, 0.8)]
    (out / "lfw.json").write_text(json.dumps({"models": found}))
    times = [timed("xs", 2.5, 9_150_000), timed("new", 0.6, 1_950_000)]
    (out / "speed.json").write_text(json.dumps({"models": times}))
    (out / "new.onnx").write_bytes(b"new")
    return out


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "checkout"
    for folder in ("facekd/weights", "data/student", "docs", "tools"):
        (root / folder).mkdir(parents=True)
    (root / f"facekd/weights/{OLD}.onnx").write_bytes(b"old")
    (root / "facekd/version.py").write_text('EARLIER_STUDENTS = {\n    "first": "0.1",\n}\n')
    for file in ("leg1.safetensors", "begun.safetensors", "begun.json"):
        (root / "data/student" / file).write_bytes(b"old")
    for page in tool.TABLES:
        (root / page).write_text(PAGE)
    (root / "docs/tutorial.md").write_text(f"# One\nby {OLD}\n")
    monkeypatch.setattr(tool, "ROOT", root)
    return root


def test_a_row_states_the_figures_of_the_documents(out: Path) -> None:
    assert tool.table_row("student", "new", out) == (
        "| student | 98.70 [98.30, 99.10] | 95.12 [94.1, 96.1] | 90.12 [89.1, 91.1] | 0.60 ms | 1.95 MB |"
    )


def test_only_the_row_of_that_table_is_replaced_and_its_label_stays() -> None:
    row = "| Teacher | a | b | c | 2.00 ms | d |"
    was, now = PAGE.splitlines(), tool.replaced(PAGE, row, "Teacher").splitlines()
    assert now[5] == "| Teacher, the larger one | a | b | c | 2.00 ms | d |"
    assert now[:5] + now[6:] == was[:5] + was[6:]
    assert "| student | 86.98 | 69.25 | -17.7 |" in tool.replaced(
        PAGE, "| student | a | b | c | 1 ms | d |", "student"
    )
    with pytest.raises(UsageError, match="0 rows of 6 columns"):
        tool.replaced(PAGE, row, "Nobody")


def test_the_new_student_takes_the_place_of_the_old_one(
    out: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[object, ...]] = []
    monkeypatch.setattr(tool, "_tool", lambda *arguments: called.append(arguments))
    run = out / "leg2"
    run.mkdir()
    (run / "recipe.toml").write_text("")
    records = [{"loss": 1.0, "step": 1}, {"step": 2, "images": 64, "heldout_tar_1e-3": 0.5, "seconds": 3}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    rows = {"student": tool.table_row("student", "new", out), "Teacher": tool.table_row("Teacher", "xs", out)}
    tool.write(out / "new.onnx", run, checkout / f"facekd/weights/{OLD}.onnx", "0.2", rows, out)
    assert [file.name for file in (checkout / "facekd/weights").iterdir()] == ["new.onnx"]
    assert [file.name for file in (checkout / "data/student").iterdir()] == ["leg2.json"]
    curve = json.loads((checkout / "data/student/leg2.json").read_text())
    assert curve == [{"step": 2, "images": 64, "heldout_tar_1e-3": 0.5}]
    listed: dict[str, Any] = {}
    exec((checkout / "facekd/version.py").read_text(), listed)
    assert listed["EARLIER_STUDENTS"] == {"first": "0.1", OLD: "0.2"}
    assert [arguments[0] for arguments in called] == ["keep_weights.py", "write_model_card.py"]
    evaluated = json.loads(Path(str(called[1][2])).read_text())["models"]
    assert [one["name"] for one in evaluated] == ["new", "xs"]
    for page in tool.TABLES:
        text = (checkout / page).read_text()
        assert "| student | 98.70 [98.30, 99.10]" in text
        assert "| Teacher, the larger one | 99.57" in text
    assert tool.naming(OLD) == ["docs/tutorial.md:2"]


CARD = f"""# {OLD}

One crop, one thread, medians, on a processor with VNNI: xs 2.44 ms, {OLD} 0.60 ms, y1 8.30 ms.
"""


def network(width: int, seed: int) -> onnx.ModelProto:
    """A linear layer of random weights, in ONNX."""
    weights = np.random.default_rng(seed).normal(size=(width, 3)).astype(np.float32)
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)], "net",
        [value("x", onnx.TensorProto.FLOAT, [1, 3])], [value("y", onnx.TensorProto.FLOAT, [1, width])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    return onnx.helper.make_model(graph)


def test_the_same_network_keeps_the_times_of_the_one_before(out: Path, checkout: Path) -> None:
    (checkout / "facekd/weights/MODEL_CARD.md").write_text(CARD)
    before, student, teacher = checkout / f"facekd/weights/{OLD}.onnx", out / "new.onnx", out / "xs.onnx"
    onnx.save(network(4, 0), str(before))
    onnx.save(network(4, 1), str(student))
    teacher.write_bytes(bytes(9_150_000))
    tool.kept_times(student, before, [teacher], out)
    assert tool.table_row("student", "new", out).endswith(
        f"| 0.60 ms | {student.stat().st_size / 1e6:.2f} MB |"
    )
    assert tool.table_row("Teacher", "xs", out).endswith("| 2.44 ms | 9.15 MB |")
    told = json.loads((out / "speed.json").read_text())
    assert [one["name"] for one in told["models"]] == ["xs", "new"]
    assert told["machine"]["instructions"] == ["avx512_vnni"]
    onnx.save(network(5, 1), str(student))
    with pytest.raises(UsageError, match=f"new.onnx is not the same network as {OLD}.onnx"):
        tool.kept_times(student, before, [teacher], out)
