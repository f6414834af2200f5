"""``facekd evaluate`` through the command line: drawn crops with a tiny model, and real faces."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from facekd.errors import Exit

PEOPLE, PHOTOS = 24, 4


def _model(path: Path, cell: int = 14) -> Path:
    """A model whose embedding is the mean colour of each ``cell`` x ``cell`` square."""
    nodes = [
        helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[cell, cell], strides=[cell, cell]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3 * (112 // cell) ** 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of patterned "people", ``crops/P3/P3_0001.jpg``, with an LFW list and a model."""
    folder = tmp_path_factory.mktemp("drawn")
    random = np.random.default_rng(0)
    for person in range(PEOPLE):
        pattern = random.integers(0, 256, (8, 8, 3))
        (folder / "crops" / f"P{person}").mkdir(parents=True)
        for number in range(1, PHOTOS + 1):
            crop = np.clip(np.kron(pattern + random.normal(0, 60, (8, 8, 3)), np.ones((14, 14, 1))), 0, 255)
            cv2.imwrite(str(folder / "crops" / f"P{person}" / f"P{person}_{number:04d}.jpg"), crop)
    lines = ["2\t20"]
    for fold in range(2):
        for n in range(20):
            lines.append(f"P{(n + 12 * fold) % PEOPLE}\t{1 + n % 2}\t{3 + n % 2}")
        for n in range(20):
            lines.append(f"P{n}\t{1 + fold}\tP{(n + 1 + fold) % PEOPLE}\t{3 + fold}")
    (folder / "pairs.txt").write_text("\n".join(lines))
    _model(folder / "student.onnx")
    _model(folder / "teacher.onnx", 16)
    return folder


def _pack(
    drawn: Path, path: Path, top: str = "", suffix: str = ".png", leave_out: tuple[str, ...] = ()
) -> Path:
    with zipfile.ZipFile(path, "w") as pack:
        for file in sorted((drawn / "crops").rglob("*.jpg")):
            name = file.relative_to(drawn / "crops").with_suffix("").as_posix()
            if name not in leave_out:
                encoded = cv2.imencode(suffix, cv2.imread(str(file)))[1]
                pack.writestr(f"{top}{name}{suffix}", encoded.tobytes())
    return path


def test_crops_from_a_folder_as_json(facekd: Callable, drawn: Path) -> None:
    ran = facekd("evaluate", drawn / "student.onnx", "--data", drawn / "crops", "--aligned", "--json")
    assert ran.code == Exit.DONE, ran.err
    assert f"list of pairs: {drawn / 'pairs.txt'}" in ran.err
    assert "has no card" in ran.err
    told = json.loads(ran.out)
    (model,) = told["models"]
    assert (told["protocol"], model["name"]) == ("lfw", "student")
    assert told["detector"].startswith("none")
    assert told["photos"]["missing"] == told["photos"]["failures_to_acquire"] == []
    assert model["comparisons"] == {"mated": 40, "non_mated": 40, "failed_mated": 0, "failed_non_mated": 0}
    assert 0.8 < model["accuracy"]["mean"] <= 1
    photos = told["photos"]["named"]
    everyone = model["all_pairs"]
    assert everyone["mated"] + everyone["non_mated"] == photos * (photos - 1) // 2


def test_view_1_is_printed_from_its_list(facekd: Callable, drawn: Path, tmp_path: Path) -> None:
    """Its first line is one number, and the pairs are one set."""
    lines = ["20"]
    lines += [f"P{n}\t1\t3" for n in range(20)]
    lines += [f"P{n}\t2\tP{n + 1}\t4" for n in range(20)]
    (tmp_path / "pairsDevTest.txt").write_text("\n".join(lines) + "\n")
    given = ["evaluate", drawn / "student.onnx", "--data", drawn / "crops", "--aligned"]
    given += ["--pairs", tmp_path / "pairsDevTest.txt"]
    ran = facekd(*given, "--json", "--scores", tmp_path / "scores.csv")
    assert ran.code == Exit.DONE, ran.err
    told = json.loads(ran.out)
    (model,) = told["models"]
    assert told["protocol"] == "lfw"
    assert model["comparisons"] == {"mated": 20, "non_mated": 20, "failed_mated": 0, "failed_non_mated": 0}
    assert len(model["folds"]) == 10
    rows = (tmp_path / "scores.csv").read_text().splitlines()[1:]
    assert rows[0].endswith("1,P0/P0_0001.jpg,P0/P0_0003.jpg")
    assert rows[39].endswith("0,P19/P19_0002.jpg,P20/P20_0004.jpg")
    # the area under the curve by counting pairs of a mated and a non-mated score
    scores = np.array([float(row.split(",")[0]) for row in rows])
    above = (scores[:20, None] > scores[20:]) + 0.5 * (scores[:20, None] == scores[20:])
    assert model["auc"]["value"] == pytest.approx(above.mean(), abs=1e-6)
    text = facekd(*given)
    assert text.code == Exit.DONE, text.err
    assert "10 by the order of the list" in " ".join(text.out.split())


