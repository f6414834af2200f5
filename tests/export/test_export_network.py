"""The exported file is the network: the same rows, one file, nothing of the machine in it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from facekd.card.contract import Card, EmbeddingSpec, InputSpec, LandmarkCrop
from facekd.card.onnx_file import read_card
from facekd.errors import Misfit, UsageError
from facekd.export import export_network
from facekd.models import FaceNet, build_model
from facekd.models.teachers.load import load_network
from facekd.runtime import load_embedder

Settle = Callable[[FaceNet], FaceNet]


def card_for(net: FaceNet, **changed: object) -> Card:
    plain = Card(
        name="net", input=net.input, crop=LandmarkCrop(size=112), embedding=EmbeddingSpec(dim=net.dim)
    )
    return plain.model_copy(update=changed)


class Warped(FaceNet):
    """A small network that ``how`` bends in the one way a test asks for."""

    dim = 8

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.pool = nn.AvgPool2d(16)
        self.head = nn.Linear(3 * 7 * 7, 8)

    def forward(self, planes: Tensor) -> Tensor:
        rows: Tensor = self.head(self.pool(planes).flatten(1))
        if self.how == "differs when exported" and torch.compiler.is_exporting():
            rows = rows + 0.05
        if self.how == "sees its neighbours":
            rows = rows - rows.mean(0, keepdim=True)
        if self.how == "not a number":
            rows = rows * float("nan")
        return rows


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory, crops: np.ndarray, settled: Settle
) -> tuple[FaceNet, Path, Card]:
    net = settled(build_model("plainres_small", dim=32))
    path = tmp_path_factory.mktemp("exported") / "net.onnx"
    # not the usual colour order and scale: the card must carry them, the graph must not
    card = card_for(net, input=InputSpec(size=112, colour="bgr", mean=100, std=50))
    return net, path, export_network(net, card, path, crops)


def test_the_operator_gets_the_rows_of_the_torch_network(
    exported: tuple[FaceNet, Path, Card], crops: np.ndarray
) -> None:
    net, path, card = exported
    planes = torch.tensor((crops[..., ::-1].astype(np.float32) - 100) / 50).permute(0, 3, 1, 2)
    with torch.no_grad():
        rows = net(planes).numpy()
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    embedder = load_embedder(path)
    assert embedder.has_card
    assert embedder.card == card == read_card(path)[0]
    for batch in (1, 5):
        np.testing.assert_allclose(embedder.embed(crops[:batch]), rows[:batch], atol=1e-5)
    assert np.ptp(rows @ rows.T) > 0.5  # rows that hardly differ would prove nothing


def test_unit_rows_come_out_of_the_graph(exported: tuple[FaceNet, Path, Card]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(exported[1]))
    for batch in (1, 3):
        planes = np.random.default_rng(0).normal(size=(batch, 3, 112, 112)).astype(np.float32)
        rows = session.run(None, {"planes": planes})[0]
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_one_file_without_a_trace_of_the_machine(exported: tuple[FaceNet, Path, Card]) -> None:
    path = exported[1]
    assert [file.name for file in path.parent.iterdir()] == ["net.onnx"]
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")  # weights may spell anything
    content = model.SerializeToString()
    checkout = Path(__file__).parent.parent.parent
    for trace in (str(checkout), str(Path.home()), "/usr", "site-packages", ".py", "stack_trace"):
        assert trace.encode() not in content, trace
    graph = onnx.load(path).graph
    assert not any(node.metadata_props or node.doc_string for node in graph.node)
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_the_same_weights_have_the_same_digest(
    exported: tuple[FaceNet, Path, Card], crops: np.ndarray, tmp_path: Path
) -> None:
    net, path, card = exported
    again = export_network(net, card_for(net, input=card.input), tmp_path / "again.onnx", crops)
    assert (again.digest, again.space) == (card.digest, card.space)
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()
    with torch.no_grad():
        net.head.weight[0, 0] += 0.01
    try:
        other = export_network(net, card_for(net, input=card.input), tmp_path / "other.onnx", crops)
    finally:
        with torch.no_grad():
            net.head.weight[0, 0] -= 0.01
    assert other.digest != card.digest


@pytest.mark.parametrize("how", ["differs when exported", "sees its neighbours", "not a number"])
def test_a_file_that_is_not_the_network_is_not_written(how: str, crops: np.ndarray, tmp_path: Path) -> None:
    net = Warped(how)
    with pytest.raises(Misfit, match="differs from the original"):
        export_network(net, card_for(net), tmp_path / "net.onnx", crops)
    assert list(tmp_path.iterdir()) == []


def test_an_unbent_network_of_the_same_kind_is_written(crops: np.ndarray, tmp_path: Path) -> None:
    net = Warped("")
    export_network(net, card_for(net), tmp_path / "net.onnx", crops)
    assert (tmp_path / "net.onnx").is_file()


def test_a_failed_export_leaves_the_file_that_was_there(crops: np.ndarray, tmp_path: Path) -> None:
    place = tmp_path / "net.onnx"
    place.write_bytes(b"before")
    net = Warped("not a number")
    with pytest.raises(Misfit):
        export_network(net, card_for(net), place, crops)
    assert place.read_bytes() == b"before"


def test_few_crops_are_refused(crops: np.ndarray, tmp_path: Path) -> None:
    net = Warped("")
    with pytest.raises(UsageError, match="63 crops are too few"):
        export_network(net, card_for(net), tmp_path / "net.onnx", crops[:63])


def test_the_network_is_left_as_it_was(crops: np.ndarray, tmp_path: Path) -> None:
    net = Warped("").train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    export_network(net, card_for(net), tmp_path / "net.onnx", crops)
    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.slow
@pytest.mark.needs_faces
def test_edgeface_from_timm_is_the_published_onnx_on_real_crops(faces: Path, tmp_path: Path) -> None:
    from PIL import Image

    models = faces / "models"
    with zipfile.ZipFile(faces / "train-labelled-2.zip") as pack:
        names = [name for name in pack.namelist() if name.endswith(".webp")][:6400:100]
        crops = np.stack(
            [np.asarray(Image.open(io.BytesIO(pack.read(name))).convert("RGB")) for name in names]
        )
    net, card = load_network(f"timm:edgenext_xx_small:{models / 'edgeface_xxs.safetensors'}")
    export_network(net, card, tmp_path / "xxs.onnx", crops)
    ours = load_embedder(tmp_path / "xxs.onnx").embed(crops)
    published = load_embedder(models / "edgeface_xxs.onnx").embed(crops)
    assert (ours * published).sum(1).min() >= 0.99999
