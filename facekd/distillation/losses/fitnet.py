"""Hints: the student's feature map must predict the teacher's."""

from __future__ import annotations

from torch import nn

from facekd.distillation.losses._base import Example, Loss, Setting, Terms, register_loss
from facekd.distillation.losses._feature_maps import MapPair
from facekd.models import Outputs, Targets


@register_loss("fitnet")
class FitNet(Loss):
    """``mean (R(F_s) - F_t)^2`` over all elements, with R a learned 1 x 1 convolution (dropped at
    export) and F_t resized to the size of F_s (Romero et al., "FitNets", ICLR 2015, equation 3, which
    has the sum over elements, halved).

    ``student`` and ``teacher`` name the maps; see `MapPair` for the default.
    """

    needs_features = True
    whole_batch = False

    def __init__(self, setting: Setting, student: str | None = None, teacher: str | None = None) -> None:
        super().__init__()
        self.pair = MapPair(setting, student, teacher, "fitnet")
        channels = setting.student_maps[self.pair.student][0], setting.teacher_maps[self.pair.teacher][0]
        self.regressor = nn.Conv2d(*channels, 1)

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        assert teacher is not None
        mine, theirs = self.pair.of(student, teacher)
        return {"fitnet": (self.regressor(mine) - theirs).square().mean()}
