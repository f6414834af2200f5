"""A teacher that tells nobody apart teaches nobody."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from patterned_people import write_people
from small_run import recipe, run
from tiny_model import write_tiny_model

from facekd.card import InputSpec, read_card, write_card
from facekd.distillation import Recipe
from facekd.errors import UsageError
from facekd.models.teachers import load_teacher
from facekd.training.data import open_crops, open_identities
from facekd.verification import all_pairs


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Thirty people, of whom twelve are held out: six choose, with enough pairs for FMR 1e-1."""
    write_people(tmp_path / "crops", people=30, photos=6)
    (tmp_path / "heldout.txt").write_text("".join(f"P{k:02d}\n" for k in range(24)))
    write_tiny_model(tmp_path / "teacher.onnx")
    return tmp_path


def blinded(place: Path) -> None:
    """A card by which the teacher is fed what says nothing: every pixel next to nothing."""
    card = read_card(place / "teacher.onnx")[0]
    weak = card.model_copy(update={"input": InputSpec(mean=0.0, std=1e30)})
    model = onnx.load(place / "teacher.onnx")
    graph = model.graph
    noise = onnx.helper.make_node(
        "RandomNormalLike", ["embedding"], ["noise"], mean=0.0, scale=1.0, seed=3.0, dtype=1
    )
    graph.node.append(noise)
    graph.node.append(onnx.helper.make_node("Add", ["embedding", "noise"], ["out"]))
    graph.output[0].name = "out"
    write_card(model, weak, place / "teacher.onnx")


def test_the_teachers_own_score_is_said_and_noted(many: Path) -> None:
    chosen: Recipe = recipe(many)
    records = run(many, "run", chosen, stop_after=1)
    held = open_identities([many / "crops"], (many / "heldout.txt").read_text().split()[0::2])
    pixels = np.stack([held.read(index) for index in range(len(held))])
    rows = load_teacher(many / "teacher.onnx").targets(pixels).embedding.numpy()
    tar = all_pairs(rows, held.labels).tar_at(0.1)
    told = (many / "run" / "train.log").read_text()
    assert f"teacher teacher: held-out TAR {tar:.2%} at FMR 0.1 of its own" in told
    assert not [r for r in records if "teacher_heldout_tar_1e-3" in r]  # too few for that
    assert tar > 0.5


def test_the_score_at_the_choosing_fmr_is_noted_once(tmp_path: Path) -> None:
    write_people(tmp_path / "crops", people=122, photos=5)
    (tmp_path / "heldout.txt").write_text("".join(f"P{k:02d}\n" for k in range(120)))
    write_tiny_model(tmp_path / "teacher.onnx")
    chosen = recipe(tmp_path)
    run(tmp_path, "run", chosen, stop_after=4)
    records = run(tmp_path, "run", chosen, resume=True, stop_after=1)
    held = open_identities([tmp_path / "crops"], [f"P{k:02d}" for k in range(0, 120, 2)])
    pixels = np.stack([held.read(index) for index in range(len(held))])
    rows = load_teacher(tmp_path / "teacher.onnx").targets(pixels).embedding.numpy()
    expected = all_pairs(rows, held.labels).tar_at(1e-3)
    assert 0.2 < expected < 1
    noted = [r["teacher_heldout_tar_1e-3"] for r in records if "teacher_heldout_tar_1e-3" in r]
    assert noted == [pytest.approx(expected, abs=0.01)]  # targets are kept in float16


def test_below_the_floor_no_student_is_trained(many: Path) -> None:
    blinded(many)
    with pytest.raises(UsageError, match=r"hardly tells .* apart: TAR .* floor of 20%") as told:
        run(many, "run", recipe(many))
    assert "floor = 0" in (told.value.fix or "")
    assert not (many / "run").exists()
    stated = recipe(many, teacher='[teacher]\nmodels = ["teacher.onnx"]\nfloor = 0.0\n')
    run(many, "run", stated, stop_after=1)


def test_too_few_people_are_said_to_be_so(place: Path) -> None:
    run(place, "run", recipe(place), stop_after=1)
    assert (
        "teacher teacher: no held-out TAR of its own (insufficient data: "
        in (place / "run" / "train.log").read_text()
    )
    run(place, "none", recipe(place, h=('heldout = "heldout.txt"', "")), stop_after=1)
    assert "neither the teacher nor the student is evaluated" in (place / "none" / "train.log").read_text()


def test_a_projector_is_said(place: Path) -> None:
    run(place, "run", recipe(place), stop_after=1)
    assert (
        "has 16 dimensions and the teacher's 32: cosine compares them through a projector"
        in (place / "run" / "train.log").read_text()
    )
    write_tiny_model(place / "teacher.onnx", dim=16)
    run(place, "same", recipe(place), stop_after=1)
    assert "projector" not in (place / "same" / "train.log").read_text()


@pytest.mark.needs_faces
def test_a_real_teacher_read_wrongly_is_stopped(faces: Path, tmp_path: Path) -> None:
    """ov_reid_0095 expects BGR from 0 to 255 at 128 pixels; without a card it gets RGB from -1 to 1."""
    shutil.copy(faces / "models" / "ov_reid_0095.onnx", tmp_path / "teacher.onnx")
    pack = faces / "train-labelled-1.zip"
    there = set(open_crops([pack]).people)
    names = (faces / "protocols" / "heldout_identities.txt").read_text().split()
    (tmp_path / "heldout.txt").write_text("\n".join([name for name in names if name in there][:40]))
    chosen = recipe(tmp_path, data=('labelled = ["crops"]', f'labelled = ["{pack}"]\nshare = 0.02'))
    with pytest.raises(UsageError, match="hardly tells the held-out people apart"):
        run(tmp_path, "run", chosen)
