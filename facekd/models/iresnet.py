"""IResNet, the backbone of ArcFace: deep residual networks with a high resolution in the first layers.

Blocks of BN-conv-BN-PReLU-conv-BN (Duta et al., "Improved residual networks", 2020; Deng et al.,
"ArcFace", CVPR 2019), a stem that does not reduce the crop, and a fully connected layer on the
last 7 x 7 map. Parameters are named as in insightface's arcface_torch, whose weights load
unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from facekd.models._base import FaceNet, register

_WIDTHS = (64, 128, 256, 512)


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        out: Tensor = self.bn3(self.conv2(inner)) + self.downsample(x)
        return out


class IResNet(FaceNet):
    """Four stages at strides 2, 4, 8 and 16 of ``depths`` blocks."""

    taps = ("stage1", "stage2", "stage3", "stage4")
    head_parts = ("bn2", "dropout", "fc", "features")

    def __init__(self, depths: Sequence[int], dim: int, dropout: float) -> None:
        super().__init__()
        self.dim = dim
        self.tap_paths = {tap: tap.replace("stage", "layer") for tap in self.taps}
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        before = 64
        for number, (width, depth) in enumerate(zip(_WIDTHS, depths, strict=True), start=1):
            first = _Block(before, width, stride=2)
            rest = [_Block(width, width, stride=1) for _ in range(depth - 1)]
            self.add_module(f"layer{number}", nn.Sequential(first, *rest))
            before = width
        self.bn2 = nn.BatchNorm2d(before)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(before * 7 * 7, dim)
        self.features = nn.BatchNorm1d(dim)
        # the scale of each dimension is left to the fully connected layer
        self.features.weight.requires_grad = False
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 0.1)

    def forward(self, planes: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(planes)))
        for layer in self.tap_paths.values():
            x = self.get_submodule(layer)(x)
        out: Tensor = self.features(self.fc(self.dropout(self.bn2(x)).flatten(1)))
        return out


@register("iresnet18")
def iresnet18(dim: int = 512, dropout: float = 0.0) -> IResNet:
    """24.0 M parameters, 2.6 G multiply-adds."""
    return IResNet((2, 2, 2, 2), dim, dropout)


@register("iresnet34")
def iresnet34(dim: int = 512, dropout: float = 0.0) -> IResNet:
    """34.1 M parameters, 4.5 G multiply-adds."""
    return IResNet((3, 4, 6, 3), dim, dropout)


@register("iresnet50")
def iresnet50(dim: int = 512, dropout: float = 0.0) -> IResNet:
    """43.6 M parameters, 6.3 G multiply-adds."""
    return IResNet((3, 4, 14, 3), dim, dropout)


@register("iresnet100")
def iresnet100(dim: int = 512, dropout: float = 0.0) -> IResNet:
    """65.2 M parameters, 12.1 G multiply-adds."""
    return IResNet((3, 13, 30, 3), dim, dropout)
