"""``facekd calibrate`` through the command line, and what ``card`` and ``verify`` make of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from patterned_people import write_people
from small_photos import need_mtcnn
from tiny_model import write_tiny_model

from facekd.card.onnx_file import read_card
from facekd.errors import Exit


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("crops") / "staff")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny.onnx")


def test_text_states_rates_counts_intervals_and_the_map(facekd: Callable, crops: Path, model: Path) -> None:
    space = read_card(model)[0].space
    ran = facekd("calibrate", model, "--data", crops, "--aligned", "--fmr", 1e-2, "--fmr", 1e-3)
    assert ran.code == Exit.DONE, ran.err
    card = read_card(model)[0]
    (entry,) = card.calibration
    head, rate, refused, score_map, limits = ran.out.splitlines()
    assert head == "tiny on staff: 24 people, 96 photos, 0 failures to acquire"
    assert rate.startswith(f"FMR 0.01: threshold {entry.threshold:.4f}; 44 of 4,416 non-mated comparisons")
    assert f"FMR {entry.low:.2g} to {entry.high:.2g}" in rate
    assert f"({entry.fnmr_low:.2g} to {entry.fnmr_high:.2g})" in rate
    assert refused.startswith("FMR 0.001: insufficient data")
    assert "30,000" in refused
    assert f"score map: {card.score_map.curve.kind}; Cllr on held-out people" in score_map
    assert f"{card.score_map.cllr:.4f}" in score_map
    assert f"minimum {card.score_map.min_cllr:.4f} (5 folds); probabilities at prior 0.5" in score_map
    assert limits == f"photo limits: {card.photo_limits.summary}"
    assert f"space {space[:12]} kept" in ran.err


def test_json_is_one_document(facekd: Callable, crops: Path, model: Path) -> None:
    ran = facekd("calibrate", model, "--data", crops, "--aligned", "--json")
    assert ran.code == Exit.DONE, ran.err
    told = json.loads(ran.out)
    card = read_card(model)[0]
    assert [entry["fmr"] for entry in told["calibration"]] == [1e-2]
    assert [refused["fmr"] for refused in told["refused"]] == [1e-3, 1e-4]
    assert told["score_map"]["curve"]["kind"] == card.score_map.curve.kind
    assert told["held_out_cllr"][card.score_map.curve.kind] == card.score_map.cllr
    assert told["held_out_cllr"].keys() == {"logistic", "isotonic"}
    assert min(told["held_out_cllr"].values()) == card.score_map.cllr >= card.score_map.min_cllr
    assert told["score_map"]["sample"]["people"] == 24
    assert told["photo_limits"] == card.photo_limits.model_dump(mode="json")
    assert (told["photo_limits"]["fmr"], told["photo_limits"]["photos"]) == (1e-2, 96)
    assert told["no_photo_limits"] is None
    assert told["model"] == {"name": "tiny", "space": card.space, "digest": card.digest}
    assert (told["failures_to_acquire"], told["left_out"], told["replaced"], told["notes"]) == (
        [],
        [],
        [],
        [],
    )


def test_the_card_command_prints_it(facekd: Callable, crops: Path, model: Path) -> None:
    ran = facekd("card", model)
    assert "score map     none fitted" in ran.out
    assert "photo limits  none measured" in ran.out
    facekd("calibrate", model, "--data", crops, "--aligned")
    card, ran = read_card(model)[0], facekd("card", model)
    sample = f"24 people, 96 photos, SHA-256 {card.score_map.sample.digest[:12]}, {card.score_map.date}"
    threshold, score_map, limits = ran.out.splitlines()[-3:]
    assert limits.startswith(f"photo limits  {card.photo_limits.summary}; at FMR 0.01 (staff, ")
    assert sample in limits
    assert threshold.startswith(f"threshold     {card.calibration[0].threshold:.4f} at FMR 0.01")
    assert sample in threshold
    assert score_map.startswith(f"score map     {card.score_map.curve.kind}, Cllr {card.score_map.cllr:.4f}")
    assert sample in score_map
    told = json.loads(facekd("card", model, "--json").out)
    assert told["score_map"]["sample"]["digest"] == card.score_map.sample.digest


def test_the_card_states_what_cut_the_crops(facekd: Callable, crops: Path, model: Path) -> None:
    asked = ("calibrate", model, "--data", crops, "--aligned")
    assert facekd(*asked).code == Exit.DONE
    card = read_card(model)[0]
    unknown = ("none (aligned crops given)", "that of the crops")
    for part in (card.calibration[0], card.score_map, card.photo_limits):
        assert (part.detector, part.aligner) == unknown
    named = facekd(*asked, "--crop-detector", "scrfd_500m", "--crop-aligner", "facekd-five-points-2")
    assert named.code == Exit.DONE, named.err
    card = read_card(model)[0]
    for part in (card.calibration[0], card.score_map, card.photo_limits):
        assert (part.detector, part.aligner) == ("scrfd_500m", "facekd-five-points-2")


def test_another_space_has_no_calibration(facekd: Callable, crops: Path, model: Path) -> None:
    facekd("calibrate", model, "--data", crops, "--aligned")
    before = read_card(model)[0]
    facekd("card", model, "--set", "licence=MIT")
    after = read_card(model)[0]
    assert (after.calibration, after.score_map, after.photo_limits) == (
        before.calibration,
        before.score_map,
        before.photo_limits,
    )
    facekd("card", model, "--set", "input.colour=bgr")
    after = read_card(model)[0]
    assert after.space != before.space
    assert (after.calibration, after.score_map, after.photo_limits) == ((), None, None)


def test_verify_answers_from_it(
    facekd: Callable, operator: Path, photos: Path, crops: Path, model: Path
) -> None:
    pair = (photos / "a.jpg", photos / "mirrored.jpg", "--model", model)
    assert facekd("verify", *pair).code == Exit.USAGE
    facekd("calibrate", model, "--data", crops, "--aligned")
    ran = facekd("verify", *pair, "--json")
    assert ran.code in (Exit.DONE, Exit.DIFFERENT)
    told, card = json.loads(ran.out), read_card(model)[0]
    assert told["threshold"]["value"] == card.calibration[0].threshold
    assert (told["threshold"]["fmr"], told["threshold"]["data"], told["prior"]) == (1e-2, "staff", 0.5)
    assert told["probability"] == pytest.approx(1 / (1 + math.exp(-told["log_likelihood_ratio"])))
    # crops were given there and are found by a detector here
    assert len(told["notes"]) == 1
    both = "the threshold was calibrated and the score map was fitted with detector none"
    assert told["notes"][0].startswith(both)


def test_earlier_thresholds_are_told(facekd: Callable, crops: Path, model: Path) -> None:
    facekd("calibrate", model, "--data", crops, "--aligned")
    entry = read_card(model)[0].calibration[0]
    ran = facekd("calibrate", model, "--data", crops, "--aligned", "--fmr", 5e-3 + 5e-3)
    assert f"replaced: threshold {entry.threshold:.4f} at FMR 0.01 (staff)" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["tiny.onnx"], Exit.USAGE, "--data"),
        (["absent.onnx", "--data", "staff", "--aligned"], Exit.USAGE, "absent.onnx"),
        (["tiny.onnx", "--data", "absent", "--aligned"], Exit.USAGE, "absent"),
        (["tiny.onnx", "--data", "staff", "--aligned", "--fmr", "0.1"], Exit.USAGE, "--fmr"),
        (["tiny.onnx", "--data", "staff", "--aligned", "--fmr", "0,001"], Exit.USAGE, "point: 0.001"),
        (["tiny.onnx", "--data", "staff", "--aligned", "--out", "x.bin"], Exit.USAGE, "x.bin"),
        (["tiny.onnx", "--data", "staff", "--aligned", "--fmr", "0"], Exit.USAGE, "--fmr"),
        (["tiny.onnx", "--data", "staff", "--aligned", "--fmr", "1e-5"], Exit.USAGE, "3,000,000"),
        (["tiny.onnx", "--data", "staff/P00", "--aligned"], Exit.USAGE, "is not in a person's folder"),
        (["tiny.onnx", "--data", "tiny.onnx", "--aligned"], Exit.USAGE, "neither a folder"),
        (["tiny.onnx", "--data", "staff", "--crop-detector", "yunet"], Exit.USAGE, "Add --aligned"),
        (["tiny.onnx", "--data", "staff", "--detector", "dlib"], Exit.USAGE, "no detector is named"),
        (["text.onnx", "--data", "staff", "--aligned"], Exit.IO, "not a usable ONNX model"),
    ],
)
def test_wrong_calls(
    facekd: Callable,
    crops: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: Exit,
    told: str,
) -> None:
    monkeypatch.chdir(model.parent)
    Path("staff").symlink_to(crops)
    Path("text.onnx").write_text("not a model")
    before = model.read_bytes()
    ran = facekd("calibrate", *arguments)
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert told in ran.err
    assert "Traceback" not in ran.err
    assert model.read_bytes() == before


@pytest.mark.slow
def test_from_drawn_photos(facekd: Callable, model: Path, tmp_path: Path) -> None:
    """Faces are found by the detector; the card names it."""
    from facekd.samples import draw_people

    need_mtcnn()
    draw_people(tmp_path / "drawn.zip", 20, 4, workers=1)
    ran = facekd("calibrate", model, "--data", tmp_path / "drawn.zip", "--json")
    assert ran.code == Exit.DONE, ran.err
    told, card = json.loads(ran.out), read_card(model)[0]
    failed = len(told["failures_to_acquire"])
    (entry,) = card.calibration
    assert (entry.data, entry.detector, entry.sample.photos) == ("drawn.zip", "mtcnn", 80)
    assert entry.counts.failures_to_acquire == failed
    embedded = 80 - failed
    assert entry.counts.mated + entry.counts.non_mated == embedded * (embedded - 1) // 2
