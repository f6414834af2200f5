"""Relational distillation: distances and angles among the crops of a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facekd.distillation.losses._base import Example, Loss, Setting, Terms, register_loss, unit
from facekd.errors import RecipeError
from facekd.models import Outputs, Targets

_smooth_l1 = nn.functional.smooth_l1_loss


@register_loss("rkd")
class RKD(Loss):
    """Park et al., "Relational knowledge distillation", CVPR 2019, on unit embeddings of
    any two sizes.

    ``rkd_distance``: smooth L1 between |x_i - x_j| of student and teacher, each divided by its
    mean over the pairs of the batch, mean over pairs i != j. ``rkd_angle``: smooth L1 between the
    cosines of the angles at j in all triplets i, j, k (memory N^3). Weighted by ``distance`` and
    ``angle`` (the paper's 1 and 2).
    """

    whole_batch = True

    def __init__(self, setting: Setting, distance: float = 1.0, angle: float = 2.0) -> None:
        super().__init__()
        if distance < 0 or angle < 0 or distance + angle == 0:
            raise RecipeError(
                "loss 'rkd': distance and angle must not be negative, and one must be above zero"
            )
        self.distance, self.angle = distance, angle

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        assert teacher is not None
        mine, wanted = unit(student.embedding), unit(teacher.embedding)
        terms = {}
        if self.distance:
            terms["rkd_distance"] = self.distance * _smooth_l1(_distances(mine), _distances(wanted))
        if self.angle:
            terms["rkd_angle"] = self.angle * _smooth_l1(_angles(mine), _angles(wanted))
        return terms


def _distances(rows: Tensor) -> Tensor:
    """|x_i - x_j| / mean for all i != j, [N (N - 1)]."""
    squared = (2 - 2 * rows @ rows.T).clamp(min=0)
    apart = ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    # the square root has no derivative at 0, where two crops of a batch have equal embeddings
    found = (squared[apart] + 1e-12).sqrt()
    return found / found.mean()


def _angles(rows: Tensor) -> Tensor:
    """The cosine of the angle at j between the directions to i and to k, [N, N, N] (j first)."""
    towards = unit((rows[None] - rows[:, None]).flatten(0, 1)).view(len(rows), len(rows), -1)
    return towards @ towards.mT
