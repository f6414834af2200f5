"""The teacher's class means, or its classifier, as the student's classifier."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from facekd.distillation.losses._base import (
    Example,
    Loss,
    Setting,
    Terms,
    classes_of,
    register_loss,
    zero_like,
)
from facekd.distillation.losses._margin_softmax import balanced_weights, check_margin, margin_softmax
from facekd.distillation.losses._teacher_classes import By, TeacherClasses
from facekd.models import Outputs, Targets


@register_loss("prototypes")
class Prototypes(Loss):
    """Margin softmax from labels over a fixed classifier, which places the student's embeddings in the
    teacher's space: the teacher's class means, each crop left out of its own, or, with ``by =
    "classifier"``, the classifier that the teacher was trained with (Shi et al., "ProxylessKD", 2020;
    SimKD's reused classifier, Chen et al., CVPR 2022).

    Identities with fewer than three crops, and crops without a label, are left out. ``balance`` and
    ``sample`` are those of `arcface`.
    """

    whole_batch = True
    name: ClassVar[str] = "prototypes"
    needs_labels = True
    needs_means = True

    def __init__(
        self,
        setting: Setting,
        kind: Literal["arcface", "cosface"] = "cosface",
        margin: float = 0.2,
        scale: float = 64.0,
        balance: float = 0.0,
        by: By = "means",
        sample: float = 1.0,
    ) -> None:
        super().__init__()
        check_margin(self.name, setting.classes, kind, margin, scale, balance)
        self.class_weights = balanced_weights(setting.classes, balance)
        self.kind, self.margin, self.scale = kind, margin, scale
        self.classes = setting.classes
        self.teacher = TeacherClasses(setting, by, sample, self.name)

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        assert teacher is not None
        wanted = classes_of(self.classes, example.labels)
        chosen = wanted >= 0
        if not chosen.any():
            return {self.name: zero_like(student)}
        wanted, own = wanted[chosen], example.own[chosen]
        weights = None if self.class_weights is None else self.class_weights.to(wanted.device)[wanted]
        compared = self.teacher.compared(wanted)
        cosines = self.teacher.of_student(student.embedding[chosen], wanted, own, compared)
        margins = self.margins(teacher.embedding[chosen], wanted, own)
        place = wanted if compared is None else torch.searchsorted(compared, wanted)
        return {self.name: margin_softmax(cosines, place, self.kind, margins, self.scale, weights)}

    def margins(self, targets: Tensor, wanted: Tensor, own: Tensor) -> float | Tensor:
        """The margin, one for every crop or [N, 1], from their targets [N, D] and classes [N]."""
        return self.margin
