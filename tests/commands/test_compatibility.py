"""``facekd compatibility``: two tiny models that nearly agree, and two that do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from patterned_people import write_people
from tiny_model import write_tiny_model

from facekd.card.onnx_file import card_of, load_onnx, read_card, write_card
from facekd.errors import Exit
from facekd.runtime import load_embedder
from facekd.verification import metrics

PEOPLE, PHOTOS = 66, 4


def _near(model: Path, path: Path, spread: float) -> Path:
    """A copy whose weights are a little off, so with another digest and space."""
    network = load_onnx(model)
    card = card_of(network, path.stem)[0].model_copy(update={"name": path.stem})
    weights = next(t for t in network.graph.initializer if t.name == "weights")
    values = numpy_helper.to_array(weights)
    noise = np.random.default_rng(8).normal(0, spread, values.shape).astype(np.float32)
    weights.CopyFrom(numpy_helper.from_array(values + noise - noise.mean(axis=0), "weights"))
    write_card(network, card, path)
    return path


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cross")
    write_people(folder / "crops", PEOPLE, PHOTOS, noise=90)
    lines = ["path1,path2,label"]
    for p in range(PEOPLE):
        for n in range(1, PHOTOS):
            lines.append(f"P{p:02d}/{n}.png,P{p:02d}/{n + 1}.png,1")
            lines.append(f"P{p:02d}/{n}.png,P{(p + n) % PEOPLE:02d}/{n + 1}.png,0")
    (folder / "pairs.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``one.onnx``, ``near.onnx`` in nearly its space, ``far.onnx`` in its own; one process."""
    from facekd.workflows import photo_acquisition

    monkeypatch.setattr(photo_acquisition, "WORTH_WORKERS", 10**6)
    write_tiny_model(tmp_path / "one.onnx")
    write_tiny_model(tmp_path / "far.onnx", seed=1)
    _near(tmp_path / "one.onnx", tmp_path / "near.onnx", 0.05)
    return tmp_path


def _run(facekd: Callable, crops: Path, *arguments: object):
    return facekd(
        "compatibility", *arguments, "--data", crops / "crops", "--pairs", crops / "pairs.csv", "--aligned"
    )


def test_against_scores_of_its_own(facekd: Callable, crops: Path, models: Path) -> None:
    ran = _run(facekd, crops, models / "one.onnx", models / "near.onnx", "--json")
    assert ran.code == Exit.DONE, ran.err
    told = json.loads(ran.out)
    assert [model["name"] for model in told["models"]] == ["one", "near"]
    assert [cross["name"] for cross in told["cross"]] == ["one to near", "near to one"]

    names = sorted(f"{p.parent.name}/{p.name}" for p in (crops / "crops").rglob("*.png"))
    images = np.stack([cv2.imread(str(crops / "crops" / name))[..., ::-1] for name in names])
    rows = {
        model: dict(zip(names, load_embedder(models / f"{model}.onnx", threads=1).embed(images), strict=True))
        for model in ("one", "near")
    }
    lines = [line.split(",") for line in (crops / "pairs.csv").read_text().splitlines()[1:]]
    for cross, (first, second) in zip(told["cross"], (("one", "near"), ("near", "one")), strict=True):
        scores = np.array([rows[first][a] @ rows[second][b] for a, b, _ in lines])
        mated = np.array([label == "1" for _, _, label in lines])
        assert cross["auc"]["value"] == pytest.approx(metrics.auc(scores[mated], scores[~mated]), abs=1e-4)
        assert cross["comparisons"]["mated"] == 198
        assert cross["accuracy"]["mean"] > 0.7
    photos = PEOPLE * PHOTOS
    (first, _), (again, _) = (cross["all_pairs"]["operating_points"] for cross in told["cross"])
    assert first["non_mated"] == photos * (photos - PHOTOS)
    assert first["mated"] == photos * (PHOTOS - 1)
    assert first["tar"] == again["tar"]
    carried = told["cross"][0]["fmr_at_the_models_own_thresholds"]
    assert {entry["model"] for entry in carried} == {"one", "near"}
    assert told["compatibility"]["compatible"] is True


