"""Bring the student's and the teacher's embeddings to one dimension."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from facekd.distillation.losses._base import Setting, pca_basis
from facekd.errors import RecipeError

How = Literal["linear", "mlp", "pca"]


class Match(nn.Module):
    """Map student [N, D_s] and teacher [N, D_t] embeddings to one dimension.

    Equal sizes are unchanged, unless ``always`` asks for a projector. Otherwise ``linear`` learns a projector
    of the student's embedding, whose metric is folded into the exported network, ``mlp`` one with a hidden
    layer of D_t units, which is dropped at export, and ``pca`` instead reduces the teacher to the student's
    size by its principal directions (D_s < D_t).
    """

    basis: Tensor | None

    def __init__(self, setting: Setting, how: How, loss: str, always: bool = False) -> None:
        super().__init__()
        if how not in ("linear", "mlp", "pca"):
            raise RecipeError(f"loss '{loss}': match = '{how}' must be linear, mlp or pca")
        if always and how == "pca":
            raise RecipeError(f"loss '{loss}': match = 'pca' has no projector: leave always out")
        student, teacher = setting.student_dim, setting.teacher_dim
        self.projector: nn.Module = nn.Identity()
        self.register_buffer("basis", None)
        if student == teacher and not always:
            return
        if how == "linear":
            self.projector = nn.Linear(student, teacher, bias=False)
        elif how == "mlp":
            hidden = nn.Linear(student, teacher, bias=False)
            last = nn.Linear(teacher, teacher, bias=False)
            self.projector = nn.Sequential(hidden, nn.BatchNorm1d(teacher), nn.ReLU(), last)
        elif student > teacher:
            raise RecipeError(f"loss '{loss}': PCA cannot enlarge {teacher} dimensions to {student}")
        else:
            self.register_buffer("basis", pca_basis(setting.sample, student))

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        wanted = teacher.float()
        if self.basis is not None:
            wanted = wanted @ self.basis
        return self.projector(student), wanted
