"""Logit distillation by correlation."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from facekd.distillation.losses._base import Setting, register_loss
from facekd.distillation.losses._class_probabilities import AnswerLoss, Answers
from facekd.errors import RecipeError


@register_loss("dist")
class DIST(AnswerLoss):
    """``T^2 (between (1 - r_rows) + within (1 - r_columns))``: the mean Pearson correlation of student
    and teacher probabilities over the classes of each crop, and over the crops of each class
    (Huang et al., "Knowledge distillation from a stronger teacher", NeurIPS 2022).
    """

    whole_batch = True
    name = "dist"

    def __init__(self, setting: Setting, between: float = 1.0, within: float = 1.0, **answers: Any) -> None:
        super().__init__(setting, **answers)
        if between < 0 or within < 0 or between + within == 0:
            raise RecipeError(
                "loss 'dist': between and within must not be negative, and one must be above zero"
            )
        self.between, self.within = between, within

    def compare(self, answers: Answers) -> Tensor:
        mine, wanted = answers.student.softmax(1), answers.teacher.softmax(1)
        rows = 1 - correlation(mine, wanted).mean()
        columns = 1 - correlation(mine.T, wanted.T).mean()
        return self.between * rows + self.within * columns


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson's correlation [R] of each row of ``one`` with the same row of ``other`` [R, C]; 0 where
    either is constant."""
    one = one - one.mean(1, keepdim=True)
    other = other - other.mean(1, keepdim=True)
    # probabilities over thousands of classes vary by very little, so the constant must be this small
    sizes = one.norm(dim=1) * other.norm(dim=1)
    found: Tensor = (one * other).sum(1) / sizes.clamp(min=1e-20)
    return found
