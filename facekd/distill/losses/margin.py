"""Margin softmax from labels: how teachers and the baseline without a teacher are trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from facekd.distill.losses.base import (
    Classes,
    Example,
    Loss,
    Setting,
    Terms,
    classes_of,
    register_loss,
    unit,
    zero_like,
)
from facekd.errors import RecipeError
from facekd.models import Outputs, Targets


class _MarginSoftmax(Loss):
    """Cross-entropy of ``scale * margin(cos)`` over a learned classifier [C, D]."""

    needs_teacher = False
    needs_labels = True
    name: ClassVar[str]

    def __init__(self, setting: Setting, margin: float, scale: float) -> None:
        super().__init__()
        check_margin(self.name, setting.classes, self.name, margin, scale)
        self.margin, self.scale = margin, scale
        self.classes = setting.classes
        self.weight = nn.Parameter(torch.randn(setting.classes.count, setting.student_dim))

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        wanted = classes_of(self.classes, example.labels)
        chosen = wanted >= 0
        if not chosen.any():
            return {self.name: zero_like(student)}
        cosines = unit(student.embedding[chosen]) @ unit(self.weight).T
        return {self.name: margin_softmax(cosines, wanted[chosen], self.name, self.margin, self.scale)}


@register_loss("arcface")
class ArcFace(_MarginSoftmax):
    """`with_arc_margin` on the target."""

    name = "arcface"

    def __init__(self, setting: Setting, margin: float = 0.5, scale: float = 64.0) -> None:
        super().__init__(setting, margin, scale)


@register_loss("cosface")
class CosFace(_MarginSoftmax):
    """`with_cos_margin` on the target."""

    name = "cosface"

    def __init__(self, setting: Setting, margin: float = 0.35, scale: float = 64.0) -> None:
        super().__init__(setting, margin, scale)


def with_arc_margin(cosine: Tensor, margin: float) -> Tensor:
    """``cos(theta + m)`` (Deng et al., "ArcFace", CVPR 2019, equation 3). Past ``theta = pi - m``,
    where that would rise again, ``cos(theta) - m sin(m)`` goes on falling."""
    inside = cosine.clamp(-1 + 1e-6, 1 - 1e-6)
    moved = torch.cos(torch.acos(inside) + margin)
    beyond = cosine - margin * math.sin(margin)
    return torch.where(cosine > math.cos(math.pi - margin), moved, beyond)


def with_cos_margin(cosine: Tensor, margin: float) -> Tensor:
    """``cos(theta) - m`` (Wang et al., "CosFace", CVPR 2018, equation 4)."""
    return cosine - margin


MARGINS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "arcface": with_arc_margin,
    "cosface": with_cos_margin,
}


def check_margin(loss: str, classes: Classes, kind: str, margin: float, scale: float) -> None:
    """Raise `RecipeError` for a margin softmax that makes no sense."""
    if kind not in MARGINS:
        raise RecipeError(f"loss '{loss}': kind = '{kind}' is neither {' nor '.join(MARGINS)}")
    if scale <= 0 or margin < 0:
        raise RecipeError(f"loss '{loss}': scale is above zero, margin is not negative")
    if classes.count < 2:
        raise RecipeError(
            f"loss '{loss}' needs labels of two or more identities, with a teacher of three crops each"
        )


def margin_softmax(cosines: Tensor, wanted: Tensor, kind: str, margin: float, scale: float) -> Tensor:
    """Cross-entropy of ``scale * cosines`` [N, C], the one to each crop's class ``wanted`` [N]
    made harder by the margin of ``kind``, mean over crops."""
    target = cosines.gather(1, wanted[:, None])
    logits = scale * cosines.scatter(1, wanted[:, None], MARGINS[kind](target, margin))
    return nn.functional.cross_entropy(logits, wanted)
