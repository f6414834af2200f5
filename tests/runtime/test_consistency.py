"""Quality as the agreement of a face with its mirror image."""

import numpy as np
import pytest
from tiny_model import write_tiny_model

from facekd.runtime import load_embedder, mirror_consistency


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory):
    return load_embedder(write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.onnx"))


def test_it_is_the_cosine_with_the_mirror_image(embedder) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3)).astype(np.uint8)
    rows = embedder.embed(crops)
    found = mirror_consistency(embedder, crops, rows)
    for crop, row, value in zip(crops, rows, found, strict=True):
        mirrored = embedder.embed(np.stack([np.stack([line[::-1] for line in crop])]))[0]
        expected = max(0.0, float(row @ mirrored) / float(np.linalg.norm(row) * np.linalg.norm(mirrored)))
        assert value == pytest.approx(expected, abs=1e-5)
    assert found.dtype == np.float32


def test_what_is_its_own_mirror_image_is_consistent(embedder) -> None:
    half = np.random.default_rng(1).integers(0, 256, (1, 112, 56, 3)).astype(np.uint8)
    crops = np.concatenate([half, half[:, :, ::-1]], axis=2)
    assert mirror_consistency(embedder, crops, embedder.embed(crops)) == pytest.approx([1], abs=1e-5)