def test_two_models_as_text_with_a_picture(facekd: Callable, drawn: Path, tmp_path: Path) -> None:
    ran = facekd(
        "evaluate", drawn / "teacher.onnx", drawn / "student.onnx", "--protocol", "lfw",
        "--data", drawn / "crops", "--pairs", drawn / "pairs.txt", "--aligned",
        "--plot", tmp_path / "roc.svg",
    )  # fmt: skip
    assert ran.code == Exit.DONE, ran.err
    for word in ("teacher", "student", "insufficient data", "2 folds as listed", "Detector: none"):
        assert word in ran.out
    assert "student is" in ran.out
    assert "list of pairs" not in ran.err
    assert "<svg" in (tmp_path / "roc.svg").read_text()


def test_an_ensemble_beside_its_member(facekd: Callable, drawn: Path) -> None:
    (drawn / "both.toml").write_text('name = "both"\nmodels = ["student.onnx", "teacher.onnx"]\n')
    ran = facekd(
        "evaluate", drawn / "student.onnx", drawn / "both.toml", drawn / "student.onnx",
        "--data", drawn / "crops", "--aligned", "--json",
    )  # fmt: skip
    assert ran.code == Exit.DONE, ran.err
    told = json.loads(ran.out)
    assert [model["name"] for model in told["models"]] == ["student", "both", "student (2)"]
    student, both, again = told["models"]
    assert student["auc"] == again["auc"]
    assert both["space"] != student["space"]
    assert "level with" in told["paired"][1]["sentence"]


def test_a_pack_is_matched_by_stem_and_lost_crops_are_failures(
    facekd: Callable, drawn: Path, tmp_path: Path
) -> None:
    gone = ("P3/P3_0001", "P7/P7_0002")
    pack = _pack(drawn, tmp_path / "pack.zip", top="lfw/", leave_out=gone)
    ran = facekd(
        "evaluate",
        drawn / "student.onnx",
        "--data",
        pack,
        "--pairs",
        drawn / "pairs.txt",
        "--aligned",
        "--json",
    )
    assert ran.code == Exit.DONE, ran.err
    told = json.loads(ran.out)
    assert told["photos"]["failures_to_acquire"] == [
        {"photo": f"{name}.jpg", "reason": "not in the pack"} for name in gone
    ]
    (model,) = told["models"]
    lost = model["comparisons"]["failed_mated"] + model["comparisons"]["failed_non_mated"]
    lines = [line.split("\t") for line in (drawn / "pairs.txt").read_text().splitlines()[1:]]
    ends = [((f[0], f[1]), (f[0] if len(f) == 3 else f[2], f[-1])) for f in lines]
    assert lost == sum(("P3", "1") in pair or ("P7", "2") in pair for pair in ends) > 0
    assert model["failures_to_acquire"]["failed"] == 2
    wrong = sum(fold["comparisons"] * (1 - fold["accuracy_with_failures"]) for fold in model["folds"])
    assert wrong >= lost - 1e-6


