"""Drawn people can be used as faces: those in data/ are detected where they were drawn, and distinguished by
a recogniser trained on real faces."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from facekd.errors import NoFace, TooSmall
from facekd.preprocess import Detector, Face, Photo, cut, decode, find_face
from facekd.preprocess.detectors import make_detector
from facekd.samples import draw, landmarks, person, person_seed

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "data" / "samples"
#: as data/README.md states
SEED, SIZE = 1, 160

Sample = tuple[str, Photo, Face | None]


def need_mtcnn() -> None:
    if importlib.util.find_spec("facenet_pytorch") is None:
        pytest.skip("MTCNN's weights come with facenet-pytorch")


@pytest.fixture(scope="module")
def detector() -> Detector:
    need_mtcnn()
    return make_detector("mtcnn")


@pytest.fixture(scope="module")
def looked_at(detector: Detector) -> list[Sample]:
    """Three photos of each sample person."""
    out: list[Sample] = []
    for file in sorted(SAMPLES.glob("*/000[1-3].jpg")):
        photo = decode(file)
        try:
            out.append((file.parent.name, photo, find_face(photo, detector)))
        except (NoFace, TooSmall):
            out.append((file.parent.name, photo, None))
    return out


def test_the_samples_are_as_stated():
    files = list(SAMPLES.glob("*/*.jpg"))
    counts = Counter(f.parent.name for f in files)
    assert len(counts) == 30
    assert set(counts.values()) == {8}
    assert sum(f.stat().st_size for f in files) < 1_500_000


def test_the_samples_are_drawn_by_this_generator():
    for number, photo in ((0, 0), (13, 5), (29, 7)):
        file = SAMPLES / f"person-{number + 1:04d}" / f"{photo + 1:04d}.jpg"
        stored = decode(file).pixels.astype(int)
        drawn = draw(person(person_seed(SEED, number)), photo, SIZE).astype(int)
        assert np.abs(stored - drawn).mean() < 6


def test_mtcnn_finds_the_samples(looked_at: list[Sample]):
    found = sum(face is not None for *_, face in looked_at)
    assert found >= 0.95 * len(looked_at)


def test_mtcnn_finds_the_landmarks_where_they_were_drawn(looked_at: list[Sample]):
    errors = []
    for who, photo, face in looked_at:
        if face is None:
            continue
        number, index = int(who[-4:]) - 1, int(Path(photo.path).stem) - 1
        truth = landmarks(person(person_seed(SEED, number)), index, SIZE)
        scale = np.linalg.norm(truth[:2].mean(0) - truth[3:].mean(0))
        errors.append(np.linalg.norm(face.landmarks - truth, axis=1).mean() / scale)
    assert np.median(errors) < 0.12
    assert np.percentile(errors, 95) < 0.25


@pytest.mark.needs_faces
def test_a_recogniser_tells_the_samples_apart(looked_at: list[Sample], faces: Path):
    from facekd.runtime import load_embedder

    model = load_embedder(faces / "models" / "edgeface_xs.onnx", "cpu", 1)
    seen = [(who, photo, face) for who, photo, face in looked_at if face is not None]
    embeddings = model.embed(np.stack([cut(photo.pixels, face, model.spec) for _, photo, face in seen]))
    scores = embeddings @ embeddings.T
    people = np.array([who for who, *_ in seen])
    pairs = np.triu_indices(len(people), 1)
    same = (people[:, None] == people[None])[pairs]
    mated, non_mated = scores[pairs][same], scores[pairs][~same]
    # equal error rate below 15 %: some threshold errs on less than that on either side
    threshold = np.quantile(non_mated, 0.86)
    assert np.mean(non_mated >= threshold) < 0.15
    assert np.mean(mated < threshold) < 0.15


def test_the_tool_checks_writes_and_refuses(tmp_path: Path):
    need_mtcnn()
    tool = [sys.executable, str(ROOT / "tools" / "draw_people.py")]
    few = ["--people", "2", "--photos", "2", "--size", "160"]
    out = [str(tmp_path / "people"), "--sheet", str(tmp_path / "sheet.png")]
    ran = subprocess.run(
        [*tool, *out, *few, "--workers", "1", "--check"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "found in 4 of 4 photos" in ran.stdout
    assert decode(tmp_path / "sheet.png").pixels.shape == (320, 320, 3)
    assert len(list((tmp_path / "people").glob("*/*.jpg"))) == 4
    again = subprocess.run([*tool, str(tmp_path / "people"), *few], capture_output=True, text=True)
    assert again.returncode == 2
    assert "already exists" in again.stderr
    assert "Traceback" not in again.stderr
    assert subprocess.run(tool, capture_output=True).returncode == 2


def test_a_face_that_was_not_found_where_it_was_drawn_does_not_count():
    spec = importlib.util.spec_from_file_location("draw_people_tool", ROOT / "tools" / "draw_people.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    sys.modules["draw_people_tool"] = tool
    spec.loader.exec_module(tool)

    class Elsewhere:
        name = "elsewhere"

        def detect(self, pixels: np.ndarray) -> list[Face]:
            truth = landmarks(person(0), 0, 160) + 100
            return [Face(np.array([100, 100, 160, 160], np.float32), 0.9, truth.astype(np.float32))]

    (found,) = tool.look(Elsewhere(), [0], 1, 160)
    assert found.face is None
