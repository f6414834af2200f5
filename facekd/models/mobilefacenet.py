"""MobileFaceNet (Chen et al., "MobileFaceNets: efficient CNNs for accurate real-time face
verification on mobile devices", 2018), with a choice of activation.

The paper's PReLU is several times slower than a ReLU in most CPU runtimes.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from facekd.errors import UsageError
from facekd.models._base import FaceNet, register
from facekd.models._head import embedding_head

_ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {
    "prelu": nn.PReLU,
    "relu": lambda channels: nn.ReLU(inplace=True),
    "relu6": lambda channels: nn.ReLU6(inplace=True),
    "hardswish": lambda channels: nn.Hardswish(inplace=True),
    "silu": lambda channels: nn.SiLU(inplace=True),
}


def _conv(
    inputs: int, outputs: int, kernel: int, stride: int, activation: str, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        _ACTIVATIONS[activation](outputs),
    )


class _Bottleneck(nn.Module):
    """Expand, depthwise convolution, project without activation; added to the input if shapes allow."""

    def __init__(self, inputs: int, outputs: int, wide: int, stride: int, activation: str) -> None:
        super().__init__()
        self.widen = _conv(inputs, wide, 1, 1, activation)
        self.depthwise = _conv(wide, wide, 3, stride, activation, groups=wide)
        self.narrow = nn.Sequential(nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.narrow(self.depthwise(self.widen(x)))
        return x + out if self.residual else out


class MobileFaceNet(FaceNet):
    """Stages at strides 2, 4, 8 and 16."""

    taps = ("stage1", "stage2", "stage3", "stage4")

    def __init__(self, dim: int, activation: str) -> None:
        super().__init__()
        self.dim = dim

        def blocks(inputs: int, outputs: int, first: int, rest: int, count: int) -> nn.Sequential:
            """One block that halves the map, ``count`` that keep it; ``first`` and ``rest`` wide."""
            down = _Bottleneck(inputs, outputs, first, 2, activation)
            keep = [_Bottleneck(outputs, outputs, rest, 1, activation) for _ in range(count)]
            return nn.Sequential(down, *keep)

        self.stage1 = nn.Sequential(
            _conv(3, 64, 3, 2, activation), _conv(64, 64, 3, 1, activation, groups=64)
        )
        self.stage2 = blocks(64, 64, first=128, rest=128, count=4)
        self.stage3 = blocks(64, 128, first=256, rest=256, count=6)
        self.stage4 = blocks(128, 128, first=512, rest=256, count=2)
        self.last = _conv(128, 512, 1, 1, activation)
        self.head = embedding_head(512, 7, dim)

    def forward(self, planes: Tensor) -> Tensor:
        out: Tensor = self.head(self.last(self.stage4(self.stage3(self.stage2(self.stage1(planes))))))
        return out


@register("mobilefacenet")
def mobilefacenet(dim: int = 512, activation: str = "prelu") -> MobileFaceNet:
    """1.2 M parameters (1.0 M at the paper's 128 dimensions), 221 M multiply-adds.

    ``activation``: prelu, relu, relu6, hardswish or silu. Raises `UsageError` for others.
    """
    if activation not in _ACTIVATIONS:
        raise UsageError(
            f"mobilefacenet has no activation '{activation}'", f"It has: {', '.join(_ACTIVATIONS)}."
        )
    return MobileFaceNet(dim, activation)
