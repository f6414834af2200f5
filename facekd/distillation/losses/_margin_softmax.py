"""Margin softmax from labels, used to train teachers and the baseline without a teacher."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from facekd.distillation.losses._base import (
    Classes,
    Example,
    Loss,
    Setting,
    Terms,
    classes_of,
    unit,
    zero_like,
)
from facekd.errors import RecipeError
from facekd.models import Outputs, Targets


class MarginSoftmax(Loss):
    """Cross-entropy of ``scale * margin(cos)`` over a learned classifier [C, D].

    With ``sample`` below 1 each step compares with that share of the classes: those of the batch,
    and others chosen at random (Partial FC: An et al., "Killing two birds with one stone", CVPR 2022), so
    that a million identities need no million rows. ``balance`` in (0, 1) weights a class of n crops
    by the inverse of its `effective_number`.
    """

    needs_teacher = False
    needs_labels = True
    name: ClassVar[str]

    def __init__(
        self, setting: Setting, margin: float, scale: float, sample: float = 1.0, balance: float = 0.0
    ) -> None:
        super().__init__()
        check_margin(self.name, setting.classes, self.name, margin, scale, balance)
        check_sample(self.name, sample)
        self.margin, self.scale, self.sample = margin, scale, sample
        self.classes = setting.classes
        self.class_weights = balanced_weights(setting.classes, balance)
        rows = torch.randn(setting.classes.count, setting.student_dim)
        self.weight = nn.Parameter(rows) if sample == 1 else None
        # its gradient, and the optimizer's work, cover only the rows that a step used
        self.rows = None if sample == 1 else nn.Embedding.from_pretrained(rows, freeze=False, sparse=True)

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        wanted = classes_of(self.classes, example.labels)
        chosen = wanted >= 0
        if not chosen.any():
            return {self.name: zero_like(student)}
        rows, wanted = student.embedding[chosen], wanted[chosen]
        weights = None if self.class_weights is None else self.class_weights.to(wanted.device)[wanted]
        if self.rows is None:
            assert self.weight is not None
            centres = self.weight
        else:
            compared = some_classes(wanted, self.classes.count, self.sample)
            centres, wanted = self.rows(compared), torch.searchsorted(compared, wanted)
        cosines = unit(rows) @ unit(centres).T
        return {self.name: margin_softmax(cosines, wanted, self.name, self.margin, self.scale, weights)}


def some_classes(wanted: Tensor, count: int, share: float) -> Tensor:
    """``share`` of the classes 0 to ``count`` - 1, ascending: all of ``wanted`` [N] (even if they are more
    than that share), the others chosen at random."""
    present = wanted.unique()
    size = max(math.ceil(count * share), 2)
    if len(present) >= size:
        return present
    draw = torch.rand(count, device=wanted.device)
    draw[present] = 2.0
    return draw.topk(size).indices.sort().values


def effective_number(sizes: Tensor, beta: float) -> Tensor:
    """``(1 - beta^n) / (1 - beta)`` of classes of n crops: the effective number of samples if each new
    crop overlaps more with the earlier ones (Cui et al., "Class-balanced loss based on effective number
    of samples", CVPR 2019, equation 2)."""
    return (1 - beta ** sizes.double()) / (1 - beta)


def balanced_weights(classes: Classes, beta: float) -> Tensor | None:
    """One over the effective number of each class [C], their mean 1; `None` for ``beta`` 0."""
    if beta == 0:
        return None
    weights = 1 / effective_number(classes.sizes.clamp(min=1), beta)
    return (weights / weights.mean()).float()


def with_arc_margin(cosine: Tensor, margin: float | Tensor) -> Tensor:
    """``cos(theta + m)`` (Deng et al., "ArcFace", CVPR 2019, equation 3). Above ``theta = pi - m``,
    where that would rise again, ``cos(theta) - m sin(m)`` continues to decrease."""
    margin = torch.as_tensor(margin, dtype=cosine.dtype, device=cosine.device)
    inside = cosine.clamp(-1 + 1e-6, 1 - 1e-6)
    moved = torch.cos(torch.acos(inside) + margin)
    beyond = cosine - margin * torch.sin(margin)
    return torch.where(cosine > torch.cos(math.pi - margin), moved, beyond)


def with_cos_margin(cosine: Tensor, margin: float | Tensor) -> Tensor:
    """``cos(theta) - m`` (Wang et al., "CosFace", CVPR 2018, equation 4)."""
    return cosine - margin


MARGINS: dict[str, Callable[[Tensor, float | Tensor], Tensor]] = {
    "arcface": with_arc_margin,
    "cosface": with_cos_margin,
}


def check_margin(
    loss: str, classes: Classes, kind: str, margin: float, scale: float, balance: float = 0.0
) -> None:
    """Raise `RecipeError` for margin softmax settings that are out of range."""
    if kind not in MARGINS:
        raise RecipeError(f"loss '{loss}': kind = '{kind}' must be {' or '.join(MARGINS)}")
    if scale <= 0 or margin < 0:
        raise RecipeError(f"loss '{loss}': scale must be above zero and margin not negative")
    if not 0 <= balance < 1:
        raise RecipeError(f"loss '{loss}': balance must be at least 0 and below 1")
    if classes.count < 2:
        raise RecipeError(
            f"loss '{loss}' needs labels of two or more identities, with at least three crops each if "
            "there is a teacher"
        )


def check_sample(loss: str, sample: float) -> None:
    """Raise `RecipeError` for a share of the classes that is out of range."""
    if not 0 < sample <= 1:
        raise RecipeError(f"loss '{loss}': sample must be above 0 and at most 1")


def margin_softmax(
    cosines: Tensor,
    wanted: Tensor,
    kind: str,
    margin: float | Tensor,
    scale: float,
    weights: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of ``scale * cosines`` [N, C], with the margin of ``kind`` (one value, or [N, 1])
    applied to the cosine of each crop's class ``wanted`` [N]; mean over crops, weighted by ``weights``
    [N] if given."""
    target = cosines.gather(1, wanted[:, None])
    logits = scale * cosines.scatter(1, wanted[:, None], MARGINS[kind](target, margin))
    if weights is None:
        return nn.functional.cross_entropy(logits, wanted)
    return (nn.functional.cross_entropy(logits, wanted, reduction="none") * weights).sum() / weights.sum()
