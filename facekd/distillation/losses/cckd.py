"""Correlation congruence."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from facekd.distillation.losses._base import Example, Loss, Setting, Terms, register_loss, unit
from facekd.errors import RecipeError
from facekd.models import Outputs, Targets


@register_loss("cckd")
class CCKD(Loss):
    """Mean squared difference of the Gaussian correlations ``exp(-gamma |x_i - x_j|^2)`` of student
    and teacher over all pairs of the batch, by the Taylor series of ``terms`` powers of the cosine
    (Peng et al., "Correlation congruence for knowledge distillation", ICCV 2019; the paper uses gamma
    0.4, powers 0 to 2). Unit embeddings, sizes may differ.
    """

    whole_batch = True

    def __init__(self, setting: Setting, gamma: float = 0.4, terms: int = 3) -> None:
        super().__init__()
        if gamma <= 0 or terms < 2:
            raise RecipeError("loss 'cckd': gamma must be above zero and terms two or more")
        self.gamma, self.terms = gamma, terms

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        assert teacher is not None
        mine, wanted = self._correlations(student.embedding), self._correlations(teacher.embedding)
        return {"cckd": (mine - wanted).square().mean()}

    def _correlations(self, rows: Tensor) -> Tensor:
        rows = unit(rows)
        cosines = rows @ rows.T
        total = torch.zeros_like(cosines)
        for power in range(self.terms):
            total = total + (2 * self.gamma) ** power / math.factorial(power) * cosines**power
        return math.exp(-2 * self.gamma) * total
