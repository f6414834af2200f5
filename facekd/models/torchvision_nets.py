"""torchvision's ResNets and MobileNets with an embedding head, adapted to 112-pixel faces.

They were designed for 224 pixels; here they halve a crop once less (no max-pooling in a ResNet, a
first convolution of stride 1 in a MobileNet), so that the last map is 7 x 7 and the stages have
strides 2, 4, 8 and 16 like those of the other networks. Parameters of ``body`` have
torchvision's names.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from facekd.models._base import FaceNet, register
from facekd.models._head import embedding_head
from facekd.models._torchvision_ops import ensure_torchvision_ops


class TorchvisionNet(FaceNet):
    """``body`` to a map of ``channels`` [N, C, 7, 7], then the embedding head; ``stages`` are the
    submodules of ``body`` that end strides 2, 4, 8 and 16."""

    taps = ("stage1", "stage2", "stage3", "stage4")

    def __init__(self, body: nn.Module, stages: tuple[str, str, str, str], channels: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.body = body
        self.tap_paths = {tap: f"body.{stage}" for tap, stage in zip(self.taps, stages, strict=True)}
        self.head = embedding_head(channels, 7, dim)

    def forward(self, planes: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(planes))
        return out


def _torchvision(name: str) -> Any:
    ensure_torchvision_ops()
    import torchvision.models

    return torchvision.models.get_model(name, weights=None)


def _resnet(name: str, channels: int, dim: int) -> TorchvisionNet:
    net = _torchvision(name)
    kept = [(part, child) for part, child in net.named_children() if part not in ("maxpool", "avgpool", "fc")]
    body = nn.Sequential()
    for part, child in kept:
        body.add_module(part, child)
    return TorchvisionNet(body, ("layer1", "layer2", "layer3", "layer4"), channels, dim)


def _mobilenet(name: str, ends: tuple[int, int, int, int], channels: int, dim: int) -> TorchvisionNet:
    features = _torchvision(name).features
    features[0][0].stride = (1, 1)
    first, second, third, fourth = map(str, ends)
    return TorchvisionNet(features, (first, second, third, fourth), channels, dim)


@register("resnet18")
def resnet18(dim: int = 512) -> TorchvisionNet:
    """11.5 M parameters."""
    return _resnet("resnet18", 512, dim)


@register("resnet50")
def resnet50(dim: int = 512) -> TorchvisionNet:
    """24.7 M parameters."""
    return _resnet("resnet50", 2048, dim)


@register("mobilenet_v2")
def mobilenet_v2(dim: int = 512) -> TorchvisionNet:
    """2.9 M parameters."""
    return _mobilenet("mobilenet_v2", (3, 6, 13, 17), 1280, dim)


@register("mobilenet_v3_small")
def mobilenet_v3_small(dim: int = 512) -> TorchvisionNet:
    """1.3 M parameters."""
    return _mobilenet("mobilenet_v3_small", (1, 3, 8, 11), 576, dim)


@register("mobilenet_v3_large")
def mobilenet_v3_large(dim: int = 512) -> TorchvisionNet:
    """3.5 M parameters."""
    return _mobilenet("mobilenet_v3_large", (3, 6, 12, 15), 960, dim)
