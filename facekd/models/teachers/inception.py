"""facenet-pytorch's InceptionResnetV1, which takes 160-pixel box crops (Schroff et al., "FaceNet",
CVPR 2015; trained by T. Esler)."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from facekd.card import BoxCrop, Card, EmbeddingSpec, InputSpec
from facekd.errors import InputOutput, UsageError
from facekd.models._base import FaceNet
from facekd.models._saved import fill, pinned, read_weights
from facekd.models._torchvision_ops import ensure_torchvision_ops

PUBLISHED = ("vggface2", "casia-webface")
#: the margin with which the network's author evaluates it
_CROP = BoxCrop(size=160, margin=14)


class InceptionNet(FaceNet):
    """``body`` already returns unit rows."""

    input = InputSpec(size=160, mean=127.5, std=128.0)
    dim = 512
    taps = ("stage1", "stage2", "stage3")

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.tap_paths = {tap: tap.replace("stage", "body.repeat_") for tap in self.taps}

    def forward(self, planes: Tensor) -> Tensor:
        out: Tensor = self.body(planes)
        return out


def inception_network(source: str) -> tuple[InceptionNet, Card]:
    """The network with the weights of a local file, or with published ones by name
    (``vggface2``, ``casia-webface``), which facenet-pytorch downloads; and its card.

    A classifier among the weights is left out. Raises `InputOutput` if the file or the
    network connection is missing, `Unreadable` or `Misfit` if the weights are not this network's.
    """
    ensure_torchvision_ops()
    from facenet_pytorch import InceptionResnetV1

    file = Path(source)
    if file.is_file():
        body = InceptionResnetV1()
        weights = {k: v for k, v in read_weights(file).items() if not k.startswith("logits.")}
        fill(body, weights, file)
    elif source in PUBLISHED:
        body = _download(source)
        weights = {k: v for k, v in body.state_dict().items() if not k.startswith("logits.")}
    elif file.suffix:
        raise InputOutput(f"{source}: no such weights file")
    else:
        raise UsageError(
            f"inception:{source}: neither a file nor published weights",
            f"Published: {', '.join(PUBLISHED)}.",
        )
    card = Card(
        name=f"inception_resnet_v1_{file.stem}",
        architecture="InceptionResnetV1",
        input=InceptionNet.input,
        crop=_CROP,
        embedding=EmbeddingSpec(dim=InceptionNet.dim),
    )
    return InceptionNet(body).eval(), pinned(card, weights)


def _download(name: str) -> nn.Module:
    from facenet_pytorch import InceptionResnetV1

    try:
        net: nn.Module = InceptionResnetV1(pretrained=name)
    except OSError as error:
        raise InputOutput(
            f"the weights '{name}' cannot be downloaded ({error})",
            "Download them where there is a connection, and name the file: inception:FILE.",
        ) from error
    return net
