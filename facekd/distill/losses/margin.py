"""Margin softmax from labels: how teachers and the baseline without a teacher are trained."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from facekd.distill.losses.base import (
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
        if scale <= 0 or margin < 0:
            raise RecipeError(f"loss '{self.name}': scale is above zero, margin is not negative")
        if setting.classes.count < 2:
            raise RecipeError(f"loss '{self.name}' needs labelled data of two or more identities")
        self.margin, self.scale = margin, scale
        self.classes = setting.classes
        self.weight = nn.Parameter(torch.randn(setting.classes.count, setting.student_dim))

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        wanted = classes_of(self.classes, example.labels)
        chosen = wanted >= 0
        if not chosen.any():
            return {self.name: zero_like(student)}
        wanted = wanted[chosen]
        cosines = unit(student.embedding[chosen]) @ unit(self.weight).T
        target = cosines.gather(1, wanted[:, None])
        logits = self.scale * cosines.scatter(1, wanted[:, None], self.with_margin(target))
        return {self.name: nn.functional.cross_entropy(logits, wanted)}

    @abstractmethod
    def with_margin(self, cosine: Tensor) -> Tensor:
        """The cosine [N, 1] to the right class, made harder."""


@register_loss("arcface")
class ArcFace(_MarginSoftmax):
    """``cos(theta + m)`` on the target (Deng et al., "ArcFace", CVPR 2019, equation 3). Past
    ``theta = pi - m``, where that would rise again, ``cos(theta) - m sin(m)`` goes on falling."""

    name = "arcface"

    def __init__(self, setting: Setting, margin: float = 0.5, scale: float = 64.0) -> None:
        super().__init__(setting, margin, scale)

    def with_margin(self, cosine: Tensor) -> Tensor:
        inside = cosine.clamp(-1 + 1e-6, 1 - 1e-6)
        moved = torch.cos(torch.acos(inside) + self.margin)
        beyond = cosine - self.margin * math.sin(self.margin)
        return torch.where(cosine > math.cos(math.pi - self.margin), moved, beyond)


@register_loss("cosface")
class CosFace(_MarginSoftmax):
    """``cos(theta) - m`` on the target (Wang et al., "CosFace", CVPR 2018, equation 4)."""

    name = "cosface"

    def __init__(self, setting: Setting, margin: float = 0.35, scale: float = 64.0) -> None:
        super().__init__(setting, margin, scale)

    def with_margin(self, cosine: Tensor) -> Tensor:
        return cosine - self.margin