def test_broken_photos_are_failures_and_absent_ones_are_missing(
    facekd: Callable, drawn: Path, tmp_path: Path
) -> None:
    """Photos this time: one truncated, one of nothing, one not there; the rest shows no face."""
    from facekd.preprocess import MISSING
    from facekd.workflows.photo_acquisition import PhotoSet, embed_photos

    folder = tmp_path / "photos"
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((drawn / "crops" / "P0" / "P0_0001.jpg").read_bytes())
    (folder / "a/2.jpg").write_bytes((folder / "a/1.jpg").read_bytes()[:300])
    (folder / "b/1.jpg").write_bytes(b"")
    photos = ["a/1.jpg", "a/2.jpg", "b/1.jpg", "c/1.jpg"]
    found = embed_photos(PhotoSet(folder, None), photos, [drawn / "student.onnx"])
    assert [photo.reason for photo in found.photos] == [None, "unreadable", "unreadable", MISSING]
    assert np.isfinite(found.embeddings[0]).all(axis=1).tolist() == [True, False, False, False]
    ran = facekd(
        "evaluate", drawn / "student.onnx", "--data", folder, "--pairs", drawn / "pairs.txt", "--aligned"
    )
    assert ran.code == Exit.USAGE
    assert "none of the" in ran.err
    assert "P0/P0_0001.jpg" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--data", "crops"], Exit.USAGE, "Missing argument 'MODEL"),
        (["student.onnx"], Exit.USAGE, "Missing option '--data'"),
        (["absent.onnx", "--data", "crops"], Exit.USAGE, "does not exist"),
        (["student.onnx", "--data", "absent"], Exit.USAGE, "does not exist"),
        (["pairs.txt", "--data", "crops", "--aligned"], Exit.IO, "not a usable ONNX model"),
        (["student.onnx", "--data", "pairs.txt", "--aligned"], Exit.USAGE, "neither a folder"),
        (["student.onnx", "--data", "crops", "--pairs", "student.onnx"], Exit.IO, "not a text file"),
        (["student.onnx", "--data", "crops", "--protocol", "ijbc"], Exit.USAGE, "Known: bin, calfw"),
        (["student.onnx", "--data", "crops", "--protocol", "pairs"], Exit.USAGE, "Give it with --pairs"),
        (["student.onnx", "--data", "crops/P0", "--aligned"], Exit.USAGE, "no pairs.txt or lfw_pairs.txt"),
        (["student.onnx", "--data", "crops", "--detector", "dlib"], Exit.USAGE, "no detector is named"),
        (["student.onnx", "--data", "crops", "--plot", "roc.doc"], Exit.USAGE, "a picture must end with"),
        (["student.onnx", "--data", "crops", "--plot", "absent/roc.png"], Exit.USAGE, "does not exist"),
        (["student.onnx", "--data", "crops", "--scores", "absent/s.csv"], Exit.USAGE, "does not exist"),
        (
            ["--model", "student.onnx", "--data", "crops"],
            Exit.USAGE,
            "an argument here: facekd evaluate MODEL...",
        ),
    ],
)
def test_wrong_calls(
    facekd: Callable,
    drawn: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: Exit,
    told: str,
) -> None:
    monkeypatch.chdir(drawn)
    ran = facekd("evaluate", *arguments)
    assert ran.code == code, ran.err
    assert told in ran.err
    assert ran.out == ""
    assert "Traceback" not in ran.err


def test_photos_given_as_aligned_crops(facekd: Callable, drawn: Path, tmp_path: Path) -> None:
    for number in range(1, 5):
        for person in ("A", "B"):
            (tmp_path / "photos" / person).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "photos" / person / f"{number}.png"), np.zeros((90, 112, 3), np.uint8))
    rows = ["A/1.png,A/2.png,1", "B/1.png,B/2.png,1", "A/1.png,B/1.png,0", "A/2.png,B/2.png,0"]
    (tmp_path / "pairs.csv").write_text("\n".join(["path1,path2,label", *rows]))
    ran = facekd(
        "evaluate",
        drawn / "student.onnx",
        "--data",
        tmp_path / "photos",
        "--pairs",
        tmp_path / "pairs.csv",
        "--aligned",
    )
    assert ran.code == Exit.MISFIT
    assert "this image is 112 x 90" in ran.err
    assert "Omit --aligned" in ran.err


@pytest.mark.needs_faces
def test_real_faces_from_raw_photos(facekd: Callable, faces: Path, tmp_path: Path) -> None:
    """30 + 30 pairs of View 2, from 250-pixel photos to a decision."""
    lines = [
        line.split("\t") for line in (faces / "protocols" / "lfw_pairs.txt").read_text().splitlines()[1:]
    ]
    kept = [f for f in lines if len(f) == 3][::100] + [f for f in lines if len(f) == 4][::100]
    rows = ["path1,path2,label"]
    for f in kept:
        other = f[0] if len(f) == 3 else f[2]
        rows.append(
            f"{f[0]}/{f[0]}_{int(f[1]):04d}.jpg,{other}/{other}_{int(f[-1]):04d}.jpg,{int(len(f) == 3)}"
        )
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    ran = facekd(
        "evaluate", faces / "models" / "edgeface_xs.onnx", faces / "models" / "edgeface_xxs.onnx",
        "--data", faces / "lfw.zip", "--pairs", tmp_path / "pairs.csv",
        "--detector", f"scrfd:{faces / 'detectors' / 'scrfd_500m.onnx'}", "--json",
    )  # fmt: skip
    assert ran.code == Exit.DONE, ran.err
    told = json.loads(ran.out)
    assert "scrfd" in told["detector"]
    assert told["photos"]["missing"] == []
    for model in told["models"]:
        assert model["comparisons"]["mated"] == model["comparisons"]["non_mated"] == 30
        # 99.6 % on the whole list: at most one or two of these 60 can be wrong
        assert model["accuracy_with_failures"]["mean"] >= 0.95
        assert model["eer"]["value"] <= 0.04
    assert "edgeface_xxs is" in told["paired"][0]["sentence"]
