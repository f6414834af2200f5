"""Feature distillation: the angle between the student's embedding and the teacher's."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from facekd.distill.losses.base import Example, Loss, Setting, Terms, pca_basis, register_loss, unit
from facekd.errors import RecipeError
from facekd.models import Outputs, Targets


@register_loss("cosine")
class Cosine(Loss):
    """``mean(1 - cos(P s, t))``, s [N, D_s] the student's embedding, t [N, D_t] the teacher's.

    Where the sizes are equal P is the identity. Where they differ, ``match = "linear"`` learns P
    (dropped at export) and ``match = "pca"`` instead reduces t to the student's size by its
    principal directions (D_s < D_t). In other units: the MSE of unit vectors, mean over D, is
    (2 / D) times this. Used for faces by Shen et al. and in most published recipes since.
    """

    basis: Tensor | None

    def __init__(self, setting: Setting, match: Literal["linear", "pca"] = "linear") -> None:
        super().__init__()
        student, teacher = setting.student_dim, setting.teacher_dim
        self.projector = nn.Linear(student, teacher, bias=False) if student != teacher else nn.Identity()
        self.register_buffer("basis", None)
        if match not in ("linear", "pca"):
            raise RecipeError(f"loss 'cosine': match = '{match}' is neither linear nor pca")
        if match == "pca" and student != teacher:
            if student > teacher:
                raise RecipeError(f"loss 'cosine': PCA cannot enlarge {teacher} dimensions to {student}")
            self.projector = nn.Identity()
            self.register_buffer("basis", pca_basis(setting.sample, student))

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        assert teacher is not None
        wanted = teacher.embedding.float()
        if self.basis is not None:
            wanted = wanted @ self.basis
        cosines = (unit(self.projector(student.embedding)) * unit(wanted)).sum(1)
        return {"cosine": (1 - cosines).mean()}
