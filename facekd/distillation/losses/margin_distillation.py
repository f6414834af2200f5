"""Margin softmax with a margin for each crop, from the teacher's confidence in it."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from facekd.distillation.losses._base import Setting, register_loss
from facekd.distillation.losses._teacher_classes import By
from facekd.distillation.losses.prototypes import Prototypes
from facekd.errors import RecipeError


@register_loss("margin_distillation")
class MarginDistillation(Prototypes):
    """Margin softmax from labels over the teacher's class means, as in `Prototypes`, with a margin
    for each crop: ``low + (high - low) max(0, cos(t_i, w_y))``, where t_i is its target and w_y the mean
    of the other crops of its class. Crops that the teacher is certain about get a large margin; poor or
    wrongly labelled crops get a small one (after Svitov, Alyamkin, "MarginDistillation",
    2020, where class centres and margins also come from the teacher).
    """

    whole_batch = True
    name: ClassVar[str] = "margin_distillation"

    def __init__(
        self,
        setting: Setting,
        kind: Literal["arcface", "cosface"] = "arcface",
        low: float = 0.2,
        high: float = 0.5,
        scale: float = 64.0,
        by: By = "means",
        sample: float = 1.0,
    ) -> None:
        super().__init__(setting, kind, low, scale, by=by, sample=sample)
        if high < low:
            raise RecipeError("loss 'margin_distillation': high must be at least low")
        self.low, self.high = low, high

    def margins(self, targets: Tensor, wanted: Tensor, own: Tensor) -> Tensor:
        sure = self.teacher.of_own_class(targets, wanted, own).clamp(min=0)
        return self.low + (self.high - self.low) * sure
