"""The picture of README and the index page, from a demonstration's folder."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_model import write_tiny_model

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from draw_overview import MODELS, Comparison, main, median, threshold_of

from facekd.card.contract import Calibration, Counts
from facekd.errors import UsageError

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "data" / "samples"


def calibrated(fmr: float, threshold: float) -> Calibration:
    counts = Counts(mated=10, non_mated=80, false_matches=1, false_non_matches=1)
    return Calibration(
        fmr=fmr,
        threshold=threshold,
        low=0,
        high=1,
        data="drawn",
        counts=counts,
        detector="mtcnn",
        aligner="x",
    )


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """What a demonstration leaves of five sample people, whose photos are their own crops."""
    folder = tmp_path / "demo"
    people = sorted(path.name for path in SAMPLES.iterdir())[:5]
    names = [f"{person}/000{n}" for person in people for n in (1, 2)]
    report = [json.dumps({"detector": "none"})]
    with zipfile.ZipFile(_made(folder / "test-crops.zip"), "w") as pack:
        for name in names:
            photo = Image.open(SAMPLES / f"{name}.jpg")
            photo.save(_made(folder / "photos" / "test" / f"{name}.jpg"))
            crop = io.BytesIO()
            photo.resize((112, 112)).save(crop, format="png")
            pack.writestr(f"{name}.png", crop.getvalue())
            face = {"crop": f"{name}.png", "box": [40, 40, 120, 140], "landmarks": [[60, 70]] * 5}
            report.append(json.dumps({"photo": f"{name}.jpg", "faces": [face]}))
    (folder / "test-crops.zip.report.jsonl").write_text("\n".join(report))
    pairs = [f"{one}.png,{other}.png,{int(one[:-4] == other[:-4])},0" for one in names for other in names]
    (folder / "pairs.csv").write_text("\n".join(["path1,path2,label,fold", *pairs]))
    for seed, model in enumerate(MODELS):
        rates = (calibrated(1e-2, -1.0), calibrated(1e-3, 0.9999999))
        write_tiny_model(_made(folder / "runs" / model / "student.onnx"), seed, calibration=rates)
    return folder


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_the_picture_is_small_and_wide(demo: Path, tmp_path: Path) -> None:
    ran = CliRunner().invoke(main, [str(demo), str(tmp_path / "overview.png")])
    assert ran.exit_code == 0, ran.output
    data = (tmp_path / "overview.png").read_bytes()
    picture = Image.open(io.BytesIO(data))
    assert len(data) < 300_000
    assert picture.width > 3 * picture.height
    assert np.asarray(picture.convert("RGB")).std() > 20


def test_the_median_comparison_of_a_kind() -> None:
    made = [Comparison("a", "b", score > 0.4, score) for score in (0.9, 0.1, 0.5, 0.3, 0.7, 0.2)]
    assert median(made, True).score == 0.7
    assert median(made, False).score == 0.2


def test_the_strictest_threshold_that_is_reached(tmp_path: Path) -> None:
    rates = (calibrated(1e-2, 0.3), calibrated(1e-3, 0.5), calibrated(1e-4, 0.8))
    model = write_tiny_model(tmp_path / "m.onnx", calibration=rates)
    assert threshold_of(model, 0.6) == (1e-3, 0.5)
    with pytest.raises(UsageError, match="no threshold"):
        threshold_of(model, 0.2)


def test_the_picture_in_the_docs_is_small() -> None:
    picture = ROOT / "docs" / "figures" / "overview.png"
    assert picture.stat().st_size < 300_000
    assert Image.open(picture).width > 1200
