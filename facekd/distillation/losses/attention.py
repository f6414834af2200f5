"""Attention transfer: the regions of the face that the networks respond to."""

from __future__ import annotations

from torch import Tensor

from facekd.distillation.losses._base import Example, Loss, Setting, Terms, register_loss, unit
from facekd.distillation.losses._feature_maps import MapPair
from facekd.models import Outputs, Targets


@register_loss("attention")
class Attention(Loss):
    """``|Q_s / |Q_s| - Q_t / |Q_t||^2``, mean over crops, with Q [H W] the sum of squares over the
    channels of a feature map (Zagoruyko, Komodakis, "Paying more attention to attention", ICLR
    2017, there the distance itself instead of its square). The teacher's map is brought to the
    student's size first.

    ``student`` and ``teacher`` name the maps; see `MapPair` for the default.
    """

    needs_features = True
    whole_batch = False

    def __init__(self, setting: Setting, student: str | None = None, teacher: str | None = None) -> None:
        super().__init__()
        self.pair = MapPair(setting, student, teacher, "attention")

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        assert teacher is not None
        mine, theirs = self.pair.of(student, teacher)
        return {"attention": (_attention(mine) - _attention(theirs)).square().sum(1).mean()}


def _attention(maps: Tensor) -> Tensor:
    """[N, H W] at unit length."""
    return unit(maps.square().sum(1).flatten(1))
