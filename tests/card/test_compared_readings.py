"""Readings of a network that is known to need the red channel, compared on made crops."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from odd_models import write_network
from onnx import numpy_helper
from tiny_model import write_tiny_model

from facekd import workflows
from facekd.card import CropSpec, InputSpec, LandmarkCrop, load_onnx, read_card
from facekd.errors import Exit
from facekd.runtime import embedder_under
from facekd.verification.results import ComparedReadings, Reading
from facekd.workflows import compare_readings, model_card

RED = ("input.colour=rgb", "input.mean=127.5", "input.std=127.5", "crop=arcface")


@dataclass(frozen=True)
class Found:
    crops: dict[CropSpec, np.ndarray]


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty people, four photos of each, whose red is their own and whose blue is half their own; a crop is
    the photo, whatever the template."""

    def crop_photos(photos: object, names: Sequence[str], specs: Sequence[CropSpec]) -> Iterator[Found]:
        for name in names:
            pixels = cv2.imread(str(tmp_path / "people" / name))[..., ::-1]
            yield Found(dict.fromkeys(specs, pixels))

    monkeypatch.setattr(model_card, "crop_photos", crop_photos)
    random = np.random.default_rng(0)
    for person in range(20):
        (tmp_path / "people" / f"p{person:02d}").mkdir(parents=True)
        own = random.integers(60, 196, (14, 14, 3))
        for number in range(4):
            small = own + random.normal(0, 1, (14, 14, 3)) * (20, 40, 60)
            crop = np.kron(np.clip(small, 0, 255), np.ones((8, 8, 1))).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "people" / f"p{person:02d}" / f"{number}.png"), crop[..., ::-1])
    return tmp_path / "people"


def network(path: Path, channels: Sequence[float]) -> Path:
    """`write_network` that weighs the channels of what it is fed."""
    model = load_onnx(write_network(path))
    weights = numpy_helper.to_array(model.graph.initializer[0]).reshape(3, 196, 16)
    weighed = (weights * np.reshape(channels, (3, 1, 1))).reshape(-1, 16).astype(np.float32)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weighed, "weights"))
    onnx.save(model, path)
    return path


def by_colour(compared: ComparedReadings) -> dict[str, Reading]:
    """Those at the scale and template of the card."""
    scale, crop = compared.stated.input.mean, compared.stated.crop
    return {one.input.colour: one for one in compared.readings if (one.input.mean, one.crop) == (scale, crop)}


def test_the_wrong_colour_order_is_worse(tmp_path: Path, people: Path) -> None:
    model = network(tmp_path / "red.onnx", (1, 0, 0))
    compared = compare_readings(model, read_card(model)[0], people)
    found = by_colour(compared)
    assert compared.readings[0].input.colour == "rgb"
    assert (found["rgb"].as_good, found["bgr"].as_good) == (True, False)
    assert found["bgr"].p_value < 1e-3 < 0.05 < found["rgb"].p_value
    assert not any(one.as_good for one in compared.readings if one.input.colour == "bgr")
    check_by_hand(compared.stated, model, people)
    assert [one.separation for one in compared.readings] == sorted(
        (one.separation for one in compared.readings), reverse=True
    )


def check_by_hand(best: Reading, model: Path, people: Path) -> None:
    files = sorted(people.glob("*/*"))
    embedder = embedder_under(read_card(model)[0], model)
    rows = embedder.embed(np.stack([cv2.imread(str(file))[..., ::-1] for file in files]))
    who = np.array([file.parent.name for file in files])
    ends = np.triu_indices(len(files), 1)
    scores, same = (rows @ rows.T)[ends], (who[:, None] == who)[ends]
    apart = (scores[same].mean() - scores[~same].mean()) / scores[~same].std()
    assert best.separation == pytest.approx(apart, rel=1e-5)
    strangers = np.sort(scores[~same])[::-1]
    missed = scores[same] <= strangers[int(0.01 * len(strangers))]
    assert best.fnmr == pytest.approx(missed.mean())


def test_a_network_that_sees_no_colour_leaves_it_open(facekd, tmp_path: Path, people: Path) -> None:
    """Both orders give the same embeddings: no number of people would tell."""
    model = network(tmp_path / "green.onnx", (0, 1, 0))
    ran = facekd("card", model, "--check-on", people, "--json")
    assert ran.code == Exit.DONE
    assert "people cannot distinguish the settings in the card (rgb" in ran.err
    assert "bgr, (x - 127.5) / 127.5, its template" in ran.err
    told = json.loads(ran.out)["check_on"]
    rgb, bgr = (
        one for one in told["readings"] if all(one[k] == told["stated"][k] for k in ("crop", "separation"))
    )
    assert {one["input"]["colour"] for one in (rgb, bgr)} == {"rgb", "bgr"}
    assert rgb["as_good"]
    assert bgr["as_good"]
    assert rgb["p_value"] == bgr["p_value"]


def test_a_wrong_statement_is_said(facekd, tmp_path: Path, people: Path) -> None:
    model = network(tmp_path / "red.onnx", (1, 0, 0))
    wrong = [part for one in ("input.colour=bgr", *RED[1:]) for part in ("--set", one)]
    ran = facekd("card", model, *wrong, "--check-on", people, "--out", tmp_path / "out.onnx", "--json")
    assert ran.code == Exit.DONE, ran.err
    assert "note: on people other input settings are better than those in the card (bgr, " in ran.err
    told = json.loads(ran.out)["check_on"]
    assert not told["stated"]["as_good"]
    assert told["stated"]["p_value"] < 0.05 <= told["readings"][0]["p_value"]
    assert (told["readings"][0]["input"]["colour"], told["people_needed"]) == ("rgb", None)


@pytest.mark.parametrize(
    ("needed", "said"),
    [
        (31, "about 11 more people would be enough\n"),
        (4321, "about 4,321 people would be needed, more than are in the 500 photos that are read at most\n"),
        (None, "bgr, (x - 127.5) / 127.5, ArcFace's template\n"),
    ],
)
def test_how_many_more_people_would_tell(
    facekd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needed: int | None, said: str
) -> None:
    model = write_tiny_model(tmp_path / "tiny.onnx")
    one = Reading(InputSpec(), LandmarkCrop(), "ArcFace's template", 0.1, 0.05, 0.2, 6.1, 1.0, True)
    other = replace(one, input=InputSpec(colour="bgr"), separation=6.0, p_value=0.4)
    found = ComparedReadings("them", 0.01, 20, 80, 0, 120, 3040, (one, other), one, needed, 500)
    monkeypatch.setattr(workflows, "compare_readings", lambda *_: found)
    ran = facekd("card", model, "--check-on", tmp_path)
    assert ran.code == Exit.DONE, ran.err
    assert "them cannot distinguish the settings in the card (rgb, (x - 127.5) / 127.5, ArcFace's" in ran.err
    assert ran.err.endswith(said)
    rows = [line.split() for line in ran.out.splitlines() if line.endswith("ArcFace's template")]
    assert rows[0][:9] == ["best", "stated", "6.10", "10.00", "%", "(5.00", "to", "20.00)", "rgb,"]
    assert rows[1][:5] == ["as", "good", "6.00", "(0.4)", "10.00"]
