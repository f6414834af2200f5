"""Adaptive class centres from the teacher."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from facekd.distillation.losses._base import (
    Example,
    Loss,
    Setting,
    Terms,
    classes_of,
    register_loss,
    unit,
    zero_like,
)
from facekd.distillation.losses._margin_softmax import (
    check_margin,
    check_sample,
    margin_softmax,
    some_classes,
)
from facekd.models import Outputs, Targets


@register_loss("adadistill")
class AdaDistill(Loss):
    """Margin softmax against class centres that follow the teacher's embeddings more and more slowly.

    A crop i of class y moves its centre to ``a w_y + (1 - a) t_i`` with ``a = cos(s_i, t_i) *
    cos(w_y, t_i)``, clipped to [1e-6, 1]: while the student is far from the teacher the centre is the
    crop's own target, later the class mean (Boutros, Struc, Damer, "AdaDistill", ECCV 2024).
    Several crops of one class in a batch move it to the mean of their individual results, so that their
    order does not matter. Centres start at zero, whose cosine to everything is 0. If the sizes
    differ, the student's embedding goes through a learned projector.

    Identities with fewer than three crops, and crops without a label, are left out. ``sample`` is
    that of `arcface`.
    """

    whole_batch = True
    needs_labels = True
    centres: Tensor

    def __init__(
        self,
        setting: Setting,
        kind: Literal["arcface", "cosface"] = "arcface",
        margin: float = 0.45,
        scale: float = 64.0,
        sample: float = 1.0,
    ) -> None:
        super().__init__()
        check_margin("adadistill", setting.classes, kind, margin, scale)
        check_sample("adadistill", sample)
        self.sample = sample
        self.kind, self.margin, self.scale = kind, margin, scale
        self.classes = setting.classes
        same = setting.student_dim == setting.teacher_dim
        self.projector: nn.Module = nn.Identity()
        if not same:
            self.projector = nn.Linear(setting.student_dim, setting.teacher_dim, bias=False)
        self.register_buffer("centres", torch.zeros(setting.classes.count, setting.teacher_dim))

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        assert teacher is not None
        wanted = classes_of(self.classes, example.labels)
        chosen = wanted >= 0
        if not chosen.any():
            return {"adadistill": zero_like(student)}
        wanted, theirs = wanted[chosen], unit(teacher.embedding[chosen])
        mine = unit(self.projector(student.embedding[chosen]))
        if self.training:
            self._move(mine.detach(), theirs, wanted)
        centres = self.centres
        if self.sample < 1:
            compared = some_classes(wanted, self.classes.count, self.sample)
            centres, wanted = centres[compared], torch.searchsorted(compared, wanted)
        cosines = mine @ unit(centres).T
        return {"adadistill": margin_softmax(cosines, wanted, self.kind, self.margin, self.scale)}

    @torch.no_grad()
    def _move(self, mine: Tensor, theirs: Tensor, wanted: Tensor) -> None:
        centres = self.centres[wanted]
        settled = (unit(centres) * theirs).sum(1).clamp(1e-6, 1)
        keep = ((mine * theirs).sum(1) * settled).clamp(1e-6, 1)[:, None]
        moved = keep * centres + (1 - keep) * theirs
        classes, place, counts = wanted.unique(return_inverse=True, return_counts=True)
        sums = torch.zeros(len(classes), moved.shape[1], device=moved.device).index_add_(0, place, moved)
        self.centres[classes] = sums / counts[:, None]
