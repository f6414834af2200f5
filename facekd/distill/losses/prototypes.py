"""The teacher's class means as the student's classifier."""

from __future__ import annotations

from typing import Literal

from facekd.distill.losses.answers import ClassMeans
from facekd.distill.losses.base import Example, Loss, Setting, Terms, classes_of, register_loss, zero_like
from facekd.distill.losses.margin import check_margin, margin_softmax
from facekd.models import Outputs, Targets


@register_loss("prototypes")
class Prototypes(Loss):
    """Margin softmax from labels over a classifier that does not learn: the teacher's class means,
    each crop left out of its own, so that the student must come to lie in the teacher's space
    (Shi et al., "ProxylessKD", 2020; SimKD's reused classifier, Chen et al., CVPR 2022).

    Identities with fewer than three crops, and crops without a label, take no part.
    """

    needs_labels = True

    def __init__(
        self,
        setting: Setting,
        kind: Literal["arcface", "cosface"] = "cosface",
        margin: float = 0.2,
        scale: float = 64.0,
    ) -> None:
        super().__init__()
        check_margin("prototypes", setting.classes, kind, margin, scale)
        self.kind, self.margin, self.scale = kind, margin, scale
        self.classes = setting.classes
        self.means = ClassMeans(setting)

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        wanted = classes_of(self.classes, example.labels)
        chosen = wanted >= 0
        if not chosen.any():
            return {"prototypes": zero_like(student)}
        cosines = self.means.of_student(student.embedding[chosen], wanted[chosen], example.own[chosen])
        loss = margin_softmax(cosines, wanted[chosen], self.kind, self.margin, self.scale)
        return {"prototypes": loss}
