"""A plain residual network of dense 3 x 3 convolutions and ReLU: fast to train and fast to run.

Dense convolutions use a CPU's multipliers far better than depthwise ones, and a ReLU costs a
fraction of a PReLU, so that at equal latency this network trains several times faster than
MobileFaceNet. Blocks follow He et al., "Deep residual learning", CVPR 2016 (basic block); the
head is the global depthwise convolution of Chen et al., "MobileFaceNets", 2018.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from facekd.models._base import FaceNet, register


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Block(nn.Module):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.first = _conv(channels, inner)
        self.second = nn.Conv2d(inner, channels, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        nn.init.zeros_(self.norm.weight)  # a block starts as the identity

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(x + self.norm(self.second(self.first(x))))
        return out


class PlainRes(FaceNet):
    """Stages at strides 2, 4, 8 and 16; ``widths`` channels and ``depths`` blocks each, with ``inner``
    channels between the two convolutions of a block (the stage's own width unless given)."""

    any_size = True
    head_parts = ("pool", "pool_norm", "head", "head_norm")

    def __init__(
        self, dim: int, widths: Sequence[int], depths: Sequence[int], inner: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.dim = dim
        before = 3
        stages = zip(widths, depths, inner or widths, strict=True)
        for number, (width, depth, between) in enumerate(stages, start=1):
            blocks = [_Block(width, between) for _ in range(depth)]
            self.add_module(f"stage{number}", nn.Sequential(_conv(before, width, 2), *blocks))
            before = width
        self.taps = tuple(f"stage{n}" for n in range(1, len(widths) + 1))
        self.pool = nn.Conv2d(before, before, 112 // 2 ** len(widths), groups=before, bias=False)
        self.pool_norm = nn.BatchNorm2d(before)
        self.head = nn.Linear(before, dim, bias=False)
        self.head_norm = nn.BatchNorm1d(dim)

    def forward(self, planes: Tensor) -> Tensor:
        x = planes
        for tap in self.taps:
            x = self.get_submodule(tap)(x)
        out: Tensor = self.head_norm(self.head(self.pool_norm(self._pooled(x)).flatten(1)))
        return out

    def _pooled(self, x: Tensor) -> Tensor:
        """The global depthwise convolution; for a smaller map its kernel is resized with the same
        sum, so that training can start on smaller views."""
        kernel = self.pool.weight
        if self.training and x.shape[-1] != kernel.shape[-1]:
            small = nn.functional.interpolate(kernel, x.shape[-2:], mode="area")
            scale = kernel[0, 0].numel() / small[0, 0].numel()
            pooled: Tensor = nn.functional.conv2d(x, small * scale, groups=len(kernel))
            return pooled
        pooled = self.pool(x)
        return pooled


@register("plainres")
def plainres(
    dim: int = 512,
    widths: Sequence[int] = (16, 48, 96, 192),
    depths: Sequence[int] = (0, 1, 2, 1),
    inner: Sequence[int] | None = None,
) -> PlainRes:
    """The default student: 1.4 M parameters, 153 M multiply-adds at 112 x 112."""
    return PlainRes(dim, widths, depths, inner)


@register("plainres_small")
def plainres_small(dim: int = 256) -> PlainRes:
    """A quarter of the work, for demonstrations and tests."""
    return PlainRes(dim, (16, 32, 48, 96), (0, 1, 1, 1))


@register("plainres_large")
def plainres_large(dim: int = 512) -> PlainRes:
    """A residual teacher that a CPU trains in minutes, for demonstrations."""
    return PlainRes(dim, (32, 64, 128, 256), (0, 2, 2, 2))