def test_as_text_with_a_picture(facekd: Callable, crops: Path, models: Path) -> None:
    ran = _run(facekd, crops, models / "one.onnx", models / "near.onnx", "--plot", models / "roc.svg")
    assert ran.code == Exit.DONE, ran.err
    for words in (
        "one to near",
        "near to one",
        "Thresholds do not carry over",
        "compatible, by the",
        "threshold",
    ):
        assert words in " ".join(ran.out.split())
    assert "<svg" in (models / "roc.svg").read_text()


def test_cards_of_models_that_agree(facekd: Callable, crops: Path, models: Path) -> None:
    before = {name: read_card(models / f"{name}.onnx")[0] for name in ("one", "near")}
    for _ in range(2):
        ran = _run(facekd, crops, models / "one.onnx", models / "near.onnx", "--write", "--json")
        assert ran.code == Exit.DONE, ran.err
        assert "card of" in ran.err
        for name, other in (("one", "near"), ("near", "one")):
            card = read_card(models / f"{name}.onnx")[0]
            assert card.compatible_with == (before[other].space,)
            assert card.model_copy(update={"compatible_with": ()}) == before[name]


def test_cards_of_models_that_do_not(facekd: Callable, crops: Path, models: Path) -> None:
    files = [models / "one.onnx", models / "far.onnx"]
    before = [file.read_bytes() for file in files]
    ran = _run(facekd, crops, *files, "--write", "--json")
    assert ran.code == Exit.MISFIT
    assert json.loads(ran.out)["compatibility"]["compatible"] is False
    assert "no card was written" in ran.err
    assert [file.read_bytes() for file in files] == before


def test_too_few_comparisons_to_say(facekd: Callable, crops: Path, models: Path, tmp_path: Path) -> None:
    lines = (crops / "pairs.csv").read_text().splitlines()
    (tmp_path / "few.csv").write_text("\n".join(lines[:61]))
    ran = facekd(
        "compatibility", models / "one.onnx", models / "near.onnx", "--write", "--aligned",
        "--data", crops / "crops", "--pairs", tmp_path / "few.csv",
    )  # fmt: skip
    assert ran.code == Exit.USAGE
    assert "cannot be decided: insufficient data" in ran.err
    assert read_card(models / "one.onnx")[0].compatible_with == ()


def test_embeddings_of_two_lengths(facekd: Callable, crops: Path, models: Path) -> None:
    write_tiny_model(models / "short.onnx", dim=16)
    ran = _run(facekd, crops, models / "one.onnx", models / "short.onnx")
    assert (ran.code, ran.out) == (Exit.MISFIT, "")
    assert "32 values, short of 16" in ran.err


def test_wrong_calls(facekd: Callable, crops: Path, models: Path) -> None:
    one, near = models / "one.onnx", models / "near.onnx"
    data = ("--data", crops / "crops", "--aligned")
    (models / "both.toml").write_text('models = ["one.onnx", "near.onnx"]')
    listed = ("--pairs", crops / "pairs.csv")
    cases = [
        ((one, *data, *listed), "Missing argument 'OTHER'"),
        ((one, near, near, *data, *listed), "unexpected extra argument"),
        ((one, near, "--protocol", "people", *data), "does not list pairs of photos"),
        ((one, near, "--scores", models / "s.csv", *data, *listed), "No such option"),
        ((one, near, *listed), "Missing option '--data'"),
        ((one, models / "both.toml", "--write", *data, *listed), "no card to write"),
    ]
    for arguments, told in cases:
        ran = facekd("compatibility", *arguments)
        assert (ran.code, ran.out) == (Exit.USAGE, ""), ran.err
        assert told in ran.err


def test_a_file_that_was_changed_meanwhile(crops: Path, models: Path) -> None:
    from facekd.errors import Misfit
    from facekd.verification.protocols import open_protocol
    from facekd.workflows.compatibility import evaluate_compatibility, write_compatible

    files = [models / "one.onnx", models / "near.onnx"]
    found = evaluate_compatibility(
        files, open_protocol("pairs", crops / "pairs.csv"), crops / "crops", detector=None
    )
    onnx.save(onnx.load(str(models / "far.onnx")), str(files[1]))
    with pytest.raises(Misfit, match="changed during"):
        write_compatible(found)
    assert read_card(files[0])[0].compatible_with == ()
