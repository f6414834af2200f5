"""A margin for each crop, from how sure the teacher is of it."""

from __future__ import annotations

from typing import Literal

from facekd.distill.losses.answers import ClassMeans
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
from facekd.distill.losses.margin import check_margin, margin_softmax
from facekd.errors import RecipeError
from facekd.models import Outputs, Targets


@register_loss("margin_distillation")
class MarginDistillation(Loss):
    """Margin softmax from labels over the teacher's class means, as in `Prototypes`, with a margin
    for each crop: ``low + (high - low) max(0, cos(t_i, w_y))``, t_i its target and w_y the mean of
    the other crops of its class. A crop of which the teacher is sure must come close; of one that
    is poor, or wrongly labelled, little is asked (after Svitov, Alyamkin, "MarginDistillation",
    2020, where class centres and margins likewise are the teacher's).

    Identities with fewer than three crops, and crops without a label, take no part.
    """

    needs_labels = True
    needs_means = True

    def __init__(
        self,
        setting: Setting,
        kind: Literal["arcface", "cosface"] = "arcface",
        low: float = 0.2,
        high: float = 0.5,
        scale: float = 64.0,
    ) -> None:
        super().__init__()
        check_margin("margin_distillation", setting.classes, kind, low, scale)
        if high < low:
            raise RecipeError("loss 'margin_distillation': high is at least low")
        self.kind, self.low, self.high, self.scale = kind, low, high, scale
        self.classes = setting.classes
        self.means = ClassMeans(setting)

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        assert teacher is not None
        wanted = classes_of(self.classes, example.labels)
        chosen = wanted >= 0
        if not chosen.any():
            return {"margin_distillation": zero_like(student)}
        wanted, own = wanted[chosen], example.own[chosen]
        centres = unit(self.means.sums[wanted] - own)
        sure = (unit(teacher.embedding[chosen]) * centres).sum(1, keepdim=True).clamp(min=0)
        margins = self.low + (self.high - self.low) * sure
        cosines = self.means.of_student(student.embedding[chosen], wanted, own)
        return {"margin_distillation": margin_softmax(cosines, wanted, self.kind, margins, self.scale)}
