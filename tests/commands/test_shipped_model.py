"""The student that ships: there, small, with thresholds, and used where no model is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from patterned_people import write_people
from small_photos import write_photos

from facekd.card import read_card
from facekd.runtime import load_embedder
from facekd.samples import draw, landmarks, person, person_seed
from facekd.weights import shipped_model


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv("FACEKD_MODEL", raising=False)
    monkeypatch.setenv("FACEKD_CACHE", str(tmp_path / "cache"))
    file = shipped_model()
    assert file is not None
    return file


def test_its_file_says_what_a_careful_user_asks(shipped: Path) -> None:
    assert shipped.stat().st_size < 2_000_000
    card, found = read_card(shipped)
    assert found
    assert card.name == shipped.stem
    assert {entry.fmr for entry in card.calibration} == {1e-2, 1e-3, 1e-4}
    assert all(entry.low <= entry.fmr * 1.2 for entry in card.calibration)
    assert card.provenance.images_seen
    assert "research" in card.licence
    assert card.score_map is not None
    assert card.photo_limits is not None
    assert {limit.reason for limit in card.photo_limits.limits} == {"too_dark", "too_blurred", "too_noisy"}
    assert all(limit.refused <= 5 for limit in card.photo_limits.limits)  # of 500 good ones
    lost = [card.metrics[f"float32_tar_{fmr}"] - card.metrics[f"tar_{fmr}"] for fmr in ("0.001", "0.0001")]
    assert max(lost) <= 0.005
    stated = (shipped.parent / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.space in stated
    assert "research only" in stated.lower()
    assert (shipped.parent / "LICENSE").is_file()


def test_people_are_recognised_without_naming_a_model(
    facekd: Callable, shipped: Path, tmp_path: Path
) -> None:
    photos = write_photos(tmp_path)
    same = facekd("verify", photos / "a.jpg", photos / "mirrored.jpg", "--json")
    assert (same.code, json.loads(same.out)["same"]) == (0, True), same.err
    assert f"model: {shipped.stem}" in same.err
    gallery = tmp_path / "gallery.db"
    assert facekd("enroll", "Eileen", photos / "a.jpg", "--gallery", gallery).code == 0
    assert facekd("verify", "--claim", "Eileen", photos / "c.jpg", "--gallery", gallery).code == 0


def test_a_photo_in_the_dark_gets_no_answer(facekd: Callable, shipped: Path, tmp_path: Path) -> None:
    photos = write_photos(tmp_path)
    dark = tmp_path / "dark.png"
    cv2.imwrite(str(dark), cv2.imread(str(photos / "a.jpg")) // 8)
    refused = facekd("verify", photos / "a.jpg", dark)
    assert refused.code == 3, refused.out
    assert "dark.png: too dark" in refused.err
    assert facekd("enroll", "Eileen", dark, "--gallery", tmp_path / "gallery.db").code == 3
    answered = facekd("verify", photos / "a.jpg", dark, "--any-quality", "--json")
    assert answered.code in (0, 1), answered.err


def test_drawn_people_are_not_alike(shipped: Path) -> None:
    """Read with another scale or colour order, everybody looks like everybody else."""
    from facekd.geometry import similarity, warp

    embedder = load_embedder(shipped)
    template, size = embedder.spec.template, embedder.spec.size
    crops = []
    for number in range(12):
        who = person(person_seed(0, number))
        marks = landmarks(who, 0, 200)
        crops.append(warp(draw(who, 0, 200), similarity(marks, template), size))
    rows = embedder.embed(np.stack(crops))
    scores = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
    assert np.median(scores) < 0.8


def test_its_own_file_is_never_changed(facekd: Callable, shipped: Path, tmp_path: Path) -> None:
    crops, content = write_people(tmp_path / "staff"), shipped.read_bytes()
    link = tmp_path / "link.onnx"
    link.symlink_to(shipped)
    rate = ("--data", crops, "--aligned", "--fmr", 1e-2)
    for refused in (
        facekd("calibrate", *rate),
        facekd("calibrate", link, *rate),
        facekd("calibrate", shipped, *rate, "--out", shipped),
        facekd("card", shipped, "--set", "licence=mine"),
        facekd("compatibility", shipped, shipped, "--write", "--data", crops, "--aligned"),
    ):
        assert refused.code == 2, refused.err
        assert "the shipped student belongs to the installation and is not changed" in refused.err
        assert "--out mine.onnx" in refused.err
    assert shipped.read_bytes() == content


def test_a_copy_is_calibrated_without_naming_it(facekd: Callable, shipped: Path, tmp_path: Path) -> None:
    crops, mine = write_people(tmp_path / "staff"), tmp_path / "mine.onnx"
    ran = facekd("calibrate", "--data", crops, "--aligned", "--fmr", 1e-2, "--out", mine)
    assert ran.code == 0, ran.err
    assert f"model: {shipped.stem}" in ran.err
    card, own = read_card(mine)[0], read_card(shipped)[0]
    assert [entry.fmr for entry in card.calibration] == [1e-2]
    assert card.calibration[0].data == "staff"
    assert card.space == own.space
    assert own.calibration[0].data != "staff"


def test_doctor_tells_how_to_calibrate_a_copy(facekd: Callable, shipped: Path) -> None:
    checks = json.loads(facekd("doctor", "--json").out)["checks"]
    fixes = [check["fix"] for check in checks if "with detector scrfd" in check["message"]]
    assert fixes
    assert all("facekd calibrate --data PEOPLE --out mine.onnx" in fix for fix in fixes)
