"""From a run folder to a file: which checkpoint, which crops, which threshold."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from facekd.card import Sample
from facekd.card.onnx_file import read_card
from facekd.errors import InputOutput, UsageError
from facekd.export import export
from facekd.export.measured_crops import measured_crops
from facekd.models.teachers import load_teacher
from facekd.runtime import load_embedder
from facekd.verification import find_limits, fit_map, sampled


def test_a_run_gives_its_best_checkpoint_with_a_threshold(run_folder: Path, crops: np.ndarray) -> None:
    done = export(run_folder)
    assert done.path == run_folder / "student.onnx"
    (entry,) = done.card.calibration  # five people of twenty crops, 4,000 non-mated comparisons
    assert (entry.fmr, entry.counts.non_mated) == (1e-2, 4000)
    card, found = read_card(done.path)
    assert found
    assert card == done.card
    assert card.architecture == "plainres_small(dim=24)"
    assert card.provenance.images_seen == 32  # best is step 4
    best = load_teacher(str(run_folder / "checkpoints" / "step-4")).targets(crops).embedding.numpy()
    np.testing.assert_allclose(load_embedder(done.path).embed(crops), best, atol=1e-5)


def test_the_card_has_a_score_map_and_photo_limits(
    run_folder: Path, crops: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the tiny network shrugs off what makes a crop worse: here any stranger is one too many
    monkeypatch.setattr("facekd.verification.limit_search.MOST_FALSE", 0)
    pack, random = run_folder.parent.parent / "grainy.zip", np.random.default_rng(0)
    with zipfile.ZipFile(pack, "w") as archive:
        for person, piece in enumerate(crops[:16]):
            for number in range(8):
                grain = random.normal(0, 12, piece.shape)
                encoded = cv2.imencode(".png", np.clip(piece[..., ::-1] + grain, 0, 255))[1].tobytes()
                archive.writestr(f"g{person:02d}/{number}.png", encoded)
    done = export(run_folder, run_folder / "x.onnx", data=[pack])
    given = measured_crops([pack], None).labelled
    assert given is not None
    embedder, people = load_embedder(done.path), [given.people[label] for label in given.labels]
    pixels = [given.read(index) for index in range(len(given))]
    limits, score_map = done.card.photo_limits, done.card.score_map
    assert limits is not None
    assert (done.no_limits, done.no_map) == (None, None)
    chosen = sampled(people)
    expected = find_limits(
        embedder.embed,
        embedder.spec,
        [pixels[index] for index in chosen],
        [people[index] for index in chosen],
        done.card.calibration,
    )
    assert not isinstance(expected, str)
    assert limits.limits == expected.limits
    assert limits.limits
    assert limits.photos == len(chosen) == 80  # five of each person
    assert score_map is not None
    assert score_map.curve == fit_map(embedder.embed(np.stack(pixels)), given.labels).curve
    with zipfile.ZipFile(pack) as archive:
        listed = "".join(f"{n}\n{hashlib.sha256(archive.read(n)).hexdigest()}\n" for n in given.names)
    (entry,) = done.card.calibration
    assert entry.sample == limits.sample == score_map.sample
    assert entry.sample == Sample(people=16, photos=128, digest=hashlib.sha256(listed.encode()).hexdigest())


def test_the_threshold_is_what_counting_all_pairs_gives(run_folder: Path) -> None:
    # ten people of twenty crops: 18,000 non-mated comparisons, enough for FMR 1e-2 only
    pack = run_folder.parent.parent / "pack.zip"
    done = export(run_folder / "checkpoints" / "last", run_folder / "last.onnx", data=[pack])
    assert done.uncalibrated is None
    (entry,) = done.card.calibration
    assert entry.fmr == 1e-2
    assert entry.counts.non_mated == 18_000
    assert entry.counts.mated == 10 * 190
    assert done.card.provenance.images_seen == 64  # last is step 8
    measured = measured_crops([pack], None)
    assert measured.labelled is not None
    pixels = np.stack([measured.labelled.read(index) for index in range(200)])
    rows = load_embedder(done.path).embed(pixels)
    people = measured.labelled.labels
    apart = np.triu(people[:, None] != people[None, :])
    matches = int(((rows @ rows.T)[apart] >= entry.threshold).sum())
    assert abs(matches - entry.counts.false_matches) <= 1  # one score may round to the other side
    assert matches / 18_000 <= 1e-2 + 1e-4
    assert entry.low <= entry.counts.false_matches / 18_000 <= entry.high


def test_only_even_lines_of_the_heldout_list_calibrate(run_folder: Path) -> None:
    measured = measured_crops([], run_folder)
    assert measured.labelled is not None
    assert sorted(measured.labelled.people) == ["p1", "p3", "p5", "p7", "p9"]
    assert len(measured.some(64)) == 64
    assert measured.name == "held-out people of windows (5 people, 100 crops)"


def test_without_crops_nothing_is_exported(run_folder: Path, tmp_path: Path) -> None:
    (run_folder.parent.parent / "pack.zip").unlink()
    with pytest.raises(UsageError, match=r"do not exist: .*pack\.zip"):
        export(run_folder)
    assert not (run_folder / "student.onnx").exists()


def test_what_is_not_a_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputOutput, match="no weights in it"):
        export(tmp_path)
    with pytest.raises(InputOutput, match="no such file or folder"):
        export(tmp_path / "none")


def test_an_exported_model_is_named_onnx(run_folder: Path) -> None:
    with pytest.raises(UsageError, match=r"must end with \.onnx"):
        export(run_folder, run_folder / "student.pt")


@pytest.mark.slow
def test_a_box_crop_network_exports_with_its_own_contract(run_folder: Path, tmp_path: Path) -> None:
    from facekd.models._torchvision_ops import ensure_torchvision_ops

    ensure_torchvision_ops()
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(0)
    weights = tmp_path / "inception.pt"
    torch.save(InceptionResnetV1().state_dict(), weights)
    done = export(f"inception:{weights}", tmp_path / "inception.onnx", [run_folder / "recipe.toml"])
    assert done.uncalibrated is not None
    assert "box crops" in done.uncalibrated
    embedder = load_embedder(done.path)
    assert (embedder.spec.kind, embedder.spec.size) == ("box", 160)
    assert (embedder.card.input.mean, embedder.card.input.std) == (127.5, 128.0)
    photo = np.random.default_rng(0).integers(0, 256, (2, 160, 160, 3), np.uint8)
    assert embedder.embed(photo).shape == (2, 512)


def test_the_detector_is_the_one_that_the_recipe_states(run_folder: Path) -> None:
    assert measured_crops([], run_folder).detector == "as the crops were given"
    recipe = run_folder / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("[data]\n", '[data]\ndetector = "yunet"\n', 1))
    assert measured_crops([], run_folder).detector == "yunet"


def test_few_heldout_crops_do_not_stop_the_parity_check(
    run_folder: Path, crops: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run_folder.parent.parent / "heldout.txt").write_text("p0\np1\np2\np3\n")
    monkeypatch.setattr("facekd.export.measured_crops.PARITY_CROPS", 41)
    measured = measured_crops([], run_folder)
    assert measured.labelled is not None
    assert sorted(measured.labelled.people) == ["p1", "p3"]
    assert len(measured.labelled) == 40
    assert len(measured.any) == 120  # the six people that are trained on
    assert not set(measured.any.names) & set(measured.labelled.names)


def test_a_pack_that_the_run_was_trained_on_gives_no_threshold(run_folder: Path, tmp_path: Path) -> None:
    pack, held = run_folder.parent.parent / "pack.zip", run_folder.parent.parent / "heldout.txt"
    held.write_text("p0\np1\np2\np3\n")  # six people are trained on
    with pytest.raises(UsageError, match=r"pack\.zip: .* was trained on it"):
        export(run_folder, data=[pack])
    elsewhere = tmp_path / "elsewhere.zip"
    elsewhere.write_bytes(pack.read_bytes())
    assert export(run_folder, tmp_path / "x.onnx", data=[elsewhere]).card.calibration
