"""Similarity-preserving distillation."""

from __future__ import annotations

from torch import Tensor

from facekd.distillation.losses._base import Example, Loss, Setting, Terms, register_loss, unit
from facekd.models import Outputs, Targets


@register_loss("sp")
class SP(Loss):
    """``|G_s - G_t|_F^2 / N^2``, where G is the matrix [N, N] of the batch's cosines with its rows
    scaled to unit length (Tung, Mori, "Similarity-preserving knowledge distillation", ICCV 2019,
    on unit embeddings). Sizes may differ.
    """

    whole_batch = True

    def __init__(self, setting: Setting) -> None:
        super().__init__()

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        assert teacher is not None
        return {"sp": (_similarities(student.embedding) - _similarities(teacher.embedding)).square().mean()}


def _similarities(rows: Tensor) -> Tensor:
    rows = unit(rows)
    return unit(rows @ rows.T)
