"""Feature distillation by distance."""

from __future__ import annotations

from facekd.distillation.losses._base import Example, Loss, Setting, Terms, register_loss, unit
from facekd.distillation.losses._dimension_matching import How, Match
from facekd.models import Outputs, Targets


@register_loss("mse")
class MSE(Loss):
    """``mean |P s - t|^2 / D`` over crops, with D the common size and P the map of `Match`.

    With ``normalise`` (the default) both are scaled to unit length first, and the loss is
    (2 / D)(1 - cos): a weight of w here equals one of 2 w / D for ``cosine``. Without it the student
    must also learn the length of t, which is 1 (Romero et al., "FitNets", ICLR 2015, on the last
    layer; embeddings are compared by direction only, so the length is not used).
    """

    whole_batch = False

    def __init__(
        self, setting: Setting, match: How = "linear", normalise: bool = True, always: bool = False
    ) -> None:
        super().__init__()
        self.match = Match(setting, match, "mse", always)
        self.normalise = normalise

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        assert teacher is not None
        mine, wanted = self.match(student.embedding, teacher.embedding)
        if self.normalise:
            mine, wanted = unit(mine), unit(wanted)
        return {"mse": (mine - wanted).square().mean()}
