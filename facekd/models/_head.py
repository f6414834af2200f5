"""The last layers of most networks here, from a feature map to an embedding."""

from __future__ import annotations

from torch import nn


def embedding_head(channels: int, size: int, dim: int) -> nn.Sequential:
    """Feature maps [N, C, size, size] to [N, dim].

    A global depthwise convolution gives every position its own weight, unlike a mean: in an
    aligned face the corners carry less information than the eyes (Chen et al., "MobileFaceNets", 2018).
    """
    return nn.Sequential(
        nn.Conv2d(channels, channels, size, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.Flatten(1),
        nn.Linear(channels, dim, bias=False),
        nn.BatchNorm1d(dim),
    )
