"""Feature distillation: the angle between the student's embedding and the teacher's."""

from __future__ import annotations

from facekd.distillation.losses._base import Example, Loss, Setting, Terms, register_loss, unit
from facekd.distillation.losses._dimension_matching import How, Match
from facekd.models import Outputs, Targets


@register_loss("cosine")
class Cosine(Loss):
    """``mean(1 - cos(P s, t))``, with s [N, D_s] the student's embedding, t [N, D_t] the teacher's and P
    the map of `Match`.

    In other units: the MSE of unit vectors, mean over D, is (2 / D) times this. For faces, Duong et al.,
    "ShrinkTeaNet", 2019, square it (angular distillation), and Yan et al., "VarGFaceNet", ICCV
    workshops 2019, use the squared distance of the unit vectors, which is twice this.
    """

    whole_batch = False

    def __init__(self, setting: Setting, match: How = "linear", always: bool = False) -> None:
        super().__init__()
        self.match = Match(setting, match, "cosine", always)

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        assert teacher is not None
        mine, wanted = self.match(student.embedding, teacher.embedding)
        return {"cosine": (1 - (unit(mine) * unit(wanted)).sum(1)).mean()}
