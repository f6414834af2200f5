"""What an evaluation keeps of each photo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from patterned_people import write_people
from small_photos import need_mtcnn, write_photos
from tiny_model import write_tiny_model

from facekd.card import ARCFACE_CROP, Pack, load_onnx, read_card, write_card
from facekd.preprocess import source_digest
from facekd.verification.protocols import open_protocol
from facekd.workflows import evaluate_models

PAIRS = ("a,b,1", "a,c,1", "b,c,1", "a,mirrored,0", "b,mirrored,0", "c,mirrored,0", "c,blank,0", "a,absent,0")


def test_one_value_a_photo_for_pages_and_figures(tmp_path: Path) -> None:
    need_mtcnn()
    (tmp_path / "photos").mkdir()
    photos = write_photos(tmp_path / "photos")
    lines = [line.replace(",", ".jpg,") for line in PAIRS]
    (tmp_path / "pairs.csv").write_text("\n".join(["path1,path2,label", *lines]))
    protocol = open_protocol("pairs", tmp_path / "pairs.csv")
    model = write_tiny_model(tmp_path / "tiny.onnx")
    plain = evaluate_models([model], protocol, photos)
    found = evaluate_models([model], protocol, photos, rate_quality=True, keep=["b.jpg"])
    assert [photo.name for photo in found.acquired] == list(protocol.photos)
    assert (found.photos, found.missing, found.failures) == (6, ("absent.jpg",), (("blank.jpg", "no_face"),))
    rated = {photo.name: photo.quality for photo in found.acquired}
    assert {name for name, value in rated.items() if value is None} == {"absent.jpg", "blank.jpg"}
    assert all(0 < value <= 1 for value in rated.values() if value is not None)
    (kept,) = [photo for photo in found.acquired if photo.crops]
    assert (kept.name, kept.crops[ARCFACE_CROP].shape) == ("b.jpg", (112, 112, 3))
    # neither costs a figure, and nothing is kept that was not asked for
    assert not any(photo.crops or photo.quality for photo in plain.acquired)
    np.testing.assert_array_equal(plain.models[0].result.scores, found.models[0].result.scores)


def test_a_crop_that_is_not_in_the_pack_is_a_failure(tmp_path: Path) -> None:
    write_people(tmp_path / "crops", 4, 2)
    lines = [f"P{n:02d}/1.png,P{n:02d}/2.png,1" for n in range(4)]
    lines += [f"P{n:02d}/1.png,P{(n + 1) % 4:02d}/2.png,0" for n in range(4)]
    (tmp_path / "pairs.csv").write_text("\n".join(["path1,path2,label", *lines]))
    (tmp_path / "crops" / "P01" / "2.png").unlink()
    found = evaluate_models(
        [write_tiny_model(tmp_path / "tiny.onnx")],
        open_protocol("pairs", tmp_path / "pairs.csv"), tmp_path / "crops", detector=None,
    )  # fmt: skip
    assert (found.missing, found.failures) == ((), (("P01/2.png", "not in the pack"),))


def test_a_model_trained_on_the_data_is_marked(tmp_path: Path) -> None:
    crops = write_people(tmp_path / "crops", 4, 2)
    models = [write_tiny_model(tmp_path / name) for name in ("a.onnx", "b.onnx")]
    card = read_card(models[1])[0]
    packs = (Pack(name="crops", digest=source_digest(crops)),)
    provenance = card.provenance.model_copy(update={"packs": packs})
    write_card(load_onnx(models[1]), card.model_copy(update={"provenance": provenance}), models[1])
    found = evaluate_models(models, open_protocol("people", crops), crops, detector=None)
    assert [model.trained_on_data for model in found.models] == [False, True]
    assert [model["trained_on_data"] for model in found.to_dict()["models"]] == [False, True]
