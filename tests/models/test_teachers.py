"""Every kind of teacher behind the one call that training makes."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_model import write_tiny_model

from facekd.card.contract import LandmarkCrop
from facekd.card.onnx_file import load_onnx, read_card, write_card
from facekd.errors import DeviceError, InputOutput, Misfit, UsageError
from facekd.models import build_model
from facekd.models._torchvision_ops import ensure_torchvision_ops
from facekd.models.teachers import load_teacher
from facekd.runtime import load_embedder

RECIPE = '[student]\nname = "plainres_small"\nsettings = { dim = 16 }\n'


@pytest.fixture(scope="module")
def views() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 112, 112, 3), np.uint8)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    run = tmp_path / "run"
    (run / "checkpoints" / "best").mkdir(parents=True)
    weights = build_model("plainres_small", dim=16).state_dict()
    save_file(weights, run / "checkpoints" / "best" / "model.safetensors")
    (run / "recipe.toml").write_text(RECIPE)
    return run


def test_an_onnx_teacher_says_what_its_embedder_says(tmp_path: Path, views: np.ndarray) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    teacher, embedder = load_teacher(path, threads=1), load_embedder(path)
    assert (teacher.name, teacher.space, teacher.dim) == (embedder.name, embedder.space, 32)
    targets = teacher.targets(views)
    np.testing.assert_array_equal(targets.embedding.numpy(), embedder.embed(views))
    assert targets.features == {}


def test_views_are_warped_to_the_teachers_own_template(tmp_path: Path, views: np.ndarray) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    shifted = tuple((x + 8, y) for x, y in LandmarkCrop(size=112).template)
    card = read_card(path)[0].model_copy(update={"crop": LandmarkCrop(size=112, template=shifted)})
    write_card(load_onnx(path), card, tmp_path / "shifted.onnx")
    moved = np.zeros_like(views)
    moved[:, :, 8:] = views[:, :, :-8]
    wanted = load_embedder(path).embed(moved)
    found = load_teacher(tmp_path / "shifted.onnx").targets(views).embedding.numpy()
    assert (found * wanted).sum(1).min() > 0.9999


def test_views_of_another_shape_are_refused(tmp_path: Path, run: Path, views: np.ndarray) -> None:
    for spec in (write_tiny_model(tmp_path / "tiny.onnx"), run):
        with pytest.raises(Misfit, match=r"\[N, 112, 112, 3\]"):
            load_teacher(spec).targets(views[:, :100])


def test_a_run_teaches_with_unit_rows_and_feature_maps(run: Path, views: np.ndarray) -> None:
    teacher = load_teacher(str(run))
    targets = teacher.targets(views)  # more views than one piece of 32
    net = build_model("plainres_small", dim=16)
    torch.manual_seed(0)
    net = build_model("plainres_small", dim=16).eval()
    with torch.no_grad():
        planes = torch.tensor((views.astype(np.float32) - 127.5) / 127.5).permute(0, 3, 1, 2)
        wanted = torch.nn.functional.normalize(net(planes))
    torch.testing.assert_close(targets.embedding, wanted, atol=1e-5, rtol=0)
    assert {name: len(maps) for name, maps in targets.features.items()} == {
        f"stage{n}": 40 for n in range(1, 5)
    }
    assert not targets.embedding.requires_grad
    # a loss may multiply them with what does learn
    (torch.ones(40, 16, requires_grad=True) * targets.embedding).sum().backward()


def test_several_teachers_score_the_mean_of_their_scores(
    tmp_path: Path, run: Path, views: np.ndarray
) -> None:
    paths = [write_tiny_model(tmp_path / "a.onnx", seed=1, dim=8), run]
    both = load_teacher(paths)
    assert both.dim == 24
    rows = both.targets(views).embedding
    each = [load_teacher(path).targets(views).embedding for path in paths]
    torch.testing.assert_close(rows @ rows.T, sum(r @ r.T for r in each) / 2, atol=1e-5, rtol=0)
    assert list(both.targets(views[:2]).features) == [f"1.stage{n}" for n in range(1, 5)]
    assert both.space not in {load_teacher(path).space for path in paths}
    assert load_teacher(paths[::-1]).space != both.space
    assert load_teacher(paths[:1]).space == load_teacher(paths[0]).space


def test_specs_that_name_nothing(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no teacher")
    for spec in ([], str(tmp_path / "notes.txt"), "timm:edgenext_x_small", "inception:nobody"):
        with pytest.raises(UsageError):
            load_teacher(spec)
    for spec in ("nowhere", "nowhere.onnx", "inception:nowhere.pt", "timm:resnet18:nowhere.safetensors"):
        with pytest.raises(InputOutput):
            load_teacher(spec)
    with pytest.raises(UsageError, match=r"no model 'edgenext_x_smal'(?s:.*)edgenext_x_small"):
        load_teacher("timm:edgenext_x_smal:weights.safetensors")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_teacher_falls_back_to_the_cpu(tmp_path: Path, run: Path) -> None:
    with pytest.raises(DeviceError):
        load_teacher(write_tiny_model(tmp_path / "tiny.onnx"), device="cuda")
    with pytest.raises(DeviceError, match="no CUDA device"):
        load_teacher(run, device="cuda")


def test_inception_cannot_see_aligned_crops(tmp_path: Path) -> None:
    ensure_torchvision_ops()
    from facenet_pytorch import InceptionResnetV1

    weights = InceptionResnetV1(classify=True, num_classes=3).state_dict()
    torch.save(weights, tmp_path / "inception.pt")  # with a classifier, as it is published
    with pytest.raises(Misfit, match="160-pixel box crops"):
        load_teacher(f"inception:{tmp_path / 'inception.pt'}")


def test_published_weights_that_cannot_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_torchvision_ops()
    from facenet_pytorch.models import inception_resnet_v1

    def no_network(*_: object) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(inception_resnet_v1, "download_url_to_file", no_network)
    with pytest.raises(InputOutput, match=r"cannot be downloaded(?s:.*)inception:FILE"):
        load_teacher("inception:vggface2")


@pytest.mark.needs_faces
def test_edgeface_in_torch_is_edgeface_in_onnx(faces: Path) -> None:
    from PIL import Image

    models = faces / "models"
    with zipfile.ZipFile(faces / "train-labelled-1.zip") as pack:
        names = [name for name in pack.namelist() if name.endswith(".webp")][:1600:100]
        crops = np.stack(
            [np.asarray(Image.open(io.BytesIO(pack.read(name))).convert("RGB")) for name in names]
        )
    for file, name in (("edgeface_xs", "edgenext_x_small"), ("edgeface_xxs", "edgenext_xx_small")):
        torched = load_teacher(f"timm:{name}:{models / file}.safetensors").targets(crops)
        exported = load_teacher(models / f"{file}.onnx").targets(crops)
        assert (torched.embedding * exported.embedding).sum(1).min() >= 0.99999
        assert [tuple(maps.shape[2:]) for maps in torched.features.values()] == [
            (28, 28), (14, 14), (7, 7), (3, 3),
        ]  # fmt: skip
    with pytest.raises(Misfit, match="not the weights of this network"):
        load_teacher(f"timm:edgenext_small:{models / 'edgeface_xs.safetensors'}")
